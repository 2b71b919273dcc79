"""What a study can say of a point before it is trained: its graph as features, and zero-cost scores."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nasflow.core.workspace import cpu_seconds
from nasflow.data.tensors import InputSpec, OutputSpec, Tensors
from nasflow.search.ledger import Ledger
from nasflow.spaces._base import Space
from nasflow.spaces.architecture import Architecture, ArchitectureError
from nasflow.spaces.cost import cost
from nasflow.spaces.encoding import counts, encode
from nasflow.spaces.parameters import key

_BATCH = 64


class Features:
    """Both are functions of the point, the study's seed and its training rows, so what is known is never computed
    again: graphs and counts are kept in memory, scores in the ledger, with the time that they took."""

    def __init__(
        self,
        space: Space,
        inputs: InputSpec,
        output: OutputSpec,
        ledger: Ledger,
        *,
        train: Callable[[], Tensors] | None = None,
        seed: int = 0,
    ) -> None:
        """`train`: the training rows, of which 64 are looked at; None: there are no scores but counts."""
        self._space, self._inputs, self._output, self._ledger = space, inputs, output, ledger
        self._train, self._seed = train, seed
        self._rows: Tensors | None = None
        self._graphs: dict[Any, Mapping[str, float]] = {}
        self._counts: dict[Any, tuple[str, dict[str, float]] | None] = {}

    def graph(self, values: Mapping[str, Any]) -> Mapping[str, float]:
        """See `nasflow.spaces.encoding.encode`; empty for a point that means no architecture."""
        known = self._graphs.get(place := key(values))
        if known is None:
            try:
                known = encode(self._space.architecture(values), self._inputs, self._output)
            except ArchitectureError:
                known = {}
            self._graphs[place] = known
        return known

    def zero_cost(self, values: Mapping[str, Any], names: Sequence[str]) -> dict[str, float | None]:
        """The proxies of these names; None where one is not finite, or where the point means no architecture."""
        if (place := key(values)) not in self._counts:
            self._counts[place] = self._counted(values)
        if (found := self._counts[place]) is None:
            return dict.fromkeys(names)
        identity, counted = found
        known = self._ledger.proxies(identity)
        if missing := [name for name in names if name not in known and name not in counted]:
            known = {**known, **self._measured(self._space.architecture(values), missing)}
        return {name: counted[name] if name in counted else known.get(name) for name in names}

    def _counted(self, values: Mapping[str, Any]) -> tuple[str, dict[str, float]] | None:
        try:
            architecture = self._space.architecture(values)
            return architecture.identity, counts(cost(architecture, self._inputs, self._output))
        except ArchitectureError:
            return None

    def _measured(self, architecture: Architecture, names: Sequence[str]) -> dict[str, float | None]:
        if self._train is None:
            return dict.fromkeys(names)
        from nasflow.models.proxies._base import batch
        from nasflow.models.proxies.registry import measure

        started, cpu_started = time.monotonic(), cpu_seconds()
        self._rows = self._rows or batch(self._train(), rows=_BATCH, seed=self._seed)
        found = measure(names, architecture, self._inputs, self._output, self._rows, seed=self._seed)
        self._ledger.scored(
            architecture.identity,
            found,
            seconds=time.monotonic() - started,
            cpu_seconds=cpu_seconds() - cpu_started,
        )
        return found

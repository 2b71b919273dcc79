"""Differentiable search: one network holds all cells of the space, and gradients say which operations matter."""

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from nasflow.core.errors import SpecError
from nasflow.spaces import parameters as space
from nasflow.spaces.parameters import Parameter
from nasflow.spaces.relaxed import Bilevel, Relaxed
from nasflow.strategies._base import Positive, Result, Share, Suggestion, from_study
from nasflow.strategies.auto import Auto
from nasflow.strategies.novelty import Novelty, with_taken
from nasflow.strategies.ranking import Probabilities, most_likely, skips_of_the_best
from nasflow.strategies.remembered import best_first, remembered

SPACES = ("cell", "nasbench201", "darts")
"""Spaces of ours that have a relaxed form."""

_COLLAPSED = 3
"""Epochs in a row with too many skips after which the training of the supernet ends."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Differentiable:
    """Liu et al. 2019, "DARTS" (§2.3): weights and softmaxes learn in turn, on two halves of the training split; the
    likeliest cells are then trained from scratch as ordinary trials. It takes `cell`, `nasbench201` and `darts`, and
    Spaces of your own with `relaxed()`: where every point is one choice for each edge of a graph that is always the
    same. In `cnn`, `mlp`, `text`, `sequence` and `multimodal` depth, widths and the recipe are most of the choices,
    which no sum of operations of one shape can hold; they are refused with exit code 2.

    The study trains the supernet once, after the presets (`nasflow.search.preparation`); what comes out is `derived`.
    Its first cells are tried in their order with the stack and the recipe of the best preset; then `auto` goes on from
    all results, stack and recipe included, mixed with further cells. Without `derived` (the supernet failed) this is
    `auto`.

    DARTS tends to collapse into cells of skip connections: early in the training they help the gradients of the whole
    supernet, which has little to do with what they are worth in a cell. Three remedies, besides the warm-up of PC-DARTS
    (Xu et al. 2020, §4.1; `warm_up`):

    - `auxiliary`: a skip beside every edge takes that part over, and is gone at the end (Chu et al. 2021, "DARTS-",
      §3.2). It does not do alone: where it was measured there were no skips until it was nearly gone, and then more
      than without it.
    - `most_skips`: a bound for derived cells (Chen et al. 2019, "P-DARTS", §3.3), and an early end: where the likeliest
      cell has more in three epochs in a row, those before them are what counts (after Liang et al. 2019, "DARTS+",
      §3.2, who end at once).
    - `skip_dropout`: on the skips' output, falling to 0 (P-DARTS, §3.3). Off by default: it is the first remedy's aim
      by other means.

    `partial` shows the operations of an edge one of so many channels only (Xu et al. 2020, "PC-DARTS", §3.2), which
    makes a supernet of several times the channels affordable and skips less of a short cut; its edge normalisation
    (§3.3) goes with it. `unroll` is the second-order gradient: two and a half times the time,
    and nothing gained on the three supernets that were tried.

    Measured on one small table only (tests/benchmarks/DIFFERENTIABLE.md), the supernet's cost counted: ahead of `auto`
    up to about 50 trials where there are no presets, level with it where presets come first, as they do in a study, and
    no better from 100 trials on. The bound on skips is the remedy that works.

    Left out: the largest eigenvalue of the validation loss's Hessian as a criterion to stop (Zela et al. 2020,
    "R-DARTS"), which costs as much as the training; sigmoids instead of softmaxes (Chu et al. 2020, "FairDARTS"), whose
    several winners an edge are no point of these spaces.
    """

    top: Positive = 5
    """Cells of the supernet that are tried first of all; isomorphic ones count once."""
    share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.33
    """Of the budget's time or money that the supernet may cost, at most; no more than half of what is left."""
    epochs: Positive = 30
    """Of the supernet at most, each over half of the training split. Where the time is short there are fewer, and the
    schedules end with it."""
    warm_up: Annotated[float, Field(ge=0.0, le=0.9)] = 0.3
    """Share of the supernet's training in which only the weights learn."""
    reach: Annotated[float, Field(gt=0.0)] = 6.0
    """How far a logit can move in all: the learning rate of the softmaxes is this divided by their steps. DARTS's own
    3e-4 in 19,500 steps is 5.9; with as small a rate the few steps of small data would decide nothing."""
    auxiliary: Share = 1.0
    """DARTS-: weight of the skip beside each edge at the start; 0: none."""
    skip_dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """P-DARTS: dropout of the skips at the start; 0: none."""
    most_skips: Annotated[int, Field(ge=0)] | None = 2
    """Skips in a derived (normal) cell at most; null: any number."""
    partial: Annotated[int, Field(ge=1)] = 1
    """PC-DARTS: each operation sees one of so many channels, the others pass it by; the paper's number is 4. It must
    divide the width of the supernet. 1: all channels."""
    edge_weights: bool | None = None
    """PC-DARTS's edge normalisation: a softmax over what enters a node, also where a node takes all of it (`dense`
    cells; where two sources are chosen it is always there). null: with partial channels only."""
    unroll: Annotated[float, Field(ge=0.0)] = 0.0
    """DARTS's ξ: the softmaxes learn for the weights as they would be after a step of gradient descent with this rate
    at its peak (the paper takes that of the weights' SGD, 0.025). 0: first order."""
    further: Share = 0.25
    """Of the suggestions after the first cells: those that are the supernet's next cell, in the best trial's stack."""
    rest: Auto = dataclasses.field(default_factory=Auto)
    """Makes the others."""
    tie: float = from_study(0.0)
    """For `rest`."""
    derived: tuple[Mapping[str, Any], ...] = from_study(())
    """Values of the cells that the supernet found, likeliest first; parameters that it does not know are left out."""

    def bilevel(self) -> Bilevel:
        """How the supernet is trained."""
        return Bilevel(
            epochs=self.epochs,
            warm_up=self.warm_up,
            reach=self.reach,
            auxiliary=self.auxiliary,
            skip_dropout=self.skip_dropout,
            unroll=self.unroll,
        )

    def relaxation(self, make: Callable[..., Relaxed | None]) -> Relaxed | None:
        """What a space's `relaxed` returns for these settings; None: it has no such form.

        Raises:
            SpecError: a space of one's own that takes no such settings, or channels that `partial` does not divide.
        """
        edges = self.partial > 1 if self.edge_weights is None else self.edge_weights
        asked = {"partial": self.partial} if self.partial > 1 else {}
        asked |= {"edge_weights": True} if edges else {}
        known = inspect.signature(make).parameters
        if unknown := [name for name in asked if name not in known]:
            raise SpecError(
                [f"search.settings.{unknown[0]}: relaxed() of this space takes no {unknown[0]}; leave it out"]
            )
        try:
            return make(**asked)
        except ValueError as error:
            raise SpecError([f"search.settings.partial: {error}; use a divisor of it, or 1"]) from error

    def trusted(self, relaxed: Relaxed, seen: Sequence[Probabilities]) -> tuple[int, str]:
        """(number of the last epoch to believe, why to end here). `seen`: the softmaxes after each epoch in which they
        learned. The reason is empty as long as the training shall go on; the number is 0 where no epoch is better than
        the others."""
        late = [skips_of_the_best(relaxed.parts, probabilities) for probabilities in seen[-_COLLAPSED:]]
        if self.most_skips is None or len(late) < _COLLAPSED or min(late) <= self.most_skips:
            return len(seen), ""
        why = f"collapse: {', '.join(map(str, late))} skips in the likeliest cell, most_skips is {self.most_skips}"
        for number in range(len(seen) - _COLLAPSED, 0, -1):
            if skips_of_the_best(relaxed.parts, seen[number - 1]) <= self.most_skips:
                return number, why
        return 0, why

    def ranking(self, relaxed: Relaxed, probabilities: Probabilities) -> Iterator[tuple[float, dict[str, Any]]]:
        """(log-probability, values) of cells, likeliest first; none where no cell is within `most_skips`."""
        return most_likely(relaxed.parts, probabilities, most_skips=self.most_skips)

    def suggest(
        self,
        parameters: tuple[Parameter, ...],
        presets: Sequence[Mapping[str, Any]],
        history: Sequence[Result],
        n: int,
        rng: np.random.Generator,
    ) -> list[Suggestion]:
        """See `nasflow.strategies._base.Strategy`."""
        novelty, best = Novelty(parameters, history, rng), next(iter(best_first(history)), None)
        known = {space.key(preset) for preset in presets}
        preset = next((result for result in best_first(history) if space.key(result.values) in known), best)
        tried = self._tried(history)
        untried = [cell for place, cell in enumerate(self.derived) if place not in tried]
        count = max(0, self.top - len(tried))
        first, further = untried[:count], untried[count:]
        found: list[Suggestion] = []

        def put(cell: Mapping[str, Any], around: Result | None) -> None:
            start = around.values if around is not None else (presets[0] if presets else {})
            values = space.repair(parameters, {**start, **cell}, rng)
            if novelty.take(values):
                found.append(Suggestion(values, parents=[around.trial_id] if around else (), origin="supernet"))

        while first and len(found) < n:
            put(first.pop(0), preset)
        for _ in range(n - len(found)):
            if further and best is not None and rng.random() < self.further:
                put(further.pop(0), best)
        if len(found) < n:
            # Where there are no presets, the cells are what is known to be good.
            stars = presets or [result.values for result in tried.values()]
            rest = dataclasses.replace(self.rest, tie=self.tie)
            found += rest.suggest(parameters, stars, with_taken(history, found), n - len(found), rng)
        return found

    def _tried(self, history: Sequence[Result]) -> Mapping[int, Result]:
        """Cells by their place in `derived`, and the first result that has each."""

        def learn(found: dict[int, Result], result: Result) -> None:
            for place, cell in enumerate(self.derived):
                if place not in found and cell.items() <= result.values.items():
                    found[place] = result

        name = ("derived", tuple(space.key(cell) for cell in self.derived))
        return remembered(history, name, dict[int, Result], learn)


def check_space(name: Any) -> None:
    """Refuses spaces of ours that have no relaxed form, before anything is read.

    Raises:
        SpecError: with those that have.
    """
    if not (isinstance(name, str) and (name in SPACES or ":" in name)):
        shown = name if isinstance(name, str) else "one in YAML"
        raise SpecError([no_relaxed_form(shown)])


def no_relaxed_form(name: str) -> str:
    """What is wrong with such a space."""
    return (
        f"search.strategy: differentiable needs a space that can be one network, which {name} cannot; set search.space "
        f"to {', '.join(SPACES)} (images), or to a Space of your own with a method relaxed(), or use another strategy"
    )

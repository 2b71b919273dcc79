"""A search replayed through nasflow's own Study, Ledger and oracles: what `nasflow.search` does, without its trainings.

Slower than `replay`, which knows the table's rows: every point is built as a graph, every event is a line of a file.
For Keras Tuner's oracles as nasflow runs them, and for what a study itself costs.
"""

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.benchmarks.nasbench_digits import landscape
from tests.benchmarks.nasbench_digits.landscape import EPOCHS, INPUTS, OUTPUT, Table
from tests.benchmarks.nasbench_digits.replay import TRAININGS, Run, Trainings

from nasflow.core.spec import BudgetSection, ConstraintsSection
from nasflow.search.budget import Budget
from nasflow.search.ledger import Ledger
from nasflow.search.limits import Limits
from nasflow.search.study import Study
from nasflow.spaces.cell import CellSpace

_SHARED_MEMORY = Path("/dev/shm")


class _Bare(CellSpace):
    def presets(self) -> tuple[dict[str, Any], ...]:
        """None, as everywhere in this benchmark."""
        return ()


def bare_space() -> CellSpace:
    """`landscape.space` without presets."""
    return _Bare(
        inputs=INPUTS,
        output=OUTPUT,
        nodes=4,
        operations=landscape.OPERATIONS,
        stages=1,
        cells=1,
        width=8,
        recipe="none",
    )


def search(
    name: str,
    table: Table,
    seed: int,
    *,
    trainings: int = TRAININGS,
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> Run:
    """One search, one trial at a time. Epochs that a training had already cost nothing, as in `replay`."""
    from nasflow.search.oracle import make_oracle  # loads Keras Tuner, and with it TensorFlow

    space = bare_space()
    trained = Trainings(table, seed, trainings=trainings)
    cpu = 0.0
    with tempfile.TemporaryDirectory(dir=_SHARED_MEMORY if _SHARED_MEMORY.exists() else None) as folder:
        ledger = Ledger(str(Path(folder) / "ledger.jsonl"))
        study = Study(
            space=space,
            limits=Limits(space, ConstraintsSection(), inputs=INPUTS, output=OUTPUT),
            ledger=ledger,
            budget=Budget(BudgetSection(trials=10 * trainings), EPOCHS, ledger),
            metric="accuracy",
            inputs=INPUTS,
            output=OUTPUT,
            seed=seed,
        )
        started = time.process_time()
        oracle = make_oracle(name, study, settings=settings)
        while not trained.over:
            record = oracle.next()
            cpu += time.process_time() - started
            if record is None:
                break
            curve = trained.train(record.values, int(record.control.get("tuner/epochs", EPOCHS)))
            started = time.process_time()
            ledger.end(
                record.trial_id,
                "completed",
                score=float(curve[-1]),
                epochs=len(curve),
                history=[{"number": number, "score": float(score)} for number, score in enumerate(curve, 1)],
            )
            oracle.settle(record.trial_id)
        points = len(ledger.records)
    return Run(returned=trained.returned, architectures=trained.architectures, points=points, suggesting_seconds=cpu)

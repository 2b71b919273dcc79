"""Whole searches replayed: the engine, the ledger, the oracle and the selection of `nasflow.search` with their
defaults; only the trainings are looked up in the table.

A trial shows the first of its architecture's three trainings (in an order that the search seed fixes, the same one as
in `replay`), its second looks the other two.
"""

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
from tests.benchmarks.nasbench_digits import landscape
from tests.benchmarks.nasbench_digits.landscape import EPOCHS, INPUTS, OUTPUT, SEEDS, Table
from tests.benchmarks.nasbench_digits.study import bare_space

from nasflow.core.spec import BudgetSection, ConstraintsSection, RuntimeSection, ValidationSection
from nasflow.search.budget import Budget
from nasflow.search.crew import Lost
from nasflow.search.finalists import SecondLooks
from nasflow.search.job import Decide, Job, Outcome, Setup
from nasflow.search.ledger import Ledger
from nasflow.search.limits import Limits
from nasflow.search.selection import select, standard_error
from nasflow.search.study import Study
from nasflow.spaces.architecture import Architecture

ROWS = 360
"""Of validation."""
_SHARED_MEMORY = Path("/dev/shm")


class Lookup:
    """A crew (`nasflow.search.crew.Crew`) that looks trainings up."""

    size = 1

    def __init__(self, table: Table, seed: int) -> None:
        rows = len(table.identities)
        self._table = table
        self._row = {identity: row for row, identity in enumerate(table.identities.tolist())}
        self._order = np.random.default_rng([0, seed]).permuted(np.tile(np.arange(SEEDS), (rows, 1)), axis=1)
        self._job: Job | None = None

    def start(self, job: Job) -> None:
        """See `Crew`."""
        self._job = job

    def wait(self, decide: Decide) -> Outcome | Lost:
        """See `Crew`."""
        assert self._job is not None
        row = self._row[Architecture.from_json(self._job.architecture).identity]
        curve = self._table.validation[row, self._order[row, self._job.look], : self._job.epochs].tolist()
        return Outcome(
            trial_id=self._job.trial_id,
            status="completed",
            score=curve[-1],
            epochs=len(curve),
            history=[{"number": number, "score": score} for number, score in enumerate(curve, 1)],
            seconds=0.01,
        )

    def close(self) -> None:
        """See `Crew`."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """How one search went; rows of the table."""

    returned: int
    by_score: int
    """What it would return, were the best preset no more than any other candidate: the best mean, or score."""
    trained: int
    """Trainings, second looks too."""
    perfect: int
    """The best of all that were trained, were there no noise."""


def search(name: str, table: Table, seed: int, *, trainings: int, looks: SecondLooks, presets: bool) -> Whole:
    """One search, as the search step runs it."""
    from nasflow.search.engine import Engine
    from nasflow.search.oracle import make_oracle  # loads Keras Tuner, and with it TensorFlow

    space = landscape.space() if presets else bare_space()
    final = table.final_test()
    with tempfile.TemporaryDirectory(dir=_SHARED_MEMORY if _SHARED_MEMORY.exists() else None) as folder:
        ledger = Ledger(str(Path(folder) / "ledger.jsonl"))
        study = Study(
            space=space,
            limits=Limits(space, ConstraintsSection(), inputs=INPUTS, output=OUTPUT),
            ledger=ledger,
            budget=Budget(BudgetSection(trials=trainings), EPOCHS, ledger),
            metric="accuracy",
            inputs=INPUTS,
            output=OUTPUT,
            seed=seed,
            second_looks=looks,
        )
        oracle = make_oracle(name, study, tie=standard_error("accuracy", 0.9, ROWS))
        setup = Setup(
            inputs=INPUTS,
            output=OUTPUT,
            metrics=("accuracy",),
            seed=seed,
            validation=ValidationSection(),
            runtime=RuntimeSection(),
        )
        Engine(study, oracle, Lookup(table, seed), setup).run()
        records = list(ledger.records)
    rows = {record.trial_id: table.row(record.values) for record in records}
    chosen, plain = (
        select(records, "accuracy", validation_rows=validation_rows, epochs=EPOCHS).order[0]
        for validation_rows in (ROWS, 10**12)
    )
    return Whole(
        returned=rows[chosen.trial_id],
        by_score=rows[plain.trial_id],
        trained=ledger.trained,
        perfect=max(rows.values(), key=final.__getitem__),
    )

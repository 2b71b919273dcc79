"""What a strategy learns once, at a price, before its own suggestions: the supernet of `differentiable`.

It runs after the presets, in the hands of a worker like a trial, on the training split alone; other workers finish the
presets meanwhile. The ledger holds what it costs, and what came out:

    preparing   seconds, epochs, died: it began, goes on, or is tried once more
    prepared    message, softmaxes, history, derived, notes, seconds, cpu_seconds

The first `preparing` line holds its share of the budget, so that a search that was killed keeps to it; the training
itself goes on from its last epoch. It is no trial: `budget.trials` does not count it, time and money do.
"""

import dataclasses
import itertools
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nasflow.search.job import Job, Outcome, Report, Supernet
from nasflow.search.study import Study
from nasflow.spaces.parameters import key, repair
from nasflow.spaces.relaxed import Relaxed
from nasflow.strategies.differentiable import Differentiable

logger = logging.getLogger(__name__)

SUPERNET = "supernet"
"""Its name among the trials."""
_KEPT = 40
_LOOKED_AT = 4_000


class Preparation:
    """The supernet of one study."""

    def __init__(self, study: Study, strategy: Differentiable, relaxed: Relaxed) -> None:
        self._study, self._strategy, self._relaxed = study, strategy, relaxed
        self._seen: dict[int, Mapping[str, list[float]]] = {}

    @property
    def done(self) -> bool:
        """Whether there is nothing left to prepare, for good or ill."""
        return self._study.ledger.preparation.ended

    @property
    def strategy(self) -> Differentiable:
        """The strategy with what came out."""
        found = self._study.ledger.preparation.content.get("derived", ())
        return dataclasses.replace(self._strategy, derived=tuple(cell["values"] for cell in found))

    def job(self) -> Job:
        """To run it, or to go on with it."""
        ledger = self._study.ledger
        if not ledger.preparation.started:
            ledger.preparing(0.0, limit=self._study.budget.part(self._strategy.share))
        self._seen = {}
        network = self._relaxed.network
        bilevel = self._strategy.bilevel()
        return Job(
            trial_id=SUPERNET,
            architecture=network.to_json(),
            epochs=bilevel.epochs,
            supernet=Supernet(
                choices={name: tuple(arms) for name, arms in self._relaxed.choices.items()},
                bilevel=bilevel,
                seconds=ledger.preparation.limit,
            ),
        )

    def decide(self, report: Report) -> str:
        """Why it shall end after this epoch; empty: it goes on."""
        logger.info(
            "supernet: epoch %d of at most %d, loss %.4f, %.1f s%s",
            report.number,
            self._strategy.epochs,
            report.loss if report.loss is not None else math.nan,
            report.seconds,
            "" if report.probabilities is not None else ", warm-up",
            extra={"supernet_epoch": report.number, "loss": report.loss, "seconds": report.seconds},
        )
        if report.probabilities is None:
            return ""
        self._seen[report.number] = report.probabilities
        return self._strategy.trusted(self._relaxed, self._learned())[1]

    def ended(self, outcome: Outcome, *, seconds: float) -> None:
        """Derives the cells and writes all into the ledger."""
        learned = [entry for entry in outcome.history if entry["judged"] is not None]
        message, derived = outcome.message, list[dict[str, Any]]()
        notes = list(outcome.notes)
        if outcome.status == "completed" and not learned:
            message = "its time was over before the softmaxes had learned in one epoch; raise the budget or share"
        elif learned:
            number, _ = self._strategy.trusted(self._relaxed, [entry["probabilities"] for entry in learned])
            believed = learned[(number or len(learned)) - 1]
            if believed is not learned[-1]:
                notes.append(f"cells are derived from epoch {believed['number']} of {learned[-1]['number']}")
            derived = self._derived(believed["probabilities"])
            if not derived:
                message = f"no cell has {self._strategy.most_skips} skips at most; raise most_skips"
        if message:
            logger.warning("supernet: %s; the search goes on without it", message)
        self._study.ledger.prepared(
            message=message,
            softmaxes={name: list(arms) for name, arms in self._relaxed.choices.items()},
            history=outcome.history,
            derived=derived,
            notes=notes,
            seconds=seconds,
            cpu_seconds=outcome.cpu_seconds,
            elapsed=self._study.budget.elapsed,
        )
        logger.info("supernet: %d epochs, %d cells derived, %.1f s", outcome.epochs, len(derived), seconds)

    def failed(self, why: str, *, seconds: float) -> None:
        """It cannot be trained here."""
        self.ended(Outcome(trial_id=SUPERNET, status="failed", message=why), seconds=seconds)

    def _learned(self) -> Sequence[Mapping[str, list[float]]]:
        return [self._seen[number] for number in sorted(self._seen)]

    def _derived(self, probabilities: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
        """The likeliest cells, of isomorphic ones (in the stack of the best preset) the likeliest alone."""
        study = self._study
        given = [key(preset) for preset in study.space.presets()]
        presets = [r for r in study.ledger.ended if key(r.values) in given and r.score is not None]
        best = max(presets, key=lambda record: study.sign * (record.score or 0.0), default=None)
        start = best.values if best is not None else study.space.presets()[0]
        rng = np.random.default_rng(study.seed)
        found: dict[str, dict[str, Any]] = {}
        for score, cell in itertools.islice(self._strategy.ranking(self._relaxed, probabilities), _LOOKED_AT):
            point = repair(study.parameters, {**start, **cell}, rng)
            identity = study.space.architecture(point).identity
            if identity not in found:
                found[identity] = {"values": cell, "log_probability": round(score, 6), "identity": identity}
                if len(found) == _KEPT:
                    break
        return list(found.values())

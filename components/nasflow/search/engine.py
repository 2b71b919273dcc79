"""The search's loop: takes trials from the oracle, has a crew run them, writes how they ended into the ledger.

Keras Tuner's own loop is left out for measured reasons (research/keras_tuner.md): a worker that is killed leaves its
trial running for ever, a chief that restarts runs trials twice, and its trials cost 69 % more than training does. Its
oracles stay; the process of the search is the only one that asks them and the only one that writes.

What holds for any number of workers: every trial is recorded once, no point is run twice, the budget is kept, a trial
whose worker dies is retried once, and a killed search goes on with the trials that were running. With one worker the
trials of a search are a function of its spec, also when it was killed in between. With several, what a strategy is told
depends on which trials have ended when it is asked: only for those that ignore results (`random`, `grid`) are the
points the same each time.
"""

import logging
import time
from collections.abc import Callable

from nasflow.core.errors import NasflowError, TryAgainError
from nasflow.search.crew import Crew, Lost
from nasflow.search.job import Job, Outcome, Report, Setup
from nasflow.search.ledger_oracle import LedgerOracle
from nasflow.search.preparation import SUPERNET
from nasflow.search.record import FREE, Record
from nasflow.search.study import Study
from nasflow.search.trial import forget_backups
from nasflow.search.weights import Weights

logger = logging.getLogger(__name__)

_FAILURES_AT_THE_START = 3
_BEAT_SECONDS = 5.0
_DEATHS = 2
"""A trial in whose hands so many worker processes died has failed."""
_STARTS_WITHOUT_PROGRESS = 5
"""A trial that was started so often without getting through an epoch has failed: it would kill the search for ever."""

Why = Callable[[Report], str]
"""A reason to end a trial after this epoch; empty: none."""


class Engine:
    """Runs a study's trials until the budget ends."""

    def __init__(
        self,
        study: Study,
        oracle: LedgerOracle,
        crew: Crew,
        setup: Setup,
        *,
        stopping: Why | None = None,
        weights: Weights | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`stopping`: looks across trials; `weights`: what trials that have ended leave to others."""
        self._study, self._oracle, self._crew, self._setup = study, oracle, crew, setup
        self._stopping, self._weights, self._clock = stopping, weights, clock
        self._watches: dict[str, _Watch] = {}
        study.budget.unrecorded = lambda: sum(watch.seconds - watch.record.seconds for watch in self._watches.values())

    def run(self) -> None:
        """Until the budget ends, the space is exhausted, or a signal comes.

        Raises:
            NasflowError: every one of the first trials failed; the message is the last one's.
            UserError: the constraints are impossible.
            TryAgainError: stopped by a signal; the ledger knows the time spent.
        """
        waiting = list(self._study.ledger.running)  # when an earlier attempt at the search was killed
        for record in waiting:
            self._study.ledger.again(record.trial_id, record.seconds)
        begun = self._study.ledger.preparation
        if begun.started and not begun.ended:
            self._study.ledger.preparing(begun.seconds, begun.epochs, died="")
        try:
            while True:
                waiting = self._hand_out(waiting)
                if not self._watches:
                    return
                ended = self._crew.wait(self._decide)
                if isinstance(ended, Lost):
                    waiting += self._lost(ended)
                else:
                    self._ended(ended)
        except TryAgainError:
            for trial_id, watch in self._watches.items():
                self._beat(trial_id, watch)
            raise
        finally:
            self._crew.close()

    def _hand_out(self, waiting: list[Record]) -> list[Record]:
        """Gives trials to workers as long as there are both; returns those that still wait."""
        while len(self._watches) < self._crew.size:
            record = waiting.pop(0) if waiting else self._oracle.next()
            if record is None and self._prepare():
                continue
            record = record or self._second_look()
            if record is None:
                break
            if record.deaths >= _DEATHS or record.stalled >= _STARTS_WITHOUT_PROGRESS:
                self._give_up(record)
                continue
            self._watches[record.trial_id] = _Watch(record, self._clock())
            self._crew.start(self._job(record))
        return waiting

    def _prepare(self) -> bool:
        """Starts what the strategy needs first; whether there was anything to do."""
        preparation, ledger = self._oracle.preparation, self._study.ledger
        if preparation is None or preparation.done or SUPERNET in self._watches:
            return False
        if self._study.ended() is not None:
            return False
        known = ledger.preparation
        if known.deaths >= _DEATHS or known.stalled >= _STARTS_WITHOUT_PROGRESS:
            why = f"its worker process died {known.deaths} times, most often for lack of memory"
            if known.deaths < _DEATHS:
                why = f"it was started {known.stalled} times without getting through an epoch"
            preparation.failed(why, seconds=known.seconds)
            return True
        job = preparation.job()
        record = Record(trial_id=SUPERNET, values={}, origin="supernet", seconds=known.seconds, epochs=known.epochs)
        self._watches[SUPERNET] = _Watch(record, self._clock())
        self._crew.start(job)
        return True

    def _second_look(self) -> Record | None:
        """The next one, where there are no more suggestions, and will be none when the trials that run have ended."""
        study = self._study
        running = [watch.record for watch in self._watches.values() if watch.record.look_of is None]
        reason = study.ended()
        if reason is None and running:
            return None
        begun = study.ledger.closed is not None
        record = study.finalists.next(reason or self._oracle.stopped_by, running=running)
        closed = study.ledger.closed
        if closed is not None and not begun:
            logger.info(
                "second looks: the best %d are trained %d times more, with other seeds; means decide",
                *(closed.finalists, closed.looks),
            )
        return record

    def _job(self, record: Record) -> Job:
        epochs = min(int(record.control.get("tuner/epochs", self._study.epochs)), self._study.epochs)
        return Job(
            trial_id=record.trial_id,
            architecture=self._study.space.architecture(record.values).to_json(),
            epochs=epochs,
            horizon=record.horizon,
            inherit=record.inherit,
            look=record.look,
        )

    def _decide(self, report: Report) -> str:
        watch = self._watches[report.trial_id]
        watch.heard(report)
        if self._clock() - watch.beaten >= _BEAT_SECONDS:
            self._beat(report.trial_id, watch)
            self._tell(report, watch)
        if not self._study.budget.has_time_for(report.seconds):
            return "out of time"
        if report.trial_id == SUPERNET and self._oracle.preparation is not None:
            return self._oracle.preparation.decide(report)
        return self._stopping(report) if self._stopping is not None and report.run == 0 else ""

    def _tell(self, report: Report, watch: "_Watch") -> None:
        """How far a long trial is, in a line that the next one replaces; `preparation` speaks for a supernet."""
        if report.trial_id == SUPERNET:
            return
        what = watch.record.architecture_id + (f", training {report.run + 1}" if report.run else "")
        score = "–" if report.score is None else f"{report.score:.4f}"
        reached = f"{what}: epoch {report.number}, {self._study.metric} {score}, {watch.seconds:.0f} s so far"
        logger.info("%s", reached, extra={"live": True})

    def _beat(self, trial_id: str, watch: "_Watch") -> None:
        watch.beaten = self._clock()
        if trial_id == SUPERNET:
            self._study.ledger.preparing(watch.seconds, watch.epochs, elapsed=self._study.budget.elapsed)
            watch.record.seconds = watch.seconds
            return
        self._study.ledger.beat(trial_id, watch.seconds, watch.epochs, elapsed=self._study.budget.elapsed)

    def _ended(self, outcome: Outcome) -> None:
        watch = self._watches.pop(outcome.trial_id)
        if outcome.trial_id == SUPERNET and self._oracle.preparation is not None:
            self._oracle.preparation.ended(outcome, seconds=watch.earlier + outcome.seconds)
            forget_backups(self._setup, SUPERNET)
            return
        self._study.ledger.end(
            outcome.trial_id,
            outcome.status,
            score=outcome.score,
            metrics=outcome.metrics,
            epochs=outcome.epochs,
            seconds=watch.earlier + outcome.seconds,
            elapsed=self._study.budget.elapsed,
            cpu_seconds=outcome.cpu_seconds,
            message=outcome.message,
            history=outcome.history,
            runs=outcome.runs,
            notes=outcome.notes,
        )
        self._settle(outcome.trial_id)

    def _lost(self, lost: Lost) -> list[Record]:
        """What to try again: the trial, unless it has cost a worker already."""
        watch = self._watches.pop(lost.trial_id)
        died = "" if lost.blameless else lost.how
        if lost.trial_id == SUPERNET:
            self._study.ledger.preparing(watch.seconds, watch.epochs, died=died)
            logger.warning("the supernet's worker died (%s)", lost.how)
            return []
        self._study.ledger.again(lost.trial_id, watch.seconds, died=died)
        record = self._study.ledger.get(lost.trial_id)
        assert record is not None
        logger.warning(
            "trial %s: its worker died (%s)%s",
            lost.trial_id,
            lost.how,
            "; once more" if record.deaths < _DEATHS else "",
            extra={"trial_id": lost.trial_id, "deaths": record.deaths},
        )
        return [record]

    def _give_up(self, record: Record) -> None:
        """A trial that takes its process down with it."""
        if record.deaths >= _DEATHS:
            message = (
                f"its worker process died {record.deaths} times; most often that is the system's lack of memory: lower "
                "search.workers, or limit constraints.parameters"
            )
        else:
            message = f"the search ended {record.stalled} times before the trial's first new epoch was done"
        self._study.ledger.end(record.trial_id, "failed", seconds=record.seconds, message=message)
        self._settle(record.trial_id)

    def _settle(self, trial_id: str) -> None:
        record = self._study.ledger.get(trial_id)
        if record is not None and record.look_of is None:
            self._oracle.settle(trial_id)
        forget_backups(self._setup, trial_id)
        if self._weights is not None:
            self._weights.trim(self._study)
        self._log(trial_id)
        self._give_up_on_failures()

    def _log(self, trial_id: str) -> None:
        study = self._study
        record, best = study.ledger.get(trial_id), study.best
        if record is None:
            return
        left = study.budget.trials_left
        seconds_left = study.budget.seconds_left
        remaining = [f"{left} trial" + "s" * (left != 1)] if left is not None else []
        remaining += [f"{max(0.0, seconds_left) / 60:.1f} min"] if seconds_left is not None else []
        outcome = f"{study.metric} {record.score:.4f}" if record.score is not None else f"failed: {record.message:.200}"
        if record.look_of is not None:
            outcome += f" (look {record.look} at trial {record.look_of})"
        ended = study.ledger.trained - len(study.ledger.running)
        logger.info(
            "trial %d: %s %s (best %s), %.1f s, left: %s",
            ended,
            record.architecture_id,
            outcome,
            f"{best.score:.4f}" if best is not None and best.score is not None else "–",
            record.seconds,
            ", ".join(remaining),
            extra={
                "trial": ended,
                "trial_id": trial_id,
                "architecture_id": record.architecture_id,
                "status": record.status,
                "score": record.score,
                "best": best.score if best is not None else None,
                "seconds": record.seconds,
                "trials_left": left,
                "seconds_left": seconds_left,
            },
        )

    def _give_up_on_failures(self) -> None:
        if self._study.best is not None:
            return
        trained = [record for record in self._study.ledger.ended if record.status not in FREE]
        if len(trained) > _FAILURES_AT_THE_START and all(record.status == "failed" for record in trained):
            raise NasflowError(
                f"search: the first {len(trained)} trials all failed, so the next ones would too; the last one said: "
                f"{trained[-1].message}"
            )


class _Watch:
    """What a running trial has cost."""

    def __init__(self, record: Record, now: float) -> None:
        self.beaten, self.record = now, record
        self.earlier = self.seconds = record.seconds
        """Seconds of earlier attempts; of all of them."""
        self.epochs = record.epochs

    def heard(self, report: Report) -> None:
        """An epoch is done."""
        self.seconds = self.earlier + report.spent
        if report.run == 0:
            self.epochs = max(self.epochs, report.number)

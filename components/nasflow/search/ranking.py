"""A search that trains nothing: its trials are untrained networks, its score a zero-cost proxy (`search.score`)."""

import logging

from nasflow.core.errors import NasflowError
from nasflow.search.features import Features
from nasflow.search.ledger_oracle import LedgerOracle
from nasflow.search.study import Study

logger = logging.getLogger(__name__)

_EVERY = 25


def rank(study: Study, oracle: LedgerOracle, features: Features, proxy: str) -> None:
    """Until the budget ends or the space is exhausted; goes on where an earlier attempt stopped.

    Raises:
        NasflowError: the proxy says nothing of the first points.
        UserError: the constraints are impossible.
        TryAgainError: stopped by a signal.
    """
    waiting = list(study.ledger.running)
    while (record := waiting.pop(0) if waiting else oracle.next()) is not None:
        value = features.zero_cost(record.values, (proxy,))[proxy]
        if value is None:
            study.ledger.end(record.trial_id, "failed", message=f"{proxy} is not finite, or the network cannot run")
        else:
            study.ledger.end(record.trial_id, "completed", score=value, metrics={proxy: value})
        oracle.settle(record.trial_id)
        trained = study.ledger.trained
        if trained == 4 and study.best is None:
            raise NasflowError(
                f"search: {proxy} says nothing of the first {trained} points (it is not finite for these networks); "
                "set search.score to another proxy, or leave it out"
            )
        if trained % _EVERY == 0 and study.best is not None:
            logger.info("%d points ranked by %s, best %.5g", trained, proxy, study.best.score)

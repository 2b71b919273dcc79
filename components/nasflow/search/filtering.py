"""Which proposed points are not worth a trial: the worst share by a zero-cost score.

Abdelfattah et al. 2021, "Zero-Cost Proxies for Lightweight NAS", section 5.1, have a search propose more than it trains
and train the best by a proxy. Here each proposed point is compared with those before it, whatever the strategy and the
number of workers: it is trained where it is among the best `keep` of the last fifty.
"""

from collections.abc import Sequence

import numpy as np

from nasflow.core.spec import FilterSection
from nasflow.search.features import Features
from nasflow.search.limits import Draft
from nasflow.search.past import Past


def left_out(draft: Draft, section: FilterSection, past: Past, features: Features) -> str:
    """Why a point is not trained; empty: it is.

    Never left out: the first `after` points, an architecture that was trained before (it is to be promoted), one that
    cannot be counted, one of which the proxy says nothing (None).
    """
    if past.ledger.trained < section.after or draft.architecture is None:
        return ""
    if past.trained(draft.architecture.identity):
        return ""
    value = _score(draft.values, section.by, features)
    if value is None:
        return ""
    seen = past.proposed
    scores = [_score(record.values, section.by, features) for record in seen]
    least = threshold([score for score in scores if score is not None], value, section.keep)
    if value >= least:
        return ""
    return (
        f"{section.by} {value:.4g} < {least:.4g}: not among the best {section.keep:.0%} of the last {len(scores) + 1}"
    )


def threshold(scores: Sequence[float], own: float, keep: float) -> float:
    """The least score among the best `keep` of all, one's own included; a point that ties with it is kept.

    >>> threshold([1.0, 2.0, 3.0], 4.0, 0.5), threshold([1.0, 1.0, 1.0], 1.0, 0.1)
    (3.0, 1.0)
    """
    order = sorted([*scores, own], reverse=True)
    return order[max(1, int(np.floor(keep * len(order)))) - 1]


def _score(values: dict[str, object], by: str, features: Features) -> float | None:
    return features.zero_cost(values, (by,))[by]

"""Categories and lists of them: vocabulary, and buckets for what it does not hold."""

from nasflow.data.schema import Decision
from nasflow.data.transforms.categorical import CategoricalTransform
from nasflow.data.transforms.lists import ListTransform
from nasflow.preprocess.fitting._base import Facts, Fitted, said
from nasflow.preprocess.planned import PlannedColumn
from nasflow.preprocess.summary import CategoricalSummary

_LIST_VOCABULARY = 256
_LEAST_BUCKETS, _MOST_BUCKETS, _MOST_LIST_BUCKETS = 16, 1024, 64


def fit_categories(column: PlannedColumn, facts: Facts) -> Fitted:
    """A vocabulary of the most frequent; where there are more, the others share buckets by hash."""
    found = facts.summary.categorical[column.name]
    if column.options.buckets is not None:
        transform = CategoricalTransform(name=column.name, vocabulary=(), oov_buckets=column.options.buckets)
        decisions: tuple[Decision, ...] = (said("buckets", column.options.buckets),)
    else:
        vocabulary = tuple(text for text, _ in found.top[: column.options.vocabulary])
        buckets, decisions = _buckets(column, found, len(vocabulary), most=_MOST_BUCKETS)
        transform = CategoricalTransform(name=column.name, vocabulary=vocabulary, oov_buckets=buckets)
    return Fitted(transforms={"categorical": transform}, decisions=decisions, missing=found.missing > 0)


def fit_lists(column: PlannedColumn, facts: Facts) -> Fitted:
    """The same of the elements; the vocabulary is shorter, as each element is a column."""
    found = facts.summary.lists[column.name]
    vocabulary = tuple(text for text, _ in found.elements.top[: column.options.vocabulary or _LIST_VOCABULARY])
    buckets, decisions = _buckets(column, found.elements, len(vocabulary), most=_MOST_LIST_BUCKETS)
    transform = ListTransform(name=column.name, vocabulary=vocabulary, oov_buckets=buckets)
    return Fitted(transforms={"lists": transform}, decisions=decisions, missing=found.empty > 0)


def _buckets(
    column: PlannedColumn, found: CategoricalSummary, size: int, *, most: int
) -> tuple[int, tuple[Decision, ...]]:
    left = found.distinct - size
    kept = "all" if not left and found.exact else f"the {size:,} most frequent"
    of = f"of {'' if found.exact else 'more than '}{found.distinct:,} different values in the training rows"
    vocabulary = Decision(about="vocabulary", choice=f"{size:,} values", reason=f"{kept} {of}")
    if column.options.vocabulary is not None:
        vocabulary = said("vocabulary", vocabulary.choice)
    if column.options.oov_buckets is not None:
        return column.options.oov_buckets, (vocabulary, said("oov_buckets", column.options.oov_buckets))
    if left <= 0 and found.exact:
        return 1, (vocabulary,)
    buckets = min(most, max(_LEAST_BUCKETS, 1 << (max(left, 1) - 1).bit_length()))
    reason = f"{left:,} rarer values share them by hash"
    return buckets, (vocabulary, Decision(about="oov_buckets", choice=f"{buckets:,}", reason=reason))

"""Near duplicates among texts: the same text, cut, quoted or changed in a few words.

Two texts are near duplicates where at least 0.8 of their different runs of three tokens are common (Jaccard), estimated
by MinHash (Broder 1997, On the resemblance and containment of documents) with 64 hashes of 16 bits (b-bit MinHash, Li
and König 2010): the standard error is √(s(1 − s) / 64) = 0.05 at s = 0.8. Pairs are looked for where four hashes in a
row agree, in one of 16 bands (Leskovec et al. 2014, Mining of Massive Datasets, §3.4): a pair of 0.8 is met with
probability 1 − (1 − 0.8⁴)¹⁶ = 0.9998, one of 0.5 with 0.64. A text of fewer than three tokens is one run.
"""

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nasflow.core.artifacts import SPLITS
from nasflow.data.tokens import Tokens, hashes, tokenise
from nasflow.preprocess.clean import CleanRows
from nasflow.preprocess.inspection import RowSample, row_ranks

HASHES, BANDS = 64, 16
LEAST = 0.8
"""Jaccard from which texts are near duplicates."""
_RUN = 3
_KNOWN, _ASKED = 50_000, 2_000
_SHOWN, _EXAMPLES = 120, 10
_AT_ONCE = 1 << 20
"""Runs that are hashed at once."""
_MOST_IN_A_BAND = 200
"""Of texts that agree in a band, each is compared with so many."""


def signatures(texts: list[pa.Array]) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
    """uint16 [rows, HASHES] of text columns taken together, and which rows have any token."""
    rows = len(texts[0])
    found = np.full((rows, HASHES), np.iinfo(np.uint32).max, np.uint32)
    any_token = np.zeros(rows, bool)
    for place, values in enumerate(texts):
        tokens = tokenise(values)
        any_token |= tokens.counts > 0
        runs, owners = _runs(tokens, salt=place)
        for start in range(0, len(runs), _AT_ONCE):
            _smallest(found, runs[start : start + _AT_ONCE], owners[start : start + _AT_ONCE])
    return (found & 0xFFFF).astype(np.uint16), any_token


def bands(signature: NDArray[np.uint16]) -> NDArray[np.uint64]:
    """uint64 [rows, BANDS]: four hashes of 16 bits each."""
    return np.ascontiguousarray(signature).view(np.uint64)


def resemblance(first: NDArray[np.uint16], second: NDArray[np.uint16]) -> NDArray[np.float64]:
    """Estimated Jaccard of rows [n, HASHES] and [n, HASHES]."""
    return np.asarray((first == second).mean(axis=-1))


def nearest(asked: NDArray[np.uint16], known: NDArray[np.uint16]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each of `asked` the place of the most similar of `known` and the resemblance; −1 where none reaches `LEAST`.

    Of equals the first.
    """
    best, score = np.full(len(asked), -1), np.zeros(len(asked))
    mine, theirs = bands(asked), bands(known)
    for band in range(BANDS):
        order = np.argsort(theirs[:, band], kind="stable")
        ranked = theirs[order, band]
        low = np.searchsorted(ranked, mine[:, band], "left")
        high = np.minimum(np.searchsorted(ranked, mine[:, band], "right"), low + _MOST_IN_A_BAND)
        sizes = high - low
        rows = np.repeat(np.arange(len(asked)), sizes)
        places = np.repeat(low - (np.cumsum(sizes) - sizes), sizes) + np.arange(len(rows))
        others = order[places]
        alike = resemblance(asked[rows], known[others])
        for row, other, value in zip(rows[alike >= LEAST], others[alike >= LEAST], alike[alike >= LEAST], strict=True):
            if value > score[row] or (value == score[row] and other < best[row]):
                best[row], score[row] = other, value
    return best, score


def _runs(tokens: Tokens, salt: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Hashes of all runs of `_RUN` tokens, and their rows."""
    encoded = pc.dictionary_encode(tokens.values)
    if not len(encoded.dictionary):
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    words = _mix(hashes(encoded.dictionary).astype(np.uint64) + np.uint64(salt << 40))[np.asarray(encoded.indices)]
    padded = np.concatenate([words, np.zeros(_RUN - 1, np.uint64)])
    left = np.repeat(tokens.counts, tokens.counts) - tokens.positions  # tokens of the row from here on, this included
    run = words
    for step in range(1, _RUN):
        following = np.where(left > step, padded[step : step + len(words)], np.uint64(0))
        run = _mix(run * np.uint64(3) + following)
    whole = (left >= _RUN) | (tokens.positions == 0)
    return run[whole], tokens.rows[whole]


def _smallest(found: NDArray[np.uint32], runs: NDArray[np.uint64], owners: NDArray[np.int64]) -> None:
    """Lowers each row's smallest hashes by those of its runs; owners ascend."""
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    rng = np.random.default_rng(1997)
    factors, terms = rng.integers(0, 2**64, (2, HASHES), np.uint64)
    for place in range(HASHES):
        with np.errstate(over="ignore"):
            hashed = ((runs * (factors[place] | np.uint64(1)) + terms[place]) >> np.uint64(32)).astype(np.uint32)
        lowest = np.minimum.reduceat(hashed, starts)
        rows = owners[starts]
        found[rows, place] = np.minimum(found[rows, place], lowest)


def _mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Splitmix64's finaliser."""
    with np.errstate(over="ignore"):
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return bits ^ (bits >> np.uint64(31))


@dataclasses.dataclass(slots=True)
class NearTexts:
    """Samples of each split's rows, as signatures: 50,000 of the training rows, 2,000 of the others."""

    columns: tuple[str, ...] = ()
    samples: dict[str, RowSample] = dataclasses.field(
        default_factory=lambda: {split: RowSample(_KNOWN if split == "train" else _ASKED) for split in SPLITS}
    )

    def update(self, rows: CleanRows, places: NDArray[np.int8], priorities: NDArray[np.uint64]) -> None:
        """Offers cleaned rows."""
        if not self.columns:
            return
        ranks = row_ranks(rows, priorities)
        for number, split in enumerate(SPLITS):
            chosen = np.flatnonzero(places == number)
            chosen = chosen[self.samples[split].wanted(ranks[chosen])]
            if len(chosen):
                self.samples[split].add(ranks[chosen], self._table(rows.take(chosen)))

    def merge(self, other: "NearTexts") -> None:
        """Adds another part's."""
        for split, sample in self.samples.items():
            sample.merge(other.samples[split])

    def found(self) -> dict[str, dict[str, Any]]:
        """By split: how many sampled texts were looked at, how many have a near duplicate (but no exact one) among the
        `known` sampled training texts, and examples. ``train``: near duplicates inside the training sample."""
        tables = {split: sample.compact() for split, sample in self.samples.items()}
        train = tables["train"]
        if train is None:
            return {}
        found: dict[str, dict[str, Any]] = {}
        for split in SPLITS:
            asked = tables[split]
            if asked is not None and asked.num_rows:
                found[split] = _inside(train) if split == "train" else _between(asked, train)
        return found

    def _table(self, rows: CleanRows) -> pa.Table:
        texts = [rows.raw[name].text() for name in self.columns]
        signature, any_token = signatures(texts)
        flat = pa.py_buffer(signature.reshape(-1))
        return pa.table(
            {
                "signature": pa.FixedSizeBinaryArray.from_buffers(pa.binary(2 * HASHES), rows.rows, [None, flat]),
                "fingerprint": rows.fingerprints,
                "text": pc.utf8_slice_codeunits(pc.fill_null(texts[0], ""), 0, _SHOWN),
                "any": pa.array(any_token),
                "file": pa.array([rows.batch.file(int(place)) for place in rows.kept], pa.string()),
                "row": pa.array(np.asarray(rows.batch.rows)[rows.kept]),
            }
        )


def _between(asked: pa.Table, known: pa.Table) -> dict[str, Any]:
    total = asked.num_rows
    known = known.filter(known.column("any"))
    exact = pc.is_in(asked.column("fingerprint"), value_set=known.column("fingerprint").combine_chunks())
    asked = asked.filter(pc.and_(asked.column("any"), pc.invert(exact)))
    best, score = nearest(_signatures(asked), _signatures(known))
    near = np.flatnonzero(best >= 0)
    examples = [_example(asked, int(row), known, int(best[row]), float(score[row])) for row in near[:_EXAMPLES]]
    return {"asked": total, "near": len(near), "known": known.num_rows, "examples": examples}


def _inside(table: pa.Table) -> dict[str, Any]:
    """Rows whose nearest earlier row is a near duplicate; of exact ones only the first is looked at."""
    total = table.num_rows
    table = table.filter(table.column("any"))
    _, first = np.unique(table.column("fingerprint").to_numpy(), return_index=True)
    table = table.take(pa.array(np.sort(first)))
    signature = _signatures(table)
    rows, others, alike = pairs(signature)
    places, index = np.unique(rows, return_index=True)
    examples = [
        _example(table, int(row), table, int(others[at]), float(alike[at]))
        for row, at in zip(places[:_EXAMPLES], index[:_EXAMPLES], strict=True)
    ]
    return {"asked": total, "near": len(places), "known": total, "examples": examples}


def pairs(signature: NDArray[np.uint16]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """(row, earlier row, resemblance) of near duplicates, by row: each row against the first of those that it agrees
    with in a band."""
    keys = bands(signature)
    found: list[NDArray[Any]] = []
    for band in range(BANDS):
        order = np.argsort(keys[:, band], kind="stable")
        ranked = keys[order, band]
        starts = (
            np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]])) if len(ranked) else np.empty(0, int)
        )
        leader = order[np.repeat(starts, np.diff(np.append(starts, len(ranked))))]
        other = leader != order
        found.append(np.stack([order[other], leader[other]], axis=1))
    candidates = np.unique(np.concatenate(found), axis=0) if found else np.empty((0, 2), int)
    alike = resemblance(signature[candidates[:, 0]], signature[candidates[:, 1]])
    kept = alike >= LEAST
    return candidates[kept, 0], candidates[kept, 1], alike[kept]


def _signatures(table: pa.Table) -> NDArray[np.uint16]:
    return np.frombuffer(b"".join(table.column("signature").to_pylist()), np.uint16).reshape(-1, HASHES)


def _example(mine: pa.Table, row: int, other: pa.Table, place: int, score: float) -> list[Any]:
    shown = [table.column(name)[at].as_py() for table, at in ((mine, row), (other, place)) for name in _WHERE]
    return [*shown, round(score, 3)]


_WHERE = ("file", "row", "text")

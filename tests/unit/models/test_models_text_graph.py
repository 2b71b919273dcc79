"""Text becomes the same ids in NumPy and in the served graph, whatever the text."""

import functools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasflow.data.characters import LIMIT, characters
from nasflow.data.tokens import hashes, sequences, tokenise

VOCABULARY = ("the", "cafe\u0301", "naïve", "日", "👩", ",", "x")
ODD = (
    "a é e\u0301 ﬁ ½ ™ İ ß ẞ Σς \u00ad \u200d\u200b \ufe0f \ufeff \x00 \x1f \x7f \x85 \u2028 \u3000 日本 ｶﾀ 한글 ก็ "
    "👩‍💻 🇩🇪 \U00020000 \U000e0041 \ufffd \ufffe \U0010ffff"
)


@functools.cache
def graph(buckets: int, length: int):
    import tensorflow as tf

    from nasflow.models.text_graph import TextGraph

    made = TextGraph(vocabulary=VOCABULARY, buckets=buckets, length=length)
    return made, tf.function(made, input_signature=[tf.TensorSpec([None], tf.string)])


def served(texts: list[str], *, buckets: int, length: int) -> np.ndarray:
    import tensorflow as tf

    return graph(buckets, length)[1](tf.constant([text.encode() for text in texts], tf.string, [len(texts)])).numpy()


texts = st.one_of(
    st.text(max_size=40),
    st.lists(st.sampled_from(ODD.split(" ") + list(VOCABULARY) + ["The", "CAFÉ", "don't"]), max_size=12).map(" ".join),
    st.text(st.sampled_from(ODD), max_size=30),
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(texts, max_size=6), st.sampled_from([0, 7]))
def test_numpy_and_the_served_graph_find_the_same_ids(batch: list[str], buckets: int) -> None:
    expected = sequences(pa.array(batch, pa.string()), vocabulary=VOCABULARY, buckets=buckets, length=9)
    np.testing.assert_array_equal(served(batch, buckets=buckets, length=9), expected)


def test_every_character_is_folded_alike() -> None:
    """All of Unicode, 256 characters a text, with a letter before and behind each."""
    points = [
        point for point in range(0x110000) if not 0xD800 <= point < 0xE000 and (point < LIMIT + 256 or point > 0x10FF00)
    ]
    batch = ["".join(f"x{chr(point)}y" for point in points[start : start + 64]) for start in range(0, len(points), 64)]
    expected = sequences(pa.array(batch), vocabulary=VOCABULARY, buckets=1_000_003, length=200)
    np.testing.assert_array_equal(served(batch, buckets=1_000_003, length=200), expected)


def test_the_characters_are_the_same_for_ever() -> None:
    """Models of earlier versions know their vocabulary by this table: it must not change with Python's Unicode."""
    import hashlib

    table = characters()
    digest = hashlib.sha256(table.places.tobytes() + table.flat.tobytes() + table.starts.tobytes()).hexdigest()
    assert digest[:16] == "d73658e0199ae0ed"


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Hello, World!", ["hello", ",", "world", "!"]),
        ("STRASSE straße", ["strasse", "strasse"]),
        ("ﬁne ½", ["fine", "1", "⁄", "2"]),
        ("日本語", ["日", "本", "語"]),
        ("👩‍💻 ok", ["👩", "💻", "ok"]),
        ("soft\u00adhyphen tab\tend", ["softhyphen", "tab", "end"]),
        ("한글", ["한글"]),
        ("", []),
        (" \n\t ", []),
    ],
)
def test_tokens(text: str, tokens: list[str]) -> None:
    assert tokenise(pa.array([text])).values.to_pylist() == tokens


def test_composed_and_decomposed_letters_are_one() -> None:
    assert tokenise(pa.array(["Café", "cafe\u0301"])).values.unique().to_pylist() == ["cafe\u0301"]


def test_a_row_does_not_go_on_in_the_next() -> None:
    tokens = tokenise(pa.array(["ab", "cd", None, "", "e f"]))
    assert tokens.values.to_pylist() == ["ab", "cd", "e", "f"]
    assert tokens.counts.tolist() == [1, 1, 0, 0, 2]
    assert tokens.positions.tolist() == [0, 0, 0, 1]
    sliced = tokenise(pa.array(["ab", "cd", "é"]).slice(1))
    assert sliced.values.to_pylist() == ["cd", "e\u0301"]


def test_hashes_see_order_and_stay_in_range() -> None:
    found = hashes(pa.array(["ab", "ba", "ab", "x" * 500, "\U0010ffff" * 64]))
    assert found[0] == found[2] != found[1]
    assert found.min() >= 0
    assert found.max() < 2**31 - 1


def test_no_rows_have_no_ids() -> None:
    assert sequences(pa.array([], pa.string()), vocabulary=["a"], length=3).shape == (0, 3)
    assert served([], buckets=0, length=3).shape == (0, 3)

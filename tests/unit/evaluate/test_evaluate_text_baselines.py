import numpy as np
import pytest

from nasflow.data.tensors import InputSpec, OutputSpec, Tensors, TextShape
from nasflow.evaluate import baselines, text_baselines

MIXED = InputSpec(
    texts=(TextShape(length=10, ids=50), TextShape(length=4, ids=9)),
    numeric=2,
    cardinalities=(4,),
    image=(8, 8, 1),
    image_mean=(0.0,),
    image_std=(1.0,),
)
TEXT = InputSpec(texts=(TextShape(length=10, ids=50),))


def rows(count: int, seed: int, *, regression: bool = False) -> Tensors:
    """The class is whether token 3 stands right before token 4; both are in every text."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(5, 50, (count, 10)).astype(np.int32)
    labels = rng.integers(0, 2, count)
    for row, label in enumerate(labels):
        place = rng.integers(0, 8)
        ids[row, place : place + 2] = (3, 4) if label else (4, 3)
    ids[:, 9] = 0
    return Tensors(inputs={"text_0": ids}, labels=10.0 + 5 * labels if regression else labels.astype(np.int32))


def test_the_linear_model_sees_pairs_of_words() -> None:
    splits = [rows(count, seed) for seed, count in enumerate((600, 100, 200))]
    options = {"inputs": TEXT, "output": OutputSpec(classes=3), "seed": 0}  # class 2 has no row
    answers = text_baselines.tfidf_linear(*splits, **options)
    assert answers.shape == (200, 3)
    np.testing.assert_allclose(answers.sum(1), 1.0)
    assert (answers[:, 2] == 0).all()
    assert (answers.argmax(1) == splits[2].labels).mean() > 0.95


def test_numbers_are_predicted_in_their_own_units() -> None:
    splits = [rows(count, seed, regression=True) for seed, count in enumerate((600, 100, 200))]
    options = {"inputs": TEXT, "output": OutputSpec(classes=None, mean=12.5, std=2.5), "seed": 0}
    answers = text_baselines.tfidf_linear(*splits, **options)
    assert np.abs(answers - splits[2].labels).mean() < 1.0
    assert np.abs(answers.mean() - 12.5) < 0.5


def test_counts_by_hand() -> None:
    ids = np.array([[2, 3, 1, 2, 3], [0, 0, 0, 0, 0]], np.int32)
    inputs = InputSpec(texts=(TextShape(length=5, ids=4),))
    found = text_baselines._counts(Tensors(inputs={"text_0": ids}, labels=np.zeros(2)), inputs)
    assert found[0, :4].toarray().tolist() == [[0, 0, 2, 2]]
    assert found[0, 4 + 2 * 31_393 + 3] == 2  # the pair (2, 3), twice; 1 is unknown and has no pairs
    assert found.sum() == 6


@pytest.mark.parametrize("inputs", [TEXT, MIXED], ids=["text", "mixed"])
def test_the_hand_made_network_takes_every_kind_of_input(inputs: InputSpec) -> None:
    rng = np.random.default_rng(0)

    def mixed(count: int, seed: int) -> Tensors:
        text = rows(count, seed)
        more = {
            "text_1": rng.integers(0, 9, (count, 4)).astype(np.int32),
            "numeric": (text.labels[:, None] * 4 + rng.normal(size=(count, 2))).astype(np.float32),
            "categorical": rng.integers(0, 4, (count, 1)).astype(np.int32),
            "image": rng.integers(0, 255, (count, 8, 8, 1)).astype(np.uint8),
        }
        names = ["text_0"] if inputs is TEXT else ["text_0", *more]
        return Tensors(inputs={**text.inputs, **more}, labels=text.labels).only(names)

    splits = [mixed(count, seed) for seed, count in enumerate((200, 60, 60))]
    answers = baselines.hand_made(*splits, inputs=inputs, output=OutputSpec(classes=2), seed=0)
    assert answers.shape == (60, 2)
    if inputs is MIXED:  # the numbers say it; averaged words alone cannot know their order
        assert (answers.argmax(1) == splits[2].labels).mean() > 0.9

"""The linear model on TF-IDF inside of networks: scikit-learn's numbers; counted, saved, exported."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.feature_extraction.text import TfidfTransformer

from nasflow.data.tensors import InputSpec, OutputSpec, Tensors, TextShape
from nasflow.models import onnx_network
from nasflow.models.build import build
from nasflow.models.fit import fit
from nasflow.models.ngram_features import counted
from nasflow.models.predict import logits, predict
from nasflow.models.saved import load_keras
from nasflow.spaces.architecture import ArchitectureError, Recipe
from nasflow.spaces.cost import cost
from nasflow.spaces.graph import Graph
from nasflow.spaces.multimodal import MultimodalSpace
from nasflow.spaces.text import TextSpace

LENGTH, IDS, FEATURES = 7, 12, 300
BUCKETS = 262_139
INPUTS = InputSpec(texts=(TextShape(length=LENGTH, ids=IDS),))
THREE = OutputSpec(classes=3)


def linear(inputs=INPUTS, *, most=2, strength=10.0, dropout=0.0, features=FEATURES, tensor="text_0"):
    graph = Graph()
    ids = graph.add("input", tensor=tensor)
    settings = {"most": most, "features": features, "strength": strength, "dropout": dropout}
    x = graph.add("ngram_linear", ids, tensor=tensor, **settings)
    return graph.finish(x, Recipe(learning_rate=0.01, weight_decay=0.01, batch_size=32), end="logits")


def rows(ids, labels=None):
    ids = np.asarray(ids, np.int32)
    return Tensors(inputs={"text_0": ids}, labels=np.zeros(len(ids), np.int32) if labels is None else labels)


def weights_of(model):
    (layer,) = [layer for layer in model.layers if layer.name.endswith("_wide")]
    return layer


def by_scikit_learn(train, test, most, model):
    """Counts of words and n-grams that are in two training rows or more, sublinear TF-IDF, the model's weights."""

    def grams(row):
        for n in range(1, most + 1):
            for place in range(LENGTH - n + 1):
                gram = tuple(int(token) for token in row[place : place + n])
                if min(gram) >= 2:
                    yield gram

    known = sorted({gram for row in train for gram in grams(row)})
    first, second = (
        np.array([[list(grams(row)).count(gram) for gram in known] for row in rows]).reshape(len(rows), len(known))
        for rows in (train, test)
    )
    used = (first > 0).sum(axis=0) >= 2
    table = weights_of(model).get_weights()[0]
    if not used.any():
        return np.tile(table[0], (len(test), 1))
    weights = np.array([table[feature(model, gram)] for gram, kept in zip(known, used, strict=True) if kept])
    weigh = TfidfTransformer(sublinear_tf=True).fit(sparse.csr_matrix(first[:, used]))
    return 10.0 * weigh.transform(sparse.csr_matrix(second[:, used])).toarray() @ weights + table[0]


def feature(model, gram):
    """The model's number of an n-gram."""
    bucket = 0
    for token in gram:
        bucket = (bucket * 7_919 + token) % BUCKETS
    place = gram[0] if len(gram) == 1 else IDS + (len(gram) - 2) * BUCKETS + bucket
    (layer,) = [layer for layer in model.layers if layer.name.endswith("_features")]
    return int(layer.get_weights()[0][place, 0])


texts = st.lists(st.lists(st.integers(1, IDS - 1), max_size=LENGTH), min_size=2, max_size=12)


@settings(max_examples=10)
@given(train=texts, test=texts, most=st.integers(1, 3))
def test_it_is_scikit_learns_linear_model_on_tfidf(train, test, most):
    train, test = (np.array([row + [0] * (LENGTH - len(row)) for row in part], np.int32) for part in (train, test))
    model = build(linear(most=most), INPUTS, THREE)
    counted(model, rows(train))
    table = weights_of(model)
    table.set_weights([np.random.default_rng(0).normal(size=table.embeddings.shape)])
    expected = by_scikit_learn(train, test, most, model)
    np.testing.assert_allclose(model({"text_0": test}), expected, atol=1e-4)
    keras.backend.clear_session()


def test_by_hand():
    """Three rows: a a b, a, b. Both words are in two: idf = ln(4/3) + 1, the same. In the first row a weighs 1 + ln 2,
    b 1, before its length is made 10."""
    model = build(linear(most=1), INPUTS, THREE)
    train = rows([[2, 2, 3, 0, 0, 0, 0], [2, 0, 0, 0, 0, 0, 0], [3, 0, 0, 0, 0, 0, 0]])
    counted(model, train)
    (idf,) = [layer for layer in model.layers if layer.name.endswith("_idf")]
    np.testing.assert_allclose(idf.get_weights()[0][:4, 0], [0, np.log(4 / 3) + 1, np.log(4 / 3) + 1, 0], rtol=1e-6)
    assert [feature(model, (token,)) for token in range(5)] == [0, 0, 1, 2, 0]
    table = np.zeros((FEATURES, 3))
    table[0], table[1, 0], table[2, 1] = [0.5, 0.25, -1.0], 1.0, 1.0
    weights_of(model).set_weights([table])
    a, b = 1 + np.log(2), 1.0
    length = np.hypot(a, b)
    np.testing.assert_allclose(
        model({"text_0": train.inputs["text_0"][:1]})[0], [0.5 + 10 * a / length, 0.25 + 10 * b / length, -1], rtol=1e-5
    )


def test_counted_by_hand():
    found = cost(linear(most=3), INPUTS, THREE)
    # A row a feature, 3 classes; 7 places of each size, and the bias.
    assert found.parameters == FEATURES * 3
    assert found.flops == 2 * (3 * 7 + 1) * 3
    assert found.depth == 1
    assert found.parameters == sum(
        int(np.prod(w.shape)) for w in build(linear(most=3), INPUTS, THREE).trainable_weights
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"most": 4}, "most must be at most 3"),
        ({"features": 1 << 19}, "features at most"),
        ({"features": 0}, "features must be"),
        ({"dropout": 1.0}, "dropout must be"),
        ({"strength": 0.0}, "strength > 0"),
        ({"tensor": "text_1"}, "no such text"),
    ],
)
def test_impossible_settings_are_named(settings, message):
    graph, good = Graph(), {"tensor": "text_0", "most": 2, "features": 9, "strength": 1.0, "dropout": 0.0}
    x = graph.add("ngram_linear", graph.add("input", tensor="text_0"), **(good | settings))
    with pytest.raises(ArchitectureError, match=message):
        cost(graph.finish(x, Recipe(), end="logits"), INPUTS, THREE)


def test_the_features_in_most_rows_are_kept():
    """Three features besides the bias: word 5 is in four rows, 2 in three, 3 and 4 in two; of these the first."""
    model = build(linear(most=1, features=4), INPUTS, THREE)
    counted(model, rows([[5, 2, 3, 4, 0, 0, 0], [5, 2, 3, 4, 6, 0, 0], [5, 2, 0, 0, 0, 0, 0], [5, 5, 0, 0, 0, 0, 0]]))
    assert [feature(model, (token,)) for token in range(2, 7)] == [2, 3, 0, 1, 0]


def test_only_answers_are_logits():
    graph = Graph()
    x = graph.add("input", tensor="text_0")
    x = graph.add("token_mean", graph.add("token_embedding", x, tensor="text_0", dim=4), x)
    with pytest.raises(ArchitectureError, match="3 numbers a row are the answer"):
        cost(graph.finish(x, Recipe(), end="logits"), INPUTS, THREE)


def topics(count=240):
    """Three topics of which each text has three words of its own and two of all; a seventh of the texts is mixed up."""
    rng = np.random.default_rng(3)
    labels = rng.integers(3, size=count).astype(np.int32)
    ids = np.zeros((count, LENGTH), np.int32)
    ids[:, :3] = 2 + 2 * labels[:, None] + rng.integers(2, size=(count, 3))
    ids[:, 3:5] = rng.integers(2, IDS, size=(count, 2))
    return rows(ids, np.where(rng.random(count) < 1 / 7, rng.integers(3, size=count), labels).astype(np.int32))


def test_it_learns_counts_its_idf_and_goes_on_after_a_kill(tmp_path):
    train, architecture, path = topics(), linear(dropout=0.2), str(tmp_path / "backup")
    whole = build(architecture, INPUTS, THREE, seed=1)
    history = fit(whole, architecture.recipe, train, output=THREE, epochs=8, seed=1)
    assert history[0].loss > 0.7 > history[-1].loss
    assert (predict(whole, train, THREE).argmax(axis=1) == train.labels).mean() > 0.85
    first = build(architecture, INPUTS, THREE, seed=1)
    told = {"output": THREE, "epochs": 8, "seed": 1, "backup_path": path}
    fit(first, architecture.recipe, train, **told, on_epoch=lambda epoch: epoch.number < 3)
    again = build(architecture, INPUTS, THREE, seed=1)
    resumed = fit(again, architecture.recipe, train, **told)
    assert [epoch.loss for epoch in resumed] == [epoch.loss for epoch in history]
    np.testing.assert_array_equal(logits(again, train, THREE), logits(whole, train, THREE))


@pytest.mark.parametrize("form", ["wide", "wide_deep"])
def test_saved_and_exported_it_answers_the_same(form, tmp_path):
    space = TextSpace(inputs=INPUTS, output=THREE)
    values = next(values for values in space.presets() if values["form"] == form)
    architecture, train = space.architecture(values), topics(60)
    model = build(architecture, INPUTS, THREE, seed=1)
    fit(model, architecture.recipe, train, output=THREE, epochs=2, seed=1)
    expected = model(train.inputs)
    assert np.ptp(expected) > 0.1
    model.save(tmp_path / "m.keras")
    np.testing.assert_allclose(load_keras(tmp_path / "m.keras")(train.inputs), expected, atol=1e-5)
    onnx_network.write(model, tmp_path / "network.onnx")
    np.testing.assert_allclose(onnx_network.run(tmp_path / "network.onnx", train.inputs), expected, atol=1e-5)


def test_in_long_texts_each_occurrence_counts():
    """Longer than 512: no table of repetitions; a a b is two thirds a."""
    long = InputSpec(texts=(TextShape(length=600, ids=IDS),))
    model = build(linear(long, most=1), long, THREE)
    ids = np.zeros((1, 600), np.int32)
    ids[0, :3] = [2, 2, 3]
    counted(model, rows(np.repeat(ids, 2, axis=0)))
    table = np.zeros((FEATURES, 3))
    table[1, 0] = table[2, 1] = 1.0
    weights_of(model).set_weights([table])
    np.testing.assert_allclose(model({"text_0": ids})[0], 10 * np.array([2, 1, 0]) / np.sqrt(3), rtol=1e-5)


def test_no_layer_of_its_own_has_the_name_of_a_node():
    """Keras numbers what has no name: enough of its own products would have met `multiply_22` of a fusion."""
    inputs = InputSpec(texts=(TextShape(length=6, ids=20),) * 2, numeric=2)
    space = MultimodalSpace(inputs=inputs, output=THREE)
    values = {**space.presets()[0], "fusion": "product", "fusion_width": 32}
    keras.utils.clear_session(free_memory=False)
    model = build(space.architecture(values), inputs, THREE)
    assert sum(op.name.startswith("multiply") for op in model.operations) == 1

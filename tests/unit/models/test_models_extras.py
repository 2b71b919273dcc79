"""What a search asks of a training: to go on with another one, to take its weights, to wait, to halve a batch."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from nasflow.core.errors import DivergedError, OutOfMemoryError
from nasflow.core.spec import RuntimeSection
from nasflow.data.tensors import InputSpec, OutputSpec, Tensors
from nasflow.models.build import build
from nasflow.models.checkpoint import Start
from nasflow.models.fit import Extras, fit_with
from nasflow.models.runtime import PLAIN, Runtime, policy, resolve
from nasflow.models.trainer import Trainer
from nasflow.spaces.architecture import Architecture, Recipe
from nasflow.spaces.graph import Graph

TABLE = InputSpec(numeric=4)
THREE = OutputSpec(classes=3)
RECIPE = Recipe(learning_rate=5e-3, batch_size=16, schedule="one_cycle", ema=0.9)


def blobs(rows, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, rows).astype(np.int32)
    numeric = rng.normal(size=(rows, 4)).astype(np.float32)
    numeric[np.arange(rows), labels] += 2
    return Tensors(inputs={"numeric": numeric}, labels=labels)


def layers(*units, recipe=RECIPE) -> Architecture:
    graph = Graph()
    x = graph.add("input", tensor="numeric")
    for width in units:
        x = graph.add("dense", x, units=width, bias=True)
        x = graph.add("dropout", graph.add("activation", graph.add("batch_norm", x), function="relu"), rate=0.1)
    return graph.finish(x, recipe)


def train(architecture=None, *, extras=None, epochs=4, seed=0, runtime=PLAIN, **more):
    architecture = architecture or layers(8)
    with policy(runtime):
        model = build(architecture, TABLE, THREE, seed=seed)
    fitted = fit_with(
        extras or Extras(runtime=runtime),
        model,
        architecture.recipe,
        blobs(120),
        output=THREE,
        epochs=epochs,
        seed=seed,
        validation=blobs(60, seed=1),
        **more,
    )
    return model, fitted


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


def test_a_promoted_training_ends_where_an_uninterrupted_one_does(tmp_path):
    kept = str(tmp_path / "0.npz")
    whole, of_whole = train(epochs=5)
    _, short = train(extras=Extras(horizon=5, keep_path=kept), epochs=2)
    model, rest = train(extras=Extras(horizon=5, start_path=kept), epochs=5)
    assert rest.start == Start(found="continued", epochs=2)
    assert [epoch.number for epoch in [*short.epochs, *rest.epochs]] == [1, 2, 3, 4, 5]
    losses = [epoch.loss for epoch in [*short.epochs, *rest.epochs]]
    assert losses == [epoch.loss for epoch in of_whole.epochs]
    assert same(model, whole)


def test_a_promotion_that_is_killed_goes_on(tmp_path):
    kept, backup = str(tmp_path / "0.npz"), str(tmp_path / "backup")
    train(extras=Extras(horizon=5, keep_path=kept), epochs=2)
    whole, _ = train(extras=Extras(horizon=5, start_path=kept), epochs=5)
    arguments = {"extras": Extras(horizon=5, start_path=kept), "epochs": 5, "backup_path": backup}
    train(**arguments, on_epoch=lambda epoch: epoch.number < 4)
    model, rest = train(**arguments)
    assert rest.start == Start(found="continued", epochs=2)
    assert [epoch.number for epoch in rest.epochs] == [3, 4, 5]
    assert same(model, whole)


def test_another_horizon_is_another_training(tmp_path):
    kept = str(tmp_path / "0.npz")
    train(extras=Extras(keep_path=kept), epochs=2)
    _, fitted = train(extras=Extras(start_path=kept), epochs=4)
    assert fitted.start.found == "inherited"
    assert [epoch.number for epoch in fitted.epochs] == [1, 2, 3, 4]


def test_a_child_takes_the_layers_that_it_shares_with_its_parent(tmp_path):
    kept = str(tmp_path / "0.npz")
    parent, _ = train(layers(8, 6), extras=Extras(keep_path=kept))
    child = layers(8, 7, 6)
    seen = {}

    class Looks(Trainer):
        def run(self, *rows):
            seen.setdefault("first", [np.array(v) for v in self.model.get_weights()])
            return super().run(*rows)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("nasflow.models.fit.Trainer", Looks)
        _, fitted = train(child, extras=Extras(start_path=kept), epochs=1)
    # dense and its batch norm: 2 + 4 variables a layer. The first layer fits, the new one does not; of the third, the
    # kernel has 7 inputs and not 8; its bias, its norm and the output fit.
    assert fitted.start.found == "inherited"
    assert fitted.start.taken == 6 + 5 + 2
    first, theirs = seen["first"], parent.get_weights()
    np.testing.assert_array_equal(first[0].shape, (4, 8))
    assert fitted.start.weights > fitted.start.taken
    # the parent's last weights went into the file before their average was put into its model
    content = np.load(kept)
    np.testing.assert_array_equal(first[0], content["v0"])
    assert theirs[0].shape == first[0].shape


def test_weights_that_are_gone_or_damaged_start_from_scratch(tmp_path):
    plain, _ = train()
    for content in (None, b"not an archive"):
        path = tmp_path / "0.npz"
        if content is not None:
            path.write_bytes(content)
        model, fitted = train(extras=Extras(start_path=str(path)))
        assert fitted.start.found == "nothing"
        assert same(model, plain)


def test_patience_stops_and_restores_the_best_epoch(tmp_path):
    """A learning rate that is far too high after the first epoch makes the score fall."""
    steep = layers(8, recipe=dataclasses.replace(RECIPE, learning_rate=3.0, ema=None, optimizer="sgd"))
    kept = {}

    def note(epoch):
        kept[epoch.number] = epoch.score
        return True

    model, fitted = train(steep, extras=Extras(patience=2), epochs=30, metric="log_loss", on_epoch=note)
    best = min(kept, key=lambda number: (kept[number], number))
    assert fitted.best == best
    assert len(fitted.epochs) == min(30, best + 2)
    from nasflow.core.metrics import compute
    from nasflow.models.predict import predict

    validation = blobs(60, seed=1)
    assert compute("log_loss", validation.labels, predict(model, validation, THREE)) == kept[best]

    # killed in between, the best weights are not forgotten
    arguments = {"epochs": 30, "metric": "log_loss", "backup_path": str(tmp_path / "backup")}
    train(steep, extras=Extras(patience=2), **arguments, on_epoch=lambda epoch: epoch.number < best + 1)
    again, resumed = train(steep, extras=Extras(patience=2), **arguments)
    assert (resumed.best, len(resumed.epochs)) == (best, len(fitted.epochs))
    assert same(again, model)


def test_an_exploding_loss_ends_the_training():
    steep = layers(8, recipe=Recipe(learning_rate=1e4, batch_size=16, schedule="constant", optimizer="sgd"))
    with pytest.raises(DivergedError, match=r"loss (grew|is)"):
        train(steep, epochs=20)


def test_a_batch_that_does_not_fit_is_said_to_be_too_big(monkeypatch):
    def run(self, *rows):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(Trainer, "run", run)
    with pytest.raises(OutOfMemoryError, match="batches of 8 rows"):
        train(extras=Extras(batch=8))


@pytest.mark.parametrize(
    "runtime",
    [
        Runtime(steps_per_call=2),
        Runtime(precision="mixed_bfloat16"),
        Runtime(precision="mixed_float16"),
        pytest.param(Runtime(xla=True), marks=pytest.mark.slow),
    ],
)
def test_other_ways_to_run_learn_the_same_thing(runtime):
    plain, of_plain = train()
    model, fitted = train(runtime=runtime)
    losses = [epoch.loss for epoch in fitted.epochs]
    # Dropout draws other masks in other precisions, which is most of the difference.
    assert losses == pytest.approx([epoch.loss for epoch in of_plain.epochs], rel=0.2)
    assert losses[-1] < losses[0]
    assert keras.config.dtype_policy().name == "float32"
    assert model.output.dtype == "float32"
    if runtime == Runtime(steps_per_call=2):
        assert same(model, plain)


def test_safe_defaults_on_a_cpu():
    assert resolve(RuntimeSection()) == PLAIN
    chosen = RuntimeSection(xla=True, precision="bfloat16", steps_per_call=5)
    assert resolve(chosen) == Runtime(xla=True, precision="mixed_bfloat16", steps_per_call=5)


def test_a_gpu_compiles_long_trainings_only(monkeypatch):
    assert not Runtime().compiles(10**6)  # there is no GPU here
    monkeypatch.setattr("nasflow.models.runtime._capability", lambda: (9, 0))
    assert [Runtime().compiles(steps) for steps in (1_999, 2_000)] == [False, True]
    assert Runtime(xla=True).compiles(1)
    assert not Runtime(xla=False).compiles(10**6)


@pytest.mark.parametrize("runtime", [Runtime(), Runtime(xla=True)])
def test_what_xla_cannot_compile_is_trained_without_unless_it_was_asked_for(monkeypatch, caplog, runtime):
    monkeypatch.setattr(Runtime, "compiles", lambda self, steps: True)
    step = Trainer._step

    def with_python(self, inputs, labels, weights=None):
        loss = step(self, inputs, labels, weights)
        return tf.ensure_shape(tf.py_function(lambda value: value, [loss], tf.float32), [])

    monkeypatch.setattr(Trainer, "_step", with_python)
    if runtime.xla:
        with pytest.raises(tf.errors.InvalidArgumentError):
            train(runtime=runtime)
        return
    model, _ = train(runtime=runtime)
    assert "XLA cannot compile this model" in caplog.text
    monkeypatch.undo()
    assert same(model, train()[0])

"""The candidate against the champion: the same rows, the champion's own bundle, a decision that needs both gains."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.unit.train import made_data

from nasflow.core.artifacts import Estimate
from nasflow.core.metrics import compute
from nasflow.core.spec import EvaluateSection, TrainSection
from nasflow.data.reader import read, read_schema
from nasflow.evaluate import kfp_metrics, step
from nasflow.evaluate.champion import IncomparableError, champion_to_beat, predictions
from nasflow.evaluate.decision import Rival, decide
from nasflow.evaluate.judgement import Gain
from nasflow.evaluate.spec import EvaluateSpec
from nasflow.registry._base import Draft
from nasflow.registry.file import FileRegistry
from nasflow.serving.bundle import Bundle
from nasflow.train import step as train_step
from nasflow.train.spec import TrainSpec


def train(folder, data, *, epochs, seed=0):
    metric = "rmse" if data.task == "tabular_regression" else "accuracy"
    spec = TrainSpec(task=data.task, metric=metric, train=TrainSection(seeds=1, epochs=epochs), seed=seed)
    place = folder / f"train-{epochs}-{seed}"
    search = made_data.search(place, data)
    return train_step.run(spec, dataset=data, search=search, work_dir=str(place / "w"), output=str(place / "m"))


def register(registry, model, name="m"):
    return registry.register(name, Draft(bundle_uri=model.bundle_uri, files=model.bundle))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """(dataset, an older model, a newer model)."""
    folder = tmp_path_factory.mktemp("table")
    data = made_data.dataset(folder, "table")
    return data, train(folder, data, epochs=1), train(folder, data, epochs=6, seed=1)


def judge(table, tmp_path, *, model=None, **section):
    data, _, newer = table
    spec = EvaluateSpec(
        task=data.task,
        metric="accuracy",
        evaluate=EvaluateSection(bootstrap=200, min_gain=-1, **section),
        model_name="m",
        registry_uri=str(tmp_path / "registry"),
    )
    work_dir = Path(data.uri).parent / "w"  # shared: the baselines are trained once
    place = {"work_dir": str(work_dir), "output": str(tmp_path / "e")}
    return step.run(spec, dataset=data, model=model or newer, **place)


def test_the_champion_is_compared_on_the_same_rows_and_decides(table, tmp_path):
    data, older, newer = table
    assert judge(table, tmp_path).champion is None  # no registry yet: the baseline alone

    registry = FileRegistry(str(tmp_path / "registry"))
    version = register(registry, older)
    registry.promote("m", "champion", version.version, expected=None)
    evaluation = judge(table, tmp_path)
    champion = evaluation.champion
    assert (champion.name, champion.version, champion.problem) == ("m", 1, "")
    assert champion.bundle_digest == older.bundle_digest

    # by hand: what the older model says of the test tensors, through its Keras model instead of its bundle
    from nasflow.data.reader import read_transform
    from nasflow.models.predict import predict
    from nasflow.models.saved import fetch_keras

    test = read(data, "test")
    answers = predict(fetch_keras(older.bundle["model.keras"]), test, read_transform(data).output)
    assert champion.test["accuracy"].value == compute("accuracy", test.labels, answers)
    assert champion.gain.value == pytest.approx(evaluation.test["accuracy"].value - champion.test["accuracy"].value)
    assert champion.gain.ci95[0] <= champion.gain.value <= champion.gain.ci95[1]
    assert evaluation.decision.promoted is (champion.gain.value >= 0)
    assert any("champion, version 1, has" in reason for reason in evaluation.decision.reasons)
    assert "champion" in evaluation.file("report.html").decode()
    assert kfp_metrics.scalar_metrics(evaluation)["champion_accuracy"] == champion.test["accuracy"].value

    strict = judge(table, tmp_path, min_gain_champion=0.99)
    assert not strict.decision.promoted
    assert "is below evaluate.min_gain_champion = 0.99: not promoted." in strict.decision.reasons[4]

    # a promotion of the judged model changes nothing of its evaluation; another champion does
    second = register(registry, newer)
    registry.promote("m", "champion", second.version, expected=1)
    assert judge(table, tmp_path).digest == evaluation.digest
    against_newer = judge(table, tmp_path, model=older)
    assert against_newer.champion.version == 2
    assert against_newer.champion.gain.value == pytest.approx(-champion.gain.value)


@pytest.mark.slow
def test_a_champion_that_is_damaged_or_of_other_data_does_not_decide(table, tmp_path):
    _, older, _ = table
    registry = FileRegistry(str(tmp_path / "registry"))
    version = register(registry, older)
    registry.promote("m", "champion", 1, expected=None)
    entry = version.files["saved_model/saved_model.pb"]
    Path(entry.uri).write_bytes(b"x")
    evaluation = judge(table, tmp_path)
    assert "its bundle cannot be loaded" in evaluation.champion.problem
    assert "was changed" in evaluation.champion.problem
    assert evaluation.decision.promoted  # by min_gain = -1 over the baseline
    assert any("cannot be compared on these rows" in reason for reason in evaluation.decision.reasons)


def test_what_cannot_be_compared_is_said(table, tmp_path):
    data, older, _ = table
    version = register(FileRegistry(str(tmp_path)), older)
    schema, test = read_schema(data), read(data, "test")
    kinds = [
        column.model_copy(update={"kind": "categorical"}) if column.name == "1st" else column
        for column in schema.columns
    ]
    for changed, why in (
        ({"task": "tabular_regression"}, "it is for task tabular_classification"),
        ({"columns": tuple(kinds)}, "column '1st' is numeric for it and categorical in this data"),
        ({"label": schema.label.model_copy(update={"classes": ("no", "yes")})}, "it knows the class 'perhaps'"),
    ):
        with pytest.raises(IncomparableError, match=why):
            predictions(version, data, schema.model_copy(update=changed), test)
    with pytest.raises(IncomparableError, match="no raw test rows"):
        predictions(version, data.model_copy(update={"raw_test": ()}), schema, test)


def test_a_class_that_the_champion_never_saw_has_probability_zero(table, tmp_path):
    data, older, _ = table
    version = register(FileRegistry(str(tmp_path)), older)
    schema, test = read_schema(data), read(data, "test")
    wider = schema.model_copy(
        update={"label": schema.label.model_copy(update={"classes": ("maybe", "no", "perhaps", "yes")})}
    )
    found = predictions(version, data, wider, test)
    np.testing.assert_array_equal(found[:, 1:], predictions(version, data, schema, test))
    assert (found[:, 0] == 0).all()


@pytest.mark.slow
def test_images_are_sent_as_the_champion_takes_them(tmp_path):
    data = made_data.dataset(tmp_path, "images")
    version = register(FileRegistry(str(tmp_path / "r")), train(tmp_path, data, epochs=1))
    test = read(data, "test")
    expected = Bundle.load(version.bundle_uri).predict({"image": test.inputs["image"]})
    np.testing.assert_array_equal(predictions(version, data, read_schema(data), test), expected.astype(np.float64))


def test_the_champion_to_beat_is_the_one_before_where_it_is_the_model_itself(tmp_path):
    registry = FileRegistry(str(tmp_path))
    made = []
    for text in "abc":
        path = tmp_path / f"made/{text}/saved_model.pb"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(text))
        from nasflow.core.artifacts import External

        made.append(
            registry.register("m", Draft(bundle_uri=str(path.parent), files={path.name: External.of(str(path))}))
        )
    assert champion_to_beat(registry, "m", "none") is None
    registry.promote("m", "champion", 1, expected=None)
    assert champion_to_beat(registry, "m", made[0].bundle_digest) is None
    registry.promote("m", "champion", 2, expected=1)
    registry.promote("m", "champion", 3, expected=2)
    assert champion_to_beat(registry, "m", made[2].bundle_digest) == made[1]
    assert champion_to_beat(registry, "m", made[1].bundle_digest) == made[2]
    registry.rollback("m", "champion")
    assert champion_to_beat(registry, "m", made[1].bundle_digest) == made[0]  # what it was judged against at first
    assert champion_to_beat(registry, "m", made[2].bundle_digest) == made[1]


def test_both_gains_are_needed():
    def promoted(over_baseline, over_champion, **rival):
        estimate = Estimate(value=0.9, ci95=(0.88, 0.92))
        gain = None if over_champion is None else Gain(value=over_champion, ci95=(over_champion, over_champion))
        rival = {"version": 4, "min_gain": 0.01, "estimate": estimate, "gain": gain, **rival}
        decision = decide(
            "accuracy",
            min_gain=0.0,
            rows=100,
            model=estimate,
            baseline=estimate,
            gain=Gain(value=over_baseline, ci95=(0, 0)),
            champion=Rival(**rival),
        )
        return decision.promoted

    assert promoted(0.0, 0.01)
    assert not promoted(0.0, 0.009)
    assert not promoted(-0.001, 0.5)
    assert promoted(0.0, None)  # the champion's predictions are not finite
    assert promoted(0.0, None, estimate=None, problem="it has other columns")
    assert not promoted(-0.001, None, estimate=None, problem="it has other columns")

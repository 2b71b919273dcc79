"""The evaluate step behind the real train step, on small hand-made Datasets."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from tests.unit.train import made_data

from nasflow.core.artifacts import Evaluation
from nasflow.core.errors import DocumentError
from nasflow.core.spec import EvaluateSection, ExperimentSpec, TrainSection
from nasflow.evaluate import baselines, kfp_metrics, step
from nasflow.evaluate.spec import EvaluateSpec
from nasflow.train import step as train_step
from nasflow.train.spec import TrainSpec


def _spec(data, metric="accuracy"):
    return EvaluateSpec(task=data.task, metric=metric, evaluate=EvaluateSection(bootstrap=200))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """`trained(kind)` → (dataset, model), made once."""
    made = {}

    def make(kind):
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind)
            data = made_data.dataset(folder, kind)
            metric = "rmse" if kind == "regression" else "accuracy"
            spec = TrainSpec(task=data.task, metric=metric, train=TrainSection(seeds=1, epochs=2))
            search = made_data.search(folder, data)
            model = train_step.run(
                spec, dataset=data, search=search, work_dir=str(folder / "w"), output=str(folder / "m")
            )
            made[kind] = data, model
        return made[kind]

    return make


def _run(trained, tmp_path, kind, metric="accuracy"):
    data, model = trained(kind)
    places = {"work_dir": str(tmp_path / "w"), "output": str(tmp_path / "e")}
    return step.run(_spec(data, metric), dataset=data, model=model, **places), data, model


def test_the_spec_takes_what_matters():
    experiment = ExperimentSpec.model_validate(
        {"task": "image_classification", "data": {"train": "x", "label": "y"}, "evaluate": {"min_gain": 0.01}}
    )
    spec = EvaluateSpec.of(experiment)
    assert (spec.metric, spec.evaluate.min_gain, spec.seed) == ("accuracy", 0.01, 0)


def test_a_classification(trained, tmp_path):
    evaluation, data, model = _run(trained, tmp_path, "table")
    assert sorted(evaluation.test) == sorted(evaluation.baseline) == ["accuracy", "auc", "f1_macro", "log_loss"]
    assert list(evaluation.other_baselines) == ["tree"]
    assert evaluation.test_rows == 80
    assert evaluation.inputs == {"dataset": data.digest, "model": model.digest}

    confusion = evaluation.json("confusion.json")
    assert confusion["classes"] == list(made_data.CLASSES)
    matrix = np.asarray(confusion["matrix"])
    assert matrix.sum() == 80
    assert np.trace(matrix) / 80 == evaluation.test["accuracy"].value
    assert kfp_metrics.confusion_matrix(evaluation) == (confusion["classes"], confusion["matrix"])

    points = kfp_metrics.confidence_metrics(evaluation)
    assert sorted(points[0]) == ["confidenceThreshold", "falsePositiveRate", "recall"]
    assert (points[-1]["confidenceThreshold"], points[-1]["recall"]) == (0.0, 1.0)
    assert all(a["recall"] <= b["recall"] for a, b in itertools.pairwise(points))

    scalars = kfp_metrics.scalar_metrics(evaluation)
    assert scalars["accuracy"] == evaluation.test["accuracy"].value
    assert scalars["accuracy_low"] <= scalars["accuracy"] <= scalars["accuracy_high"]
    assert scalars["tree_auc"] == evaluation.other_baselines["tree"]["auc"].value
    assert scalars["test_rows"] == 80.0

    golden = evaluation.json("predictions.json")
    bundle = json.loads(Path(model.bundle["golden.json"].uri).read_text())
    assert (golden["rows"], golden["labels"]) == (bundle["rows"], bundle["labels"])
    np.testing.assert_allclose(golden["predictions"], bundle["predictions"], atol=1e-5)

    page = evaluation.file("report.html").decode()
    assert "trained with Adam on batches of 128: at most 100 epochs, fewer where 10 bring nothing" in page
    assert page.count("<svg") == 3
    assert all(reason.split(":")[0] in page.replace("&#39;", "'") for reason in evaluation.decision.reasons)
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )
    assert Evaluation.read(str(tmp_path / "e")).digest == evaluation.digest


def test_a_regression(trained, tmp_path):
    evaluation, *_ = _run(trained, tmp_path, "regression", "rmse")
    assert sorted(evaluation.test) == ["mae", "r2", "rmse"]
    assert evaluation.json("residuals.json")["rows"] == 80
    assert kfp_metrics.confusion_matrix(evaluation) is None
    assert kfp_metrics.confidence_metrics(evaluation) == []
    assert evaluation.file("report.html").decode().count("<svg") == 1


def test_images_have_no_tree_and_a_killed_evaluate_does_not_train_its_baseline_twice(trained, tmp_path, monkeypatch):
    data, model = trained("images")
    places = {"work_dir": str(tmp_path / "w"), "output": str(tmp_path / "e")}
    with monkeypatch.context() as patched:
        patched.setattr(step, "decide", _dies)
        with pytest.raises(KeyboardInterrupt):
            step.run(_spec(data), dataset=data, model=model, **places)
    (kept,) = (tmp_path / "w").rglob("hand_made.npy")
    monkeypatch.setattr(baselines, "hand_made", _dies)
    evaluation = step.run(_spec(data), dataset=data, model=model, **places)
    assert evaluation.other_baselines == {}
    assert np.load(kept).shape == (80, 3)


def _dies(*_, **__):
    raise KeyboardInterrupt


def test_no_test_rows_are_said(trained, tmp_path):
    data, model = trained("table")
    empty = data.model_copy(update={"shards": {**data.shards, "test": ()}}).publish(
        str(tmp_path / "d"), {name: data.file(name) for name in data.files}
    )
    with pytest.raises(DocumentError, match=r"no test rows to judge on; raise data.split.test or name data.test"):
        step.run(_spec(data), dataset=empty, model=model, work_dir=str(tmp_path / "w"), output=str(tmp_path / "e"))


def test_a_changed_bundle_is_refused(trained, tmp_path):
    data, model = trained("table")
    entry = model.bundle["model.keras"].model_copy(update={"sha256": "0" * 64})
    other = model.model_copy(update={"bundle": {**model.bundle, "model.keras": entry}})
    with pytest.raises(DocumentError, match="changed"):
        step.run(_spec(data), dataset=data, model=other, work_dir=str(tmp_path / "w"), output=str(tmp_path / "e"))

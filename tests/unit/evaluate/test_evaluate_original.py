"""`evaluate.compare_optimised`: through preprocess, train and evaluate, on data whose faults are made by hand."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError
from tests.unit.train import made_data

from nasflow.core.artifacts import Dataset, Estimate, Original
from nasflow.core.spec import ExperimentSpec
from nasflow.data.reader import read
from nasflow.evaluate import original
from nasflow.evaluate import step as evaluate_step
from nasflow.evaluate.spec import EvaluateSpec
from nasflow.preprocess import step as preprocess_step
from nasflow.preprocess.spec import PreprocessSpec
from nasflow.train import step as train_step
from nasflow.train.spec import TrainSpec

ROWS, TEST = 400, 400


def _rows(count, seed):
    """The label is the sign of `a`, but nobody near 0; `leak` is the label itself."""
    rng = np.random.default_rng(seed)
    a = rng.uniform(0.2, 2.0, count) * rng.choice([-1, 1], count)
    return {
        "a": a,
        "b": rng.normal(size=count),
        "leak": (a > 0) + rng.normal(0, 0.01, count),
        "y": np.where(a > 0, "u", "v"),
    }


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """400 rows, each three times, and once with the other label; 400 clean test rows."""
    folder = tmp_path_factory.mktemp("files")
    own, test = pa.table(_rows(ROWS, 0)), pa.table(_rows(TEST, 1))
    turned = own.set_column(3, "y", pa.array(["v" if label == "u" else "u" for label in own["y"].to_pylist()]))
    pq.write_table(pa.concat_tables([own, own, own, turned]), folder / "train.parquet")
    pq.write_table(own, folder / "clean.parquet")
    wrong = np.arange(ROWS) % 8 == 0
    labels = np.where(wrong, turned["y"].to_pylist(), own["y"].to_pylist())
    pq.write_table(own.set_column(3, "y", pa.array(labels)), folder / "noisy.parquet")
    pq.write_table(test, folder / "test.parquet")
    return folder


def _judge(files, folder, *, train="train", ignore=(), metric="log_loss", **optimise):
    data = {"train": str(files / f"{train}.parquet"), "test": str(files / "test.parquet"), "label": "y"}
    experiment = ExperimentSpec.model_validate(
        {
            "task": "tabular_classification",
            "objective": metric,
            "data": {**data, "ignore": list(ignore), "optimise": optimise},
            "evaluate": {"compare_optimised": True, "bootstrap": 200, "min_gain": -100},
            "train": {"seeds": 1, "epochs": 60},
        }
    )

    def places(step):
        return {"work_dir": str(folder / "work"), "output": str(folder / step)}

    dataset = preprocess_step.run(PreprocessSpec.of(experiment), **places("preprocess"))
    search = made_data.search(folder, dataset)
    model = train_step.run(TrainSpec.of(experiment), dataset=dataset, search=search, **places("train"))
    spec = EvaluateSpec.of(experiment).model_copy(update={"model_name": None})
    return dataset, evaluate_step.run(spec, dataset=dataset, model=model, **places("evaluate"))


@pytest.mark.slow
def test_the_same_architecture_learns_from_the_data_as_it_was(files, tmp_path):
    dataset, evaluation = _judge(files, tmp_path, ignore=["leak"], drop_duplicates=True, drop_conflicting_labels=True)

    before = Dataset.read(dataset.original_uri)
    assert dataset.remedies == ("drop_duplicates", "drop_conflicting_labels")
    assert before.remedies == ()
    assert before.original_uri == ""
    # 4 × 400 rows as they came; of each 4 the three of the more frequent label are right, and one of them stays
    assert before.rows["train"] + before.rows["validation"] == 4 * ROWS
    assert dataset.rows["train"] + dataset.rows["validation"] == ROWS
    assert before.rows["test"] == dataset.rows["test"] == TEST
    assert np.array_equal(read(before, "test").labels, read(dataset, "test").labels)

    found = evaluation.original
    assert found.rows == (ROWS, 4 * ROWS)
    assert found.problem == ""
    # A quarter of the original labels is wrong: the best honest log-loss there is −ln(3/4) on clean test rows, 0.288.
    assert found.test["log_loss"].value > 0.25
    expected = found.test["log_loss"].value - evaluation.test["log_loss"].value
    assert found.gain.value == pytest.approx(expected)
    assert found.gain.ci95[0] > 0
    assert any(
        "(drop_duplicates, drop_conflicting_labels) helped: " in reason for reason in evaluation.decision.reasons
    )
    assert "same network, original data" in evaluation.file("report.html").decode()


@pytest.mark.slow
def test_a_hidden_leak_lowers_the_score_and_the_reason_says_why(files, tmp_path):
    """The original has a column more than the architecture was found for."""
    dataset, evaluation = _judge(files, tmp_path, train="clean", metric="accuracy", drop_leaks=True)

    assert "leak" in dataset.json("schema.json")["ignored"]
    assert "leak" not in Dataset.read(dataset.original_uri).json("schema.json")["ignored"]
    assert evaluation.original.problem == ""
    assert evaluation.original.rows == (ROWS, ROWS)


@pytest.mark.slow
def test_rows_without_suspect_labels_against_all_rows(files, tmp_path):
    """Every eighth label is wrong: 50 of 400. The original data has them all, the optimised one few."""
    remedies = {"drop_suspect_labels": True, "suspect_share": 0.2, "suspect_probability": 0.7}
    dataset, evaluation = _judge(files, tmp_path, train="noisy", ignore=["leak"], **remedies)

    dropped = dataset.json("statistics.json")["dead"]["dropped: its label is probably wrong"]
    assert 40 <= dropped <= 55
    assert dataset.remedies == ("drop_suspect_labels",)
    assert evaluation.original.rows == (ROWS - dropped, ROWS)
    assert Dataset.read(dataset.original_uri).rows["test"] == dataset.rows["test"] == TEST
    # An eighth of the original labels is wrong: the best honest log-loss there is -ln(7/8) on clean test rows, 0.134.
    assert evaluation.original.test["log_loss"].value > 0.12
    assert evaluation.original.gain.ci95[0] > 0
    assert any("(drop_suspect_labels) helped: " in reason for reason in evaluation.decision.reasons)


def test_there_must_be_something_to_compare():
    given = {"task": "tabular_classification", "data": {"train": "t.csv", "label": "y"}}
    with pytest.raises(ValidationError, match=r"compare_optimised: no remedy of data\.optimise is on"):
        ExperimentSpec.model_validate({**given, "evaluate": {"compare_optimised": True}})


def test_without_the_switch_nothing_is_kept(files, tmp_path):
    data = {"train": str(files / "train.parquet"), "label": "y", "optimise": {"drop_duplicates": True}}
    spec = PreprocessSpec.model_validate({"task": "tabular_classification", "data": data})
    dataset = preprocess_step.run(spec, work_dir=str(tmp_path / "w"), output=str(tmp_path / "d"))
    assert dataset.original_uri == ""
    assert not list((tmp_path / "w").rglob("original"))


def _gain(value, low, high):
    return Original(remedies=("drop_duplicates",), rows=(90, 100), gain=Estimate(value=value, ci95=(low, high)))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (_gain(0.02, 0.01, 0.03), "data.optimise (drop_duplicates) helped: against the same architecture trained on"),
        (_gain(0.02, 0.01, 0.03), "(100 rows instead of 90) the gain in auc is +0.02 (paired 95 % interval +0.01 to"),
        (_gain(-0.02, -0.03, -0.01), "(drop_duplicates) harmed: "),
        (_gain(0.02, -0.01, 0.05), "(drop_duplicates) made no difference that these test rows can show: "),
        (Original(remedies=("drop_leaks",), rows=(1, 1), problem="why"), "helped cannot be said: why."),
        (Original(remedies=("drop_leaks",), rows=(1, 1)), "helped cannot be said: auc has no value."),
    ],
)  # fmt: skip
def test_what_is_said(found, said):
    assert said in original.sentences(found, "auc")[0]


def test_a_loss_where_a_leak_was_hidden_is_explained():
    found = _gain(-0.02, -0.03, -0.01).model_copy(update={"remedies": ("drop_leaks",)})
    assert original.sentences(found, "auc")[0].endswith("without it the score is lower, and honest.")

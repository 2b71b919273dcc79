"""What follows from what has changed: the decision of `weigh`, the experiments that `recall` and `weigh` hand on."""

import json
from typing import get_args

import pytest

from nasflow.core.artifacts import Dataset
from nasflow.core.errors import DocumentError
from nasflow.core.spec import ExperimentSpec
from nasflow.data.schema import Column, Label, Schema
from nasflow.registry._base import Draft
from nasflow.registry.file import FileRegistry
from nasflow.retrain import recall, weigh
from nasflow.retrain.documents import EXPERIMENT, Incumbent
from nasflow.retrain.weigh import Changes, decide, follow, label_drift
from nasflow_pipelines.cli_server import pipeline_option
from nasflow_pipelines.kinds import PIPELINES, RETRAIN, PipelineName

CHAMPION = Incumbent(name="m", version=3, dataset_digest="d", architecture_id="a", values={"depth": 2})


def experiment(**sections):
    data = {"train": "new.csv", "label": "y", **sections.pop("data", {})}
    return ExperimentSpec.model_validate({"task": "tabular_classification", "data": data, **sections})


def changes(drifted=None, columns=(), classes=(), rows=1000):
    return Changes(drifted=drifted or {}, columns=columns, classes=classes, rows_before=1000, rows=rows)


@pytest.mark.parametrize(
    ("found", "section", "action"),
    [
        (None, {}, "keep"),  # the same data
        (changes(), {}, "keep"),
        (changes(), {"when": "always"}, "retrain"),
        (changes({"x": 0.15}), {}, "retrain"),
        (changes({"x": 0.25}), {}, "search"),
        (changes({"x": 0.25}), {"search_above": 0.3}, "retrain"),
        (changes(rows=1199), {}, "keep"),
        (changes(rows=1200), {}, "retrain"),
        (changes(rows=800), {}, "retrain"),
        (changes(rows=1200), {"min_growth": 0.5}, "keep"),
        (changes(columns=("Column 'z' is gone since the earlier dataset.",)), {}, "search"),
        (changes(classes=("Class 'maybe' is new.",)), {}, "search"),
    ],
)
def test_what_changed_decides(found, section, action):
    decided, reasons = decide(experiment(retrain=section), CHAMPION, found)
    assert decided == action
    assert reasons


def test_without_a_champion_the_whole_search_runs():
    nobody = Incumbent(name="m", version=None)
    assert decide(experiment(), nobody, None) == ("search", ["m has no champion: a whole search."])
    assert follow(experiment(), "search", nobody) == experiment()


def test_a_retraining_is_a_search_of_one_trial_and_a_short_search_starts_at_the_champion():
    spec = experiment(retrain={"trials": 5}, search={"budget": {"trials": 100, "epochs": 7}})
    again = follow(spec, "retrain", CHAMPION).search
    assert (again.budget.trials, again.budget.epochs, again.start) == (1, 7, ({"depth": 2},))
    short = follow(spec, "search", CHAMPION).search
    assert (short.budget.trials, short.start) == (5, ({"depth": 2},))
    unknown = CHAMPION.model_copy(update={"values": None})  # found by an earlier nasflow: there is nothing to start at
    assert follow(spec, "retrain", unknown).search.budget.trials == 5
    assert follow(spec, "keep", CHAMPION) == spec


def test_a_label_drifts_beyond_chance_only():
    half = {"a": 500, "b": 500}
    assert label_drift(half, {"a": 500, "b": 500}) == 0
    assert label_drift(half, {"a": 1, "b": 3}) == 0  # index 0.27, and 3 × (1/1000 + 1/4) = 0.75 by chance
    assert label_drift(half, {"a": 50, "b": 150}) == pytest.approx(0.2747, abs=1e-4)  # 0.25 ln 2 + 0.25 ln 1.5
    assert label_drift(half, {"a": 500, "b": 400, "c": 100}) > 0.25


def schema(**kinds):
    columns = tuple(Column(name=n, kind=k, dtype="x", missing=False, reason="") for n, k in kinds.items())
    label = Label(name="y", dtype="string", classes=("no", "yes"))
    return Schema(task="tabular_classification", columns=columns, ignored={}, image=None, label=label)


def test_new_data_get_the_kinds_of_the_champions_columns_unless_the_yaml_says_more():
    spec = experiment(data={"columns": {"b": {"kind": "numeric"}, "a": {"scaling": "log"}}, "ignore": ["c"]})
    data = recall.against(spec, schema(a="integer", b="categorical", c="numeric"), "gs://b/dataset").data
    assert data.compare_with == "gs://b/dataset"
    assert {name: column.kind for name, column in data.columns.items()} == {"a": "integer", "b": "numeric"}
    assert data.columns["a"].scaling == "log"


def test_recall_without_a_champion_and_with_one_of_an_earlier_nasflow(tmp_path):
    spec = experiment(name="m")
    place = {"work_dir": str(tmp_path / "w"), "output": str(tmp_path / "o")}
    document = recall.run(spec, **place)
    assert (document.version, document.values) == (None, None)
    assert ExperimentSpec.model_validate(document.json(EXPERIMENT)) == spec

    registry = FileRegistry(str(tmp_path / "w/registry"))
    registry.register("m", Draft(bundle_uri=str(tmp_path), files={}))
    registry.promote("m", "champion", 1, expected=None)
    with pytest.raises(DocumentError, match=r"m version 1 .* has no dataset/manifest.json in the registry"):
        recall.run(spec, **place)


def dataset(folder, *, label, rows, quality=()):
    statistics = {"quality": list(quality), "label": {"train": label}, "columns": {}}
    made = Dataset(task="tabular_classification", rows={"train": rows}, shards={})
    return made.publish(str(folder), {"statistics.json": json.dumps(statistics).encode()})


def test_changes_are_read_from_the_statistics(tmp_path):
    before = dataset(tmp_path / "a", label={"no": 500, "yes": 500}, rows=1000)
    quality = [
        {"kind": "drift_since", "column": "x", "numbers": {"psi": 0.3}, "text": "Column 'x' has drifted"},
        {"kind": "drift_since", "column": "z", "numbers": {}, "text": "Column 'z' is gone since the earlier dataset."},
        {"kind": "drift", "column": "q", "numbers": {"psi": 9.0}, "text": "between splits: another matter"},
    ]
    now = dataset(tmp_path / "b", label={"no": 50, "yes": 150, "maybe": 1}, rows=201, quality=quality)
    found = weigh.changes_since(before, now)
    assert set(found.drifted) == {"x", "label"}
    assert found.drifted["x"] == 0.3
    assert found.columns == ("Column 'z' is gone since the earlier dataset.",)
    assert found.classes == ("Class 'maybe' is new.",)
    assert found.growth == pytest.approx(0.799)

    incumbent = CHAMPION.model_copy(update={"dataset_uri": before.uri, "dataset_digest": before.digest})
    review = weigh.run(
        experiment(), dataset=now, incumbent=incumbent, work_dir=str(tmp_path / "w"), output=str(tmp_path / "o")
    )
    assert (review.action, review.version) == ("search", 3)
    assert "Class &#39;maybe&#39; is new." in review.file("report.html").decode()
    same = weigh.run(
        experiment(), dataset=before, incumbent=incumbent, work_dir=str(tmp_path / "w"), output=str(tmp_path / "p")
    )
    assert (same.action, same.drifted) == ("keep", {})


def test_the_commands_know_every_pipeline():
    option = pipeline_option(lambda: None).__click_params__[0]
    assert tuple(option.type.choices) == PIPELINES == get_args(PipelineName)
    assert RETRAIN.instead["keep"] == ("search", "train", "evaluate", "register", "deploy")

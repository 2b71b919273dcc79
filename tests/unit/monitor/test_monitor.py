"""The monitor: served rows against a registered version's training data."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

from nasflow.core.artifacts import External
from nasflow.core.errors import UserError
from nasflow.data.histogram import histogram
from nasflow.monitor.reference import Reference
from nasflow.monitor.served import Served
from nasflow.monitor.verdict import Limits, judge
from nasflow.registry._base import Draft, Feature
from nasflow.registry.file import FileRegistry
from nasflow.serving.request_log import LogSettings, Record, RequestLog
from nasflow_pipelines.cli import main

JOBS = ("cook", "smith", "tailor")


def rows(count, seed=0, *, shift=0.0, new=0.0, missing=0.1):
    """Ages around 40, a tenth missing; three jobs alike."""
    rng = np.random.default_rng(seed)
    age = np.clip(rng.normal(40 + shift, 10, count), 5, 95)
    age[rng.random(count) < missing] = np.nan
    job = np.empty(count, object)
    job[:] = np.where(rng.random(count) < new, "pilot", rng.choice(JOBS, count))
    return {"age": age, "job": job}


def answers(raw):
    """Probabilities by age: what drifts with it."""
    old = 1 / (1 + np.exp(-(np.nan_to_num(raw["age"], nan=40) - 40) / 5))
    return np.stack([1 - old, old], axis=1).astype(np.float32)


def statistics(raw):
    text = pa.array([value or None for value in raw["job"]], pa.string())
    columns = {"age": histogram(raw["age"]), "job": histogram(text)}
    return {
        "columns": {
            name: {"bins": {**{key: h[key] for key in ("edges", "texts")}, "counts": {"train": h["counts"]}}}
            for name, h in columns.items()
        }
    }


@pytest.fixture
def registry(tmp_path):
    raw = rows(4000, seed=1)
    said = answers(raw)
    reference = {
        "predictions": {
            "label": histogram(pa.array(np.where(said[:, 1] > 0.5, "old", "young"))),
            "confidence": histogram(said.max(1).astype(np.float64)),
        },
        "columns": {},
    }
    path = tmp_path / "bundle/signature.json"
    path.parent.mkdir()
    path.write_text("{}")
    store = FileRegistry(str(tmp_path / "registry"))
    features = (
        Feature(name="age", kind="numeric", dtype="double", missing=True, low=5, high=95),
        Feature(name="job", kind="categorical", dtype="string", missing=False, categories=JOBS),
    )
    attachments = {
        "dataset/statistics.json": statistics(raw),
        "dataset/transform.json": {"categorical": [{"name": "job", "vocabulary": JOBS}]},
        "evaluation/reference.json": reference,
    }
    store.register(
        "m",
        Draft(
            bundle_uri=str(path.parent),
            files={path.name: External.of(str(path))},
            signature={"classes": ["young", "old"]},
            features=features,
            attachments={name: json.dumps(content).encode() for name, content in attachments.items()},
        ),
    )
    store.promote("m", "champion", 1, expected=None)
    return store


def served(registry, *batches, refused=0, version="1"):
    found = Served(reference=Reference.of(registry, registry.get("m")))
    for raw in batches:
        columns = {"age": [None if np.isnan(v) else v for v in raw["age"]], "job": list(raw["job"])}
        said = answers(raw).tolist()
        found.add(Record(time="t", model="m", version=version, status=200, columns=columns, predictions=said))
    for row in range(refused):
        found.add(Record(time="t", model="m", status=422, error=f"row {row}: column 'age': expected a number"))
    return found


def kinds(verdict):
    return [(alert.kind, alert.column) for alert in verdict.alerts]


def test_the_same_distribution_is_no_alert(registry):
    for seed in range(2, 12):  # chance must not alert: ten samples, each corrected for its columns
        assert kinds(judge(served(registry, rows(500, seed)))) == []


def test_a_shifted_feature_and_its_predictions_drift(registry):
    verdict = judge(served(registry, rows(1000, 2, shift=8)))
    assert ("drift", "age") in kinds(verdict)
    assert ("drift", "job") not in kinds(verdict)
    assert ("prediction_drift", "label") in kinds(verdict)
    assert verdict.drifted
    assert verdict.exit_code == 3
    (age,) = [each for each in verdict.compared if each.column == "age"]
    assert age.test == "Kolmogorov–Smirnov"
    assert (age.n, age.m) == (4000, 1000)
    # by hand: a normal shifted by 0.8 of its deviation has a KS distance of 2 Φ(0.4) − 1 = 0.311
    assert age.statistic == pytest.approx(0.311, abs=0.05)


def test_bad_data_is_named(registry):
    verdict = judge(served(registry, rows(1000, 2, new=0.1, missing=0.3), refused=30))
    found = {alert.kind: alert for alert in verdict.alerts}
    assert found["missing"].column == "age"
    assert "is missing in 3" in found["missing"].text
    assert found["unseen"].column == "job"
    assert "'pilot'" in found["unseen"].text
    assert found["refused"].text.startswith("30 of 31 requests (96.8%) were refused")
    assert "column 'age': expected a number" in found["refused"].text
    far = rows(1000, 3)
    far["age"][:50] = 200.0
    (alert,) = judge(served(registry, far)).alerts
    assert (alert.kind, "in 5.0% of the served rows" in alert.text) == ("out_of_range", True)


def test_few_rows_say_nothing_but_refusals_do(registry):
    verdict = judge(served(registry, rows(50, 2, shift=30)))
    assert (verdict.enough, verdict.alerts, verdict.exit_code) == (False, (), 0)
    assert not judge(served(registry, rows(50, 2, shift=30)), Limits(rows=51)).enough
    assert judge(served(registry, rows(50, 2, shift=30)), Limits(rows=50)).drifted
    assert kinds(judge(served(registry, rows(50, 2), refused=1))) == [("refused", "")]


def test_records_of_other_versions_are_left_out(registry):
    record = Record(time="2026-01-01T00:00:00.000+00:00", model="m", version="7", status=200)
    other = record.model_copy(update={"model": "n", "version": ""})
    reference = Reference.of(registry, registry.get("m"))
    found = Served.of([record, record, other], reference)
    assert dict(found.others) == {"m version 7": 2, "n version ?": 1}
    assert (found.requests, found.rows) == (0, 0)


def test_a_sampled_request_stands_for_others(registry):
    found = served(registry)
    found.add(Record(time="t", model="m", status=200, share=0.1, predictions=[[0.5, 0.5]], dropped=3))
    assert (found.requests, found.rows, found.dropped) == (10, 1, 3)


def test_a_version_of_before_is_refused_with_the_reason(tmp_path):
    path = tmp_path / "bundle/x"
    path.parent.mkdir()
    path.write_text("x")
    store = FileRegistry(str(tmp_path / "registry"))
    store.register("m", Draft(bundle_uri=str(path.parent), files={"x": External.of(str(path))}))
    with pytest.raises(UserError, match=r"m version 1 .* has no dataset/statistics.json in the registry"):
        Reference.of(store, store.get("m"))


def monitor(registry, folder, *more):
    command = ["monitor", "m", "--requests", str(folder), "--registry", registry.uri, *more]
    return CliRunner().invoke(main, command)


def test_the_command_reads_what_the_server_writes_and_its_exit_code_is_the_verdict(registry, tmp_path):
    calm = RequestLog(LogSettings(folder=tmp_path / "calm"), model="m", version="1")
    moved = RequestLog(LogSettings(folder=tmp_path / "moved"), model="m", version="1")
    for seed in range(5):
        raw, far = rows(100, seed), rows(100, seed, shift=9, new=0.2)
        calm.answered(raw, answers(raw))
        moved.answered(far, answers(far))
    calm.close()
    moved.close()
    fine = monitor(registry, tmp_path / "calm")
    assert (fine.exit_code, fine.output.splitlines()[1]) == (0, "no drift, no bad data")
    drifted = monitor(registry, tmp_path / "moved", "-o", str(tmp_path / "out"))
    assert drifted.exit_code == 3
    assert "m version 1: 5 requests, 500 rows, 0 refused" in drifted.output
    assert "ALERT Column 'age' has drifted: population stability index" in drifted.output
    content = json.loads((tmp_path / "out/monitor.json").read_text())
    assert (content["exit_code"], content["drifted"], content["rows"]) == (3, True, 500)
    assert {alert["kind"] for alert in content["alerts"]} >= {"drift", "prediction_drift", "unseen"}
    page = (tmp_path / "out/monitor.html").read_text()
    assert page.count("<svg") == 4
    assert "has texts that are new to the model" in page
    few = monitor(registry, tmp_path / "moved", "--min-rows", "1000")
    assert (few.exit_code, "too few rows" in few.output) == (0, True)
    assert monitor(registry, tmp_path / "moved", "--since", "2099-01-01").exit_code == 0
    assert monitor(registry, tmp_path / "none").exit_code == 2
    assert "--since: expected a time" in monitor(registry, tmp_path / "moved", "--since", "soon").output
    Path(tmp_path / "bad.jsonl").write_text("{}\n")
    assert "line 1: no request record" in monitor(registry, tmp_path / "bad.jsonl").output

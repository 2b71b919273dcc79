"""The train step on small hand-made Datasets, with the real space, network, fit and export."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tests.unit.train import made_data

from nasflow.core.artifacts import Model
from nasflow.core.errors import DocumentError, NasflowError
from nasflow.core.spec import ConstraintsSection, ExperimentSpec, TrainSection
from nasflow.train import step
from nasflow.train.spec import TrainSpec


def _spec(**update):
    return TrainSpec(
        task="tabular_classification", metric="accuracy", train=TrainSection(seeds=2, candidates=2, epochs=3)
    ).model_copy(update=update)


def test_the_spec_takes_what_matters_and_nothing_else():
    experiment = ExperimentSpec.model_validate(
        {
            "task": "tabular_regression",
            "data": {"train": "x.csv", "label": "y"},
            "search": {"budget": {"epochs": 7}},
            "constraints": {"parameters": "10k"},
            "seed": 5,
        }
    )
    spec = TrainSpec.of(experiment)
    assert (spec.metric, spec.constraints.parameters, spec.seed) == ("rmse", 10_000, 5)
    assert spec.model_copy(update={"train": TrainSection(epochs=3)}) != spec
    deployed = experiment.model_copy(update={"deploy": experiment.deploy.model_copy(update={"timeout_seconds": 9})})
    assert TrainSpec.of(deployed) == spec


def test_a_final_training_is_half_as_long_again_as_a_trial(tmp_path):
    search = made_data.search(tmp_path, made_data.dataset(tmp_path), 1)
    left_out = _spec(train=TrainSection(seeds=1))
    assert search.epochs == 10
    assert left_out.epochs(search) == 15
    assert _spec().epochs(search) == 3


def test_seeds_choose_then_the_winner_is_refitted(tmp_path):
    data = made_data.dataset(tmp_path)
    search = made_data.search(tmp_path, data, 2)
    model = step.run(_spec(), dataset=data, search=search, work_dir=str(tmp_path / "w"), output=str(tmp_path / "m"))
    training = model.json("training.json")
    assert [(run["candidate"], run["number"], run["seed"]) for run in training["seed_runs"]] == [
        (0, 0, 0),
        (0, 1, 1),
        (1, 0, 0),
        (1, 1, 1),
    ]
    assert all(len(run["curve"]) == 3 for run in training["seed_runs"])
    chosen = training["chosen"]
    own = [run["score"] for run in training["seed_runs"] if run["candidate"] == chosen["candidate"]]
    assert model.seed_scores == tuple(own)
    assert model.seed == int(np.argmax(own))
    assert training["judged"][chosen["candidate"]] == max(training["judged"])
    candidate = search.candidates[chosen["candidate"]]
    assert (model.architecture_id, model.parameters) == (candidate.architecture_id, candidate.parameters)
    assert len(training["refit"]) == model.epochs == 3
    assert model.inputs == {"dataset": data.digest, "search": search.digest}
    for entry in model.bundle.values():
        entry.check()
    assert not list((tmp_path / "w").rglob("epoch.npz"))  # backups go when the result is safe

    again = step.run(_spec(), dataset=data, search=search, work_dir=str(tmp_path / "w"), output=str(tmp_path / "n"))
    assert again.digest == model.digest
    assert Model.read(str(tmp_path / "n")).bundle == model.bundle


def test_one_candidate_with_one_seed_is_trained_once(tmp_path):
    data = made_data.dataset(tmp_path, "images")
    search = made_data.search(tmp_path, data)
    spec = _spec(task="image_classification", train=TrainSection(seeds=1, candidates=1, epochs=1), seed=3)
    model = step.run(spec, dataset=data, search=search, work_dir=str(tmp_path / "w"), output=str(tmp_path / "m"))
    assert (model.seed_scores, model.seed) == ((), 3)
    assert not list((tmp_path / "w").rglob("seed_runs.jsonl"))


def test_members_together_must_keep_the_limits_and_nothing_is_trained_before(tmp_path, monkeypatch):
    data = made_data.dataset(tmp_path, sizes=(20, 15, 15))
    search = made_data.search(tmp_path, data)
    count = search.candidates[0].parameters
    spec = _spec(
        train=TrainSection(seeds=1, members=3, epochs=1), constraints=ConstraintsSection(parameters=3 * count - 1)
    )
    monkeypatch.setattr("nasflow.models.fit.fit", _dies)
    with pytest.raises(
        NasflowError, match=f"parameters is {3 * count}, .* allows {3 * count - 1}; lower train.members"
    ):
        step.run(spec, dataset=data, search=search, work_dir=str(tmp_path / "w"), output=str(tmp_path / "m"))


@pytest.mark.slow
def test_a_model_of_two_members_answers_with_their_mean(tmp_path):
    """Of logits: the members' probabilities multiplied, rooted, and divided by their sum."""
    data = made_data.dataset(tmp_path)
    search = made_data.search(tmp_path, data)

    def trained(name, *, seed=0, members=1):
        spec = _spec(train=TrainSection(seeds=1, members=members, epochs=2), seed=seed)
        return step.run(
            spec, dataset=data, search=search, work_dir=str(tmp_path / name), output=str(tmp_path / name / "m")
        )

    def answers(model):
        return np.array(json.loads(Path(model.bundle["golden.json"].uri).read_text())["predictions"])

    both, (one, two) = trained("both", members=2), (trained(f"s{seed}", seed=seed) for seed in (0, 1))
    product = np.sqrt(answers(one) * answers(two))
    np.testing.assert_allclose(answers(both), product / product.sum(axis=1, keepdims=True), atol=1e-6)
    assert np.abs(answers(one) - answers(two)).max() > 1e-3
    assert (both.members, both.parameters, both.flops) == (2, 2 * one.parameters, 2 * one.flops)
    assert [len(curve) for curve in both.json("training.json")["members"]] == [2, 2]
    assert "network.onnx" in both.bundle


def test_finished_seed_runs_are_not_repeated(tmp_path, monkeypatch):
    from nasflow.models import export

    data = made_data.dataset(tmp_path)
    search = made_data.search(tmp_path, data)
    spec = _spec(train=TrainSection(seeds=2, epochs=1))
    run = {"dataset": data, "search": search, "work_dir": str(tmp_path / "w"), "output": str(tmp_path / "m")}
    with monkeypatch.context() as patched:
        patched.setattr(export, "export", _dies)
        with pytest.raises(KeyboardInterrupt):
            step.run(spec, **run)
    (ledger,) = (tmp_path / "w").rglob("seed_runs.jsonl")
    lines = ledger.read_bytes()
    model = step.run(spec, **run)
    assert ledger.read_bytes() == lines
    assert list(model.seed_scores) == [json.loads(line)["score"] for line in lines.splitlines()]


def _dies(*_, **__):
    raise KeyboardInterrupt


def test_what_the_search_lacks_is_said(tmp_path):
    data = made_data.dataset(tmp_path, sizes=(20, 15, 15))
    search = made_data.search(tmp_path, data)
    empty = search.model_copy(update={"candidates": ()}).publish(
        str(tmp_path / "e"), {"architectures.json": search.file("architectures.json")}
    )
    unknown = search.publish(str(tmp_path / "u"), {"architectures.json": b"{}"})
    for broken, message in ((empty, "found no candidate"), (unknown, "architectures.json lacks")):
        with pytest.raises(DocumentError, match=message):
            step.candidates_of(broken, _spec())


def test_a_model_that_breaks_a_limit_or_was_counted_wrong_is_refused(tmp_path):
    data = made_data.dataset(tmp_path, sizes=(20, 15, 15))
    candidate = made_data.search(tmp_path, data).candidates[0]
    count = candidate.parameters
    step.assert_within(_spec(constraints=ConstraintsSection(parameters=count)), candidate, count)
    with pytest.raises(NasflowError, match="the search counted"):
        step.assert_within(_spec(), candidate, count + 1)
    with pytest.raises(NasflowError, match=f"constraints.parameters allows {count - 1}"):
        step.assert_within(_spec(constraints=ConstraintsSection(parameters=count - 1)), candidate, count)
    with pytest.raises(NasflowError, match=r"flops is \d+, constraints.flops allows 1"):
        step.assert_within(_spec(constraints=ConstraintsSection(flops=1)), candidate, count)


_RUN = """
import sys
from nasflow.core.artifacts import Dataset, Search
from nasflow.train import step
from nasflow.train.spec import TrainSpec
folder, work = sys.argv[1:3]
step.run(TrainSpec.model_validate_json(sys.argv[3]), dataset=Dataset.read(folder + "/dataset"),
         search=Search.read(folder + "/search"), work_dir=work, output=work + "/model")
"""


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["seed-0-1", "refit/1"])
def test_killed_and_started_again_gives_the_same_model(tmp_path, moment):
    made_data.search(tmp_path, made_data.dataset(tmp_path))
    spec = _spec(train=TrainSection(seeds=2, candidates=1, epochs=80, members=2)).model_dump_json()

    def start(work):
        return subprocess.Popen([sys.executable, "-c", _RUN, str(tmp_path), str(tmp_path / work), spec])

    whole = start("whole")
    killed = start("killed")
    deadline = time.monotonic() + 240
    while not list((tmp_path / "killed").rglob(f"backup/{moment}/epoch.npz")):
        assert killed.poll() is None, "it ended before the moment came"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not Model.exists(str(tmp_path / "killed" / "model"))
    (ledger,) = (tmp_path / "killed").rglob("seed_runs.jsonl")
    before = ledger.read_bytes()
    assert start("killed").wait(timeout=240) == 0
    assert whole.wait(timeout=240) == 0
    assert ledger.read_bytes().startswith(before)
    assert len(ledger.read_bytes().splitlines()) == 2
    models = [Model.read(str(tmp_path / work / "model")) for work in ("whole", "killed")]
    assert models[0].seed_scores == models[1].seed_scores
    assert models[0].seed == models[1].seed
    golden = [json.loads(Path(model.bundle["golden.json"].uri).read_text())["predictions"] for model in models]
    np.testing.assert_allclose(golden[0], golden[1], atol=1e-6)

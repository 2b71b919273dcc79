"""`nasflow trials`: a search of six trials, written by hand, from the command line."""

import csv
import fcntl
import io
import json
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner

from nasflow.core.artifacts import Search, Trials
from nasflow.search.about import About
from nasflow.search.ledger import Ledger
from nasflow.search.record import Record, TrialStatus
from nasflow.search.trials import rows
from nasflow_pipelines import trial_columns
from nasflow_pipelines.cli import main

ABOUT = About(strategy="asha", space="cnn", metric="accuracy", epochs=9)


def run(*arguments):
    return CliRunner().invoke(main, ["trials", *map(str, arguments)])


def ids(*arguments):
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    return [line.split()[0] for line in done.stdout.splitlines()[2:]]


def fill(ledger, scores=(0.5, 0.9, 0.7)):
    """Three completed trials, one that failed, one beyond a limit, one that trains."""
    more = {"architecture_id": "ab" * 8, "costs": {"flops": 10.0, "activations": 6.0}}
    for number, score in enumerate(scores):
        values = {"optimizer": ("sgd", "adam", "adam")[number], "rate": (0.1, 0.01, 0.001)[number]}
        ledger.start(
            Record(
                trial_id=f"000{number}",
                values=values,
                origin="preset" if number == 0 else "strategy",
                parents=("0001",) if number == 2 else (),
                control={"tuner/epochs": (1, 3, 9)[number]},
                parameters=(300, 200, 1_100)[number],
                flops=10,
                **more,
            )
        )
        epochs = (1, 3, 9)[number]
        history = [{"number": epoch + 1, "loss": 1.0, "score": score, "seconds": 0.5} for epoch in range(epochs)]
        ledger.end(
            f"000{number}", "completed", score=score, metrics={"log_loss": 1 - score}, epochs=epochs, seconds=2.0,
            cpu_seconds=1.5, history=history,
        )  # fmt: skip
    ledger.start(Record(trial_id="0003", values={"optimizer": "sgd", "rate": 0.1}, origin="strategy"))
    ledger.end("0003", "failed", message="out of memory: batch 64\nand a second line")
    ledger.start(Record(trial_id="x0000", values={"optimizer": "sgd", "rate": 0.2}, origin="strategy"))
    ledger.end("x0000", "infeasible", message="900 parameters > constraints.parameters 500")
    ledger.start(Record(trial_id="0004", values={"optimizer": "sgd", "rate": 0.3}, origin="shrunk"))
    return ledger


@pytest.fixture
def place(tmp_path):
    """The search's own place below a run folder, whose process was killed."""
    folder = tmp_path / "run" / "work" / "search" / "0123456789abcdef"
    fill(Ledger(str(folder / "ledger.jsonl")))
    ABOUT.write(str(folder / "study.json"))
    (folder / ".lock").touch()
    return folder


def test_second_looks_rank_first_and_say_how_far_apart_they_were(place):
    """0001 (.9) was trained again with .5 and 0002 (.7) with .75: means .7 and .725, spreads .4/√2 and .05/√2."""
    ledger = Ledger(str(place / "ledger.jsonl"))
    for of, score in (("0001", 0.5), ("0002", 0.75)):
        ledger.start(Record(trial_id=f"{of}.1", values={}, origin="look", look_of=of, look=1))
        ledger.end(f"{of}.1", "completed", score=score, epochs=9)
    assert ids(place, "--top", 3) == ["0002", "0001", "0000"]
    assert ids(place, "--sort", "mean", "--where", "mean>0") == ["0002", "0001"]
    shown = run(place, "--columns", "id,mean,spread,trainings,strategy").stdout.splitlines()
    assert "(of all 2 second looks)" in shown[0]
    assert "best mean of 2 trainings 0.725 by trial 0002" in shown[0]
    told = {line.split()[0]: line.split()[1:] for line in shown[2:]}
    assert told["0001"] == ["0.7", "0.28284", "2", "asha"]
    assert told["0002.1"] == ["–", "–", "–", "0002", "once", "more"]
    rows = {row["trial_id"]: row for row in json.loads(run(place, "--json").stdout)}
    assert rows["0001"]["scores"] == [0.9, 0.5]
    assert rows["0001.1"]["look_of"] == "0001"


def test_every_status_of_a_trial_can_be_asked_for():
    """Beside the ledger's there is `stopped`, of a search that no longer runs."""
    assert set(trial_columns.STATUSES) == {*get_args(TrialStatus), "stopped"}


def test_a_killed_search_as_a_table(place, tmp_path):
    done = run(tmp_path / "run")
    assert done.exit_code == 0, done.output
    head, columns, *lines = done.output.splitlines()
    assert head == (
        "asha over cnn, accuracy: 3 completed, 1 failed, 1 infeasible, 1 stopped; best 0.9 by trial 0001 "
        "(stopped before its end: the same `nasflow run` goes on with it)"
    )
    assert columns.split() == [
        *("id", "status", "score", "rung", "epochs", "parameters", "cpu_seconds", "parents", "strategy", "reason"),
    ]
    assert lines[2].split() == ["0002", "completed", "0.7", "9", "9", "1,100", "1.5", "0001", "asha", "–"]
    assert lines[3].endswith("asha          out of memory: batch 64")
    assert lines[5].split() == ["0004", "stopped", "–", "–", "–", "–", "–", "–", "asha,", "shrunk", "–"]
    assert {str(tmp_path / "run"), str(tmp_path / "run" / "work"), str(place), str(place / "ledger.jsonl")} == {
        path for path in map(str, (tmp_path / "run", tmp_path / "run" / "work", place, place / "ledger.jsonl"))
        if run(path).output == done.output
    }  # fmt: skip


def test_a_search_that_a_process_works_at_is_running(place):
    with (place / ".lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as nasflow.core.workspace does
        assert "1 running" in run(place).output
        assert ids(place, "--status", "running") == ["0004"]
    assert ids(place, "--status", "running") == []
    assert "no trial fits" in run(place, "--status", "running").output


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--sort", "score"], ["0001", "0002", "0000", "0003", "x0000", "0004"]),
        (["--sort", "-score"], ["0000", "0002", "0001", "0003", "x0000", "0004"]),
        (["--sort", "parameters"], ["0001", "0000", "0002", "0003", "x0000", "0004"]),
        (["--sort", "-rate"], ["0004", "x0000", "0000", "0003", "0001", "0002"]),
        (["--sort", "log_loss", "--top", "2"], ["0001", "0002"]),
        (["--top", "1"], ["0001"]),
        (["--where", "score>0.6"], ["0001", "0002"]),
        (["--where", "score >= 0.7", "--where", "rung!=9"], ["0001"]),
        (["--where", "optimizer=adam", "--sort", "rate"], ["0002", "0001"]),
        (["--where", "optimizer != sgd"], ["0001", "0002"]),
        (["--where", "values.rate<=0.01"], ["0001", "0002"]),
        (["--where", "reason~memory"], ["0003"]),
        (["--where", "id=0001"], ["0001"]),
        (["--where", "parents=0001"], ["0002"]),
        (["--where", "activations=6"], ["0000", "0001", "0002"]),
        (["--status", "failed", "--status", "infeasible"], ["0003", "x0000"]),
    ],
)
def test_filters_and_orders(place, arguments, expected):
    assert ids(place, *arguments) == expected


def test_less_is_better_where_the_metric_is_a_loss(tmp_path):
    fill(Ledger(str(tmp_path / "ledger.jsonl")), scores=(2.0, 1.0, 3.0))
    About(strategy="random", space="mlp", metric="rmse").write(str(tmp_path / "study.json"))
    assert ids(tmp_path, "--top", "2") == ["0001", "0000"]
    assert "best 1 by trial 0001" in run(tmp_path).output


def test_columns_are_chosen(place):
    lines = run(place, "--columns", "id, genes", "--top", "1").output.splitlines()
    assert [line.split() for line in lines[1:]] == [["id", "optimizer", "rate"], ["0001", "adam", "0.01"]]


def test_json_has_everything(place):
    found = json.loads(run(place, "--json", "--status", "completed").output)
    assert [trial["trial_id"] for trial in found] == ["0000", "0001", "0002"]
    last = found[-1]
    assert (last["generation"], last["rung"], last["strategy"], len(last["history"])) == (1, 9, "asha", 9)
    assert [round(trial["gain"], 9) for trial in found] == [0, 0.4, 0.2]  # the preset has 0.5
    assert found[0]["strategy"] == "preset"


def test_csv_is_unrounded_and_keeps_names_apart(tmp_path):
    ledger = Ledger(str(tmp_path / "ledger.jsonl"))
    ledger.start(Record(trial_id="0000", values={"epochs": 7, "a,b": 'say "x"'}, origin="strategy"))
    ledger.end("0000", "completed", score=1 / 3, epochs=2)
    done = run(tmp_path, "--csv")
    assert done.exit_code == 0, done.output
    (row,) = csv.DictReader(io.StringIO(done.output))
    assert (row["epochs"], row["values.epochs"], row["a,b"]) == ("2", "7", 'say "x"')
    assert float(row["score"]) == 1 / 3
    assert "epochs" in run(tmp_path, "--columns", "id,values.epochs").output


def test_a_finished_run_is_read_from_its_document_without_the_work_dir(tmp_path):
    records = fill(Ledger(str(tmp_path / "elsewhere" / "ledger.jsonl"))).records
    search = Search(
        strategy="evolution", space="cnn", objective="accuracy", epochs=9,
        trials=Trials(completed=3, failed=1, infeasible=1),
        candidates=(),
        stopped_by="trials",
    )  # fmt: skip
    folder = tmp_path / "run" / "documents" / "search"
    search.publish(str(folder), {"trials.json": json.dumps(rows(records, "accuracy")).encode()})
    for path in (tmp_path / "run", folder):
        done = run(path, "--top", "1")
        assert done.exit_code == 0, done.output
        assert done.output.startswith("evolution over cnn, accuracy: 3 completed")
        assert "0001" in done.output.splitlines()[-1]


def test_a_newer_search_comes_before_the_finished_one_and_is_counted(place, tmp_path):
    second = place.parent / "fedcba9876543210" / "ledger.jsonl"
    Ledger(str(second)).start(Record(trial_id="0000", values={}, origin="preset"))
    done = run(tmp_path / "run")
    assert done.output.splitlines()[0].endswith("(not finished); older searches beside it: 1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--where", "scoer>0.9"], "--where: no column 'scoer'; did you mean 'score'? There are: id, status"),
        (["--where", "score"], "--where: cannot read 'score'; write NAME OPERATOR VALUE with one of >= <= !="),
        (["--where", "score>high"], "> needs a number, got 'high'"),
        (["--sort", "rat"], "--sort: no column 'rat'; did you mean 'rate'?"),
        (["--columns", "id,nothing"], "--columns: no column 'nothing'"),
        (["--json", "--csv"], "--json and --csv exclude each other"),
        (["--columns", "id", "--json"], "--columns is for the terminal"),
        (["--top", "0"], "0 is not in the range x>=1"),
        (["--status", "lost"], "'lost' is not one of"),
    ],
)
def test_bad_input_is_exit_code_2(place, arguments, message):
    done = run(place, *arguments)
    assert done.exit_code == 2
    assert message in done.output


def test_a_place_without_a_search_is_exit_code_2(tmp_path):
    for path, message in (
        (tmp_path, "no search has started here"),
        (tmp_path / "none", "no such folder"),
        (tmp_path / "none.jsonl", "no such file"),
        (tmp_path / "none.yaml", "no such file"),
    ):
        done = run(path)
        assert done.exit_code == 2
        assert message in done.output
    Path(tmp_path, "other.jsonl").write_text('{"event": "ended", "a": 1}\n')
    foreign = run(tmp_path / "other.jsonl")
    assert foreign.exit_code == 2
    assert "cannot be read as a search: KeyError" in foreign.output


def test_an_old_ledger_does_not_say_what_is_better(tmp_path):
    fill(Ledger(str(tmp_path / "ledger.jsonl")))
    done = run(tmp_path, "--top", "1")
    assert done.exit_code == 2
    assert "does not say whether more is better" in done.output
    assert ids(tmp_path, "--sort", "parameters", "--top", "1") == ["0001"]


def test_a_line_that_is_being_written_is_no_warning(place, caplog):
    with (place / "ledger.jsonl").open("ab") as file:
        file.write(b'{"event": "ended", "trial_id": "0004", "sta')
    assert ids(place, "--status", "stopped") == ["0004"]
    assert not caplog.records

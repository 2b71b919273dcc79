from nasflow.train.ledger import Ledger, Point, SeedRun


def _run(candidate, number, score):
    return SeedRun(
        architecture_id="a",
        candidate=candidate,
        number=number,
        seed=7 + number,
        score=score,
        seconds=1.5,
        curve=(Point(epoch=1, loss=0.3, score=score),),
    )


def test_runs_come_back_and_a_cut_line_is_only_one_run_lost(tmp_path):
    path = tmp_path / "runs.jsonl"
    ledger = Ledger(str(path))
    assert ledger.read() == {}
    ledger.add(_run(0, 0, 0.9))
    ledger.add(_run(0, 1, None))
    with path.open("ab") as file:
        file.write(b'{"architecture_id": "a", "cand')  # killed inside its line
    ledger.add(_run(1, 0, 0.8))
    runs = ledger.read()
    assert sorted(runs) == [(0, 0), (0, 1), (1, 0)]
    assert runs[0, 0] == _run(0, 0, 0.9)
    assert runs[0, 1].value != runs[0, 1].value  # NaN: failed

"""A ledger's lines, in one file or in several objects."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from nasflow.search.events import Events
from nasflow.search.ledger import Ledger
from nasflow.search.record import Record

EVENT = st.fixed_dictionaries({"event": st.just("beat"), "text": st.text(max_size=60)})


@given(lines=st.lists(EVENT, max_size=15), most=st.integers(1, 400), reopened=st.integers(0, 15))
@settings(max_examples=25, deadline=None)
def test_what_is_written_in_parts_is_read_back_in_order(tmp_path_factory, lines, most, reopened):
    folder = tmp_path_factory.mktemp("events")
    uri = str(folder / "ledger.jsonl")
    events = Events(uri, most_bytes=most)
    for number, line in enumerate(lines):
        if number == reopened:
            events = Events(uri, most_bytes=most)
            assert list(events.read()) == lines[:number]
        events.append(line)
    assert list(Events(uri).read()) == lines  # however large it thinks that parts are
    longest = max((len(json.dumps(line)) + 1 for line in lines), default=0)
    sizes = [path.stat().st_size for path in folder.iterdir()]
    assert all(size <= max(most, longest) for size in sizes)
    assert len(sizes) <= 2 * sum(sizes) / most + 1  # two neighbours are more than one may hold


def test_a_local_ledger_is_one_file(tmp_path):
    ledger = Ledger(str(tmp_path / "ledger.jsonl"))
    for number in range(50):
        ledger.start(Record(trial_id=str(number), values={"text": "x" * 10_000}, origin="strategy"))
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.jsonl"]
    assert Events(str(tmp_path / "ledger.jsonl")).age_seconds() < 60


def test_a_line_that_a_kill_cut_is_closed_off_in_its_part(tmp_path, caplog):
    uri = str(tmp_path / "ledger.jsonl")
    events = Events(uri, most_bytes=40)
    events.append({"event": "one", "text": "x" * 30})
    events.append({"event": "two"})
    with (tmp_path / "ledger.jsonl.1").open("ab") as file:
        file.write(b'{"event": "thr')
    torn = Events(uri, most_bytes=400)
    assert [event["event"] for event in torn.read()] == ["one", "two"]
    assert "ledger.jsonl.1:2: torn line skipped" in caplog.text
    torn.append({"event": "four"})
    assert [event["event"] for event in Events(uri).read()] == ["one", "two", "four"]

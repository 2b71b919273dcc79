import io
import json
import time

from nasflow_pipelines.console import Console


def line(message, **more):
    return json.dumps({"severity": "INFO", "logger": "nasflow.search", "message": message, **more})


def test_only_nasflows_lines_are_shown_and_all_are_kept(tmp_path):
    shown = io.StringIO()
    console = Console(tmp_path / "run.log", shown)
    text = f"    {line('search: started', event='started', step='search', pid=7)}\nlibrary noise\n"
    for piece in (text[:9], text[9:30], text[30:]):  # lines arrive in pieces
        console.write(piece)
    assert (console.step, console.pid) == ("search", 7)
    console.write("12:00:00.123 - INFO - kfp chatter\n" + "-" * 80 + "\nsegmentation fault\n")
    assert console.tail == ["library noise", "segmentation fault"]
    console.write(line("no luck", event="failed", exit_code=2) + "\n" + '{"not": "ours"}\n{broken\nlast')
    assert console.pid is None
    console.close()
    assert [each[8:] for each in shown.getvalue().splitlines()] == ["search: started"]
    kept = (tmp_path / "run.log").read_text()
    assert "library noise" in kept
    assert kept.endswith("last\n")
    assert kept.count("\n") == 9


def test_the_tail_starts_anew_with_each_step_and_is_short(tmp_path):
    console = Console(tmp_path / "run.log", io.StringIO())
    console.write("".join(f"noise {i}\n" for i in range(100)))
    assert console.tail == [f"noise {i}" for i in range(80, 100)]
    console.write(line("train: started", event="started", step="train", pid=1) + "\n")
    assert console.tail == []
    console.close()


def test_time_since_the_start_is_minutes_and_seconds(tmp_path):
    shown = io.StringIO()
    console = Console(tmp_path / "run.log", shown, started=time.monotonic() - 125.2)
    console.say("hello")
    console.close()
    assert shown.getvalue() == "  2:05  hello\n"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_live_lines_take_one_place_on_a_terminal(tmp_path):
    shown = Terminal()
    console = Console(tmp_path / "run.log", shown)
    for part in (1, 2):
        console.write(line(f"part {part}", live=True) + "\n")
    console.write(line("done") + "\n")
    console.close()
    assert shown.getvalue() == "\r\x1b[K  0:00  part 1\r\x1b[K  0:00  part 2\r\x1b[K  0:00  done\n"


def test_live_lines_are_few_elsewhere_and_all_in_the_log(tmp_path, monkeypatch):
    now, shown = [100.0], io.StringIO()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    console = Console(tmp_path / "run.log", shown)
    for second in range(25):
        now[0] = 100.0 + second
        console.write(line(f"part {second}", live=True) + "\n")
    console.close()
    assert [each[8:] for each in shown.getvalue().splitlines()] == ["part 0", "part 10", "part 20"]
    assert (tmp_path / "run.log").read_text().count("part ") == 25

"""Splits by group, time, class and column: what each promises, in any order and batching; golden values."""

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from nasflow.core.artifacts import SPLITS, Dataset
from nasflow.core.errors import DataError
from nasflow.core.spec import DataSection, ExperimentSpec, SplitSection
from nasflow.data.codes import Codes
from nasflow.data.reader import read, read_schema
from nasflow.preprocess import split_survey, step
from nasflow.preprocess.header import check
from nasflow.preprocess.spec import PreprocessSpec
from nasflow.preprocess.split import TEST, TRAIN, VALIDATION, assign, priorities
from nasflow.preprocess.split_keys import KeyPlan, read_keys
from nasflow.preprocess.split_survey import Cuts, Survey

GROUP = KeyPlan(name="patient", by="group", numeric=False)
DAY = KeyPlan(name="day", by="time", numeric=False)
SHARES = st.sampled_from([0.05, 0.1, 0.2, 0.3])


def _groups(values: pa.Array, split: SplitSection, *, csv: bool = False) -> list[int]:
    keys, bad, _ = read_keys(values, GROUP, csv=csv)
    assert not bad.any()
    return assign(priorities(keys, split.salt), split, has_test_file=False).tolist()


def test_golden_groups() -> None:
    # A change of these moves groups between the splits of every Dataset ever made.
    keys, _, _ = read_keys(pa.array(["anna", "bo", "17"]), GROUP, csv=False)
    assert (priorities(keys, "") % 10_000).tolist() == [4990, 122, 5496]
    assert (priorities(keys, "salt") % 10_000).tolist() == [3417, 7406, 765]


def test_a_group_is_the_same_whatever_its_form() -> None:
    forms = [
        (pa.array([17]), False),
        (pa.array([17.0]), False),
        (pa.array(["17"]), False),
        (pa.array([" 17.0"]), True),
        (pa.array(["17"]).dictionary_encode(), False),
    ]
    keys = [read_keys(values, GROUP, csv=csv)[0].tolist() for values, csv in forms]
    assert all(key == keys[0] for key in keys)
    assert read_keys(pa.array([None, "a"]), GROUP, csv=False)[1].tolist() == [True, False]


@settings(deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=3), min_size=1, max_size=60), st.data())
def test_no_group_is_in_two_splits(groups: list[str], data: st.DataObject) -> None:
    split = SplitSection(by="group", key="patient", validation=0.3, test=0.3)
    order = data.draw(st.permutations(range(len(groups))))
    placed = _groups(pa.array(groups), split)
    assert _groups(pa.array([groups[place] for place in order]), split) == [placed[place] for place in order]
    places: dict[str, set[int]] = {}
    for group, place in zip(groups, placed, strict=True):
        places.setdefault(group, set()).add(place)
    assert all(len(found) == 1 for found in places.values())


def _survey(parts: list[Survey]) -> Survey:
    whole = Survey()
    for part in parts:
        whole.merge(part)
    return whole


def _time_survey(batches: list[list[float]]) -> Survey:
    parts = []
    for batch in batches:
        part = Survey()
        part.add_times(np.array(batch, np.float64))
        parts.append(part)
    return _survey(parts)


@settings(deadline=None)
@given(st.lists(st.integers(-5, 40).map(float), min_size=1, max_size=80), SHARES, SHARES, st.data())
def test_time_goes_from_past_to_future(times: list[float], validation: float, test: float, data: st.DataObject) -> None:
    split = SplitSection(by="time", key="t", validation=validation, test=test)
    cuts = _time_survey([times]).cuts(split, has_test_file=False)
    shuffled = data.draw(st.permutations(times))
    cut = data.draw(st.integers(0, len(times)))
    assert _time_survey([shuffled[cut:], shuffled[:cut]]).cuts(split, has_test_file=False) == cuts
    values = np.array(times)
    places = cuts.by_time(values)
    parts = [values[places == place] for place in (TRAIN, VALIDATION, TEST)]
    for earlier, later in ((parts[0], parts[1]), (parts[1], parts[2]), (parts[0], parts[2])):
        if len(earlier) and len(later):
            assert earlier.max() < later.min()
    # The newest moments that together hold at least the share: without the oldest of them it is too small
    wanted = max(1, round(test * len(times)))
    assert len(parts[2]) >= min(wanted, len(times))
    assert (parts[2] > parts[2].min()).sum() < wanted


def test_time_cuts_exactly_where_moments_differ() -> None:
    split = SplitSection(by="time", key="t", validation=0.2, test=0.1)
    cuts = _time_survey([[float(t) for t in range(100)]]).cuts(split, has_test_file=False)
    assert cuts == Cuts(validation_from=70.0, test_from=90.0)  # 10 newest, then 20
    cuts = _time_survey([[float(t) for t in range(100)]]).cuts(split, has_test_file=True)
    assert cuts == Cuts(validation_from=80.0, test_from=None)


def test_times_in_every_form() -> None:
    moment = dt.datetime(2024, 5, 6, 7, 8, 9, tzinfo=dt.UTC)
    expected = moment.timestamp() * 1e6
    naive = moment.replace(tzinfo=None)
    forms = [
        pa.array([moment], pa.timestamp("ns", "Europe/Zurich")),
        pa.array([naive], pa.timestamp("s")),
        pa.array(["2024-05-06T07:08:09"]),
        pa.array(["2024-05-06 09:08:09+02:00"]),
        pa.array(["2024-05-06T07:08:09Z"]),
    ]
    for values in forms:
        times, bad, _ = read_keys(values, DAY, csv=False)
        assert (times.tolist(), bad.tolist()) == ([expected], [False])
    day = dt.datetime(2024, 5, 6, tzinfo=dt.UTC).timestamp() * 1e6
    assert read_keys(pa.array([dt.date(2024, 5, 6)]), DAY, csv=False)[0].tolist() == [day]
    mixed = pa.array(["2024-05-06", "soon", None, "?", "06.05.2024", " 2024-05-06Z"])
    times, bad, _ = read_keys(mixed, DAY, csv=True)
    assert (times[0], bad.tolist()) == (day, [False, True, True, True, True, True])


def _class_survey(batches: list[tuple[list[str], list[int]]]) -> Survey:
    parts = []
    for labels, ranks in batches:
        part = Survey()
        part.add_classes(Codes.of(labels), np.array(ranks, np.uint64))
        parts.append(part)
    return _survey(parts)


_ROWS = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 2**64 - 1)), min_size=1, max_size=120)


@settings(deadline=None)
@given(_ROWS, SHARES, SHARES, st.data())
def test_every_class_is_in_every_split(
    rows: list[tuple[str, int]], validation: float, test: float, data: st.DataObject
) -> None:
    split = SplitSection(by="stratified", validation=validation, test=test)
    labels, ranks = [label for label, _ in rows], [rank for _, rank in rows]
    cuts = _class_survey([(labels, ranks)]).cuts(split, has_test_file=False)
    order = data.draw(st.permutations(rows))
    cut = data.draw(st.integers(0, len(rows)))
    halves = [([label for label, _ in part], [rank for _, rank in part]) for part in (order[cut:], order[:cut])]
    assert _class_survey(halves).cuts(split, has_test_file=False) == cuts
    places = cuts.by_class(Codes.of(labels), np.array(ranks, np.uint64))
    for name in set(labels):
        mine = [(rank, place) for (label, rank), place in zip(rows, places.tolist(), strict=True) if label == name]
        different = len({rank for rank, _ in mine})
        assert len(set(mine)) == different  # equal rows are together
        found = {place for _, place in mine}
        assert found == ({TRAIN, VALIDATION, TEST} if different > 2 else {TRAIN, TEST} if different == 2 else {TRAIN})
        if different == len(mine) > 20:
            assert sum(place == TEST for _, place in mine) == round(test * len(mine))
            assert sum(place == VALIDATION for _, place in mine) == round(validation * len(mine))


def test_a_big_class_is_cut_by_the_hash_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split_survey, "_EXACT_ROWS", 500)
    ranks = np.random.default_rng(0).integers(0, 2**64, 20_000, dtype=np.uint64)
    labels = pa.array(["big"] * 19_990 + ["rare"] * 10)
    survey = Survey()
    for start in range(0, 20_000, 1000):
        survey.add_classes(Codes.of(labels.slice(start, 1000)), ranks[start : start + 1000])
    assert len(survey.classes["big"].values) <= 1500
    cuts = survey.cuts(SplitSection(by="stratified", validation=0.2, test=0.1), has_test_file=False)
    assert cuts.classes["big"] == (int(0.1 * 2**64) - 1, int((0.1 + 0.2) * 2**64) - 1)
    places = cuts.by_class(Codes.of(labels), ranks)
    # standard deviation of a share of 20,000 is at most 0.0035; five of them:
    assert np.allclose([(places == place).mean() for place in (TRAIN, VALIDATION, TEST)], [0.7, 0.2, 0.1], atol=0.018)
    assert np.bincount(places[-10:], minlength=3).tolist() == [7, 2, 1]


def _table(rows: int = 300) -> pa.Table:
    start = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    return pa.table(
        {
            "x": np.arange(rows) * 0.5,
            "patient": [f"p{row // 10}" for row in range(rows)],
            "day": pa.array([start + dt.timedelta(days=(row * 7) % rows) for row in range(rows)]),
            "fold": [("Train", "train", "train", " validation", "TEST")[row % 5] for row in range(rows)],
            "y": ["rare" if row % 100 == 3 else "ab"[row % 2] for row in range(rows)],
        }
    )


def _spec(train: object, **data: object) -> PreprocessSpec:
    task = "tabular_classification"
    return PreprocessSpec.model_validate({"task": task, "data": {"train": str(train), "label": "y", **data}})


def _run(folder: Path, table: pa.Table, split: dict[str, object], **more: object) -> Dataset:
    folder.mkdir(exist_ok=True)
    for place in range(3):
        pq.write_table(table.slice(place * 100, 100), folder / f"{place}.parquet")
    spec = _spec(folder / "*.parquet", split=split, **more)
    return step.run(spec, work_dir=str(folder / "work"), output=str(folder / "out"))


def _labels(dataset: Dataset) -> dict[str, list[int]]:
    return {name: sorted(read(dataset, name).labels.tolist()) for name in SPLITS}


@pytest.mark.parametrize("by", ["group", "time", "stratified", "column"])
def test_whole_runs_do_not_depend_on_the_order_of_rows(tmp_path: Path, by: str) -> None:
    table = _table()
    key = {"group": "patient", "time": "day", "column": "fold"}.get(by)
    split = {"by": by, "key": key, "validation": 0.2, "test": 0.2}
    ignore = [name for name in ("patient", "day", "fold") if name != key]
    one = _run(tmp_path / "one", table, split, ignore=ignore)
    other = _run(tmp_path / "two", table.take(np.random.default_rng(0).permutation(300)), split, ignore=ignore)
    assert one.rows == other.rows
    assert sum(one.rows.values()) == 300
    assert _labels(one) == _labels(other)
    schema, statistics = read_schema(one), one.json("statistics.json")
    assert [column.name for column in schema.columns] == ["x"]
    if key:
        assert f"the split goes by it (data.split.by: {by})" in schema.ignored[key]
        assert ("keep_key" in schema.ignored[key]) == (by != "column")
    match by:
        case "time":  # 300 different days: the cuts are exact
            assert one.rows == {"train": 180, "validation": 60, "test": 60, "dead": 0}
            assert statistics["split"]["test_from"] == "2024-08-28T00:00:00+00:00"  # day 240 of 0–299
        case "stratified":
            assert [statistics["label"][name]["rare"] for name in SPLITS] == [1, 1, 1]
        case "column":
            assert one.rows == {"train": 180, "validation": 60, "test": 60, "dead": 0}
        case "group":
            assert all(rows % 10 == 0 for rows in one.rows.values())  # whole patients


def test_an_interrupted_run_takes_up_its_cuts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split = {"by": "time", "key": "day"}
    with monkeypatch.context() as patch:
        patch.setattr("nasflow.preprocess.statistics.describe", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            _run(tmp_path / "a", _table(), split)
    monkeypatch.setattr(Survey, "cuts", lambda *_, **__: pytest.fail("surveyed again"))
    spec = _spec(tmp_path / "a/*.parquet", split=split)
    dataset = step.run(spec, work_dir=str(tmp_path / "a/work"), output=str(tmp_path / "a/out"))
    assert sum(dataset.rows.values()) == 300


def test_a_key_can_be_kept_as_a_feature(tmp_path: Path) -> None:
    dataset = _run(tmp_path / "a", _table(), {"by": "group", "key": "patient", "keep_key": True, "salt": "a"})
    assert "patient" in [column.name for column in read_schema(dataset).columns]


def test_rows_without_a_usable_key_are_dead_letters(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "x,day,y\n"
        + "".join(f"{n},{'soon' if n == 7 else f'2024-01-{n % 28 + 1:02d}'},{'ab'[n % 2]}\n" for n in range(200))
    )
    spec = _spec(tmp_path / "a.csv", split={"by": "time", "key": "day"}, max_bad_fraction=0.1)
    dataset = step.run(spec, work_dir=str(tmp_path / "work"), output=str(tmp_path / "out"))
    assert dataset.rows["dead"] == 1
    (line,) = dataset.file("dead_letters.jsonl").decode().splitlines()
    assert '"row":8,"column":"day","value":"soon"' in line
    assert "neither a number nor an ISO 8601 date" in line


def test_a_test_file_needs_no_key_and_frees_the_test_share(tmp_path: Path) -> None:
    table = _table()
    pq.write_table(table, tmp_path / "train.parquet")
    pq.write_table(table.slice(0, 50).drop_columns(["fold"]), tmp_path / "test.parquet")
    spec = _spec(
        tmp_path / "train.parquet",
        test=str(tmp_path / "test.parquet"),
        split={"by": "column", "key": "fold"},
        max_bad_fraction=0.5,
    )
    dataset = step.run(spec, work_dir=str(tmp_path / "work"), output=str(tmp_path / "out"))
    assert dataset.rows == {"train": 180, "validation": 60, "test": 50, "dead": 60}
    dead = [found for found in dataset.json("statistics.json")["findings"] if "could not be used" in found]
    assert len(dead) == 1
    assert "split is none of train, validation" in dead[0]


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"by": "group", "key": "patiant"}, "no column 'patiant'; did you mean 'patient'"),
        ({"by": "time", "key": "none"}, r"data\.split\.key: .* has no column 'none'"),
        ({"by": "column", "key": "x"}, r"column 'x' of .* holds double, but by: column needs text"),
        ({"by": "time", "key": "flag"}, r"column 'flag' of .* holds bool, but by: time needs numbers or dates"),
    ],
)
def test_keys_that_cannot_be_are_found_before_anything_runs(
    tmp_path: Path, split: dict[str, object], message: str
) -> None:
    table = _table().append_column("flag", pa.array([True] * 300))
    pq.write_table(table, tmp_path / "a.parquet")
    data = DataSection.model_validate({"train": str(tmp_path / "a.parquet"), "label": "y", "split": split})
    problems = check(data, "tabular_classification")
    assert len(problems) == 1
    with pytest.raises(DataError, match=message):
        raise DataError(problems[0])


def test_a_column_that_never_says_validation(tmp_path: Path) -> None:
    table = _table().set_column(3, "fold", pa.array(["train", "test"] * 150))
    with pytest.raises(DataError, match=r"no usable row has 'validation' in column 'fold'"):
        _run(tmp_path / "a", table, {"by": "column", "key": "fold"})


def test_one_moment_for_all_rows_leaves_nothing_to_train_on(tmp_path: Path) -> None:
    table = _table().set_column(2, "day", pa.array([1] * 300))
    with pytest.raises(DataError, match="no row fell into train"):
        _run(tmp_path / "a", table, {"by": "time", "key": "day"})


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"by": "group"}, "by: group needs a column to go by; name it in key"),
        ({"key": "a"}, "key: 'a' is not used by hash"),
        ({"by": "column", "key": "a", "keep_key": True}, "keep_key: only the key of group or time"),
        ({"by": "random"}, "'hash', 'group', 'time', 'stratified' or 'column'"),
        ({"by": "group", "key": "target"}, "is the label"),
    ],
)
def test_splits_that_cannot_be(split: dict[str, object], message: str) -> None:
    data = {"train": "sample:iris", "label": "target", "split": split}
    with pytest.raises(ValidationError, match=message):
        ExperimentSpec.model_validate({"task": "tabular_classification", "data": data})


def test_numbers_have_no_classes_to_stratify_by() -> None:
    data = {"train": "sample:diabetes", "label": "target", "split": {"by": "stratified"}}
    with pytest.raises(ValidationError, match="stratified needs classes"):
        ExperimentSpec.model_validate({"task": "tabular_regression", "data": data})


def test_images_of_arrays_have_no_key() -> None:
    data = DataSection.model_validate(
        {"train": "sample:digits", "label": "target", "split": {"by": "group", "key": "person"}}
    )
    (problem,) = check(data, "image_classification")
    assert "data.split.key: sample has no columns to split by" in problem

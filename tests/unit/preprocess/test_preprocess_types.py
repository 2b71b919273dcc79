"""Kinds, options and weights of columns, through the whole step."""

import datetime as dt
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nasflow.core.errors import DataError
from nasflow.core.spec import ColumnSection
from nasflow.data.apply import apply
from nasflow.data.golden import read_golden
from nasflow.data.raw import raw_batch
from nasflow.data.raw_test import read_raw_test
from nasflow.data.reader import read, read_schema, read_transform
from nasflow.preprocess import step
from nasflow.preprocess.fitting.categories import fit_categories
from nasflow.preprocess.fitting.numbers import quantile_knots
from nasflow.preprocess.inference import infer
from nasflow.preprocess.moments import read_dates
from nasflow.preprocess.planned import PlannedColumn
from nasflow.preprocess.spec import PreprocessSpec
from nasflow.preprocess.summary import CategoricalSummary

ROWS = 600


def table(rows=ROWS, seed=0):
    """Every kind of a typed file."""
    rng = np.random.default_rng(seed)
    days = rng.integers(0, 900, rows)
    tags = [[str(tag) for tag in rng.choice(["red", "green", "blue"], rng.integers(0, 4))] for _ in range(rows)]
    income = rng.lognormal(8, 2.5, rows)
    amount = np.where(rng.random(rows) < 0.1, np.nan, rng.normal(5, 2, rows))
    amount[3], amount[4] = np.inf, -np.inf
    flag = rng.random(rows) < 0.4
    signal = np.log(income) - 8 + 1.5 * flag + np.array([("red" in row) * 2.0 for row in tags]) + days / 300
    return pa.table(
        {
            "income": income,
            "amount": amount,
            "count": rng.integers(0, 6, rows),
            "flag": pa.array(flag, mask=rng.random(rows) < 0.05),
            "job": rng.choice(["cook", "smith", "größe 🙂"], rows),
            "user": [f"u{n}" for n in rng.integers(0, 300, rows)],
            "seen": pa.array([dt.datetime(2021, 1, 1) + dt.timedelta(days=int(d), hours=int(d) % 24) for d in days]),
            "tags": pa.array(tags),
            "place": pa.array(rng.normal([50, 10], [2, 30], (rows, 2)).tolist(), pa.list_(pa.float64(), 2)),
            "w": rng.exponential(size=rows),
            "y": np.where(signal > np.median(signal), "yes", "no"),
        }
    )


def _spec(train, **data):
    return PreprocessSpec.model_validate(
        {"task": "tabular_classification", "data": {"train": str(train), "label": "y", **data}}
    )


def _run(folder, spec):
    return step.run(spec, work_dir=str(folder / "work"), output=str(folder / "out"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("types")
    pq.write_table(table(), folder / "a.parquet")
    columns = {"user": {"buckets": 32}, "count": {"impute": "constant", "fill": -1, "indicator": True}}
    return _run(folder, _spec(folder / "a.parquet", weight="w", columns=columns))


def test_every_kind_with_its_reasons(made) -> None:
    schema, transform = read_schema(made), read_transform(made)
    columns = {column.name: column for column in schema.columns}
    assert {name: column.kind for name, column in columns.items()} == {
        "income": "numeric", "amount": "numeric", "count": "integer", "flag": "boolean", "job": "categorical",
        "user": "categorical", "seen": "datetime", "tags": "list", "place": "vector",
    }  # fmt: skip
    assert schema.weight == "w"
    assert "data.weight" in schema.ignored["w"]
    assert columns["place"].length == 2
    assert columns["income"].confidence == 1.0
    about = {(column.name, made.about): made for column in schema.columns for made in column.decisions}
    scaling = about["income", "scaling"]
    assert scaling.choice == "log"
    assert "standard deviations from the mean, their logarithms up to" in scaling.reason
    assert about["amount", "scaling"].choice == "zscore"
    assert about["user", "buckets"].reason == "data.columns says so"
    assert about["count", "imputation"].choice == "-1.0"
    assert about["seen", "parts"].choice == "elapsed_days, year, month, day, weekday, hour, day_of_year, is_weekend"
    assert transform.categorical[2].model_dump() == {"name": "user", "vocabulary": (), "oov_buckets": 32}
    assert {column.name: column.scaling for column in transform.numeric} == {
        "income": "log", "amount": "zscore", "count": "zscore",
    }  # fmt: skip
    report = (made.uri and Path(made.uri, "report.html").read_text()) or ""
    for said in (
        "their logarithms up to",
        "infinite values; they count as missing",
        "seen as a category and as a point",
        "2021-01-0",
    ):
        assert said in report, said
    statistics = made.json("statistics.json")["columns"]
    assert statistics["tags"]["top"].keys() == {"red", "green", "blue"}
    assert statistics["seen"]["kind"] == "datetime"


def test_shards_hold_what_the_transform_makes_of_the_rows(made) -> None:
    transform, test, raw = read_transform(made), read(made, "test"), read_raw_test(made)
    for name, values in apply(transform, raw).items():
        assert np.array_equal(test.inputs[name], values), name
        assert np.isfinite(values).all()
    source = table()
    known = dict(zip(np.asarray(source["income"]).tolist(), np.asarray(source["w"]).tolist(), strict=True))
    assert test.weights.tolist() == [known[income] for income in raw["income"].tolist()]
    assert sum(made.rows.values()) == ROWS
    assert made.rows["dead"] == 0


def test_golden_rows_are_as_a_client_sends_them(made) -> None:
    schema, transform, golden = read_schema(made), read_transform(made), read_golden(made)
    row = json.loads(json.dumps(golden.rows[0]))
    assert dt.datetime.fromisoformat(row["seen"]).year >= 2021
    assert isinstance(row["tags"], list)
    assert len(row["place"]) == 2
    found = apply(transform, raw_batch(golden.rows, schema))
    places = {income: place for place, income in enumerate(read_raw_test(made)["income"].tolist())}
    rows = np.array([places[golden_row["income"]] for golden_row in golden.rows])
    test = read(made, "test")
    for name, values in found.items():
        assert np.array_equal(values, test.inputs[name][rows]), name


def test_a_csv_with_lists_dates_and_booleans_as_text(tmp_path) -> None:
    lines = ["when,stay,tags,more,ok,code,x,y"]
    for n in range(120):
        tags = ["red"] * (n % 2) + ["blue"] * (n % 3 == 0)
        listed = json.dumps(tags).replace('"', '""')
        lines.append(
            f'{n % 28 + 1:02d}/{n % 12 + 1:02d}/2023,2023-05-{n % 28 + 1:02d}T10:00:00+02:00,"{listed}",'
            f"{'|'.join(tags)},{'yes' if n % 4 else 'no'},{n % 3},{n}.5,{'ab'[n % 2]}"
        )
    (tmp_path / "a.csv").write_text("\n".join(lines))
    columns = {"more": {"separator": "|"}, "ok": {"kind": "boolean"}, "code": {"kind": "categorical"}}
    dataset = _run(tmp_path, _spec(tmp_path / "a.csv", columns=columns))
    schema, transform = read_schema(dataset), read_transform(dataset)
    found = {column.name: (column.kind, column.format) for column in schema.columns}
    assert found == {
        "when": ("datetime", "%d/%m/%Y"), "stay": ("datetime", None), "tags": ("list", None), "more": ("list", None),
        "ok": ("boolean", None), "code": ("categorical", None), "x": ("numeric", None),
    }  # fmt: skip
    tags, more = transform.lists
    assert tags.vocabulary == more.vocabulary == ("red", "blue")  # 60 and 40 of 120
    (stay,) = [column for column in transform.dates if column.name == "stay"]
    assert "hour" not in stay.ids  # always 8 in UTC
    row = {"when": "17/05/2023", "stay": "2023-05-17", "tags": ["blue", "new"], "more": None, "ok": "no", "code": 2}
    raw = raw_batch([row | {"x": None}], schema)
    assert raw["when"].tolist() == raw["stay"].tolist() == [dt.datetime(2023, 5, 17, tzinfo=dt.UTC).timestamp()]
    plain = dict(
        zip([part.name for part in transform.parts["plain"]], apply(transform, raw)["plain"][0].tolist(), strict=True)
    )
    assert [plain[f"list/tags/{place}"] for place in range(3)] == [0.0, 1.0, 1.0]  # red, blue, another
    assert [plain[f"list/more/{place}"] for place in range(3)] == [0.0, 0.0, 0.0]


def test_what_cannot_be_read_as_its_kind_is_a_dead_letter(tmp_path) -> None:
    rows = [f"{n % 7},2023-01-{n % 28 + 1:02d},{n % 5},{'ab'[n % 2]}" for n in range(200)]
    rows[10], rows[20], rows[30] = "2.5,2023-01-01,1,a", "1,2023-02-30,1,a", "1,2023-01-01,-3,a"
    rows[40], rows[50], rows[60] = "1,2023-01-01,,b", "1,2023-01-01,inf,b", "1,2023-01-01,many,b"
    (tmp_path / "a.csv").write_text("\n".join(["n,day,w,y", *rows]))
    spec = _spec(tmp_path / "a.csv", weight="w", columns={"n": {"kind": "integer"}}, max_bad_fraction=0.1)
    dataset = _run(tmp_path, spec)
    letters = [json.loads(line) for line in Path(dataset.uri, "dead_letters.jsonl").read_text().splitlines()]
    assert [(letter["row"], letter["column"], letter["value"], letter["reason"]) for letter in letters] == [
        (11, "n", "2.5", "not a whole number"), (21, "day", "2023-02-30", "not a date or time"),
        (31, "w", "-3", "weight is negative"), (41, "w", "", "weight is missing"),
        (51, "w", "inf", "weight is not finite"), (61, "w", "many", "weight is not a number"),
    ]  # fmt: skip
    assert dataset.rows["dead"] == 6
    assert sum(dataset.rows.values()) == 200


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"columns": {"incom": {"kind": "numeric"}}}, r"data\.columns: 'incom' is no column of .* mean 'income'\?"),
        ({"columns": {"job": {"scaling": "log"}}}, r"column 'job' .*scaling is for numeric and integer columns, this"),
        ({"columns": {"tags": {"kind": "datetime"}}}, r"column 'tags' .*kind: datetime cannot be read from list"),
        ({"columns": {"user": {"discrete": True}}}, r"discrete is for numeric and integer columns"),
        ({"columns": {"income": {"discrete": True}}}, r"columns\.income\.discrete: .* different values, at most 256"),
        ({"weight": "wait"}, r"data\.weight: 'wait' is no column of"),
        ({"weight": "zero"}, r"data\.weight: 'zero' is 0 in every train row"),
        ({"weight": "job", "max_bad_fraction": 0.5}, r"400 × weight is not a number\. First: \S* row 1 column 'job'"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_yaml_is_one_clear_error(tmp_path, data, message) -> None:
    pq.write_table(table(400).append_column("zero", pa.array(np.zeros(400))), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=message):
        _run(tmp_path, _spec(tmp_path / "a.parquet", **data))


@pytest.mark.parametrize(
    ("cells", "csv", "kind", "confidence"),
    [
        (["1", "2", "x"] + ["3"] * 200, True, "integer", 0.7961),  # 202 of 203, and few different: × .8
        ([f"{n}.5" for n in range(30)], True, "numeric", 1.0),
        (["1", "2"] * 20, False, "categorical", 1.0),  # typed as text: somebody wanted text
        (["2023-01-01", "2023-01-02"], False, "datetime", 1.0),
        (["03/04/2023", "05/06/2023"], True, "datetime", 0.5),  # April or March?
        (["13/04/2023", "05/06/2023"], True, "datetime", 1.0),
        (["[1, 2]", "[3, 4.5]"], True, "vector", 0.9),
        (["[1]", "[3, 4]"], True, "list", 0.8),
        (['["a"]', "[]", ""], True, "list", 0.9),
        (["TRUE", "false"], True, "boolean", 1.0),
        (["99-99-9999", "98-98-9998"], True, "categorical", 0.5),
    ],
)
def test_text_is_taken_for_what_it_most_likely_is(cells, csv, kind, confidence) -> None:
    found = infer(pa.array(cells), csv=csv)
    assert (found.kind, found.confidence) == (kind, confidence), found.reason


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"kind": "boolean", "scaling": "log"}, "scaling is for numeric and integer columns, this one is boolean"),
        ({"impute": "constant"}, "impute: constant and fill go together"),
        ({"clip": [3, 1]}, "clip must be two numbers, the smaller first"),
        ({"buckets": 8, "vocabulary": 10}, "buckets hashes every value"),
        ({"format": "dd/mm/yyyy"}, "has no % directive"),
    ],
)
def test_options_that_contradict_each_other(options, problem) -> None:
    with pytest.raises(ValueError, match=problem):
        ColumnSection.model_validate(options)


def test_quantile_knots_are_the_samples_ranks() -> None:
    sample = np.sort(np.random.default_rng(0).exponential(size=4_000))
    knots, ranks = quantile_knots(sample, float(sample[0]) / 2, float(sample[-1]) * 2, rows=100_000)
    assert len(knots) <= 259
    assert np.all(np.diff(knots) > 0)
    assert np.all(np.diff(ranks) >= 0)
    assert (ranks[-1], knots[-1]) == (1 - 0.5 / 100_000, float(sample[-1]) * 2)
    middle = np.interp(np.log(2), knots, ranks)  # the median of an exponential distribution
    assert middle == pytest.approx(0.5, abs=0.02)
    assert quantile_knots(np.empty(0), 3.0, 3.0, rows=1)[0] == [3.0, 6.0]  # always two


@pytest.mark.parametrize(
    ("texts", "form", "seconds"),
    [
        (["1970-01-02", " 1970-01-01T00:00:01.5 ", None], None, [86_400.0, 1.5, np.nan]),
        (["1970-01-01T00:00:00Z", "1970-01-01T01:00:00+01:00"], None, [0.0, 0.0]),
        (["1970-01-01", "1970-01-01T00:00:00-00:30", "soon"], None, [0.0, 1_800.0, np.nan]),  # some with a zone
        (["31/12/1969 23:59", "30/02/2023 10:00"], "%d/%m/%Y %H:%M", [-60.0, np.nan]),
        (["1500", "x"], "unix_ms", [1.5, np.nan]),
    ],
)
def test_dates_as_people_write_them(texts, form, seconds) -> None:
    np.testing.assert_array_equal(read_dates(pa.array(texts, pa.string()), form), seconds)


def test_each_scaling_does_to_the_training_rows_what_it_promises(tmp_path) -> None:
    rng = np.random.default_rng(5)
    values = rng.lognormal(2, 1, 3_000)
    gone = rng.random(3_000) < 0.05
    scalings = ("zscore", "robust", "minmax", "log", "quantile_uniform", "quantile_normal")
    columns = {name: pa.array(values, mask=gone) for name in scalings}
    pq.write_table(pa.table(columns | {"y": np.where(values > 7, "a", "b")}), tmp_path / "a.parquet")
    options = {name: {"scaling": name, "impute": "median", "indicator": True} for name in scalings}
    dataset = _run(tmp_path, _spec(tmp_path / "a.parquet", columns=options, optimise={"drop_leaks": False}))
    transform, train = read_transform(dataset), read(dataset, "train")
    names = [part.name for part in transform.parts["numeric"]]
    tensor = {name: train.inputs["numeric"][:, place] for place, name in enumerate(names)}
    for scaling in scalings:
        found, missing = tensor[f"numeric/{scaling}"], tensor[f"missing/{scaling}"] == 1
        assert 0.02 < missing.mean() < 0.08
        present = found[~missing].astype(np.float64)
        assert found[missing] == pytest.approx(np.median(present), abs=0.02), scaling  # median imputation
        quartiles = np.quantile(present, [0.25, 0.5, 0.75])
        if scaling == "robust":
            assert quartiles[1] == pytest.approx(0, abs=1e-6)
            assert quartiles[2] - quartiles[0] == pytest.approx(1.349, abs=1e-5)
        elif scaling == "minmax":
            assert (present.min(), present.max()) == (0.0, 1.0)
        elif scaling == "quantile_uniform":
            assert np.quantile(present, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.005)
        else:
            assert (present.mean(), present.std()) == pytest.approx((0, 1), abs=0.02)
        if scaling == "quantile_normal":
            assert quartiles == pytest.approx([-0.6745, 0, 0.6745], abs=0.02)


def test_what_a_vocabulary_does_not_hold_shares_buckets() -> None:
    top = [(f"user {n:05d}", 2) for n in range(10_000)]
    counted = CategoricalSummary(count=20_300, missing=0, distinct=10_300, exact=True, top=top)
    facts = SimpleNamespace(summary=SimpleNamespace(categorical={"user": counted}))
    fitted = fit_categories(PlannedColumn(name="user", kind="categorical", dtype="string", reason=""), facts)
    transform = fitted.transforms["categorical"]
    assert (len(transform.vocabulary), transform.oov_buckets) == (10_000, 512)  # the power of two from 300
    assert [(made.about, made.choice) for made in fitted.decisions] == [
        ("vocabulary", "10,000 values"), ("oov_buckets", "512"),
    ]  # fmt: skip
    few = PlannedColumn(
        name="user", kind="categorical", dtype="string", reason="", options=ColumnSection(vocabulary=3, oov_buckets=7)
    )
    transform = fit_categories(few, facts).transforms["categorical"]
    assert (transform.vocabulary, transform.ids) == (("user 00000", "user 00001", "user 00002"), 2 + 3 + 6)

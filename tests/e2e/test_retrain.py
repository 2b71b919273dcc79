"""A model in production and its data move on: `nasflow retrain`, with a champion that loses and with one that wins."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.e2e.command import QUICK, Nasflow, write_spec

from nasflow.registry.file import FileRegistry

pytestmark = pytest.mark.slow


def write_data(path: Path, rows: int, *, shift: float = 0.0, turned: bool = False, seed: int = 0) -> None:
    """Two classes by a line through two numbers; turned by a right angle, an old model is no better than chance."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=rows), rng.normal(size=rows)
    signal = x - y if turned else x + y
    town = rng.choice(["Ulm", "Bonn"], rows)
    label = np.where(signal + 0.1 * rng.normal(size=rows) > 0, "yes", "no")
    pq.write_table(pa.table({"x": x + shift, "y": y, "town": town, "label": label}), path)


def summary_of(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text())


def test_the_champion_loses_then_wins_then_stays(nasflow: Nasflow, tmp_path: Path) -> None:
    data = {name: tmp_path / f"{name}.parquet" for name in ("first", "moved", "more")}
    write_data(data["first"], 500)
    write_data(data["moved"], 800, shift=2.0, turned=True, seed=1)
    write_data(data["more"], 1200, shift=2.0, turned=True, seed=2)
    spec = write_spec(
        tmp_path,
        name="line",
        task="tabular_classification",
        data={"train": str(data["first"]), "label": "label"},
        retrain={"trials": 2},
    )
    first = nasflow("run", str(spec), *QUICK, "--set=train.epochs=10")
    assert first.code == 0, first.stderr
    registry = FileRegistry(str(tmp_path / "runs/line/work/registry"))
    assert registry.aliases("line") == {"challenger": 1, "champion": 1}
    out = tmp_path / "runs/line-retrain"

    # the same data: nothing to do
    kept = nasflow("retrain", str(spec), *QUICK)
    assert kept.code == 0, kept.stderr
    summary = summary_of(out)
    assert (summary["status"], summary["retrain"]["action"], summary["retrain"]["champion"]) == ("succeeded", "keep", 1)
    assert summary["search"] is summary["model"] is None
    assert list(summary["seconds"]) == ["recall", "preprocess", "weigh"]
    assert "new data ask for  keep" in kept.stdout

    # the world has turned: a short search from the champion's architecture; its model beats the champion
    won = nasflow("retrain", str(spec), *QUICK, f"--set=data.train={data['moved']}", "--set=train.epochs=30")
    assert won.code == 0, won.stderr
    summary = summary_of(out)
    assert summary["retrain"]["action"] == "search"
    assert summary["retrain"]["drifted"]["x"] > 0.25
    assert summary["search"]["trials"]["completed"] == 2
    assert summary["champion"]["version"] == 1
    assert summary["champion"]["problem"] == ""
    assert summary["champion"]["test"]["accuracy"]["value"] < 0.75 < summary["test"]["accuracy"]["value"]
    assert (summary["decision"]["promoted"], summary["deployed"], summary["model"]["version"]) == (True, True, 2)
    assert registry.aliases("line") == {"challenger": 2, "champion": 2}
    search = json.loads((out / "documents/search/trials.json").read_text())
    champion = json.loads(registry.attachment(registry.get("line", version=1), "search/manifest.json"))
    assert search[0]["values"] == champion["candidates"][0]["values"]  # it starts where the champion stands

    # more rows of the new world, but hardly any training: the champion's architecture again, and the champion stays
    lost = nasflow(
        "retrain",
        str(spec),
        *QUICK,
        f"--set=data.train={data['more']}",
        "--set=train.epochs=1",
        "--set=search.budget.epochs=1",
    )
    assert lost.code == 0, lost.stderr
    summary = summary_of(out)
    assert summary["retrain"]["action"] == "retrain"
    assert any("training rows instead of" in reason for reason in summary["retrain"]["reasons"])
    assert summary["search"]["trials"]["completed"] == 1
    assert (
        summary["search"]["best"]["architecture_id"]
        == json.loads(registry.attachment(registry.get("line", version=2), "model/manifest.json"))["architecture_id"]
    )
    assert summary["champion"]["version"] == 2
    assert summary["champion"]["gain"]["value"] < 0
    assert (summary["decision"]["promoted"], summary["deployed"]) == (False, False)
    assert registry.aliases("line") == {"challenger": 3, "champion": 2}
    assert "reports/weigh.html" in {str(path.relative_to(out)) for path in out.rglob("*.html")}

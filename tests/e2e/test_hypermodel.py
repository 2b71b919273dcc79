"""A HyperModel that was written for plain Keras Tuner, from raw data to a served model."""

import json
import shutil
from pathlib import Path

import pytest
from tests.e2e.command import QUICK, Nasflow, write_spec

WRITTEN = Path(__file__).parents[1] / "unit" / "models" / "written_for_keras_tuner.py"


@pytest.mark.slow
def test_a_hypermodel_is_searched_registered_and_deployed(
    nasflow: Nasflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(WRITTEN, tmp_path / "mine.py")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    spec = write_spec(
        tmp_path,
        name="mine",
        task="image_classification",
        data={"train": "sample:digits", "label": "target"},
        constraints={"parameters": 3000},
        search={"space": "mine:ConvModel", "space_settings": {"classes": 10}, "strategy": "random"},
    )
    done = nasflow("run", str(spec), "--output", str(tmp_path / "out"), *QUICK)
    assert done.code == 0, done.stderr[-3000:]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["status"] == "succeeded"
    assert summary["search"]["trials"]["completed"] == 2
    # A convolution with 4 filters has 40 + 1450 parameters, one with 8 has 80 + 2890, 12 would break the limit.
    assert summary["search"]["best"]["parameters"] in (1490, 2970, 64 * 8 + 8 + 90, 64 * 16 + 16 + 170)
    assert summary["deployed"]

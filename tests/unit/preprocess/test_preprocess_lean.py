"""What a local run imports, and the pictures that need no library to be drawn."""

import json
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nasflow.preprocess import pictures
from nasflow.preprocess.hashing import MISSING_TEXT, text_bits

PROBE = """
import sys
from nasflow.preprocess import step
from nasflow.preprocess.spec import PreprocessSpec
step.run(PreprocessSpec.model_validate_json(sys.argv[1]), work_dir=sys.argv[2], output=sys.argv[3])
print(" ".join(sorted({name.partition(".")[0] for name in sys.modules})))
"""
UNUSED = {"pandas", "matplotlib", "pymongo", "bson", "sklearn", "scipy", "tensorflow", "keras"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["table", "images"])
def test_a_local_run_imports_nothing_that_it_does_not_use(tmp_path: Path, kind: str) -> None:
    if kind == "table":
        source = tmp_path / "rows.csv"
        source.write_text("x,c,y\n" + "".join(f"{row},{row % 3},{row % 2}\n" for row in range(400)))
        task, label = "tabular_classification", "y"
    else:
        source, task, label = tmp_path / "train-images-idx3-ubyte", "image_classification", "label"
        pixels = np.random.default_rng(0).integers(0, 256, (400, 8, 8)).astype(np.uint8)
        source.write_bytes(struct.pack(">4I", 0x803, 400, 8, 8) + pixels.tobytes())
        labels = bytes(row % 2 for row in range(400))
        (tmp_path / "train-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, 400) + labels)
    spec = json.dumps({"task": task, "data": {"train": str(source), "label": label}})
    command = [sys.executable, "-c", PROBE, spec, str(tmp_path / "work"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert {"apache_beam", "pyarrow"} <= loaded
    assert not loaded & UNUSED
    assert "bson" not in done.stderr


def test_a_process_collects_no_garbage_before_it_works() -> None:
    probe = (
        "import gc, sys; from nasflow.preprocess import __main__, lean; before = gc.isenabled(), gc.get_freeze_count();"
        "lean.begun(); print(before, gc.isenabled(), gc.get_freeze_count() > 10_000)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout == "(False, 0) True True\n"


def test_missing_text_is_empty_text() -> None:
    import pyarrow as pa

    assert text_bits(pa.array([""]))[0] == MISSING_TEXT


def test_class_balance_by_hand() -> None:
    """Half of 4 training rows is 50 %; names are escaped; the longest bar has the width of its share of the axis."""
    classes = {"train": {"a<b": 2, "c": 2}, "validation": {"c": 1}, "test": {}}
    drawn = str(pictures.class_balance(["a<b", "c"], SimpleNamespace(classes=classes)))  # type: ignore[arg-type]
    assert "a&lt;b" in drawn
    assert "a<b" not in drawn
    widths = [float(part.split('"')[0]) for part in drawn.split(' width="')[1:]][4:]  # the whole, and the legend's
    left = 10 + 6.2 * 3
    whole = 640 - left - 60
    assert widths == [round(share * whole, 1) for share in (0.5, 0, 0, 0.5, 1, 0)]


def test_examples_are_pngs_of_the_pixels() -> None:
    import base64
    import io

    from PIL import Image

    pixels = [[[0], [255]], [[7], [9]]]
    drawn = str(pictures.examples(SimpleNamespace(pictures=[("k", pixels)])))  # type: ignore[arg-type]
    encoded = drawn.split("base64,")[1].split('"')[0]
    assert np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded)))).tolist() == [[0, 255], [7, 9]]

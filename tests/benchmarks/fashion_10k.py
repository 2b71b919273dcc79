"""Fashion-MNIST with 12,000 training images (2,000 of them for validation) and all test images, within 600 CPU-seconds.

    .venv/bin/python tests/benchmarks/fashion_10k.py          # writes runs/fashion_10k and says how to run it

The budget is the one that the peers of research had: search, retraining, evaluation and all imports together. `time` of
the command shows what was used. The preset alone is searched (one trial), and the model is the mean of two networks.
"""

import gzip
import struct
from pathlib import Path

SOURCE = Path("/usr/share/datasets/fashion-mnist")
FOLDER = Path("runs/fashion_10k")
ROWS = {"train": 12_000, "t10k": 10_000}
_HEADER = {"images-idx3": 16, "labels-idx1": 8}
SPEC = """\
name: fashion-10k
task: image_classification
data:
  train: {folder}/train-images-idx3-ubyte
  test: {folder}/t10k-images-idx3-ubyte
  label: label
  split: {{validation: 0.1667}}
objective: accuracy
search:
  space: cnn
  budget: {{trials: 1, epochs: 6}}
train: {{seeds: 1, members: 2, epochs: 16}}
"""


def main() -> None:
    """Writes the first rows of both sets, and the YAML."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for split, rows in ROWS.items():
        for kind, header in _HEADER.items():
            name = f"{split}-{kind}-ubyte"
            whole = gzip.decompress((SOURCE / f"{name}.gz").read_bytes())
            each = (len(whole) - header) // struct.unpack_from(">I", whole, 4)[0]
            kept = whole[:4] + struct.pack(">I", rows) + whole[8 : header + rows * each]
            (FOLDER / name).write_bytes(kept)
    (FOLDER / "experiment.yaml").write_text(SPEC.format(folder=FOLDER.resolve()))
    print(f"time nasflow run {FOLDER}/experiment.yaml --output {FOLDER}/run --work-dir {FOLDER}/work")


if __name__ == "__main__":
    main()

"""A bare loop over IDX images: decode, keep 80/10/10 apart, write. Nothing is counted, hashed or looked at.

python preprocess_images_plain.py IMAGES OUTPUT
"""

import gzip
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa


def main(images: str, output: str) -> None:
    with gzip.open(images) as file:
        _, count, height, width = np.frombuffer(file.read(16), ">u4")
        pixels = np.frombuffer(file.read(), np.uint8).reshape(count, height * width)
    with gzip.open(images.replace("images-idx3", "labels-idx1")) as file:
        file.read(8)
        labels = np.frombuffer(file.read(), np.uint8)
    places = np.arange(count) % 10
    for split, chosen in (("train", places > 1), ("validation", places == 1), ("test", places == 0)):
        rows = pixels[chosen]
        table = pa.table(
            {
                "image": pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), int(height * width)),
                "label": pa.array(labels[chosen]),
            }
        )
        Path(output).mkdir(parents=True, exist_ok=True)
        with pa.ipc.new_file(f"{output}/{split}.arrow", table.schema) as writer:
            writer.write_table(table, max_chunksize=8192)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])

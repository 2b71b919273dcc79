import base64
import math
import shutil
import struct
import threading
import zlib

import numpy as np
import pytest

from nasflow.core.artifacts import External, bundle_digest
from nasflow.core.errors import DataError, DocumentError
from nasflow.serving.bundle import Bundle


def png(pixels):
    """A 2 × 2 grey PNG, from the format's definition."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(row) for row in pixels)
    header = struct.pack(">IIBBBBB", 2, 2, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def entries(folder):
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): External.of(str(path)) for path in paths}


def text(*values):
    return np.array(values, dtype=object)


def test_tabular_predictions_are_those_of_the_formula(handmade_bundle):
    bundle = Bundle.load(str(handmade_bundle("tabular")))
    answer = bundle.predict({"age": np.array([0.0, math.nan, 2.0]), "home city": text("rome", "paris", "")})
    # z = 0, 1, 2 and P(yes) = 1 / (1 + e^-z)
    assert answer[:, 1] == pytest.approx([0.5, 0.7310586, 0.8807971], abs=1e-6)
    assert answer.shape == (3, 2)
    assert answer.sum(axis=1) == pytest.approx([1, 1, 1], abs=1e-6)
    assert bundle.signature.classes == ("no", "yes")


def test_regression_gives_one_number_a_row(handmade_bundle):
    bundle = Bundle.load(str(handmade_bundle("regression")))
    assert bundle.predict({"x": np.array([3.5, math.nan])}).tolist() == [8.0, 1.0]
    assert bundle.golden.predictions == (8.0, 1.0)


def test_encoded_images_are_decoded_inside_the_model(handmade_bundle):
    bundle = Bundle.load(str(handmade_bundle("files")))
    answer = bundle.predict({"image": text(png([[0, 0], [0, 0]]), png([[255, 255], [255, 0]]))})
    assert answer[:, 1].tolist() == [0.0, 0.75]


def test_an_image_that_cannot_be_decoded_is_named(handmade_bundle):
    bundle = Bundle.load(str(handmade_bundle("files")))
    with pytest.raises(DataError, match="row 2, column image"):
        bundle.predict({"image": text(png([[0, 0], [0, 0]]), b"GIF no")})


def test_wrong_columns_are_named(handmade_bundle):
    bundle = Bundle.load(str(handmade_bundle("regression")))
    with pytest.raises(DataError, match=r"missing columns \['x'\], unknown columns \['z'\]"):
        bundle.predict({"z": np.array([1.0])})


def test_many_threads_get_their_own_answers(handmade_bundle):
    bundle = Bundle.load(str(handmade_bundle("regression")))
    answers = {}

    def ask(number):
        for _ in range(20):
            answers[number] = bundle.predict({"x": np.array([float(number)])}).tolist()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: [2.0 * number + 1] for number in range(8)}


def test_digests_are_checked_before_anything_is_loaded(handmade_bundle, tmp_path):
    folder = shutil.copytree(handmade_bundle("regression"), tmp_path / "bundle")
    good = entries(folder)
    assert Bundle.load(str(folder), good, digest=bundle_digest(good)).schema.task == "tabular_regression"

    variables = folder / "saved_model/variables/variables.data-00000-of-00001"
    content = bytearray(variables.read_bytes())
    content[0] ^= 1
    variables.write_bytes(bytes(content))
    with pytest.raises(DocumentError, match=r"variables\.data-00000-of-00001: sha256 is .* it was changed"):
        Bundle.load(str(folder), good)
    with pytest.raises(DocumentError, match="the bundle's digest is"):
        Bundle.load(str(folder), digest=bundle_digest(good))


def test_a_deleted_file_is_named(handmade_bundle, tmp_path):
    folder = shutil.copytree(handmade_bundle("regression"), tmp_path / "bundle")
    good = entries(folder)
    (folder / "model.keras").unlink()
    with pytest.raises(DocumentError, match=r"bundle/model\.keras: missing"):
        Bundle.load(str(folder), good)


@pytest.mark.parametrize("name", ["signature.json", "schema.json", "transform.json", "golden.json"])
def test_a_folder_that_is_no_bundle(handmade_bundle, tmp_path, name):
    folder = shutil.copytree(handmade_bundle("regression"), tmp_path / "bundle")
    (folder / name).write_text('{"task": 1}')
    with pytest.raises(DocumentError, match=f"{name}: damaged"):
        Bundle.load(str(folder))
    (folder / name).unlink()
    with pytest.raises(DocumentError, match=f"no bundle here \\(no {name}\\)"):
        Bundle.load(str(folder))


def test_no_saved_model(handmade_bundle, tmp_path):
    folder = shutil.copytree(handmade_bundle("regression"), tmp_path / "bundle")
    shutil.rmtree(folder / "saved_model")
    with pytest.raises(DocumentError, match="no SavedModel here"):
        Bundle.load(str(folder))


def test_the_png_of_these_tests_is_a_png():
    assert base64.b64encode(png([[0, 0], [0, 0]])).startswith(b"iVBORw0KGgo")

"""Folders of texts, labelled lines, the sample of docstrings."""

import gzip
from pathlib import Path

import pytest

from nasflow.core.errors import DataError
from nasflow.core.spec import DataSection
from nasflow.preprocess.sources.find import find


def batches(train: str | Path, label: str = "y"):
    source = find(DataSection(train=str(train), label=label), "tabular_classification").train
    found = [batch for piece in source.pieces() for batch in source.read(piece)]
    rows = [tuple(row.values()) for batch in found for row in batch.columns.to_pylist()]
    return source, rows, [letter for batch in found for letter in batch.dead], found


def test_a_folder_of_folders_is_a_row_a_file(tmp_path: Path) -> None:
    for name, data in {
        "sport/1.txt": b"\xef\xbb\xbfThe match",
        "sport/deep/2.TXT": b"two\nlines\n",
        "science/1.md": "Größe".encode(),
        "science/bad.txt": b"broken \xff\xfe here",
        "science/.hidden.txt": b"no",
        "readme": b"no text file",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    source, rows, dead, found = batches(tmp_path)
    assert source.form == "text folder"
    assert rows == [("Größe", "science"), ("The match", "sport"), ("two\nlines\n", "sport")]
    assert [(Path(d.file).name, d.row, d.column, d.reason) for d in dead] == [("bad.txt", 1, "text", "not UTF-8 text")]
    assert dead[0].value == "broken \\xff\\xfe here"
    assert [Path(found[0].file(row)).name for row in range(3)] == ["1.md", "1.txt", "2.TXT"]


def test_fasttext_lines(tmp_path: Path) -> None:
    lines = [
        b"__label__a first text",
        b"",
        b"__label__b  second\ttext",
        b"__label__a __label__b two",
        b"no label",
        b"__label__a \xff",
        b"__label__b",
        *[b"__label__a more"] * 40,
    ]
    (tmp_path / "train.txt.gz").write_bytes(gzip.compress(b"\n".join(lines)))
    _, rows, dead, found = batches(tmp_path / "train.txt.gz")
    assert rows[:3] == [("first text", "a"), (" second\ttext", "b"), ("", "b")]
    assert len(rows) == 43
    assert found[0].rows[:3].tolist() == [1, 3, 7]
    assert [(d.row, d.reason) for d in dead] == [(4, "more than one label"), (5, "no label"), (6, "not UTF-8 text")]


def test_lines_of_label_and_text(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("\ufeffpos\tgood\r\nneg\tbad\tworse\n\tnothing\n" + "pos\tfine\n" * 30)
    _, rows, dead, _ = batches(tmp_path / "train.txt")
    assert rows[:2] == [("good", "pos"), ("bad\tworse", "neg")]
    assert [(d.row, d.reason) for d in dead] == [(3, "no label")]
    (tmp_path / "lines").mkdir()
    (tmp_path / "lines" / "a.txt").write_text("x\t1\n")
    assert batches(tmp_path / "lines")[1] == [("1", "x")]


def test_lines_without_labels_say_what_to_write(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("just text\n" * 3)
    with pytest.raises(DataError, match=r"without labels, e.g. 'just text'; write each as '__label__CLASS text'"):
        batches(tmp_path / "train.txt")
    (tmp_path / "train.txt").write_text("")
    with pytest.raises(DataError, match="no text in it"):
        batches(tmp_path / "train.txt")
    for name, line in (("a", "x\ttext"), ("b", "__label__x text")):
        (tmp_path / f"{name}.txt").write_text(line)
    with pytest.raises(DataError, match="write their labels differently"):
        batches(tmp_path / "[ab].txt")


def test_a_folder_of_images_with_a_readme_stays_one(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.png").write_bytes(b"")
    (tmp_path / "cat" / "about.txt").write_text("cats")
    source = find(DataSection(train=str(tmp_path), label="y"), "image_classification").train
    assert source.form == "image folder"


def test_the_docstrings_are_real_texts() -> None:
    source, rows, dead, _ = batches("sample:docstrings", "target")
    assert not dead
    assert len(rows) > 900
    assert len({name for _, name in rows}) == 10
    assert any("K-Means" in text for text, name in rows if name == "cluster")
    assert all(len(text.split()) >= 6 for text, _ in rows)
    assert next(source.profiles()).sample.num_rows == len(rows)

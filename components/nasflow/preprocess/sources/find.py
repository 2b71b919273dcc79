"""From what the user wrote in ``data.train`` and ``data.test`` to sources."""

import dataclasses
import difflib
import fnmatch
import glob
import re
from pathlib import Path
from typing import cast

from nasflow.core.errors import DataError
from nasflow.core.spec import CsvSection, DataSection, Task
from nasflow.core.storage import absolute, is_local, local_path, storage_for
from nasflow.preprocess.sources import class_folders, sample_texts, samples
from nasflow.preprocess.sources._base import ImageSource, Role, Source, TableSource
from nasflow.preprocess.sources.arrays import ArrayImages, ArrayTable, has_test
from nasflow.preprocess.sources.arrow_files import ArrowSource
from nasflow.preprocess.sources.csv_files import CsvSource
from nasflow.preprocess.sources.files import COMPRESSED
from nasflow.preprocess.sources.idx import IdxSource, is_idx, labels_file
from nasflow.preprocess.sources.image_folder import SUFFIXES, ImageFolder, class_images
from nasflow.preprocess.sources.image_table import ImageTable, image_fingerprints
from nasflow.preprocess.sources.json_lines import JsonLines
from nasflow.preprocess.sources.parquet_files import ParquetSource
from nasflow.preprocess.sources.sample_texts import SampleTexts
from nasflow.preprocess.sources.text_folder import SUFFIXES as TEXTS
from nasflow.preprocess.sources.text_folder import TextFolder
from nasflow.preprocess.sources.text_lines import TextLines
from nasflow.preprocess.sources.tfrecords import TfRecords

_PARQUET = (".parquet", ".pq")
_CSV = tuple(kind + packed for kind in (".csv", ".tsv") for packed in ("", *COMPRESSED))
_JSON = tuple(kind + packed for kind in (".jsonl", ".ndjson") for packed in ("", *COMPRESSED))
_ARROW = (".arrow", ".feather", ".ipc")
_TFRECORD = tuple(kind + packed for kind in (".tfrecord", ".tfrecords") for packed in ("", ".gz"))
_LINES = tuple(kind + packed for kind in TEXTS for packed in ("", *COMPRESSED))
_TABLES = (*_PARQUET, *_CSV, *_JSON, *_ARROW, *_TFRECORD)
_KNOWN = (
    "Parquet, CSV, JSON lines (.jsonl), Arrow IPC (.arrow, .feather), TFRecord, .npz, IDX images, labelled lines "
    "(.txt), a folder of image or text folders, or sample:NAME"
)
_WILD = re.compile(r"[*?\[]")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where the rows come from."""

    train: Source
    test: Source | None

    @property
    def by_role(self) -> dict[Role, Source]:
        """Without the missing one."""
        return {"train": self.train, **({"test": self.test} if self.test else {})}

    def tables(self) -> list[TableSource]:
        """Both, where they are tables."""
        return [cast("TableSource", source) for source in self.by_role.values()]

    def images(self) -> list[ImageSource]:
        """Both, where they are images."""
        return [cast("ImageSource", source) for source in self.by_role.values()]

    def fingerprints(self) -> dict[str, str]:
        """Of every file, for the step's reuse key."""
        found = {file: storage_for(file).fingerprint(file) for s in self.by_role.values() for file in s.files}
        for role, source in self.by_role.items():
            if isinstance(source, samples.SampleTable | samples.SampleImages | SampleTexts):
                found[role] = samples.fingerprint(source.name)
            if isinstance(source, ImageTable):
                found |= image_fingerprints(source)
        return found


def find(data: DataSection, task: Task) -> Sources:
    """The sources of an experiment.

    Raises:
        DataError: nothing there, an unknown type, or one that does not fit the task.
    """
    train = find_one("data.train", data.train, data, task)
    test = None
    if data.test is not None:
        test = find_one("data.test", data.test, data, task)
    elif isinstance(train, ArrayTable | ArrayImages) and has_test(train.files[0]):
        test = dataclasses.replace(train, role="test")
    return Sources(train=train, test=test)


def find_one(key: str, uri: str, data: DataSection, task: Task) -> Source:
    """The source that one URI names.

    Raises:
        DataError: see `find`.
    """
    source = _find(key, uri, data, task)
    if data.image is not None:
        if source.kind == "image":
            raise DataError(f"data.image: {uri!r} is {source.form}, which has no columns; remove data.image")
        table = cast("TableSource", source)
        return ImageTable(
            table=table,
            column=data.image,
            label=data.label,
            key=data.split.key,
            weight=data.weight,
            mixed=task != "image_classification",
        )
    wanted = "image" if task == "image_classification" else "table"
    if source.kind != wanted:
        fix = "task: image_classification" if source.kind == "image" else "a tabular task"
        if source.kind == "table":
            fix += ", or name the column of image paths in data.image"
        raise DataError(
            f"{key}: {uri!r} is {source.form}, which holds {'images' if source.kind == 'image' else 'a table'}; "
            f"task {task} cannot use it. Set {fix}, or name other data"
        )
    return source


def _find(key: str, uri: str, data: DataSection, task: Task) -> Source:
    label = data.label
    if uri.startswith(samples.PREFIX):
        name = samples.check_name(uri, label)
        if task == "image_classification" and name == "digits":
            return samples.SampleImages(name=name)
        return SampleTexts() if name == sample_texts.NAME else samples.SampleTable(name=name)
    root = absolute(uri)
    files, is_folder = _files(key, uri, root)
    if all(is_idx(file) for file in files):
        if len(files) > 1:
            raise DataError(f"{key}: {uri!r} matches {len(files)} IDX files; name one")
        return IdxSource(files=(files[0], labels_file(files[0])), label=label)
    if is_folder and task != "image_classification" and (texts := _texts(root, files)):
        return TextFolder(root=root, label=label, files=texts)
    tables = [file for file in files if file.lower().endswith(_TABLES)]
    if is_folder and data.image is not None and not tables:
        raise DataError(f"data.image: the folder {uri!r} holds no table; name the table of paths and labels")
    if is_folder and not tables:
        if any(file.lower().endswith(SUFFIXES) for file in files) or task == "image_classification":
            return ImageFolder(root=root, label=label, files=class_images(root, files))
        if lines := [file for file in files if file.lower().endswith(_LINES)]:
            return TextLines.of(tuple(lines), label)
        raise DataError(f"{key}: the folder {uri!r} holds no table; nasflow reads {_KNOWN}")
    return _by_suffix(key, uri, tables if is_folder else files, data, task)


def _texts(root: str, files: list[str]) -> tuple[str, ...]:
    """The text files in class folders, where the folder holds no tables or images; else none."""
    others = any(file.lower().endswith((*_TABLES, *SUFFIXES)) for file in files)
    return () if others else class_folders.classed(root, files, TEXTS)


def _by_suffix(key: str, uri: str, files: list[str], data: DataSection, task: Task) -> Source:
    kinds = {_suffix_kind(file, data.csv) for file in files}
    if len(kinds) > 1:
        raise DataError(f"{key}: {uri!r} matches files of several types ({', '.join(sorted(kinds))}); name one type")
    match kinds.pop():
        case "Parquet":
            return ParquetSource(files=tuple(files))
        case "CSV":
            return CsvSource(files=tuple(files), options=data.csv)
        case "text lines":
            return TextLines.of(tuple(files), data.label)
        case "JSON lines":
            return JsonLines.of(tuple(files), data.label)
        case "Arrow IPC":
            return ArrowSource(files=tuple(files))
        case "TFRecord":
            return TfRecords.of(tuple(files), data.label)
        case "npz" if len(files) == 1:
            kind = ArrayImages if task == "image_classification" else ArrayTable
            return kind(files=tuple(files), label=data.label)
        case "npz":
            raise DataError(f"{key}: {uri!r} matches {len(files)} .npz files; name one")
    raise DataError(f"{key}: {files[0]!r} is of a type that nasflow does not read; it reads {_KNOWN}")


def _suffix_kind(file: str, csv: CsvSection) -> str:
    name = file.lower()
    forms = {
        "Parquet": _PARQUET,
        "CSV": _CSV,
        "JSON lines": _JSON,
        "Arrow IPC": _ARROW,
        "TFRecord": _TFRECORD,
        "text lines": _LINES,
    }
    for form, suffixes in forms.items():
        if name.endswith(suffixes):
            return form
    if name.endswith(".npz"):
        return "npz"
    # Who says how a CSV file is written has one, whatever its name ends in: UCI's are adult.data and adult.test.
    return "CSV" if csv != CsvSection() else Path(name).suffix or "no suffix"


def _files(key: str, uri: str, root: str) -> tuple[list[str], bool]:
    """The files that a path, folder or glob names, sorted; and whether it was a folder."""
    storage = storage_for(root)
    if is_local(root) and local_path(root).is_file():
        return [root], False
    if _WILD.search(root):
        if is_local(root):
            found = [path for path in glob.glob(root, recursive=True) if Path(path).is_file()]  # noqa: PTH207  # absolute
        else:
            prefix = _WILD.split(root, maxsplit=1)[0].rpartition("/")[0]
            found = [file for file in storage.list(prefix) if fnmatch.fnmatchcase(file, root)]
        if not (files := _visible(root, found)):
            raise DataError(f"{key}: {uri!r} matches no file; look at the pattern and the folder")
        return files, False
    if not is_local(root) and storage.exists(root):
        return [root], False
    if files := _visible(root, storage.list(root)):
        return files, True
    if is_local(root) and local_path(root).is_dir():
        raise DataError(f"{key}: the folder {uri!r} is empty")
    where = "" if uri == root or not is_local(root) else f", looked for in {Path.cwd()}, where the command was given"
    raise DataError(f"{key}: no such file: {uri!r}{where}{_suggestion(root)}")


def _visible(root: str, files: list[str]) -> list[str]:
    """Without hidden files and markers such as ``_SUCCESS``, in the root or below."""
    base = (_WILD.split(root, maxsplit=1)[0].rpartition("/")[0] if _WILD.search(root) else root).rstrip("/") + "/"
    return sorted(f for f in files if not any(part.startswith((".", "_")) for part in f.removeprefix(base).split("/")))


def _suggestion(root: str) -> str:
    if not is_local(root) or not local_path(root).parent.is_dir():
        return ""
    path = local_path(root)
    close = difflib.get_close_matches(path.name, [other.name for other in path.parent.iterdir()], n=1)
    return f"; did you mean {close[0]!r}?" if close else ""

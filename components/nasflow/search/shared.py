"""The splits in memory once, however many workers there are: decoded by the search, mapped by each worker."""

import dataclasses
import json
from pathlib import Path

import numpy as np

from nasflow.core.artifacts import Dataset
from nasflow.data.reader import read
from nasflow.data.tensors import Tensors
from nasflow.search.job import Setup

_ABOUT = "tensors.json"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """What every trial is trained and judged on."""

    train: Tensors
    validation: Tensors

    @property
    def joined(self) -> Tensors:
        """Train, then validation."""
        return self.train.join(self.validation)


def write(data: Data, folder: Path) -> None:
    """One ``.npy`` a tensor and split. The system's page cache holds them once for all processes."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {}
    for split, tensors in (("train", data.train), ("validation", data.validation)):
        arrays = {f"inputs.{name}": values for name, values in tensors.inputs.items()}
        arrays |= {
            field.name: getattr(tensors, field.name)
            for field in dataclasses.fields(tensors)
            if isinstance(getattr(tensors, field.name), np.ndarray)
        }
        for name, values in arrays.items():
            np.save(folder / f"{split}.{name}.npy", values, allow_pickle=False)
        about[split] = sorted(arrays)
    (folder / _ABOUT).write_text(json.dumps(about))


def mapped(folder: Path) -> Data:
    """What `write` left there, mapped read-only: nothing is read before it is looked at.

    Raises:
        FileNotFoundError: nothing is there.
    """
    about = json.loads((folder / _ABOUT).read_text())
    splits = {}
    for split, names in about.items():
        arrays = {name: np.load(folder / f"{split}.{name}.npy", mmap_mode="r") for name in names}
        inputs = {name.removeprefix("inputs."): a for name, a in arrays.items() if name.startswith("inputs.")}
        others = {name: array for name, array in arrays.items() if not name.startswith("inputs.")}
        splits[split] = Tensors(inputs=inputs, **others)
    return Data(train=splits["train"], validation=splits["validation"])


def data_of(setup: Setup) -> Data:
    """A worker's: mapped where it sees the folder, else read from the Dataset's shards, wherever they are.

    Raises:
        DocumentError: the Dataset is damaged.
        FileNotFoundError: the setup names no Dataset either.
    """
    if setup.tensors_path is not None and Path(setup.tensors_path, _ABOUT).exists():
        return mapped(Path(setup.tensors_path))
    if setup.dataset_uri is None:
        raise FileNotFoundError(f"no tensors at {setup.tensors_path}, and no Dataset to read them from")
    dataset = Dataset.read(setup.dataset_uri)
    return Data(train=read(dataset, "train"), validation=read(dataset, "validation"))

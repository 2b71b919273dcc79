"""The presets of `text`, without any search, beside TF-IDF and logistic regression, on real texts of a Debian machine.

    python -m tests.benchmarks.texts --sets packages docstrings apps languages --seeds 3 --output runs/texts.jsonl

Both sides see the same rows and the same token ids. `tfidf_linear` is the baseline of `evaluate`: words and pairs of
words, sublinear, regularised as the validation rows like it, then fitted on training and validation rows. A preset is
trained as `train` trains it, on training and validation rows, for 1.5 times the epochs of a trial. "study" is the
preset with the best validation accuracy after a trial's training, as a search of presets alone returns it.

A seed is another split (15 % test, 10 % validation) and other first weights. CPU seconds of one TensorFlow thread.

packages     in which section is a Debian package, by its line of description (`apt-get update` brings them)
docstrings   scikit-learn's documentation strings by subpackage (`sample:docstrings`)
apps         in which main category is a desktop application, by its description of some paragraphs (AppStream)
languages    in which language is an application's one-line summary (AppStream; 20 languages, 600 rows each at most)
registries   is a one-line summary of a PyPI or of an npm package (`--tables FOLDER` with pypi.tsv and npm.tsv)
"""

import argparse
import gzip
import html
import json
import os
import re
import resource
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Rows = list[tuple[str, str]]
"""(class, text)."""
LISTS = Path("/var/lib/apt/lists")
SECTIONS = (
    *("admin", "database", "editors", "electronics", "fonts", "games", "graphics", "hamradio", "mail", "math", "net"),
    *("science", "sound", "text", "video", "web"),
)
CATEGORIES = (
    *("AudioVideo", "Development", "Education", "Game", "Graphics", "Network", "Office", "Science", "Settings"),
    *("System", "Utility"),
)
_REGISTRY_ROWS = 60_000
SPEC = """\
name: {name}
task: text_classification
data:
  train: {file}
  label: label
  split: {{validation: 0.1, test: 0.15, salt: "{seed}"}}
objective: accuracy
"""


def main() -> None:
    """Prints a row a set and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=["packages", "docstrings", "apps", "languages"], choices=SETS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="of a trial; as `search` does, if left out")
    parser.add_argument("--presets", type=int, nargs="*", help="their numbers; all, if left out")
    parser.add_argument("--tables", type=Path, default=Path(), help="where pypi.tsv and npm.tsv are")
    parser.add_argument("--output", type=Path, help="a JSON line a set and seed is added here")
    flags = parser.parse_args()
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "OMP_NUM_THREADS": "1"}
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    for name in flags.sets:
        rows = SETS[name](flags.tables)
        for seed in range(flags.seeds):
            found = {"set": name, "seed": seed, **_compare(name, rows, seed, flags)}
            print(json.dumps(found), flush=True)
            if flags.output:
                flags.output.parent.mkdir(parents=True, exist_ok=True)
                with flags.output.open("a") as file:
                    file.write(json.dumps(found) + "\n")


def _compare(name: str, rows: Rows, seed: int, flags: argparse.Namespace) -> dict[str, Any]:
    from nasflow.core.sections.search import BudgetSection
    from nasflow.evaluate.text_baselines import tfidf_linear
    from nasflow.models.build import build
    from nasflow.models.fit import fit
    from nasflow.models.predict import predict
    from nasflow.search.budget import epochs_of
    from nasflow.spaces.text import TextSpace

    splits, inputs, output = _tensors(name, rows, seed)
    train, validation, test = splits
    both = train.join(validation)

    def accuracy(answers: Any, labels: Any) -> float:
        return round(float((np.argmax(answers, axis=1) == labels).mean()), 4)

    started = time.process_time()
    answers = tfidf_linear(train, validation, test, inputs=inputs, output=output, seed=seed)
    found: dict[str, Any] = {
        "rows": [split.rows for split in splits],
        "classes": output.classes,
        "length": inputs.texts[0].length,
        "ids": inputs.texts[0].ids,
        "linear": accuracy(answers, test.labels),
        "linear_cpu": round(time.process_time() - started, 1),
    }
    space, tried = TextSpace(inputs=inputs, output=output), []
    trial = flags.epochs or epochs_of(BudgetSection(), rows=train.rows)
    for place, values in enumerate(space.presets()):
        if flags.presets is not None and place not in flags.presets:
            continue
        architecture, started = space.architecture(values), time.process_time()
        model = build(architecture, inputs, output, seed=seed)
        epochs = fit(model, architecture.recipe, train, output=output, epochs=trial, seed=seed, validation=validation)
        model = build(architecture, inputs, output, seed=seed)
        fit(model, architecture.recipe, both, output=output, epochs=round(1.5 * trial), seed=seed)
        tried.append(
            {
                "preset": f"{place} {values['form']} {values.get('body', '')}".strip(),
                "validation": round(float(epochs[-1].score or 0.0), 4),
                "test": accuracy(predict(model, test, output), test.labels),
                "parameters": model.count_params(),
                "cpu": round(time.process_time() - started, 1),
            }
        )
    found["presets"] = tried
    found["study"] = max(tried, key=lambda each: each["validation"])["test"]
    found["peak_mebibytes"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return found


def _tensors(name: str, rows: Rows, seed: int) -> tuple[tuple[Any, Any, Any], Any, Any]:
    """((train, validation, test), inputs, output), by `nasflow.preprocess` in a process of its own."""
    from nasflow.core.artifacts import Dataset
    from nasflow.data.reader import read, read_transform

    with tempfile.TemporaryDirectory() as folder:
        file, spec, place = Path(folder) / "rows.txt", Path(folder) / "spec.yaml", f"{folder}/dataset"
        file.write_text("".join(f"{label}\t{' '.join(text.split())}\n" for label, text in rows))
        spec.write_text(SPEC.format(name=name, file=file, seed=seed))
        command = [".venv/bin/python", "-m", "nasflow.preprocess", "--spec", str(spec), "--output", place]
        subprocess.run([*command, "--work-dir", f"{folder}/work"], check=True, capture_output=True)
        dataset = Dataset.read(place)
        transform = read_transform(dataset)
        train, validation, test = (read(dataset, split) for split in ("train", "validation", "test"))
        train, validation, test = (each.take(np.arange(each.rows)) for each in (train, validation, test))  # not mapped
        return (train, validation, test), transform.inputs, transform.output


def packages(_: Path) -> Rows:
    """As `pipelines/examples/packages.yaml` has them."""
    listed = subprocess.run(["apt-cache", "dumpavail"], check=True, capture_output=True, text=True).stdout
    found: Rows = []
    for entry in listed.split("\n\n"):
        section = re.search(r"^Section: (?:.*/)?(\S+)$", entry, re.MULTILINE)
        text = re.search(r"^Description(?:-en)?: (.+)$", entry, re.MULTILINE)
        if section and text and section[1] in SECTIONS:
            found.append((section[1], text[1]))
    return found


def docstrings(_: Path) -> Rows:
    """As `sample:docstrings`."""
    from nasflow.preprocess.sources.sample_texts import _docstrings

    return [(name, text) for name, text in dict.fromkeys(_docstrings())]


def apps(_: Path) -> Rows:
    """Applications with one main category, by summary and description."""
    found: dict[str, str] = {}
    for entry in _components():
        listed = re.findall(r"^- (\w+)$", _block(entry, "Categories"), re.MULTILINE)
        mains = [name for name in listed if name in CATEGORIES]
        summary, description = (_translations(_block(entry, key)).get("C", "") for key in ("Summary", "Description"))
        text = html.unescape(re.sub(r"<[^>]*>", " ", f"{summary} {description}".replace("\\n", " ")))
        if len(mains) == 1 and len(text.split()) > 3:
            found.setdefault(" ".join(text.split()), mains[0])
    return [(category, text) for text, category in found.items()]


def languages(_: Path) -> Rows:
    """The 20 languages with most summaries; C, which is English, is left out where others repeat it."""
    found: dict[str, str] = {}
    for entry in _components():
        for language, text in _translations(_block(entry, "Summary")).items():
            found.setdefault(text, language)
    rows = [(language, text) for text, language in found.items() if "@" not in language]
    most = [language for language, _ in Counter(language for language, _ in rows).most_common(20)]
    rng = np.random.default_rng(0)
    kept: Rows = []
    for language in most:
        own = [row for row in rows if row[0] == language]
        kept += [own[place] for place in np.sort(rng.permutation(len(own))[:600])]
    return kept


def registries(tables: Path) -> Rows:
    """As many of each, drawn at random."""
    rng, kept = np.random.default_rng(0), Rows()
    for name in ("pypi", "npm"):
        with (tables / f"{name}.tsv").open() as file:
            next(file)
            texts = {re.sub(r"^\[[^]]*\] ", "", line.rstrip("\n").rsplit("\t", 1)[-1]) for line in file}
        known = sorted(text for text in texts if len(text.split()) > 3)
        kept += [(name, known[place]) for place in rng.permutation(len(known))[:_REGISTRY_ROWS]]
    return kept


def _components() -> Iterator[str]:
    for path in sorted(LISTS.glob("*dep11_Components*.gz")):
        yield from re.split(r"^---$", gzip.decompress(path.read_bytes()).decode(), flags=re.MULTILINE)


def _block(entry: str, key: str) -> str:
    """What is indented, or listed, below a key of the first level."""
    match = re.search(rf"^{key}:\n((?:[ -].*\n)+)", entry, re.MULTILINE)
    return match[1] if match else ""


def _translations(block: str) -> dict[str, str]:
    """By language; quotes and folded lines are undone."""
    found = {}
    for match in re.finditer(r"^  (\S+): (.*(?:\n    .*)*)", block, re.MULTILINE):
        text = " ".join(match[2].split())
        found[match[1]] = text.strip("'\"")
    return found


SETS: dict[str, Callable[[Path], Rows]] = {
    "packages": packages,
    "docstrings": docstrings,
    "apps": apps,
    "languages": languages,
    "registries": registries,
}


if __name__ == "__main__":
    main()

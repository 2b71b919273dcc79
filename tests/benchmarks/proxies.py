"""How well zero-cost proxies rank the trained architectures of nasbench_digits: the tables of PROXIES.md.

    .venv/bin/python -m tests.benchmarks.proxies --architectures 300    # scores into --output, then the tables
    .venv/bin/python -m tests.benchmarks.proxies --predictor            # surrogates on the scores that are there

Goes on from what `--output` has. Accuracy is that of the test rows after the last epoch, mean of three seeds.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from tests.benchmarks.nasbench_digits import generate, landscape

COUNTS = ("parameters", "flops", "activations", "depth")


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architectures", type=int, default=300, help="a seeded sample of the trained ones")
    parser.add_argument("--seeds", type=int, default=1, help="initial weights; the first one is what a search uses")
    parser.add_argument("--output", type=Path, default=Path("runs/proxies.jsonl"))
    parser.add_argument("--predictor", action="store_true", help="compare encodings for a surrogate instead")
    flags = parser.parse_args()
    trained = {entry["identity"]: entry for entry in generate._entries(Path("runs/nasbench"))}
    accuracy = {name: float(np.mean([curve[-1] for curve in entry["test"]])) for name, entry in trained.items()}
    names = sorted(accuracy)
    chosen = [names[place] for place in np.random.default_rng(0).permutation(len(names))[: flags.architectures]]
    if flags.predictor:
        print("\n".join(predictor(_read(flags.output), accuracy)))
        return
    score(chosen, flags.seeds, flags.output)
    print("\n".join(table(_read(flags.output), accuracy, chosen)))


def score(identities: list[str], seeds: int, output: Path) -> None:
    """Every proxy of these architectures, a JSON line each with its CPU milliseconds."""
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    from nasflow.models.proxies._base import Probe, batch
    from nasflow.models.proxies.registry import PROXIES
    from nasflow.search.trial import resident_mb

    known, space = landscape.architectures(), landscape.space()
    rows = batch(generate._splits()[0], seed=0)
    done = {(line["identity"], line["seed"]) for line in _read(output)}
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("a") as file:
        for seed in range(seeds):
            for identity in identities:
                if (identity, seed) in done:
                    continue
                probe = Probe(space.architecture(known[identity]), landscape.INPUTS, landscape.OUTPUT, rows, seed=seed)
                started = time.process_time()
                probe.model  # noqa: B018  # built here: the proxies share it
                line: dict[str, Any] = {"identity": identity, "seed": seed, "values": {}}
                line["ms"] = {"build": 1000 * (time.process_time() - started)}
                for name, proxy in PROXIES.items():
                    started = time.process_time()
                    value = proxy(probe)
                    line["ms"][name] = 1000 * (time.process_time() - started)
                    line["values"][name] = value if np.isfinite(value) else None
                import keras

                keras.utils.clear_session(free_memory=False)
                line["memory_mb"] = resident_mb()
                file.write(json.dumps(line) + "\n")
                file.flush()


def encodings(identities: list[str]) -> dict[str, dict[str, float]]:
    """Graph features by architecture."""
    from nasflow.spaces.encoding import encode

    known, space = landscape.architectures(), landscape.space()
    return {
        identity: encode(space.architecture(known[identity]), landscape.INPUTS, landscape.OUTPUT)
        for identity in identities
    }


def table(lines: list[dict[str, Any]], accuracy: dict[str, float], chosen: list[str]) -> list[str]:
    """Rank correlations with the accuracy, Markdown."""
    from scipy.stats import kendalltau, spearmanr

    first = {line["identity"]: line for line in lines if line["seed"] == 0}
    identities = [identity for identity in chosen if identity in first]
    graphs = encodings(identities)
    columns: dict[str, list[float]] = {
        name: [_number(first[i]["values"][name]) for i in identities] for name in first[identities[0]]["values"]
    }
    columns |= {name: [graphs[i].get(name, 0.0) for i in identities] for name in COUNTS}
    truth = np.array([accuracy[i] for i in identities])
    top = truth >= np.quantile(truth, 0.75)
    found = [
        f"{len(identities)} architectures",
        "| proxy | Spearman | Kendall | Spearman, best quarter | not finite | CPU ms |",
        "| --- |" + " --- |" * 5,
    ]
    for name, values in columns.items():
        score = np.array(values)
        fine = np.isfinite(score)
        spent = [first[i]["ms"][name] for i in identities] if name in first[identities[0]]["ms"] else [0.0]
        rank = spearmanr(score[fine], truth[fine]).statistic
        tau = kendalltau(score[fine], truth[fine]).statistic
        best = spearmanr(score[fine & top], truth[fine & top]).statistic
        found.append(f"| {name} | {rank:.3f} | {tau:.3f} | {best:.3f} | {(~fine).sum()} | {np.median(spent):.0f} |")
    build = np.median([first[i]["ms"]["build"] for i in identities])
    memory = [first[i]["memory_mb"] for i in identities]
    found.append(f"build, shared by all but synflow: {build:.0f} CPU-ms; memory {min(memory):.0f} to {max(memory):.0f}")
    return found


def predictor(lines: list[dict[str, Any]], accuracy: dict[str, float], repeats: int = 20) -> list[str]:
    """Spearman correlation of what trees predict with the accuracy, learned from few architectures, Markdown."""
    from scipy.stats import spearmanr
    from sklearn.ensemble import ExtraTreesRegressor

    from nasflow.spaces.encoding import matrix
    from nasflow.strategies.predictor import encode as genes

    values = {line["identity"]: line["values"] for line in lines if line["seed"] == 0}
    identities = sorted(values)
    known, parameters = landscape.architectures(), landscape.space().parameters()
    graphs = np.array(matrix([encodings(identities)[i] for i in identities]))
    coded = np.array([genes(parameters, known[i]) for i in identities])
    cheap = np.array([[_number(values[i][name]) for name in values[i]] for i in identities])
    cheap = np.where(np.isfinite(cheap), cheap, np.nanmin(np.where(np.isfinite(cheap), cheap, np.nan), axis=0))
    truth = np.array([accuracy[i] for i in identities])
    encoded = {
        "genes": coded,
        "graph": graphs,
        "genes + graph": np.hstack([coded, graphs]),
        "genes + graph + proxies": np.hstack([coded, graphs, cheap]),
        "proxies": cheap,
    }
    sizes = (10, 20, 50)
    found = ["| features | " + " | ".join(f"from {n}" for n in sizes) + " |", "| --- |" + " --- |" * len(sizes)]
    for name, x in encoded.items():
        cells = []
        for size in sizes:
            ranks = []
            for repeat in range(repeats):
                order = np.random.default_rng(repeat).permutation(len(truth))
                seen, rest = order[:size], order[size:]
                forest = ExtraTreesRegressor(n_estimators=24, max_features=0.6, random_state=repeat)
                ranks.append(spearmanr(forest.fit(x[seen], truth[seen]).predict(x[rest]), truth[rest]).statistic)
            cells.append(f"{np.mean(ranks):.3f} ± {np.std(ranks, ddof=1) / np.sqrt(repeats):.3f}")
        found.append(f"| {name} | {' | '.join(cells)} |")
    return found


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


if __name__ == "__main__":
    main()

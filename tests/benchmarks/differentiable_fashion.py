"""`differentiable` on the `darts` space and Fashion-MNIST (10,000 images to train, 2,000 to validate, 10,000 to test),
beside random cells at equal CPU: one run, told in DIFFERENTIABLE.md.

    python -m tests.benchmarks.differentiable_fashion --epochs 4 --training 4

Supernet, then an ordinary training of the cell that is likeliest; then trainings of random cells, until as many CPU
seconds are spent. All in one stack, smaller than the preset's, whose supernet takes minutes to be traced. One
TensorFlow thread.
"""

import argparse
import gzip
import json
import os
import struct
import time
from typing import Any

import numpy as np
from tests.benchmarks.fashion_10k import ROWS, SOURCE

from nasflow.data.tensors import InputSpec, OutputSpec, Tensors
from nasflow.spaces.parameters import sample
from nasflow.spaces.registry import get_space
from nasflow.strategies.ranking import skips_of_the_best
from nasflow.strategies.registry import get_strategy

VALIDATION = 2_000
OUTPUT = OutputSpec(classes=10)


def main() -> None:
    """Prints a JSON line for each part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", type=json.loads, default={"stages": 2, "cells": 1, "width": 8})
    parser.add_argument("--settings", type=json.loads, default={}, help="of the strategy, as JSON")
    parser.add_argument("--epochs", type=int, default=4, help="of the supernet")
    parser.add_argument("--training", type=int, default=4, help="epochs of a cell's training")
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    parts, inputs = splits()
    space: Any = get_space("darts", task="image_classification", inputs=inputs, output=OUTPUT, settings=flags.space)
    started = time.process_time()
    values = supernet(space, inputs, parts[0], {**flags.settings, "epochs": flags.epochs}, flags.seed)
    spent = time.process_time() - started
    told("supernet", cpu=spent)
    spent += trained("derived", space, values, parts, inputs, flags.training, flags.seed)["cpu"]
    rng, beside, others = np.random.default_rng(flags.seed), 0.0, list[dict[str, Any]]()
    while beside < spent:
        others.append(
            trained("random", space, sample(space.parameters(), rng), parts, inputs, flags.training, flags.seed)
        )
        beside += others[-1]["cpu"]
    best = max(others, key=lambda one: one["validation"])
    told("best of random by validation", of=len(others), cpu=beside, validation=best["validation"], test=best["test"])
    trained("preset", space, space.presets()[0], parts, inputs, flags.training, flags.seed)


def supernet(space: Any, inputs: InputSpec, train: Tensors, settings: dict[str, Any], seed: int) -> dict[str, Any]:
    """Values of the likeliest cell."""
    from nasflow.models.bilevel import train_supernet

    strategy: Any = get_strategy("differentiable", settings)
    relaxed, seen, started = strategy.relaxation(space.relaxed), list[Any](), time.process_time()

    def on_epoch(epoch: Any) -> bool:
        seen.extend([epoch.probabilities] if epoch.judged is not None else [])
        skips = skips_of_the_best(relaxed.parts, epoch.probabilities)
        sure = float(np.mean([max(each) for each in epoch.probabilities.values()]))
        told(
            "epoch",
            number=epoch.number,
            loss=epoch.loss,
            judged=epoch.judged,
            skips=skips,
            sure=sure,
            cpu=time.process_time() - started,
        )
        return not strategy.trusted(relaxed, seen)[1]

    train_supernet(
        relaxed.network,
        relaxed.choices,
        strategy.bilevel(),
        train,
        inputs=inputs,
        output=OUTPUT,
        seed=seed,
        on_epoch=on_epoch,
    )
    believed = seen[(strategy.trusted(relaxed, seen)[0] or len(seen)) - 1]
    for name, each in believed.items():
        print(name, dict(zip(relaxed.choices[name], each, strict=True)), flush=True)
    return dict(next(iter(strategy.ranking(relaxed, believed)))[1])


def trained(
    what: str, space: Any, values: dict[str, Any], parts: Any, inputs: InputSpec, epochs: int, seed: int
) -> dict[str, Any]:
    """An ordinary training: accuracies and CPU seconds, those of the test split aside."""
    import keras

    from nasflow.core import metrics
    from nasflow.models.build import build
    from nasflow.models.fit import fit
    from nasflow.models.predict import predict
    from nasflow.spaces.cost import cost

    started, architecture = time.process_time(), space.architecture(values)
    model = build(architecture, inputs, OUTPUT, seed=seed)
    history = fit(model, architecture.recipe, parts[0], output=OUTPUT, epochs=epochs, seed=seed, validation=parts[1])
    found = {"validation": history[-1].score, "cpu": time.process_time() - started}
    found["test"] = metrics.compute("accuracy", parts[2].labels, predict(model, parts[2], OUTPUT))
    told(what, **found, parameters=cost(architecture, inputs, OUTPUT).parameters, values=values)
    keras.utils.clear_session()
    return found


def splits() -> tuple[list[Tensors], InputSpec]:
    """(train, validation, test), and what the images are."""
    images, labels = {}, {}
    for split, rows in ROWS.items():
        raw = gzip.decompress((SOURCE / f"{split}-images-idx3-ubyte.gz").read_bytes())
        side = struct.unpack_from(">II", raw, 8)
        images[split] = np.frombuffer(raw, np.uint8, offset=16).reshape(-1, *side, 1)[:rows]
        raw = gzip.decompress((SOURCE / f"{split}-labels-idx1-ubyte.gz").read_bytes())
        labels[split] = np.frombuffer(raw, np.uint8, offset=8)[:rows].astype(np.int32)
    every = [Tensors(inputs={"image": images[split]}, labels=labels[split]) for split in ROWS]
    order = np.random.default_rng(0).permutation(ROWS["train"])
    train = every[0].take(np.sort(order[VALIDATION:]))
    pixels = train.inputs["image"]
    inputs = InputSpec(image=pixels.shape[1:], image_mean=(float(pixels.mean()),), image_std=(float(pixels.std()),))
    return [train, every[0].take(np.sort(order[:VALIDATION])), every[1]], inputs


def told(what: str, **facts: Any) -> None:
    """A JSON line."""
    shown = {name: round(value, 4) if isinstance(value, float) else value for name, value in facts.items()}
    print(json.dumps({"what": what, **shown}), flush=True)


if __name__ == "__main__":
    main()

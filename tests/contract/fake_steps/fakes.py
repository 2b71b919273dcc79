"""Steps that take no time and make real documents. ``FAKE_<STEP>`` says what else one does: ``sleep=20``, ``fail=2``,
``die``, ``refuse`` (evaluate: not promoted)."""

import json
import logging
import os
import signal
import sys
import time

from nasflow.core.artifacts import (
    Candidate,
    Dataset,
    Decision,
    Endpoint,
    Estimate,
    Evaluation,
    Model,
    RegisteredModel,
    Search,
    Trials,
)
from nasflow.core.errors import NasflowError, UserError
from nasflow.core.html import page, paragraph
from nasflow.core.workspace import run_once

STEP = __name__.split(".")[1]
REPORT = {"report.html": page(STEP, "a fake", [("What", paragraph(f"the report of {STEP}"))])}


def run(spec, *, work_dir, output, **inputs):
    kind, document, files = MAKE[STEP](inputs)

    def produce(place):
        logging.getLogger(f"nasflow.{STEP}").info("%s: working", STEP)
        behave(os.environ.get(f"FAKE_{STEP.upper()}", ""))
        sys.stdout.write("what a library prints\n")
        return document, files

    return run_once(STEP, kind, produce, spec=spec, inputs=inputs, work_dir=work_dir, output=output)


def behave(what):
    name, _, value = what.partition("=")
    match name:
        case "sleep":
            for _ in range(int(float(value) * 20)):
                time.sleep(0.05)
        case "fail":
            raise {"2": UserError, "1": NasflowError}[value](f"{STEP}: no luck, got 'x'; try y")
        case "raise":
            raise ValueError("a defect")
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)


def preprocess(_):
    rows = {"train": 80, "validation": 10, "test": 10, "dead": 1}
    return Dataset, Dataset(task="tabular_classification", rows=rows, shards={}), REPORT


def search(_):
    best = Candidate(trial_id="0", architecture_id="abc", values={}, parameters=131, flops=256, score=0.9, epochs=3)
    trials = Trials(completed=2, failed=1, infeasible=0)
    document = Search(
        strategy="random",
        space="mlp",
        objective="accuracy",
        epochs=10,
        trials=trials,
        candidates=(best,),
        stopped_by="trials",
    )
    return Search, document, REPORT


def train(_):
    document = Model(
        task="tabular_classification", architecture_id="abc", parameters=131, flops=256, seed=0, epochs=3,
        seed_scores=(0.9,), bundle_uri="/nowhere", bundle={},
    )  # fmt: skip
    return Model, document, REPORT


def evaluate(_):
    promoted = os.environ.get("FAKE_EVALUATE") != "refuse"
    decision = Decision(promoted=promoted, reasons=("accuracy 0.95 against 0.9",))
    document = Evaluation(
        objective="accuracy",
        test={"accuracy": Estimate(value=0.95, ci95=(0.9, 0.98))},
        baseline={"accuracy": Estimate(value=0.9, ci95=(0.85, 0.94))},
        other_baselines={"tree": {"accuracy": Estimate(value=0.93, ci95=(0.9, 0.96))}},
        test_rows=10,
        decision=decision,
    )
    confusion = {"classes": ["a", "b"], "matrix": [[5, 0], [1, 4]]}
    roc = {"points": [{"confidenceThreshold": 0.5, "falsePositiveRate": 0.0, "recall": 0.8}]}
    files = {"confusion.json": json.dumps(confusion).encode(), "roc.json": json.dumps(roc).encode()}
    return Evaluation, document, {**REPORT, **files}


def register(_):
    document = RegisteredModel(
        registry="/nowhere",
        name="iris",
        version=1,
        model_uri="/nowhere/1",
        model_digest="d" * 64,
        aliases=("champion",),
    )
    return RegisteredModel, document, {}


def deploy(_):
    document = Endpoint(
        target="local",
        url="http://127.0.0.1:1",
        name="iris",
        version=1,
        golden_rows=2,
        max_difference=0.0,
        running=False,
    )
    exchange = {
        "request": {"instances": [{"a": 1.5}]},
        "response": {"predictions": [{"label": "setosa", "probability": 0.97}]},
    }
    return Endpoint, document, {"prediction.json": json.dumps(exchange).encode()}


MAKE = {f.__name__: f for f in (preprocess, search, train, evaluate, register, deploy)}

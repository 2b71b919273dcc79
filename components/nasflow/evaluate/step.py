"""Judges the model on the held-out test set, once: metrics, baselines, decision, report."""

import io
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.core.artifacts import Dataset, Estimate, Evaluation, Model
from nasflow.core.bootstrap import Resamples
from nasflow.core.errors import DocumentError
from nasflow.core.metrics import confusion
from nasflow.core.storage import storage_for
from nasflow.core.workspace import Place, run_once
from nasflow.data.golden import read_golden
from nasflow.data.raw import raw_batch
from nasflow.data.reader import read, read_schema, read_transform
from nasflow.evaluate import baselines
from nasflow.evaluate.curves import thresholded
from nasflow.evaluate.decision import decide
from nasflow.evaluate.judgement import Gain, estimates, paired_gain
from nasflow.evaluate.report import Verdict, report
from nasflow.evaluate.residuals import residuals
from nasflow.evaluate.spec import EvaluateSpec
from nasflow.serving.bundle import Bundle

logger = logging.getLogger(__name__)

Array = NDArray[Any]

HAND_MADE = "hand_made"
TREE = "tree"


def run(spec: EvaluateSpec, *, dataset: Dataset, model: Model, work_dir: str, output: str) -> Evaluation:
    """Returns the Evaluation.

    Raises:
        DocumentError: the test split is empty, or a file of the Dataset or the bundle is gone or changed.
        NasflowError: the served model disagrees with the trained one.
    """

    def produce(place: Place) -> tuple[Evaluation, Mapping[str, bytes]]:
        return _Judge(spec, dataset, model, place).evaluation()

    inputs = {"dataset": dataset, "model": model}
    return run_once("evaluate", Evaluation, produce, spec=spec, inputs=inputs, work_dir=work_dir, output=output)


class _Judge:
    """One run of the step."""

    def __init__(self, spec: EvaluateSpec, dataset: Dataset, model: Model, place: Place) -> None:
        from nasflow.models import device

        device.set_up()
        self._spec, self._dataset, self._model, self._place = spec, dataset, model, place
        self._schema, self._transform = read_schema(dataset), read_transform(dataset)
        self._test = read(dataset, "test")
        if not self._test.rows:
            raise DocumentError(f"{dataset.uri}: no test rows to judge on; raise data.split.test or name data.test")
        self._resamples = Resamples(rows=self._test.rows, count=spec.evaluate.bootstrap, seed=spec.seed)

    def evaluation(self) -> tuple[Evaluation, Mapping[str, bytes]]:
        spec, labels = self._spec, self._test.labels
        predicted, golden = self._model_predictions()
        rivals = self._rivals()
        test = self._estimates(predicted)
        gains = {
            name: paired_gain(spec.metric, labels, predicted, rival, self._resamples) for name, rival in rivals.items()
        }
        others = {name: self._estimates(rival) for name, rival in rivals.items()}
        baseline = others.pop(HAND_MADE)
        decision = decide(
            spec.metric,
            min_gain=spec.evaluate.min_gain,
            rows=self._test.rows,
            model=test.get(spec.metric),
            baseline=baseline.get(spec.metric),
            gain=gains[HAND_MADE],
            tree=gains.get(TREE),
        )
        for reason in decision.reasons:
            logger.info("evaluate: %s", reason)
        document = Evaluation(
            objective=spec.metric,
            test=test,
            baseline=baseline,
            other_baselines=others,
            test_rows=self._test.rows,
            decision=decision,
        )
        return document, self._files(document, predicted, golden, gains)

    def _files(
        self, document: Evaluation, predicted: Array, golden: dict[str, Any], gains: Mapping[str, Gain]
    ) -> dict[str, bytes]:
        labels, classes = self._test.labels, self._transform.label.classes
        contents: dict[str, Any] = {"predictions.json": golden}
        if classes is None:
            contents["residuals.json"] = residuals(labels, predicted)
        else:
            contents["confusion.json"] = {
                "classes": list(classes),
                "matrix": confusion(labels, predicted).tolist() if np.isfinite(predicted).all() else [],
            }
            curve = thresholded(labels, predicted)
            contents["roc.json"] = {"points": curve.points() if curve else []}
        verdict = Verdict(
            evaluation=document, model=self._model, labels=labels, predictions=predicted, classes=classes, gains=gains
        )
        files = {name: json.dumps(content).encode() for name, content in contents.items()}
        return {**files, "report.html": report(verdict)}

    def _model_predictions(self) -> tuple[Array, dict[str, Any]]:
        """(the Keras model on the test tensors, the SavedModel on the golden rows); asserts that they agree there."""
        from nasflow.models.export import assert_parity, predict_raw
        from nasflow.models.predict import predict
        from nasflow.models.saved import fetch_keras

        golden = read_golden(self._dataset)
        raw = raw_batch(golden.rows, self._schema)
        served = Bundle.load(self._model.bundle_uri, self._model.bundle).predict(raw)
        keras_model = fetch_keras(self._model.bundle["model.keras"])
        predicted = predict(keras_model, self._test, self._transform.output)
        expected = predict_raw(keras_model, raw, self._transform)
        assert_parity(expected, served, schema=self._schema, output=self._transform.output)
        return predicted, {"rows": golden.rows, "labels": golden.labels, "predictions": served.tolist()}

    def _rivals(self) -> dict[str, Array]:
        """Predictions of each baseline on the test rows."""
        train, validation = read(self._dataset, "train"), read(self._dataset, "validation")
        options: dict[str, Any] = {
            "inputs": self._transform.inputs,
            "output": self._transform.output,
            "seed": self._spec.seed,
        }
        rivals = {
            HAND_MADE: self._kept(HAND_MADE, lambda: baselines.hand_made(train, validation, self._test, **options))
        }
        if self._transform.image is None:
            rivals[TREE] = self._kept(TREE, lambda: baselines.tree(train, validation, self._test, **options))
        return rivals

    def _kept(self, name: str, predict: Callable[[], Array]) -> Array:
        """A baseline's predictions; those of an attempt that was killed later on are taken from the place."""
        uri = self._place.at("baselines", f"{name}.npy")
        storage = storage_for(uri)
        if storage.exists(uri):
            kept: Array = np.load(io.BytesIO(storage.read(uri)), allow_pickle=False)
            logger.info("evaluate: baseline %s: found its predictions of an earlier attempt", name)
            return kept
        logger.info("evaluate: training the baseline %s", name)
        buffer = io.BytesIO()
        predictions = predict()
        np.save(buffer, predictions)
        storage.write(uri, buffer.getvalue())
        return predictions

    def _estimates(self, predictions: Array) -> dict[str, Estimate]:
        classes = self._transform.output.classes
        return estimates(self._test.labels, predictions, classes=classes, resamples=self._resamples)

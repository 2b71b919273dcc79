"""Judges the model on the held-out test set, once: metrics, baselines, decision, report."""

import dataclasses
import functools
import io
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.core.artifacts import Champion, Dataset, Estimate, Evaluation, Model, Original
from nasflow.core.bootstrap import Resamples
from nasflow.core.errors import DocumentError
from nasflow.core.metrics import confusion
from nasflow.core.storage import absolute, join, storage_for
from nasflow.core.workspace import Place, run_once, step_key
from nasflow.data.golden import read_golden
from nasflow.data.raw import raw_batch
from nasflow.data.raw_test import read_raw_test
from nasflow.data.reader import read, read_schema, read_transform
from nasflow.evaluate import baselines, original, text_baselines
from nasflow.evaluate.champion import IncomparableError, champion_to_beat, predictions
from nasflow.evaluate.curves import thresholded
from nasflow.evaluate.decision import Rival, decide
from nasflow.evaluate.judgement import Gain, estimates, paired_gain
from nasflow.evaluate.reference import reference
from nasflow.evaluate.report import Verdict, report
from nasflow.evaluate.residuals import residuals
from nasflow.evaluate.slices import Slice, slices
from nasflow.evaluate.spec import EvaluateSpec
from nasflow.registry._base import Version
from nasflow.registry.open import place as registry_place
from nasflow.registry.open import truth
from nasflow.serving.bundle import Bundle
from nasflow.spaces.multimodal import kinds

logger = logging.getLogger(__name__)

Array = NDArray[Any]

HAND_MADE = "hand_made"
TREE = "tree"
TFIDF = "tfidf_linear"


def run(spec: EvaluateSpec, *, dataset: Dataset, model: Model, work_dir: str, output: str) -> Evaluation:
    """Returns the Evaluation. Another champion in the registry makes another one.

    Raises:
        DocumentError: the test split is empty, or a file of the Dataset or the bundle is gone or changed.
        NasflowError: the served model disagrees with the trained one.
    """
    champion = None
    if spec.model_name is not None:
        registry = truth(registry_place(spec.registry_uri, work_dir))
        champion = champion_to_beat(registry, spec.model_name, model.bundle_digest)

    def produce(place: Place) -> tuple[Evaluation, Mapping[str, bytes]]:
        return _Judge(spec, dataset, model, place=place, champion=champion, work_dir=work_dir).evaluation()

    return run_once(
        "evaluate",
        Evaluation,
        produce,
        spec=spec,
        inputs={"dataset": dataset, "model": model},
        sources={} if champion is None else {f"champion {champion.version}": champion.bundle_digest},
        work_dir=work_dir,
        output=output,
    )


class _Judge:
    """One run of the step."""

    def __init__(
        self,
        spec: EvaluateSpec,
        dataset: Dataset,
        model: Model,
        *,
        place: Place,
        champion: Version | None,
        work_dir: str,
    ) -> None:
        from nasflow.models import device

        device.set_up()
        self._spec, self._dataset, self._model, self._place = spec, dataset, model, place
        self._champion = champion
        self._baselines = _baselines_place(spec, dataset, work_dir)
        self._schema, self._transform = read_schema(dataset), read_transform(dataset)
        self._test = read(dataset, "test")
        if not self._test.rows:
            raise DocumentError(f"{dataset.uri}: no test rows to judge on; raise data.split.test or name data.test")
        self._resamples = Resamples(
            rows=self._test.rows, count=spec.evaluate.bootstrap, seed=spec.seed, weights=self._test.weights
        )

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
        champion = self._against_champion(predicted)
        decision = decide(
            spec.metric,
            min_gain=spec.evaluate.min_gain,
            rows=self._test.rows,
            model=test.get(spec.metric),
            baseline=baseline.get(spec.metric),
            gain=gains[HAND_MADE],
            tree=gains.get(TREE),
            tfidf=gains.get(TFIDF),
            champion=None if champion is None else _rival(champion, spec),
        )
        found = self._against_original(predicted)
        if found is not None:
            said = (*decision.reasons, *original.sentences(found, spec.metric))
            decision = decision.model_copy(update={"reasons": said})
        for reason in decision.reasons:
            logger.info("evaluate: %s", reason)
        document = Evaluation(
            objective=spec.metric,
            test=test,
            baseline=baseline,
            other_baselines=others,
            champion=champion,
            original=found,
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
        parts: list[Slice] = []
        if np.isfinite(predicted).all():
            columns = read_raw_test(self._dataset) or {}
            parts = slices(
                self._spec.metric,
                labels,
                predicted,
                columns=columns,
                classes=classes,
                weights=self._test.weights,
                kinds={column.name: column.kind for column in self._schema.columns},
            )
            contents["slices.json"] = [dataclasses.asdict(part) for part in parts]
            images = self._test.inputs.get("image")
            name = self._schema.columns[0].name
            contents["reference.json"] = reference(predicted, images, image=name, classes=classes)
        verdict = Verdict(
            evaluation=document,
            model=self._model,
            labels=labels,
            predictions=predicted,
            classes=classes,
            gains=gains,
            slices=parts,
            effort=baselines.effort(self._transform.inputs, self._dataset.rows),
        )
        files = {name: json.dumps(content).encode() for name, content in contents.items()}
        return {**files, "report.html": report(verdict)}

    def _model_predictions(self) -> tuple[Array, dict[str, Any]]:
        """(the Keras model on the test tensors, the bundle on the golden rows); asserts that they agree there."""
        from nasflow.models.export import assert_parity, predict_raw
        from nasflow.models.predict import predict
        from nasflow.models.saved import fetch_keras

        golden = read_golden(self._dataset)
        raw = raw_batch(golden.rows, self._schema)
        bundle = Bundle.load(self._model.bundle_uri, self._model.bundle)
        served = bundle.predict(raw)
        keras_model = fetch_keras(self._model.bundle["model.keras"])
        predicted = predict(keras_model, self._test, self._transform.output)
        expected = predict_raw(keras_model, raw, self._transform)
        assert_parity(
            expected,
            served,
            schema=self._schema,
            output=self._transform.output,
            name="ONNX network" if bundle.engine.name == "onnx" else "SavedModel",
            where="evaluate",
        )
        return predicted, {"rows": golden.rows, "labels": golden.labels, "predictions": served.tolist()}

    def _against_champion(self, predicted: Array) -> Champion | None:
        """The champion on the same rows; None where there is none."""
        version = self._champion
        if version is None:
            return None
        facts: dict[str, Any] = {
            "name": version.name,
            "version": version.version,
            "bundle_digest": version.bundle_digest,
        }
        try:
            answers = self._kept(
                self._place.at(f"champion-{version.version}.npy"),
                lambda: predictions(version, self._dataset, self._schema, self._test),
                f"asking the champion, version {version.version}",
            )
        except IncomparableError as error:
            return Champion(**facts, problem=str(error))
        gain = paired_gain(self._spec.metric, self._test.labels, predicted, answers, self._resamples)
        known = bool(np.isfinite([gain.value, *gain.ci95]).all())
        facts["gain"] = Estimate(value=gain.value, ci95=gain.ci95) if known else None
        return Champion(**facts, test=self._estimates(answers))

    def _against_original(self, predicted: Array) -> Original | None:
        """The same architecture, trained on the data without the remedies of `data.optimise`, on the same rows."""
        dataset = self._dataset
        if not self._spec.evaluate.compare_optimised:
            return None
        if not dataset.original_uri:
            problem = "this Dataset was made without evaluate.compare_optimised and did not keep the original data"
            rows = original.learning_rows(dataset)
            return Original(remedies=dataset.remedies, rows=(rows, rows), problem=problem)
        before = Dataset.read(dataset.original_uri)
        facts: dict[str, Any] = {
            "remedies": dataset.remedies,
            "rows": (original.learning_rows(dataset), original.learning_rows(before)),
        }
        try:
            answers = self._kept(
                self._place.at("original.npy"),
                lambda: original.predictions(dataset, self._model, self._test, self._place),
                "training the same architecture on the original data",
            )
        except IncomparableError as error:
            return Original(**facts, problem=str(error))
        gain = paired_gain(self._spec.metric, self._test.labels, predicted, answers, self._resamples)
        known = bool(np.isfinite([gain.value, *gain.ci95]).all())
        facts["gain"] = Estimate(value=gain.value, ci95=gain.ci95) if known else None
        return Original(**facts, test=self._estimates(answers))

    def _rivals(self) -> dict[str, Array]:
        """Predictions of each baseline on the test rows."""
        train, validation = read(self._dataset, "train"), read(self._dataset, "validation")
        options: dict[str, Any] = {
            "inputs": self._transform.inputs,
            "output": self._transform.output,
            "seed": self._spec.seed,
        }
        has = kinds(self._transform.inputs)
        makers = {HAND_MADE: baselines.hand_made}
        if "table" in has:
            makers[TREE] = baselines.tree
        if "text" in has:
            makers[TFIDF] = text_baselines.tfidf_linear
        rivals: dict[str, Array] = {}
        for name, make in makers.items():
            predict = functools.partial(make, train, validation, self._test, **options)
            rivals[name] = self._kept(self._baselines.at(f"{name}.npy"), predict, f"training the baseline {name}")
        return rivals

    def _kept(self, uri: str, predict: Callable[[], Array], doing: str) -> Array:
        """A rival's predictions; those that an earlier attempt, or evaluation, left at `uri` are used again."""
        storage = storage_for(uri)
        if storage.exists(uri):
            kept: Array = np.load(io.BytesIO(storage.read(uri)), allow_pickle=False)
            logger.info("evaluate: %s: did it before", doing)
            return kept
        logger.info("evaluate: %s", doing)
        buffer = io.BytesIO()
        answers = predict()
        np.save(buffer, answers)
        storage.write(uri, buffer.getvalue())
        return answers

    def _estimates(self, answers: Array) -> dict[str, Estimate]:
        classes = self._transform.output.classes
        return estimates(
            self._test.labels,
            answers,
            classes=classes,
            resamples=self._resamples,
            objective=self._spec.metric,
        )


def _baselines_place(spec: EvaluateSpec, dataset: Dataset, work_dir: str) -> Place:
    """Baselines depend on the data and the seed, not on the model or the champion: all evaluations share them."""
    depends = EvaluateSpec(task=spec.task, metric=spec.metric, seed=spec.seed)
    key = step_key("baselines", spec=depends, inputs={"dataset": dataset}, sources={})
    return Place(uri=join(absolute(work_dir), "evaluate", "baselines", key))


def _rival(champion: Champion, spec: EvaluateSpec) -> Rival:
    return Rival(
        version=champion.version,
        min_gain=spec.evaluate.min_gain_champion,
        estimate=champion.test.get(spec.metric),
        gain=None if champion.gain is None else Gain(value=champion.gain.value, ci95=champion.gain.ci95),
        problem=champion.problem,
    )

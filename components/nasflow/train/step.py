"""Trains the search's winner from scratch, chooses by several seeds, refits on train + validation, exports."""

import json
import logging
import math
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nasflow.core.artifacts import Candidate, Dataset, External, Model, Search
from nasflow.core.errors import DocumentError, NasflowError, TrialFailedError
from nasflow.core.provenance import provenance
from nasflow.core.storage import storage_for
from nasflow.core.workspace import Place, run_once
from nasflow.data.golden import read_golden
from nasflow.data.reader import read, read_schema, read_transform
from nasflow.data.tensors import Tensors
from nasflow.data.transform import TransformSpec
from nasflow.spaces.architecture import Architecture
from nasflow.train.ledger import Ledger, Point, SeedRun
from nasflow.train.report import report
from nasflow.train.selection import Choice, choose
from nasflow.train.spec import TrainSpec

logger = logging.getLogger(__name__)


def run(spec: TrainSpec, *, dataset: Dataset, search: Search, work_dir: str, output: str) -> Model:
    """Returns the Model; a run that was killed goes on at the epoch that it had reached.

    Raises:
        DocumentError: the Search holds no candidate, or not its architecture.
        NasflowError: no candidate could be trained, the model breaks a constraint, or its bundle fails the parity test.
    """

    def produce(place: Place) -> tuple[Model, Mapping[str, bytes]]:
        return _Training(spec, dataset, search, place).model()

    inputs = {"dataset": dataset, "search": search}
    return run_once("train", Model, produce, spec=spec, inputs=inputs, work_dir=work_dir, output=output)


class _Training:
    """One run of the step: what all its trainings share."""

    def __init__(self, spec: TrainSpec, dataset: Dataset, search: Search, place: Place) -> None:
        from nasflow.models import device

        device.set_up()
        self._spec, self._dataset, self._place = spec, dataset, place
        self._epochs = spec.epochs(search)
        self._transform: TransformSpec = read_transform(dataset)
        self._candidates, self._architectures = candidates_of(search, spec)
        self._train = read(dataset, "train")
        self._validation = read(dataset, "validation")

    def model(self) -> tuple[Model, Mapping[str, bytes]]:
        spec = self._spec
        runs = self._seed_runs() if spec.compares else {}
        scores = {
            place: [runs[place, number].value for number in range(spec.train.seeds)]
            for place in range(len(self._candidates))
            if runs
        }
        choice = choose(spec.metric, scores) if runs else Choice(candidate=0, seed=0, judged=())
        candidate, seed = self._candidates[choice.candidate], spec.seed + choice.seed
        assert_counted_within(spec, candidate)
        model, curves = self._refit(choice.candidate, seed)
        assert_within(spec, candidate, trainable_parameters(model))
        bundle = self._export(model)
        self._forget("refit")
        document = Model(
            task=spec.task,
            architecture_id=candidate.architecture_id,
            parameters=candidate.parameters * spec.train.members,
            flops=candidate.flops * spec.train.members,
            seed=seed,
            epochs=self._epochs,
            members=spec.train.members,
            seed_scores=tuple(scores[choice.candidate]) if runs else (),
            bundle_uri=self._place.at("bundle"),
            bundle=bundle,
            environment=provenance(),
        )
        training = {
            "metric": spec.metric,
            "epochs": self._epochs,
            "judged": [_number(value) for value in choice.judged],
            "chosen": {"candidate": choice.candidate, "architecture_id": candidate.architecture_id, "seed": seed},
            "seed_runs": [run.model_dump(mode="json") for _, run in sorted(runs.items())],
            "refit": [point.model_dump(mode="json") for point in curves[0]],
            "members": [[point.model_dump(mode="json") for point in curve] for curve in curves],
        }
        files = {
            "training.json": json.dumps(training, indent=1).encode(),
            "architecture.json": json.dumps(self._architectures[choice.candidate].to_json(), indent=1).encode(),
            "report.html": report(document, spec, choice=choice, runs=runs, refit=curves[0]),
        }
        return document, files

    def _seed_runs(self) -> dict[tuple[int, int], SeedRun]:
        """Every candidate with every seed on the train split; those in the ledger are not repeated."""
        ledger = Ledger(self._place.at("seed_runs.jsonl"))
        runs = ledger.read()
        wanted = [(place, number) for place in range(len(self._candidates)) for number in range(self._spec.train.seeds)]
        for done, (place, number) in enumerate(wanted, start=1):
            if (place, number) not in runs:
                runs[place, number] = self._seed_run(place, number)
                ledger.add(runs[place, number])
                self._forget(f"seed-{place}-{number}")
            logger.info(
                "train: seed run %d of %d: %s %s",
                done,
                len(wanted),
                self._spec.metric,
                runs[place, number].score if not runs[place, number].error else runs[place, number].error,
                extra={"architecture_id": self._candidates[place].architecture_id, "seed": runs[place, number].seed},
            )
        return {key: runs[key] for key in wanted}

    def _seed_run(self, place: int, number: int) -> SeedRun:
        seed, started = self._spec.seed + number, time.monotonic()
        score, curve, error = None, list[Point](), ""
        try:
            _, curve = self._fit(place, seed, f"seed-{place}-{number}", self._train, self._validation)
            score = curve[-1].score  # of the last weights: the schedule is annealed, no epoch is picked
            error = "" if score is not None else f"{self._spec.metric} on validation is not a number"
        except TrialFailedError as failure:
            error = str(failure)
        return SeedRun(
            architecture_id=self._candidates[place].architecture_id,
            candidate=place,
            number=number,
            seed=seed,
            score=score,
            error=error,
            seconds=round(time.monotonic() - started, 3),
            curve=tuple(curve),
        )

    def _refit(self, place: int, seed: int) -> tuple[Any, list[list[Point]]]:
        """The model and the curve of each member; those that were trained before a kill are not trained again."""
        from nasflow.models.ensemble import mean_of

        models, curves = list[Any](), list[list[Point]]()
        for number in range(self._spec.train.members):
            logger.info(
                "train: refit on train + validation, %d epochs, seed %d, network %d of %d",
                *(self._epochs, seed + number, number + 1, self._spec.train.members),
            )
            rows = self._train.join(self._validation)
            model, curve = self._fit(place, seed + number, f"refit/{number}", rows, None)
            models.append(model)
            curves.append(curve)
        return mean_of(models), curves

    def _fit(
        self, place: int, seed: int, name: str, rows: Tensors, validation: Tensors | None
    ) -> tuple[Any, list[Point]]:
        import keras

        from nasflow.models.build import build
        from nasflow.models.fit import fit

        keras.backend.clear_session()  # frees the net before this one
        architecture, output = self._architectures[place], self._transform.output
        model = build(architecture, self._transform.inputs, output, seed=seed)
        epochs = fit(
            model,
            architecture.recipe,
            rows,
            output=output,
            epochs=self._epochs,
            seed=seed,
            validation=validation,
            metric=self._spec.metric if validation is not None else None,
            backup_path=self._place.at("backup", name),
        )
        return model, [Point(epoch=epoch.number, loss=epoch.loss, score=_number(epoch.score)) for epoch in epochs]

    def _forget(self, name: str) -> None:
        """Removes the backup of a training whose result is safe."""
        from nasflow.models.backup import forget

        forget(self._place.at("backup", name))

    def _assert_served_within(self, folder: Path) -> None:
        """Measures the bundle, where its size or latency is limited.

        Raises:
            NasflowError: it breaks a limit, so it is not published.
        """
        from nasflow.models import latency

        limits = self._spec.constraints
        found: dict[str, float] = {}
        if limits.size_mb is not None:
            found["size_mb"] = latency.size_mb(folder)
        if limits.latency_ms is not None:
            golden = read_golden(self._dataset)
            found["latency_ms"] = latency.of_export(folder, schema=read_schema(self._dataset), golden=golden)
        for name, value in found.items():
            if value > getattr(limits, name):
                raise NasflowError(
                    f"train: {name} of the bundle is {value:.4g}, constraints.{name} allows "
                    f"{getattr(limits, name):g}; search again with a lower limit, so that there is room for noise"
                )

    def _export(self, model: Any) -> dict[str, External]:
        from nasflow.models.export import export

        target = self._place.at("bundle")
        with tempfile.TemporaryDirectory(prefix="nasflow-bundle-") as folder:
            names = export(
                model,
                Path(folder),
                schema=read_schema(self._dataset),
                transform=self._transform,
                golden=read_golden(self._dataset),
                litert=self._spec.train.litert,
            )
            self._assert_served_within(Path(folder))
            for name in names:
                storage_for(target).upload(Path(folder, name), f"{target}/{name}")
        return {name: External.of(f"{target}/{name}") for name in names}


def candidates_of(search: Search, spec: TrainSpec) -> tuple[tuple[Candidate, ...], list[Architecture]]:
    """The best candidates to compare, and their architectures.

    Raises:
        DocumentError: there is none, or its architecture is not in ``architectures.json``.
    """
    candidates = search.candidates[: spec.train.candidates]
    if not candidates:
        raise DocumentError(f"{search.uri}: the search found no candidate; raise search.budget or ease constraints")
    known = search.json("architectures.json")
    missing = [candidate.architecture_id for candidate in candidates if candidate.architecture_id not in known]
    if missing:
        raise DocumentError(f"{search.uri}: architectures.json lacks {missing}; run the search step again")
    return candidates, [Architecture.from_json(known[candidate.architecture_id]) for candidate in candidates]


def trainable_parameters(model: Any) -> int:
    """Numbers that training changes."""
    return sum(int(weight.shape.num_elements()) for weight in model.trainable_weights)


def assert_within(spec: TrainSpec, candidate: Candidate, parameters: int) -> None:
    """Holds the trained model against what the search counted and what the user allows.

    Raises:
        NasflowError: it has another number of parameters than its candidate, or breaks a limit.
    """
    members = spec.train.members
    if parameters != candidate.parameters * members:
        raise NasflowError(
            f"train: the model has {parameters} parameters, the search counted {members} × {candidate.parameters} for "
            f"{candidate.architecture_id}: a defect of nasflow"
        )
    assert_counted_within(spec, candidate)


def assert_counted_within(spec: TrainSpec, candidate: Candidate) -> None:
    """Before anything is trained.

    Raises:
        NasflowError: all members together break a limit.
    """
    members = spec.train.members
    fix = "lower train.members" if members > 1 else "run the search again"
    for name, value in (("parameters", candidate.parameters * members), ("flops", candidate.flops * members)):
        limit = getattr(spec.constraints, name)
        if limit is not None and value > limit:
            raise NasflowError(f"train: {name} is {value}, constraints.{name} allows {limit}; {fix}")


def _number(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None  # NaN has no JSON

"""The search: Dataset → Search. What it has done so far is the ledger; a killed search goes on from it."""

import contextlib
import dataclasses
import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nasflow.core.artifacts import Candidate, Dataset, Search, Trials
from nasflow.core.errors import NasflowError, SpecError
from nasflow.core.metrics import check_metric, maximised
from nasflow.core.spec import COSTS, LauncherSection, SearchSection
from nasflow.core.storage import is_local, local_path
from nasflow.core.workspace import Place, run_once
from nasflow.data.reader import read, read_transform
from nasflow.data.tensors import Tensors
from nasflow.search.about import ABOUT, About
from nasflow.search.features import Features
from nasflow.search.job import Setup
from nasflow.search.open import open_study
from nasflow.search.record import EndReason, Record
from nasflow.search.returned import within
from nasflow.search.selection import Front, Selection, select, select_by_proxy, select_front, standard_error
from nasflow.search.spec import SearchSpec
from nasflow.search.study import Study
from nasflow.search.trials import rows as rows_of
from nasflow.search.warm_start import read_earlier
from nasflow.strategies.registry import check_strategy

logger = logging.getLogger(__name__)

_CANDIDATES = 50


def run(spec: SearchSpec, *, dataset: Dataset, work_dir: str, output: str) -> Search:
    """Searches until the budget ends, or goes on where an earlier attempt stopped.

    Raises:
        SpecError: an unknown space, strategy or setting, or one that does not fit the task.
        DocumentError: a document of `search.warm_start` is missing or no Search.
        UserError: impossible constraints.
        NasflowError: every one of the first trials failed, or the time was over before one could end.
    """
    check_strategy(spec.search.strategy, spec.search.settings, space=spec.search.space)
    if spec.search.score is not None and spec.objectives:
        raise SpecError(
            [f"search.score is {spec.search.score}, but objective is a list, got {list(spec.objectives)}; use filter"]
        )
    earlier = read_earlier(spec.search.warm_start)
    return run_once(
        "search",
        Search,
        lambda place: _produce(spec, dataset, earlier, place),
        spec=_identity(spec),
        inputs={"dataset": dataset, **{f"warm_start.{place}": search for place, search in enumerate(earlier)}},
        work_dir=work_dir,
        output=output,
    )


def _identity(spec: SearchSpec) -> SearchSpec:
    """What the step's place is named by: how many workers do the work, and where, does not make it another search, so
    one that was killed may go on with fewer, or elsewhere."""
    same = {"workers": 1, "recycle": SearchSection().recycle, "launcher": LauncherSection()}
    return spec.model_copy(update={"search": spec.search.model_copy(update=same)})


def _produce(
    spec: SearchSpec, dataset: Dataset, earlier: Sequence[Search], place: Place
) -> tuple[Search, dict[str, bytes]]:
    from nasflow.models.device import set_up

    set_up()
    from nasflow.search.oracle import make_oracle
    from nasflow.search.ranking import rank
    from nasflow.search.report import report

    study = open_study(spec, dataset, place, earlier)
    About(
        strategy=spec.search.strategy,
        space=study.space.name,
        metric=study.metric,
        objectives=spec.objectives,
        epochs=study.epochs,
    ).write(place.at(ABOUT))
    for objective in (spec.metric, *spec.objectives):
        if objective not in COSTS:
            check_metric(objective, study.output.classes)
    transform = read_transform(dataset)
    tensors = {split: read(dataset, split) for split in ("train", "validation")}
    rows = {split: values.rows for split, values in tensors.items()}
    features = Features(
        *(study.space, study.inputs, study.output, study.ledger), train=lambda: tensors["train"], seed=spec.seed
    )
    study = dataclasses.replace(study, features=features)
    shares = maximised(spec.metric) and spec.metric != "r2"
    tie = standard_error(spec.metric, 0.9, rows["validation"]) if shares and not spec.search.score else 0.0
    oracle = make_oracle(spec.search.strategy, study, settings=spec.search.settings, tie=tie)
    if done := len(study.ledger.records):
        logger.info("search goes on: %d trials in the ledger, %.0f s spent", done, study.ledger.seconds)
    front: Front | None = None
    if spec.search.score is not None:
        rank(study, oracle, features, spec.search.score)
    else:
        _search(spec, place, study, oracle, tensors=tensors, dataset=dataset)
    if spec.search.score is not None:
        selection = select_by_proxy(study.ledger.records, spec.search.score)
    elif spec.objectives:
        selection, front = select_front(study.ledger.records, spec.objectives)
    else:
        # With folds every row is held out once.
        judged = rows["validation"] + (rows["train"] if spec.search.validation.folds is not None else 0)
        selection = select(study.ledger.records, spec.metric, validation_rows=judged, epochs=study.epochs)
    if not selection.order:
        failed = [record.message for record in study.ledger.ended if record.status == "failed"]
        raise NasflowError(f"search: no trial completed within the budget; {failed[-1] if failed else 'raise it'}")
    returned = within(selection.order, study, spec.constraints, dataset)
    reason = "; ".join([selection.reason, *returned.dropped])
    selection = dataclasses.replace(selection, order=returned.records, reason=reason)
    document = _document(spec, study, selection, oracle.stopped_by, front=front, measured=returned.measured)
    files = {
        "architectures.json": _architectures(study, selection),
        "trials.json": _json(rows_of(study.ledger.records, study.metric)),
        "report.html": report(document, study, selection, transform.inputs, rows, traces=oracle.view()),
    }
    if study.ledger.preparation.ended:
        files["supernet.json"] = _json(dataclasses.asdict(study.ledger.preparation))
    return document, files


def _search(
    spec: SearchSpec, place: Place, study: Study, oracle: Any, *, tensors: Mapping[str, Tensors], dataset: Dataset
) -> None:
    """Runs the trials that are left."""
    from nasflow.models.device import available_cpus
    from nasflow.search.crew import Alone, Crew, Relay
    from nasflow.search.engine import Engine
    from nasflow.search.launcher import LocalProcesses, visible_gpus
    from nasflow.search.pool import Pool
    from nasflow.search.shared import Data, write
    from nasflow.search.stopping import Stopping
    from nasflow.search.weights import Weights

    section, local = spec.search, is_local(place.uri)
    data = Data(train=tensors["train"], validation=tensors["validation"])
    weights = Weights(local_path(place.at("weights"))) if oracle.inherits and local else None
    setup = Setup(
        inputs=study.inputs,
        output=study.output,
        metrics=(spec.metric, *(name for name in spec.objectives if name not in (*COSTS, spec.metric))),
        latency="latency_ms" in spec.objectives or spec.constraints.latency_ms is not None,
        seed=spec.seed,
        validation=section.validation,
        runtime=section.runtime,
        patience=section.stopping.patience,
        dataset_uri=dataset.uri,
        backups_path=place.at("trials"),
        weights_path=None if weights is None else str(weights.folder),
    )
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="nasflow-tensors-"))

        def processes() -> Crew:
            write(data, Path(folder))
            threads = max(1, available_cpus() // section.workers)
            launcher = LocalProcesses(threads=threads, gpus=visible_gpus())
            shared = dataclasses.replace(setup, tensors_path=folder)
            return Pool(shared, launcher, size=section.workers, recycle=section.recycle)

        crew: Crew
        if section.launcher.kind == "kubernetes":
            crew = _pods(section, setup, place, dataset, stack)
        elif section.workers > 1:
            crew = processes()
        else:
            crew = Relay(Alone(setup, data), processes, after=section.recycle)
        stopping = Stopping(study, section.stopping) if section.stopping.median or section.stopping.curve else None
        Engine(study, oracle, crew, setup, weights=weights, stopping=stopping).run()


def _pods(section: SearchSection, setup: Setup, place: Place, dataset: Dataset, stack: contextlib.ExitStack) -> Any:
    """A pool whose workers are pods; `stack` ends them."""
    from nasflow.search.cluster_jobs import KubernetesJobs
    from nasflow.search.cluster_workers import ClusterWorkers
    from nasflow.search.pool import Pool

    workers = ClusterWorkers(section.launcher, KubernetesJobs.connect(), place_uri=place.uri, size=section.workers)
    stack.callback(workers.close)
    # The document may be a file of this pod alone (Kubeflow downloads it); what it names is where all can read it.
    copy = dataset.copy_to(place.at("dataset"))
    return Pool(
        dataclasses.replace(setup, dataset_uri=copy.uri),
        workers,
        size=section.workers,
        recycle=section.recycle,
        address=workers.address,
        start_seconds=section.launcher.start_minutes * 60,
        bury_seconds=0.0,
    )


def _document(
    spec: SearchSpec,
    study: Study,
    selection: Selection,
    stopped_by: EndReason,
    *,
    front: Front | None,
    measured: Mapping[str, Mapping[str, float]],
) -> Search:
    statuses = [record.status for record in study.ledger.records]
    return Search(
        strategy=spec.search.strategy,
        space=study.space.name,
        objective=spec.metric,
        ranked_by=spec.search.score or "",
        epochs=study.epochs,
        trials=Trials(
            completed=statuses.count("completed"),
            failed=statuses.count("failed"),
            infeasible=statuses.count("infeasible"),
            same=statuses.count("same"),
            filtered=statuses.count("filtered"),
            looks=sum(record.look_of is not None for record in study.ledger.records if record.status != "running"),
        ),
        candidates=tuple(
            _candidate(record, selection, measured.get(record.trial_id, {}), ranked=spec.search.score is not None)
            for record in selection.order[:_CANDIDATES]
        ),
        stopped_by=stopped_by,
        objectives=spec.objectives,
        front=tuple(r.trial_id for r in selection.order if front is not None and r.trial_id in front.trial_ids),
        hypervolume=None if front is None else front.hypervolume,
    )


def _candidate(record: Record, selection: Selection, measured: Mapping[str, float], *, ranked: bool) -> Candidate:
    """`ranked`: the score is a proxy's, which is among the measures, too."""
    looked = selection.looks.get(record.trial_id)
    counted = {name: record.costs[name] for name in ("memory_mb",) if name in record.costs}
    return Candidate(
        trial_id=record.trial_id,
        architecture_id=record.architecture_id,
        values=record.values,
        parameters=record.parameters,
        flops=record.flops,
        score=None if ranked else selection.score(record),
        scores=() if looked is None else looked.scores,
        epochs=record.epochs,
        measures={**record.metrics, **counted, **measured},
    )


def _architectures(study: Study, selection: Selection) -> bytes:
    chosen = selection.order[:_CANDIDATES]
    return _json({r.architecture_id: study.space.architecture(r.values).to_json() for r in chosen})


def _json(content: Any) -> bytes:
    return json.dumps(content, indent=1, allow_nan=False).encode()

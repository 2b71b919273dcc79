"""The preprocess step: raw data in, a Dataset out."""

import contextlib
import dataclasses
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nasflow.core.artifacts import SPLITS, Dataset
from nasflow.core.errors import DataError, NasflowError, TryAgainError
from nasflow.core.spec import OptimiseSection
from nasflow.core.storage import is_local, local_path, storage_for
from nasflow.core.workspace import Place, run_once
from nasflow.data.golden import GOLDEN_ROWS, Golden
from nasflow.data.schema import Schema
from nasflow.preprocess import data_findings, dead_letters, fit, identifiers, lean, quality, report, statistics
from nasflow.preprocess.dead_letters import DeadLetters
from nasflow.preprocess.doubts import Doubts, doubt_findings
from nasflow.preprocess.findings import Finding, weightiest_first
from nasflow.preprocess.plan import Plan, make_plan
from nasflow.preprocess.sources.find import Sources, find
from nasflow.preprocess.sources.inflated import inflated
from nasflow.preprocess.spec import PreprocessSpec
from nasflow.preprocess.split_keys import shown
from nasflow.preprocess.split_survey import Cuts
from nasflow.preprocess.summary import Summary

logger = logging.getLogger(__name__)

_DEAD_LETTERS = "dead_letters.jsonl"
_TOLD = 5
"""Findings that are logged."""


def run(spec: PreprocessSpec, *, work_dir: str, output: str) -> Dataset:
    """Reads, checks, splits and transforms the data. Changed files are read again; unchanged ones are not.

    Raises:
        DataError: the data cannot be used; the message names file, row and column where it knows them.
        TryAgainError: a file changed while it was read.
    """
    if spec.preprocess.runner == "local":
        lean.settle_arrow()
    sources = find(spec.data, spec.task)
    earlier = None if spec.data.compare_with is None else Dataset.read(spec.data.compare_with)

    fingerprints = sources.fingerprints()

    def produce(place: Place) -> tuple[Dataset, Mapping[str, bytes]]:
        here = spec.preprocess.runner == "local" and is_local(place.uri)
        copies = inflated(sources, local_path(place.at("work"))) if here else contextlib.nullcontext(sources)
        with _unchanged(sources, fingerprints), copies as found:
            return _produce(spec, found, place, earlier)

    return run_once(
        "preprocess",
        Dataset,
        produce,
        spec=spec,
        inputs={} if earlier is None else {"earlier": earlier},
        sources=fingerprints,
        work_dir=work_dir,
        output=output,
    )


@contextlib.contextmanager
def _unchanged(sources: Sources, before: Mapping[str, str]) -> Iterator[None]:
    """The data is read more than once. Were it another the second time, statistics and shards would not fit together,
    and the Dataset would stand for files that nobody has any more."""

    def check(cause: BaseException | None = None) -> None:
        try:
            now: Mapping[str, str] = sources.fingerprints()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise TryAgainError(f"preprocess: {error}: removed while the data was read; run again") from error
        if changed := sorted(name for name, fingerprint in before.items() if now.get(name) != fingerprint):
            more = f" (and {len(changed) - 1:,} more)" if len(changed) > 1 else ""
            raise TryAgainError(
                f"preprocess: {changed[0]}{more} changed while it was read; run again when nobody writes to it"
            ) from cause

    try:
        yield
    except NasflowError as error:
        if not isinstance(error, TryAgainError):
            check(error)
        raise
    check()


def _produce(
    spec: PreprocessSpec, sources: Sources, place: Place, earlier: Dataset | None, *, told: bool = True
) -> tuple[Dataset, Mapping[str, bytes]]:
    original = _original(spec, sources, place)
    if spec.preprocess.runner == "local":
        lean.import_beam()
    plan = make_plan(sources, spec.data, spec.task)
    from nasflow.preprocess import items, pipeline  # Beam takes seconds to import: only where it runs
    from nasflow.preprocess.engine import Engine

    lean.begun()
    engine = Engine(spec.preprocess)
    engine.check_places([place.uri, *(file for source in sources.by_role.values() for file in source.files)])

    reading = items.Reading(sources=sources, plan=plan, split=spec.data.split)
    cuts = pipeline.survey(reading, place.at("work", "cuts.json"), engine)
    reading = dataclasses.replace(reading, cuts=cuts)
    optimise = spec.data.optimise
    doubts: Doubts | None = None
    said: Mapping[int, Mapping[int, tuple[str, str]]] = {}
    if optimise.drops_rows:
        from nasflow.preprocess import near_remedies, suspect_drops

        drops = near_remedies.find_all_drops(reading, optimise, place.at("work", "drops"), engine)
        if optimise.drop_suspect_labels:
            uri = place.at("work", "drops")
            doubts = suspect_drops.find_doubts(reading, optimise, uri, engine, others=drops)
            drops, said = drops + doubts.names, doubts.said
        reading = dataclasses.replace(reading, drops=drops, said=said)
    summary = pipeline.earlier_analysis(place.at("work", "analysis.json"))
    if summary is None:
        logger.info("preprocess: analysing %s", spec.data.train)
        summary = pipeline.analyse(reading, place.at("work", "analysis.json"), engine)
    _limit(summary.dead, summary.rows, spec, place)
    found = quality.examine(summary, spec.task)
    named = identifiers.find(plan, summary, found)
    hidden = {name: f"an identifier: {reason}" for name, reason in named.items()} if optimise.drop_identifiers else {}
    hidden |= found.leaking if optimise.drop_leaks else {}
    schema, transform = fit.fit(plan, summary, spec.data, hidden=hidden)
    logger.info("preprocess: transforming %s rows", f"{summary.rows:,}")
    results = pipeline.transform(
        reading,
        transform,
        data_uri=place.at("data"),
        uri=place.at("work", "transform.json"),
        engine=engine,
        rows=summary.rows,
    )
    dead = DeadLetters()
    for result in results:
        dead.merge(result.dead)
    _limit(dead, summary.rows, spec, place)
    shards = {split: tuple(r.shards[split] for r in results if split in r.shards) for split in SPLITS}
    rows = {split: sum(shard.rows for shard in shards[split]) for split in SPLITS} | {"dead": dead.total}
    _check_counts(rows, summary, fit.unseen_labels(summary, schema.label.classes))
    raw_test = tuple(result.raw_test for result in results if result.raw_test is not None)
    dataset = Dataset(
        task=spec.task,
        rows=rows,
        shards=shards,
        raw_test=raw_test,
        remedies=optimise.remedies,
        original_uri="" if original is None else original.uri,
    )
    more = [*doubt_findings(doubts, optimise), *(quality.compare(found, earlier) if earlier is not None else ())]
    findings = data_findings.findings(
        plan, schema, summary, dead, quality=found, optimise=optimise, split=spec.data.split, transform=transform
    )
    findings = weightiest_first([*findings, *more])
    _tell(findings if told else ())
    facts = statistics.describe(plan, schema, summary, dead, rows, quality=found, found=findings)
    facts |= {"split": _split_facts(spec, plan, cuts)}
    files = {
        "schema.json": schema.model_dump_json(indent=1).encode(),
        "transform.json": transform.model_dump_json(indent=1).encode(),
        "statistics.json": json.dumps(facts, indent=1).encode(),
        "golden.json": golden(summary, schema).model_dump_json().encode(),
        _DEAD_LETTERS: dead.jsonl(),
        "report.html": report.render(
            spec, schema=schema, transform=transform, summary=summary, facts=facts, dead=dead, quality=found
        ),
    }
    return dataset, files


def _tell(findings: Sequence[Finding]) -> None:
    """The findings that a person should not have to open the report for, a line each."""
    weighty = [finding for finding in findings if finding.severity != "note"]
    for finding in weighty[:_TOLD]:
        remedy = f" Proposed: {finding.switch}" if finding.switch else ""
        logger.info("preprocess: %s: %s%s", finding.severity, finding.text, remedy)
    if len(weighty) > _TOLD:
        logger.info("preprocess: and %s more findings; the report has all of them", len(weighty) - _TOLD)


def _original(spec: PreprocessSpec, sources: Sources, place: Place) -> Dataset | None:
    """The Dataset that the same data makes without remedies: a document of its own, below the place of this one. That
    of an interrupted run is found again."""
    if not (spec.keep_original and spec.data.optimise.remedies):
        return None
    below = Place(uri=place.at("original"))
    if Dataset.exists(below.uri):
        return Dataset.read(below.uri)
    logger.info("preprocess: the data without the remedies of data.optimise first, for evaluate.compare_optimised")
    plain = spec.data.model_copy(update={"optimise": OptimiseSection(), "compare_with": None})
    alone = spec.model_copy(update={"data": plain, "keep_original": False})
    made, files = _produce(alone, sources, below, None, told=False)
    return made.publish(below.uri, files)


def _split_facts(spec: PreprocessSpec, plan: Plan, cuts: Cuts | None) -> dict[str, Any]:
    facts: dict[str, Any] = {"by": spec.data.split.by, "key": spec.data.split.key}
    if cuts is not None and plan.key is not None:
        facts["validation_from"] = shown(cuts.validation_from, plan.key)
        facts["test_from"] = shown(cuts.test_from, plan.key)
    return facts


def golden(summary: Summary, schema: Schema) -> Golden:
    """The first usable candidates, with the columns that the model sees."""
    classes = schema.label.classes
    usable = [found for found in summary.golden if classes is None or found.label in classes][:GOLDEN_ROWS]
    names = [column.name for column in schema.columns]
    rows = [{name: found.row[name] for name in names} for found in usable]
    return Golden.model_validate({"rows": rows, "labels": [found.label for found in usable]})


def _limit(dead: DeadLetters, rows: int, spec: PreprocessSpec, place: Place) -> None:
    if dead.total - dead.dropped <= spec.data.max_bad_fraction * rows:
        return
    uri = place.at("work", _DEAD_LETTERS)
    storage_for(uri).write(uri, dead.jsonl())
    raise dead_letters.too_many(dead, rows=rows, limit=spec.data.max_bad_fraction, file_uri=uri)


def _check_counts(rows: Mapping[str, int], summary: Summary, unseen: Mapping[str, int]) -> None:
    """Every row that was read is in exactly one place."""
    lost = sum(unseen.values())
    expected: dict[str, int] = {split: summary.split_rows[split] for split in SPLITS}
    expected["test"] -= lost
    expected["dead"] = summary.dead.total + lost
    if rows != expected or sum(rows.values()) != summary.rows:
        raise NasflowError(
            f"preprocess: read {summary.rows} rows and expected {expected}, but wrote {dict(rows)}; did the data "
            "change meanwhile? Run the step again"
        )
    if rows["test"] == 0:
        raise DataError("data.test: every row has a label that data.train lacks; are both of the same data?")

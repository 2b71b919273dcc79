"""The end of a run as a person reads it on a terminal."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nasflow.core.artifacts import Endpoint, RegisteredModel
from nasflow_pipelines.report import interval
from nasflow_pipelines.summary import Summary

_COLUMNS = 3


def table(summary: Summary, folder: Path) -> str:
    """The summary table of a run that succeeded, with an answer of the deployed model."""
    lines = [("run", f"{summary.name} ({summary.task})")]
    if summary.rows:
        rows = summary.rows
        counts = f"{rows.train:,} train, {rows.validation:,} validation, {rows.test:,} test, {rows.dead:,} unusable"
        lines.append(("rows", counts))
    if summary.retrain:
        known = summary.retrain.champion
        lines.append(("champion", "none yet" if known is None else f"version {known}"))
        lines += [("new data ask for", summary.retrain.action), *(("", reason) for reason in summary.retrain.reasons)]
    if summary.search:
        trials = summary.search.trials
        looks = f" (of them {trials.looks} second looks)" if trials.looks else ""
        counts = f"{trials.completed} completed{looks}, {trials.failed} failed, {trials.infeasible} infeasible"
        counts += f", {trials.same} known already" if trials.same else ""
        counts += f", {trials.filtered} left out by search.filter" if trials.filtered else ""
        lines.append(("search", f"{summary.search.strategy}: {counts}"))
        if best := summary.search.best:
            size = f"{best.parameters:,} parameters, {best.flops:,} FLOPs"
            lines.append(("best architecture", f"{best.architecture_id}: {size}"))
    if summary.test and summary.baseline:
        name, test, baseline = summary.objective, summary.test[summary.objective], summary.baseline[summary.objective]
        lines.append((f"test {name}", f"{test.value:.4f}  (95 % interval {interval(test)})"))
        lines.append(("hand-made baseline", f"{baseline.value:.4f}  (95 % interval {interval(baseline)})"))
        for kind, estimates in (summary.other_baselines or {}).items():
            if name in estimates:
                lines.append((f"{kind} baseline", f"{estimates[name].value:.4f}"))
        if summary.champion and name in summary.champion.test:
            champion = summary.champion.test[name]
            shown = f"{champion.value:.4f}  (95 % interval {interval(champion)})"
            lines.append((f"champion, version {summary.champion.version}", shown))
    if summary.decision:
        verdict = "promoted" if summary.decision.promoted else "not promoted"
        lines += [("decision", verdict), *(("", reason) for reason in summary.decision.reasons)]
    if summary.model:
        lines.append(("model", f"{summary.model.name} version {summary.model.version}  {summary.model.uri}"))
    lines += [(label, text) for label, text in _prediction(folder, deployed=summary.deployed)]
    lines.append(("time", ", ".join(f"{step} {seconds:.0f} s" for step, seconds in summary.seconds.items())))
    lines.append(("report", str(folder / "report.html")))
    width = max(len(label) for label, _ in lines)
    return "\n".join(f"  {label:<{width}}  {text}" for label, text in lines)


def _prediction(folder: Path, *, deployed: bool) -> list[tuple[str, str]]:
    uri = str(folder / "documents" / "deploy")
    if not deployed or not Endpoint.exists(uri):
        return []
    endpoint = Endpoint.read(uri)
    if "prediction.json" not in endpoint.files:
        return [("manifest", f"{uri}/inferenceservice.yaml; commit it, or kubectl apply --server-side -f it")]
    registry = RegisteredModel.read(str(folder / "documents" / "register")).registry
    agreed = f"{endpoint.golden_rows} golden rows answered as evaluated"
    exchange = endpoint.json("prediction.json")
    asked, answered = exchange["request"]["instances"][0], exchange["response"]["predictions"][0]
    return [
        ("deployed", f"{endpoint.target} at {endpoint.url}; {agreed}"),
        ("a prediction", f"{_row(asked)} → {_answer(answered)}"),
        ("serve it", f"nasflow serve {endpoint.name} --registry {registry}"),
    ]


def _row(row: Any) -> str:
    """The first few columns; an image is only named: nobody reads pixels."""
    if not isinstance(row, Mapping):
        return _short(row)
    shown = [f"{name} = {_short(value)}" for name, value in row.items()]
    return ", ".join(shown[:_COLUMNS]) + (f", … ({len(shown)} columns)" if len(shown) > _COLUMNS else "")


def _short(value: Any) -> str:
    if isinstance(value, list):
        return f"{' × '.join(map(str, _size(value)))} numbers"
    if isinstance(value, Mapping):
        return "an encoded image" if "b64" in value else f"{len(value)} values"
    return f"{value:.6g}" if isinstance(value, float) else f"{value!s:.40}"


def _size(value: Any) -> list[int]:
    return [len(value), *_size(value[0])] if isinstance(value, list) and value else []


def _answer(answer: Any) -> str:
    """``virginica (0.80)`` or a number."""
    if isinstance(answer, Mapping) and "label" in answer:
        return f"{answer['label']} ({answer['probability']:.2f})"
    return f"{answer:.6g}" if isinstance(answer, float) else str(answer)

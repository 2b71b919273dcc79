"""The report of a training: seeds, curves, what was chosen."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from nasflow.core import html
from nasflow.core.artifacts import Model
from nasflow.core.metrics import maximised
from nasflow.train.ledger import Point, SeedRun
from nasflow.train.selection import Choice
from nasflow.train.spec import TrainSpec


def report(
    model: Model,
    spec: TrainSpec,
    *,
    choice: Choice,
    runs: Mapping[tuple[int, int], SeedRun],
    refit: Sequence[Point],
) -> bytes:
    """A self-contained page."""
    facts = {
        "architecture": model.architecture_id,
        "parameters": model.parameters,
        "floating-point operations an example": model.flops,
        "epochs": model.epochs,
        "networks, whose mean it answers with": model.members,
        "seed": model.seed,
    }
    sections = [("Model", html.facts(facts))]
    if runs:
        sections += [("Seeds, on validation", _seeds(spec, choice, runs)), ("Curves", _curves(spec, runs))]
    sections.append(("Refit on train + validation", _losses(refit)))
    return html.page("Training", _lead(spec, runs), sections)


def _lead(spec: TrainSpec, runs: Mapping[tuple[int, int], SeedRun]) -> str:
    if not runs:
        return "One candidate, one seed: trained once, on train + validation."
    sign = "less" if maximised(spec.metric) else "plus"
    return (
        f"Each candidate was trained with {spec.train.seeds} seed(s) on the train split. Its mean {spec.metric} on "
        f"validation {sign} one standard deviation chose the candidate; its best seed was refitted on "
        "train + validation."
    )


def _seeds(spec: TrainSpec, choice: Choice, runs: Mapping[tuple[int, int], SeedRun]) -> Markup:
    columns = ["candidate", "architecture", "seed", spec.metric, "seconds", "judged by", ""]
    rows: list[list[Any]] = []
    for (candidate, number), run in sorted(runs.items()):
        verdict = choice.judged[candidate]
        chosen = (candidate, number) == (choice.candidate, choice.seed)
        rows.append(
            [
                candidate + 1,
                run.architecture_id,
                run.seed,
                run.score,
                round(run.seconds, 1),
                verdict if math.isfinite(verdict) else None,
                "chosen" if chosen else run.error,
            ]
        )
    return html.table(columns, rows)


def _curves(spec: TrainSpec, runs: Mapping[tuple[int, int], SeedRun]) -> Markup:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2))
    losses, scores = figure.subplots(1, 2)
    for (candidate, number), run in sorted(runs.items()):
        epochs = [point.epoch for point in run.curve]
        style = {"color": f"C{candidate % 10}", "linewidth": 1.2}
        style["label"] = "_" if number else f"candidate {candidate + 1}"  # matplotlib leaves out what starts with _
        losses.plot(epochs, [point.loss for point in run.curve], **style)
        scored = [(point.epoch, point.score) for point in run.curve if point.score is not None]
        scores.plot([epoch for epoch, _ in scored], [score for _, score in scored], **style)
    for axes, title in ((losses, "training loss"), (scores, f"{spec.metric} on validation")):
        axes.set(title=title, xlabel="epoch")
        axes.grid(alpha=0.3)
    losses.legend(fontsize="small")
    return html.picture(figure, "One line a seed run; one colour a candidate.")


def _losses(points: Sequence[Point]) -> Markup:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 2.8))
    axes = figure.subplots()
    axes.plot([point.epoch for point in points], [point.loss for point in points], color="C0")
    axes.set(xlabel="epoch", ylabel="training loss")
    axes.grid(alpha=0.3)
    return html.picture(figure, "There is no validation left to measure here: the test set judges, in `evaluate`.")

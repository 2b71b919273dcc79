"""The model card (Mitchell et al. 2019, Model Cards for Model Reporting): what a model is, from what, how good, and its
limits; as a page and as Markdown, from the same blocks.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from nasflow.core import html
from nasflow.core.artifacts import Dataset, Document, Estimate, Evaluation, Model, Search
from nasflow.register.cost import cost_of
from nasflow.registry._base import Feature
from nasflow.spaces.architecture import Architecture
from nasflow.spaces.drawing import drawing, label

_MOST_SLICES, _MOST_FEATURES, _MOST_FINDINGS = 10, 60, 12


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a card is made from."""

    name: str
    experiment: Mapping[str, Any]
    dataset: Dataset
    search: Search
    model: Model
    evaluation: Evaluation
    features: Sequence[Feature]
    provenance: Mapping[str, str]

    @property
    def documents(self) -> Mapping[str, Document]:
        """By name."""
        return {"dataset": self.dataset, "search": self.search, "model": self.model, "evaluation": self.evaluation}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under columns."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A drawing; Markdown gets its text instead."""

    image: Markup
    text: Sequence[str]


Block = str | Table | Picture
Section = tuple[str, Sequence[Block]]


def as_html(facts: Facts) -> bytes:
    """A self-contained page."""
    sections = [(title, Markup("").join(_html(block) for block in blocks)) for title, blocks in _sections(facts)]
    return html.page(f"Model card: {facts.name}", _lead(facts), sections)


def as_markdown(facts: Facts) -> bytes:
    """The same without pictures."""
    lines = [f"# Model card: {facts.name}", "", _lead(facts), ""]
    for title, blocks in _sections(facts):
        lines += [f"## {title}", ""]
        for block in blocks:
            lines += [*_markdown(block), ""]
    return "\n".join(lines).encode()


def _lead(facts: Facts) -> str:
    objective = facts.evaluation.test.get(facts.evaluation.objective)
    score = f"{facts.evaluation.objective} {_estimate(objective)} on {facts.evaluation.test_rows:,} held-out rows"
    return f"{facts.model.task.replace('_', ' ').capitalize()}; {score}."


def _sections(facts: Facts) -> list[Section]:
    found = [
        ("Use", _use(facts)),
        ("Quality", _quality(facts)),
        ("Data", _data(facts)),
        ("Inputs", _inputs(facts)),
        ("Architecture", _architecture(facts)),
        ("Training", _training(facts)),
        ("Limits", _limits(facts)),
        ("Energy and cost", cost_of(facts.documents, facts.model)),
        ("Provenance", _provenance(facts)),
    ]
    return [(title, blocks) for title, blocks in found if blocks]


def _use(facts: Facts) -> list[Block]:
    data = facts.experiment.get("data", {})
    classes = _classes(facts)
    text = (
        f"Predicts {data.get('label', 'the label')!r} of rows like those of {data.get('train', 'the training data')}."
    )
    if classes:
        shown = ", ".join(classes[:20]) + (f", … ({len(classes)} classes)" if len(classes) > 20 else "")
        text += f" Classes: {shown}."
    decision = facts.evaluation.decision
    verdict = "Promoted" if decision.promoted else "Not promoted"
    return [text, f"{verdict} when it was evaluated:", *decision.reasons]


def _quality(facts: Facts) -> list[Block]:
    evaluation = facts.evaluation
    columns: dict[str, Mapping[str, Estimate]] = {"model": evaluation.test, "hand-made network": evaluation.baseline}
    columns |= evaluation.other_baselines
    if evaluation.champion is not None and evaluation.champion.test:
        columns[f"champion then (version {evaluation.champion.version})"] = evaluation.champion.test
    rows = [[name, *(_estimate(column.get(name)) for column in columns.values())] for name in evaluation.test]
    blocks: list[Block] = ["On the held-out test set, with 95 % bootstrap intervals:"]
    blocks.append(Table(columns=["metric", *columns], rows=rows))
    if "slices.json" in evaluation.files and (slices := evaluation.json("slices.json")):
        blocks.append(f"Parts of the test rows with the weakest {evaluation.objective}:")
        shown = [(part["what"], part["rows"], f"{part['value']:.4g}") for part in slices[:_MOST_SLICES]]
        blocks.append(Table(columns=["rows with", "rows", evaluation.objective], rows=shown))
    return blocks


def _data(facts: Facts) -> list[Block]:
    rows = [(split, count) for split, count in facts.dataset.rows.items()]
    blocks: list[Block] = [Table(columns=["split", "rows"], rows=rows)]
    statistics = _json(facts.dataset, "statistics.json")
    if findings := statistics.get("findings", [])[:_MOST_FINDINGS]:
        blocks += ["What preprocess found in it:", *findings]
    return blocks


def _inputs(facts: Facts) -> list[Block]:
    rows = [
        (
            feature.name,
            feature.kind,
            feature.dtype,
            "yes" if feature.missing else "no",
            _range(feature),
        )
        for feature in facts.features[:_MOST_FEATURES]
    ]
    blocks: list[Block] = [
        Table(columns=["column", "kind", "type", "missing in training", "seen in training"], rows=rows)
    ]
    if len(facts.features) > _MOST_FEATURES:
        blocks.append(f"And {len(facts.features) - _MOST_FEATURES} more columns.")
    return blocks


def _architecture(facts: Facts) -> list[Block]:
    model = facts.model
    text = (
        f"{model.architecture_id}: {model.parameters:,} parameters, {model.flops:,} floating-point operations for one "
        f"example. Found by {facts.search.strategy} in the space {facts.search.space}, "
        f"{facts.search.trials.completed} trials."
    )
    known = _json(facts.search, "architectures.json")
    if model.architecture_id not in known:
        return [text]
    architecture = Architecture.from_json(known[model.architecture_id])
    steps = [f"{label(node)}  ← {', '.join(node.inputs) or 'data'}" for node in architecture.nodes]
    caption = f"From the inputs to the output: {len(architecture.nodes)} operations."
    recipe = [(name, str(value)) for name, value in known[model.architecture_id]["recipe"].items()]
    picture = Picture(image=drawing(architecture, caption), text=steps)
    return [text, picture, Table(columns=["recipe", "value"], rows=recipe)]


def _training(facts: Facts) -> list[Block]:
    model = facts.model
    scores = ", ".join(f"{score:.4g}" for score in model.seed_scores)
    text = f"{model.epochs} epochs, seed {model.seed}, on the training and the validation rows."
    if scores:
        text += f" {facts.evaluation.objective} of {len(model.seed_scores)} seeds on validation before: {scores}."
    curve = _json(facts.model, "training.json").get("refit", [])
    if not curve:
        return [text]
    return [text, Picture(image=_curve(curve), text=[f"epoch {p['epoch']}: loss {p['loss']:.4g}" for p in curve])]


def _curve(points: Sequence[Mapping[str, Any]]) -> Markup:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 2.6))
    axes = figure.subplots()
    axes.plot([point["epoch"] for point in points], [point["loss"] for point in points], color="#2563eb")
    axes.set_xlabel("epoch")
    axes.set_ylabel("training loss")
    axes.grid(alpha=0.3)
    return html.picture(figure, "The final training.")


def _limits(facts: Facts) -> list[Block]:
    evaluation, found = facts.evaluation, list[Block]()
    objective = evaluation.test.get(evaluation.objective)
    if objective is not None:
        found.append(
            f"The test set has {evaluation.test_rows:,} rows: its {evaluation.objective} is known to within "
            f"{objective.ci95[0]:.4g} to {objective.ci95[1]:.4g}, for rows drawn as these were."
        )
    if "slices.json" in evaluation.files and (slices := evaluation.json("slices.json")):
        worst = slices[0]
        found.append(f"Weakest where {worst['what']}: {worst['value']:.4g} on {worst['rows']:,} rows.")
    numbers = sum(feature.low is not None for feature in facts.features)
    if numbers:
        found.append("Numbers far outside the ranges above are clipped; what it says of such rows was never tested.")
    if any(feature.categories for feature in facts.features):
        found.append("Texts that the training rows lacked count as one unknown value.")
    found.append("It was not examined for fairness towards groups of people beyond the parts listed under Quality.")
    return found


def _provenance(facts: Facts) -> list[Block]:
    rows = [(name, document.digest) for name, document in facts.documents.items()]
    rows.append(("bundle", facts.model.bundle_digest))
    rows += list(facts.provenance.items())
    return [Table(columns=["what", "digest or version"], rows=rows)]


def _classes(facts: Facts) -> list[str]:
    return list(_json(facts.dataset, "schema.json").get("label", {}).get("classes") or ())


def _json(document: Document, name: str) -> dict[str, Any]:
    content: dict[str, Any] = document.json(name) if name in document.files else {}
    return content


def _range(feature: Feature) -> str:
    if feature.low is not None and feature.high is not None:
        return f"{feature.low:g} to {feature.high:g}"
    if feature.categories:
        more = ", …" if len(feature.categories) > 8 else ""
        return ", ".join(feature.categories[:8]) + more
    return " × ".join(map(str, feature.shape))


def _estimate(estimate: Estimate | None) -> str:
    return "–" if estimate is None else f"{estimate.value:.4g} [{estimate.ci95[0]:.4g}, {estimate.ci95[1]:.4g}]"


def _html(block: Block) -> Markup:
    if isinstance(block, str):
        return html.paragraph(block)
    return html.table(block.columns, block.rows) if isinstance(block, Table) else block.image


def _markdown(block: Block) -> list[str]:
    if isinstance(block, str):
        return [_escaped(block)]
    if isinstance(block, Picture):
        return [f"{place}. {_escaped(line)}" for place, line in enumerate(block.text, start=1)]
    rows = [block.columns, ["---"] * len(block.columns), *block.rows]
    return ["| " + " | ".join(_escaped(_cell(value)) for value in row) + " |" for row in rows]


def _cell(value: Any) -> str:
    return "–" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")

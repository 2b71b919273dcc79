"""``python -m nasflow.retrain recall`` and ``… weigh``: the retraining's own tasks alone; see `--help`."""

import click

from nasflow.core.artifacts import Dataset
from nasflow.core.spec import ExperimentSpec
from nasflow.core.step_cli import command
from nasflow.retrain.documents import EXPERIMENT, Incumbent, Review


def _experiment(document: Incumbent | Review) -> str:
    return document.file(EXPERIMENT).decode()


main = click.Group(
    name="python -m nasflow.retrain",
    help="The two tasks that only the retraining pipeline has.",
    commands={
        "recall": command(
            "recall", ExperimentSpec, inputs={}, facts={"experiment": _experiment}, module="nasflow.retrain.recall"
        ),
        "weigh": command(
            "weigh",
            ExperimentSpec,
            inputs={"dataset": Dataset, "incumbent": Incumbent},
            facts={"experiment": _experiment, "go": lambda review: str(review.action != "keep").lower()},
            module="nasflow.retrain.weigh",
        ),
    },
)

if __name__ == "__main__":
    main()

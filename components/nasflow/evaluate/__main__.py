"""`python -m nasflow.evaluate`: the step alone; see `--help`."""

from nasflow.core.artifacts import Dataset, Model
from nasflow.core.step_cli import command
from nasflow.evaluate.spec import EvaluateSpec

main = command(
    "evaluate",
    EvaluateSpec,
    inputs={"dataset": Dataset, "model": Model},
    facts={"promoted": lambda evaluation: str(evaluation.decision.promoted).lower()},
)

if __name__ == "__main__":
    main()

"""`python -m nasflow.register`: the step alone; see `--help`."""

from nasflow.core.artifacts import Dataset, Evaluation, Model, Search
from nasflow.core.step_cli import command
from nasflow.register.spec import RegisterSpec

main = command(
    "register", RegisterSpec, inputs={"dataset": Dataset, "search": Search, "model": Model, "evaluation": Evaluation}
)

if __name__ == "__main__":
    main()

"""`python -m nasflow.train`: the step alone; see `--help`."""

from nasflow.core.artifacts import Dataset, Search
from nasflow.core.step_cli import command
from nasflow.train.spec import TrainSpec

main = command("train", TrainSpec, inputs={"dataset": Dataset, "search": Search})

if __name__ == "__main__":
    main()

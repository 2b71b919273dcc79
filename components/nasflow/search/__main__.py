"""`python -m nasflow.search`: the step alone; see `--help`."""

from nasflow.core.artifacts import Dataset
from nasflow.core.step_cli import command
from nasflow.search.spec import SearchSpec

main = command("search", SearchSpec, inputs={"dataset": Dataset})

if __name__ == "__main__":
    main()

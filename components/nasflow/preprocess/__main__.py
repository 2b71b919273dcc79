"""`python -m nasflow.preprocess`: the step alone; see `--help`."""

from nasflow.core.step_cli import command
from nasflow.preprocess.spec import PreprocessSpec

main = command("preprocess", PreprocessSpec, inputs={})

if __name__ == "__main__":
    main()

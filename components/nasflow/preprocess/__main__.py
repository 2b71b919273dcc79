"""`python -m nasflow.preprocess`: the step alone; see `--help`."""

from nasflow.preprocess import lean

lean.begin()

from nasflow.core.step_cli import command  # noqa: E402  # once no garbage is collected
from nasflow.preprocess.spec import PreprocessSpec  # noqa: E402

main = command("preprocess", PreprocessSpec, inputs={})

if __name__ == "__main__":
    main()

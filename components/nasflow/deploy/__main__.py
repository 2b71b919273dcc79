"""`python -m nasflow.deploy`: the step alone; see `--help`."""

from nasflow.core.artifacts import Evaluation, RegisteredModel
from nasflow.core.step_cli import command
from nasflow.deploy.spec import DeploySpec

main = command("deploy", DeploySpec, inputs={"registered": RegisteredModel, "evaluation": Evaluation})

if __name__ == "__main__":
    main()

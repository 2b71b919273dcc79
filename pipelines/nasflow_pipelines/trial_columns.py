"""What `nasflow trials` can be asked for; by itself, because the command's help and completion load nothing heavy."""

COLUMNS = (
    *("id", "status", "score", "mean", "spread", "trainings", "rung", "epochs", "parameters", "flops"),
    *("cpu_seconds", "seconds", "generation", "parents", "strategy", "architecture", "reason"),
)
"""What every trial has. Beside them: its metrics, counted costs and genes, each by its own name."""
STATUSES = ("completed", "failed", "infeasible", "same", "filtered", "running", "stopped")

"""The commented YAML that `nasflow init` writes."""

from nasflow.core.spec import CLASSIFICATION_METRICS, REGRESSION_METRICS, Task

_SAMPLES: dict[Task, tuple[str, str]] = {
    "image_classification": ("sample:digits", "target"),
    "text_classification": ("sample:docstrings", "target"),
    "tabular_classification": ("sample:breast_cancer", "target"),
    "tabular_regression": ("sample:diabetes", "target"),
}

_SPACES: dict[Task, str] = {
    "image_classification": "cnn",
    "text_classification": "auto",
    "tabular_classification": "mlp",
    "tabular_regression": "mlp",
}


_OTHERS: dict[Task, str] = {
    "image_classification": "cnn",
    "text_classification": "text, multimodal (with other columns), auto",
    "tabular_classification": "mlp",
    "tabular_regression": "mlp",
}

_TABLE = "Parquet, CSV, JSON lines, .npz"
_FORMS: dict[Task, str] = {
    "image_classification": "Parquet, CSV, .npz, IDX images, a folder of one image folder a class",
    "text_classification": "Parquet, CSV, JSON lines, .txt of `__label__CLASS text` lines, a folder of text folders",
    "tabular_classification": _TABLE,
    "tabular_regression": _TABLE,
}
_MORE: dict[Task, str] = {
    "image_classification": "  # image_size: 64                # height and width that images are resized to\n",
    "text_classification": """\
  # text: body                    # the column (or columns) of texts; left out, found by their length
  # columns: {body: {length: 256, vocabulary: 20000, oov_buckets: 0}}  # tokens that the model sees, and knows
""",
}


def text(task: Task, *, name: str, data: str | None, label: str | None) -> str:
    """A complete spec for a task; without `data`, on a small data set that comes with scikit-learn."""
    sample, column = _SAMPLES[task]
    metrics = REGRESSION_METRICS if task == "tabular_regression" else CLASSIFICATION_METRICS
    objective = "rmse" if task == "tabular_regression" else "accuracy"
    image = task == "image_classification"
    return f"""\
# What nasflow is to find out. `nasflow validate THIS` checks it, `nasflow run THIS` runs it.
# Every key, with its meaning and default: `nasflow schema`.
name: {name}                     # names the run, the pipeline and the model
task: {task}

data:
  # {_FORMS[task]}, or sample:NAME; a path or gs://
  train: {_quoted(data or sample)}
  # test: path/to/test.csv        # a test set of its own; else split.test of the rows are held out
  label: {_quoted(label or column)}  # the column to predict
  # ignore: [id]                  # columns that the model must not see
  # columns: {{zip: {{kind: categorical}}, day: {{format: "%d/%m/%Y"}}, price: {{scaling: log}}}}   # known better
  # csv: {{delimiter: ";", decimal: ",", encoding: latin-1}}   # how CSV files are written, where it is not found out
  # weight: count                 # how much each row counts
  split: {{validation: 0.1, test: 0.2}}
{_MORE.get(task, "")}
objective: {objective}               # {", ".join(metrics)}

# constraints:                    # hard limits on what the search may return
#   parameters: 200k
#   flops: 50M

search:
  space: {_SPACES[task]}                      # {_OTHERS[task]}, or package.module:factory
  strategy: auto                  # auto, random, evolution, hyperband, bayesian, or package.module:factory
  budget:                         # it ends at whichever limit comes first
    trials: 20
    hours: 0.25
    epochs: {6 if image else 20}                    # of one trial, at most

train:
  seeds: 2                        # the winner is trained with so many seeds; mean - std chooses

evaluate:
  min_gain: 0.0                   # promoted if better than the hand-made baseline by at least this

register:
  name: {name}

# resources:                      # on Kubernetes only
#   accelerator: {{type: nvidia.com/gpu, count: 1, pool: gpu, spot: true}}

seed: 0
"""


def _quoted(value: str) -> str:
    """As a YAML scalar that stays text, on one line."""
    import yaml

    return str(yaml.safe_dump(value, width=float("inf")).removesuffix("\n...\n").strip())

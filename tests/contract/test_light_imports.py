"""Authoring and `nasflow --help` load nothing heavy. Counted by modules, not by a clock."""

import subprocess
import sys

import pytest

HEAVY = {
    "tensorflow",
    "keras",
    "keras_tuner",
    "apache_beam",
    "sklearn",
    "scipy",
    "PIL",
    "kserve",
    "matplotlib",
    "pyarrow",
}
PROBE = """
import sys
{code}
print(" ".join(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""


def loaded(code):
    done = subprocess.run([sys.executable, "-c", PROBE.format(code=code)], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import nasflow.ops",
        (
            "import nasflow_pipelines.automl, nasflow.core.spec_file as f\n"
            "nasflow_pipelines.automl.build(f.parse('{task: tabular_regression, data: {train: a.csv, label: y}}'))"
        ),
    ],
    ids=["import-ops", "build-pipeline"],
)
def test_pipeline_authoring_loads_no_heavy_library(code):
    modules = loaded(code)
    assert "kfp" in modules
    assert not modules & HEAVY


def test_help_loads_little_more_than_click():
    help_ = "from nasflow_pipelines.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass"
    modules = loaded(help_)
    assert "click" in modules
    assert not modules & (HEAVY | {"kfp", "kubernetes", "pydantic", "numpy", "yaml", "jinja2", "google"})


def test_what_starts_workers_in_a_pod_has_no_tensorflow_itself():
    """It waits beside them for as long as they train: its memory is taken from theirs."""
    modules = loaded("import nasflow.search.pod, nasflow.models.device")
    assert not modules & HEAVY, sorted(modules & HEAVY)

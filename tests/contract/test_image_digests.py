"""Images pinned by digest run as that digest, in every form that nasflow renders."""

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from nasflow.core import spec_file
from nasflow.core.sections.resources import IMAGES
from nasflow.core.spec import ExperimentSpec
from nasflow.core.version import VERSION
from nasflow.deploy import isvc
from nasflow.deploy.isvc import Release
from nasflow.deploy.spec import DeploySpec
from nasflow_pipelines import argo, compiling

ROOT = Path(__file__).resolve().parents[2]
DIGESTS = {name: f"sha256:{place:064x}" for place, name in enumerate(IMAGES)}


def experiment(**resources: Any) -> ExperimentSpec:
    data = {"train": "gs://b/x.csv", "label": "y"}
    fields = {
        "task": "tabular_regression",
        "name": "m",
        "data": data,
        "resources": {"image_prefix": "r/n", **resources},
    }
    return ExperimentSpec.model_validate(fields)


def images(node: Any) -> set[str]:
    """Every value under a key `image`, however deep."""
    if isinstance(node, dict):
        found = {value for key, value in node.items() if key == "image" and isinstance(value, str)}
        return found.union(*(images(value) for value in node.values()))
    return set().union(*(images(value) for value in node)) if isinstance(node, list) else set()


def test_a_compiled_pipeline_names_digests_and_no_tag(tmp_path: Path) -> None:
    compiling.compile_to(experiment(image_digests=DIGESTS), tmp_path / "pipeline.yaml")
    compiled = list(yaml.safe_load_all((tmp_path / "pipeline.yaml").read_text()))
    pinned = {f"r/n/{name}@{DIGESTS[name]}" for name in ("beam", "trainer", "ops", "server-tf")}
    assert {image for image in images(compiled) if image.startswith("r/n/")} == pinned


def test_an_argo_workflow_does_too_with_gpus() -> None:
    pinned = experiment(image_digests=DIGESTS, accelerator={"count": 1})
    assert images(argo.workflow(pinned)) == {
        f"r/n/{name}@{DIGESTS[name]}" for name in ("beam", "trainer-gpu", "ops", "server-tf")
    }


def test_so_does_an_inference_service_and_what_is_not_named_keeps_its_tag() -> None:
    for engine, name in (("onnx", "server"), ("saved_model", "server-tf")):
        release = Release(name="iris", version=1, bundle_uri="gs://b/1", bundle_digest="d", engine=engine)
        for digests, expected in ((DIGESTS, f"@{DIGESTS[name]}"), ({}, f":{VERSION}")):
            spec = DeploySpec.of(experiment(image_digests=digests))
            assert images(isvc.predictor(spec, release)) == {f"r/n/{name}{expected}"}


def test_what_was_pushed_is_what_runs(tmp_path: Path) -> None:
    """`containers/push.sh`, with a docker whose registry gives every image the digest of its name."""
    fake = tmp_path / "docker"
    fake.write_text(
        "#!/bin/sh\n"
        'digest() { printf "sha256:"; printf %s "$1" | sha256sum | cut -c1-64; }\n'
        'case "$1" in\n'
        '  push) echo "pushed $2" ;;\n'
        '  image) echo "elsewhere/beam@$(digest other)"; echo "${5%:*}@$(digest "${5%:*}")" ;;\n'
        "esac\n"
    )
    fake.chmod(0o755)
    names = ("beam", "beam-sdk", "trainer", "ops", "server", "server-tf")
    done = subprocess.run(
        [ROOT / "containers/push.sh", *names],
        env={"PATH": "/usr/bin:/bin", "DOCKER": str(fake), "PREFIX": "r/n"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.splitlines() == [f"pushed r/n/{name}:{VERSION}" for name in names]
    file = tmp_path / "e.yaml"
    file.write_text("{name: m, task: tabular_regression, data: {train: 'gs://b/x.csv', label: y}}")
    pinned = spec_file.load(file, [done.stdout.strip(), "resources.image_prefix=r/n"])
    wanted = {name: f"r/n/{name}@sha256:{hashlib.sha256(f'r/n/{name}'.encode()).hexdigest()}" for name in names}
    assert images(argo.workflow(pinned)) == {wanted[name] for name in ("beam", "trainer", "ops", "server-tf")}
    release = Release(name="iris", version=1, bundle_uri="gs://b/1", bundle_digest="d")
    assert images(isvc.predictor(DeploySpec.of(pinned), release)) == {wanted["server"]}


@pytest.mark.parametrize("prefix", [None, "nasflow"])
def test_nothing_is_pushed_where_no_registry_is_named(tmp_path: Path, prefix: str | None) -> None:
    """Docker takes ``nasflow/beam`` for a place on its public Hub."""
    fake = tmp_path / "docker"
    fake.write_text("#!/bin/sh\necho pushed >&2\n")
    fake.chmod(0o755)
    environment = {"PATH": "/usr/bin:/bin", "DOCKER": str(fake), **({"PREFIX": prefix} if prefix else {})}
    done = subprocess.run(
        [ROOT / "containers/push.sh", "beam"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "PREFIX=REGISTRY/FOLDER" in done.stderr
    assert "pushed" not in done.stderr


@pytest.mark.parametrize(
    ("digests", "message"),
    [
        ({"sever": DIGESTS["server"]}, "no image 'sever'; there are beam"),
        ({"ops": "sha256:12"}, "should match pattern"),
    ],
)
def test_wrong_pins_are_refused(digests: dict[str, str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        experiment(image_digests=digests)

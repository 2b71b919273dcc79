"""Images as Kubernetes' `restricted` standard runs them: a read-only root, no capabilities, a user of their own."""

import csv
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.contract.test_no_secrets import SECRETS
from tests.unit.conftest import handmade_bundle  # noqa: F401  # the fixture

from nasflow.core import spec_file
from nasflow.core.spec import ExperimentSpec
from nasflow_pipelines import argo

pytestmark = pytest.mark.docker

OWN_USER = "65532:65532"
RESTRICTED: dict[str, Any] = {
    "read_only": True,
    "tmpfs": {"/tmp": ""},
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "network_mode": "none",
    "user": OWN_USER,
}


def _run(client: Any, image: Any, command: list[str], folder: Path, **more: Any) -> str:
    options = {**RESTRICTED, "volumes": {str(folder): {"bind": "/work", "mode": "rw"}}, **more}
    made = client.containers.run(image.id, command, detach=True, **options)
    try:
        code = made.wait(timeout=300)["StatusCode"]
        log = str(made.logs().decode())
        changed = [each["Path"] for each in made.diff() or []]
    finally:
        made.remove(force=True)
    assert code == 0, log
    # the mount points alone: nothing was written beside them
    assert [path for path in changed if not re.fullmatch(r"/work|/tmp|/opt/?", path)] == [], changed
    return log


SMALL = {
    "name": "tiny",
    "task": "tabular_classification",
    "data": {"train": "/work/data.csv", "label": "y"},
    "search": {"budget": {"trials": 1, "epochs": 1}},
    "train": {"seeds": 1, "epochs": 1},
    "evaluate": {"bootstrap": 100, "min_gain": -1.0},  # deployed however little one epoch has taught it
}


@pytest.mark.slow
def test_every_step_as_a_pod_of_argo_runs_it(docker_client: Any, images: dict[str, Any], tmp_path: Path) -> None:
    """The Workflow's own commands in their images, in turn; what a pod may write is /tmp and the work dir."""
    rng = random.Random(0)
    work = tmp_path / "work"
    work.mkdir()
    work.chmod(0o777)
    with (work / "data.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["x", "colour", "y"])
        for _ in range(300):
            x = rng.gauss(0, 1)
            writer.writerow([round(x, 3), rng.choice(["red", "green"]), "yes" if x > 0 else "no"])
    experiment = ExperimentSpec.model_validate(SMALL)
    workflow = argo.workflow(experiment)
    templates = {each["name"]: each for each in workflow["spec"]["templates"]}
    facts = {}
    for step in argo.AUTOML:
        template, tmp = templates[step], tmp_path / step
        (tmp / "nasflow").mkdir(parents=True)
        tmp.chmod(0o777)
        (tmp / "nasflow/experiment.json").write_text(spec_file.to_json(experiment))
        container = template["container"]
        image = images[container["image"].rsplit("/")[-1].split(":")[0]]
        filled = {"{{workflow.parameters.work-dir}}": "/work/w", "{{workflow.uid}}": "one"}
        command = [*container["command"], *container["args"]]
        for name, value in filled.items():
            command = [each.replace(name, value) for each in command]
        volumes = {str(work): {"bind": "/work", "mode": "rw"}, str(tmp): {"bind": "/tmp", "mode": "rw"}}
        _run(docker_client, image, command, work, volumes=volumes, tmpfs=None, shm_size="1g")
        for output in template.get("outputs", {}).get("parameters", ()):
            facts[output["name"]] = (tmp / Path(output["valueFrom"]["path"]).name).read_text().strip()
    assert facts == {"promoted": "true"}
    documents = {
        path.parent.name: json.loads(path.read_text()) for path in work.glob("w/runs/one/documents/*/manifest.json")
    }
    assert set(documents) == set(argo.AUTOML)
    assert sum(documents["preprocess"]["rows"].values()) == 300
    assert documents["deploy"]["golden_rows"] > 0
    assert {path.stat().st_uid for path in (work / "w").rglob("*")} == {65532}


@pytest.mark.parametrize(("name", "engine"), [("server", "onnx"), ("server-tf", "saved_model")])
def test_the_server(
    name: str,
    engine: str,
    docker_client: Any,
    images: dict[str, Any],
    handmade_bundle: Callable[..., Path],  # noqa: F811  # the fixture
) -> None:
    bundle = handmade_bundle("regression", engine=engine)
    bundle.chmod(0o755)
    ask = (
        "import json, urllib.request as u, subprocess, sys, time\n"
        "server = subprocess.Popen([sys.executable, '-m', 'nasflow.serving', '--bundle', '/work', '--name', 'm'])\n"
        "for _ in range(600):\n"
        "    try:\n"
        "        request = u.Request('http://127.0.0.1:8080/v1/models/m:predict', b'{\"instances\": [{\"x\": 3.5}]}')\n"
        "        print('answer', u.urlopen(request, timeout=5).read().decode())\n"
        "        break\n"
        "    except OSError:\n"
        "        time.sleep(0.1)\n"
        "try:\n"
        "    open('/opt/venv/x', 'w')\n"
        "except OSError as error:\n"
        "    print('write:', error.strerror)\n"
        "server.terminate(); print('code', server.wait(30))\n"
    )
    log = _run(docker_client, images[name], ["python", "-c", ask], bundle)
    assert 'answer {"predictions":[8.0]}' in log
    assert "write: Read-only file system" in log
    assert "code 0" in log


@pytest.mark.parametrize("name", ["beam", "beam-sdk", "trainer", "ops", "server", "server-tf"])
def test_no_secret_is_in_a_layers_history_environment_or_files_of_its_own(
    docker_client: Any, images: dict[str, Any], name: str
) -> None:
    image = images[name]
    texts = {"history": json.dumps(image.history()), "config": json.dumps(image.attrs["Config"])}
    script = (
        "find /etc /root /home /run /tmp /opt -xdev -type f -size -256k -not -path '*/site-packages/*' "
        "-not -path '*/ssl/*' -not -path '/etc/ca-certificates*' -print0 | xargs -0 -r cat 2>/dev/null | tr -d '\\0'"
    )
    # beam-sdk has an entry point of its own
    options = {"network_mode": "none", "user": "0", "remove": True, "entrypoint": ["sh", "-c"]}
    texts["files"] = docker_client.containers.run(image.id, [script], **options).decode(errors="ignore")
    assert len(texts["files"]) > 1000
    guilty = {where: what for where, text in texts.items() for what, form in SECRETS.items() if re.search(form, text)}
    assert guilty == {}

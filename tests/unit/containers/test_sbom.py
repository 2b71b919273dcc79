"""`make sbom` lists every package that the lock installs in an image, with hashes."""

import json
import subprocess
import sys
from pathlib import Path

from tests.unit.containers.test_dockerfile import IMAGES

ROOT = Path(__file__).resolve().parents[3]


def test_the_servers_list_is_cyclonedx_with_a_hash_for_every_file(tmp_path):
    result = subprocess.run(
        ["make", "-n", "sbom", "SBOM_IMAGES=server"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert "--format cyclonedx1.5" in result.stdout
    assert "--frozen" in result.stdout

    uv = Path(sys.executable).with_name("uv")
    target = tmp_path / "server.cdx.json"
    export = ["export", "--quiet", "--frozen", "--no-dev", "--no-emit-project", "--format", "cyclonedx1.5"]
    command = [uv, *export, "--extra", "kfp", "--extra", "server", "-o", target]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=60)
    made = json.loads(target.read_text())
    assert made["bomFormat"] == "CycloneDX"
    names = {each["name"] for each in made["components"]}
    assert {"kserve", "onnxruntime"} <= names
    assert not {"apache-beam", "pytest", "tensorflow-cpu", "tritonclient"} & names
    for each in made["components"]:
        files = each.get("externalReferences", [])
        assert files, each["name"]
        assert all(hashed["alg"] == "SHA-256" for file in files for hashed in file["hashes"]), each["name"]


def test_every_image_has_a_list():
    (line,) = [line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("SBOM_IMAGES := ")]
    assert set(line.removeprefix("SBOM_IMAGES := ").split()) == set(IMAGES)

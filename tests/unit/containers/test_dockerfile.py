"""The Dockerfile's promises that can be read off its text; what the built images do is tests/docker's."""

import hashlib
import re
import subprocess
from pathlib import Path

import pytest

from nasflow.core.provenance import LOCK_VARIABLE, provenance

REPOSITORY = Path(__file__).resolve().parents[3]
IMAGES = ("beam", "beam-sdk", "trainer", "trainer-gpu", "ops", "server", "server-tf")


def _instructions() -> list[tuple[str, str]]:
    """(keyword, rest) of each instruction, comments gone and continued lines joined."""
    text = (REPOSITORY / "containers/Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [
        (keyword, rest.strip()) for keyword, _, rest in (line.partition(" ") for line in joined.splitlines() if line)
    ]


def _stages() -> dict[str, list[tuple[str, str]]]:
    """Stage name → its own instructions, FROM first."""
    stages: dict[str, list[tuple[str, str]]] = {}
    current: list[tuple[str, str]] = []
    for keyword, rest in _instructions():
        if keyword == "FROM":
            current = stages.setdefault(rest.split(" AS ")[1], [])
        current.append((keyword, rest))
    return stages


def _parent(stage: list[tuple[str, str]]) -> str:
    return stage[0][1].split(" AS ")[0]


def test_every_image_is_a_target() -> None:
    assert set(IMAGES) <= set(_stages())


def test_no_image_has_an_entry_point_but_the_one_that_runners_start() -> None:
    assert [rest for keyword, rest in _instructions() if keyword in {"ENTRYPOINT", "CMD"}] == [
        '["/opt/apache/beam/boot"]'
    ]
    assert _stages()["beam-sdk"][-1][0] == "ENTRYPOINT"


def test_boot_is_built_of_the_beam_that_is_locked() -> None:
    """The version is read from the image's own list of packages, so there is no second pin to forget."""
    (build,) = [rest for keyword, rest in _stages()["boot"] if keyword == "RUN"]
    assert "@v${beam}" in build
    assert "beam-sdk.txt" in build


def test_frontend_of_docker_20_is_enough() -> None:
    text = (REPOSITORY / "containers/Dockerfile").read_text()
    assert not re.search(r"^#\s*syntax\s*=", text, re.MULTILINE)  # would be pulled
    assert not re.search(r"COPY\s+--link|RUN\s+--network|<<", text)


@pytest.mark.parametrize("image", IMAGES)
def test_the_user_is_a_number_and_nothing_runs_after_it(image: str) -> None:
    stage = _stages()[image]
    assert [rest for keyword, rest in stage if keyword == "USER"] == ["65532:65532"]
    after = stage[[keyword for keyword, _ in stage].index("USER") + 1 :]
    assert {keyword for keyword, _ in after} <= {"WORKDIR", "ENTRYPOINT"}


@pytest.mark.parametrize("image", IMAGES)
def test_our_code_is_the_last_layer_above_the_packages(image: str) -> None:
    """A change of code must not rebuild the packages: no ancestor of an image may see the sources."""
    stages = _stages()
    runs = [rest for keyword, rest in stages[image] if keyword == "RUN"]
    assert len(runs) == 1
    assert "from=code" in runs[0]
    parent = _parent(stages[image])
    while parent in stages:
        assert all("from=code" not in rest and "components" not in rest for _, rest in stages[parent])
        parent = _parent(stages[parent])
    assert parent == "${BASE_IMAGE}"


@pytest.mark.parametrize("image", IMAGES)
def test_packages_come_from_the_lock_with_hashes(image: str) -> None:
    exports = next(rest for keyword, rest in _stages()["lock"] if keyword == "RUN" and "uv export" in rest)
    assert f"-o {image}.txt" in exports
    assert "--frozen" in exports
    assert "--require-hashes" in (REPOSITORY / "containers/install-locked.sh").read_text()


@pytest.mark.parametrize("image", IMAGES)
def test_every_image_knows_its_lock_file(image: str) -> None:
    """After the layers, so that another lock file with the same packages rebuilds nothing."""
    stage = _stages()[image]
    assert ("ARG", "LOCK_SHA256=") in stage
    assert stage.index(("ENV", f"{LOCK_VARIABLE}=${{LOCK_SHA256}}")) > [keyword for keyword, _ in stage].index("RUN")


def test_the_build_hands_over_the_digest_that_a_checkout_finds(tmp_path: Path) -> None:
    """`build.sh` with a docker that only says what it is asked for."""
    fake = tmp_path / "docker"
    fake.write_text('#!/bin/sh\n[ "$1" = image ] && echo 1000000 || echo "$@" >> "$ASKED"\n')
    fake.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "ASKED": str(tmp_path / "asked"), "DOCKER": str(fake)}
    subprocess.run([REPOSITORY / "containers/build.sh", "ops"], env=environment, check=True, capture_output=True)
    digest = hashlib.sha256((REPOSITORY / "uv.lock").read_bytes()).hexdigest()
    assert f"--build-arg LOCK_SHA256={digest}" in (tmp_path / "asked").read_text()
    assert provenance({})["lock"] == digest


def test_base_image_is_an_argument_with_the_public_default() -> None:
    assert _instructions()[0] == ("ARG", "BASE_IMAGE=python:3.11-slim-bookworm")


def test_uv_is_the_one_that_the_makefile_pins() -> None:
    pinned = re.search(r"^UV_VERSION := (\S+)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert pinned
    assert ("ARG", f"UV_VERSION={pinned[1]}") in _stages()["lock"]


def test_the_build_context_holds_only_what_is_copied() -> None:
    """The ignore file starts by refusing everything, so that runs/, .venv and data never reach the daemon."""
    lines = [
        line
        for line in (REPOSITORY / "containers/Dockerfile.dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert lines[0] == "*"
    allowed = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        source
        for keyword, rest in _instructions()
        if keyword == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    }
    assert copied == allowed

"""The two commands of the README, .ci/run and the shell scripts behind them."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
import yaml

from nasflow.core.spec_file import load

REPOSITORY = Path(__file__).resolve().parents[3]
SCRIPTS = (
    ".ci/run",
    "containers/base-image.sh",
    "containers/build.sh",
    "containers/push.sh",
    "containers/start-docker.sh",
    "tests/flink/fetch.sh",
)


def _make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False)


def test_help_lists_every_public_target() -> None:
    phony = set(re.findall(r"^\.PHONY: (\S+)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    listed = set(re.findall(r"\x1b\[1m(\S+)\s*\x1b", _make("help").stdout))
    assert listed == phony
    assert {"setup", "demo", "test", "check", "images"} <= listed


def test_setup_says_what_to_do_without_a_python(tmp_path: Path) -> None:
    """PATH holds the shell's tools and no Python at all."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "grep", "make", "touch", "ln", "rm"):
        source = next(Path(folder) / name for folder in ("/usr/bin", "/bin") if (Path(folder) / name).exists())
        (tools / name).symlink_to(source)
    for name in ("Makefile", "pyproject.toml", "uv.lock"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    result = subprocess.run(
        [tools / "make", "setup"], cwd=tmp_path, env={"PATH": str(tools)}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert "no Python 3.11 or 3.12 found" in result.stderr
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize("script", [*SCRIPTS, "containers/install-locked.sh"])
def test_scripts_parse_and_can_be_run(script: str) -> None:
    path = REPOSITORY / script
    assert os.access(path, os.X_OK)
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_stop_at_the_first_failure(script: str) -> None:
    assert "\nset -euo pipefail\n" in (REPOSITORY / script).read_text()


def test_ci_refuses_a_stage_that_it_does_not_know() -> None:
    result = subprocess.run([REPOSITORY / ".ci/run", "tset"], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "no stage tset; the stages are: setup check test images slow flink docker" in result.stderr
    assert "CI: FAILED (exit code 2)" in result.stdout


def _beside(tmp_path: Path, make: str) -> dict[str, str]:
    """An environment whose `make` is this shell script."""
    file = tmp_path / "make"
    file.write_text(f"#!/bin/sh\n{make}\n")
    file.chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}


def test_ci_that_is_stopped_does_not_say_that_it_passed(tmp_path: Path) -> None:
    environment = _beside(tmp_path, "echo making; exec sleep 60")
    command = [REPOSITORY / ".ci/run", "setup"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as process:
        assert process.stdout is not None
        while process.stdout.readline() != "making\n":
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGTERM)
        told = process.stdout.read()
    assert process.returncode == 143
    assert "CI: FAILED (exit code 143) in stage setup" in told


@pytest.mark.parametrize(
    ("flink", "docker", "code", "stage"), [(0, 0, 0, ""), (3, 0, 3, " in stage flink"), (0, 4, 4, " in stage docker")]
)
def test_flink_and_docker_are_tested_side_by_side(
    flink: int, docker: int, code: int, stage: str, tmp_path: Path
) -> None:
    """Each waits until the other has begun; where Docker's fail, those of Flink are stopped."""
    wait = "until [ -e {0}/{1} ]; do sleep 0.02; done"
    environment = _beside(
        tmp_path,
        f"""touch {tmp_path}/$1
case $1 in
  test-flink) {wait.format(tmp_path, "test-docker")}; [ {docker} = 0 ] || exec sleep 60; exit {flink} ;;
  test-docker) {wait.format(tmp_path, "test-flink")}; exit {docker} ;;
esac""",
    )
    # Java and Maven are named, so that the stage does not install them.
    for name in ("java", "mvn"):
        (tmp_path / name).symlink_to("/bin/true")
    result = subprocess.run(
        [REPOSITORY / ".ci/run", "flink", "docker"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert result.returncode == code
    last = result.stdout.splitlines()[-1]
    assert last == (f"CI: FAILED (exit code {code}){stage}" if code else "CI: passed")


@pytest.mark.parametrize("target", ["test", "test-slow", "test-flink", "test-spark", "test-docker"])
def test_a_tier_without_tests_fails(target: str, tmp_path: Path) -> None:
    """pytest ends with 5 where no test ran; the recipe passes it on as a failure. A pytest of that kind stands in."""
    fake = tmp_path / "pytest"
    fake.write_text("#!/bin/sh\nexit 5\n")
    fake.chmod(0o755)
    result = _make("--no-print-directory", "--old-file=setup", f"PYTEST={fake}", target)
    assert result.returncode == 2  # make's own code for a recipe that failed
    assert "Error 5" in result.stderr


@pytest.mark.parametrize(
    "example", sorted((REPOSITORY / "pipelines/examples").glob("*.yaml")), ids=lambda path: path.stem
)
def test_examples_are_valid_specs(example: Path) -> None:
    assert load(example).name == yaml.safe_load(example.read_text())["name"]

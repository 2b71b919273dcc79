"""No credential is in the repository, in what is rendered, or in what a command logs."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from nasflow_pipelines import cli

ROOT = Path(__file__).resolve().parents[2]
SECRETS = {
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a certificate": r"-----BEGIN CERTIFICATE-----",
    "a Google service account's key": r'"private_key_id"\s*:',
    "a Google API key": r"AIza[0-9A-Za-z_-]{35}",
    "an AWS key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a GitHub token": r"\bgh[pousr]_[0-9A-Za-z]{36}\b",
    "a JSON web token": r"\beyJ[0-9A-Za-z_-]{15,}\.eyJ[0-9A-Za-z_-]{15,}\.",
    "a password in a URL": r"://[^/\s:@'\"{}$]+:[^/\s:@'\"{}$]{3,}@",
}


def found(text: str) -> list[str]:
    return [what for what, pattern in SECRETS.items() if re.search(pattern, text)]


def test_the_patterns_find_what_they_are_for() -> None:
    assert found("-----BEGIN RSA PRIVATE " + "KEY-----") == ["a private key"]
    assert found("https://me:hunter2" + "@example.com/") == ["a password in a URL"]
    assert found("AKIA" + "ABCDEFGHIJKLMNOP") == ["an AWS key"]
    assert found("https://example.com/a:b@c") == []


def test_no_committed_file_has_one() -> None:
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    guilty = {}
    for name in filter(None, files):
        path = ROOT / name.decode()
        if path == Path(__file__) or not path.is_file():
            continue
        if what := found(path.read_bytes().decode("utf-8", "ignore")):
            guilty[name.decode()] = what
    assert guilty == {}


def test_manifests_have_no_secret_with_a_value() -> None:
    """One is named, and filled in by Kubernetes: the token of deploy's account."""
    for file in (ROOT / "manifests").rglob("*.yaml"):
        for each in yaml.safe_load_all(file.read_text()):
            if each["kind"] == "Secret":
                assert each["type"] == "kubernetes.io/service-account-token", file
                assert not {"data", "stringData"} & each.keys(), file
            assert "password" not in yaml.safe_dump(each).lower(), file


def test_a_servers_token_is_neither_printed_nor_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that is not there: the command fails, says why, and not with what."""
    token = "s3cr3t-" + "t0ken"
    monkeypatch.setenv("KF_PIPELINES_TOKEN", token)
    with caplog.at_level("DEBUG"):
        result = CliRunner().invoke(cli.main, ["schedules", "list", "--host", "http://127.0.0.1:9"])
    assert result.exit_code != 0
    assert token not in result.output + result.stderr + caplog.text + repr(result.exception)

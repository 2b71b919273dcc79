"""The Kubeflow Model Registry as a mirror: the official client against a server that keeps its state."""

import pytest
from tests.unit.registry.model_registry_double import ModelRegistryDouble

from nasflow.core.artifacts import Estimate, External
from nasflow.core.errors import TryAgainError
from nasflow.registry._base import Draft
from nasflow.registry.file import FileRegistry
from nasflow.registry.kubeflow import KubeflowMirror
from nasflow.registry.mirror import MirroredRegistry, MirrorError, MirrorPlace, mirror_of
from nasflow.registry.open import open_registry
from nasflow.testing import RegistryConformance
from nasflow.testing.asserting import race

_SERVERS = {}


@pytest.fixture(autouse=True)
def _closed():
    yield
    while _SERVERS:
        _SERVERS.popitem()[1].close()


@pytest.mark.slow  # the client opens a connection for every request
class TestMirroredInKubeflow(RegistryConformance):
    racers = 3

    def open(self, folder):
        if folder not in _SERVERS:
            _SERVERS[folder] = ModelRegistryDouble(page=3)
        return MirroredRegistry(FileRegistry(f"{folder}/registry"), KubeflowMirror(_SERVERS[folder].url))


@pytest.fixture
def server():
    double = ModelRegistryDouble(page=2)
    yield double
    double.close()


def draft(folder, text):
    path = folder / "made" / text / "saved_model.pb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    metrics = {"accuracy": Estimate(value=0.5, ci95=(0.4, 0.6))}
    files = {path.name: External.of(str(path))}
    return Draft(bundle_uri=str(path.parent), files=files, metrics=metrics, attachments={"card.html": b"<p>"})


def registry_at(folder, server):
    return MirroredRegistry(FileRegistry(str(folder / "registry")), KubeflowMirror(server.url))


def test_a_version_is_shown_with_its_bundle_metrics_and_aliases(tmp_path, server):
    registry = registry_at(tmp_path, server)
    version = registry.register("fashion", draft(tmp_path, "a"))
    registry.promote("fashion", "champion", 1, expected=None)
    (model,) = server.state["registered_models"].values()
    assert model["customProperties"]["alias.champion"]["string_value"] == "1"
    (shown,) = server.state["model_versions"].values()
    assert (shown["name"], shown["registeredModelId"]) == ("1", model["id"])
    assert shown["customProperties"]["accuracy"]["double_value"] == 0.5
    assert shown["customProperties"]["bundle_digest"]["string_value"] == version.bundle_digest
    assert shown["customProperties"]["model_card"]["string_value"] == version.attachments["card.html"].uri
    (artifact,) = server.state["artifacts"].values()
    assert (artifact["uri"], artifact["modelFormatName"]) == (version.bundle_uri, "nasflow-bundle")
    assert registry.differences("fashion") == []


def test_what_a_crash_between_the_two_writes_missed_is_made_up_for(tmp_path, server):
    files = FileRegistry(str(tmp_path / "registry"))
    for text in "abc":  # as if each was killed before it told the server
        files.register("fashion", draft(tmp_path, text))
    files.promote("fashion", "champion", 2, expected=None)
    registry = registry_at(tmp_path, server)
    assert len(registry.differences("fashion")) == 4  # three versions and the alias
    registry.promote("fashion", "champion", 3, expected=2)
    assert registry.differences("fashion") == []
    assert sorted(each["name"] for each in server.state["model_versions"].values()) == ["1", "2", "3"]

    # killed between the version and its artifact: it is no version yet, and the next change completes it
    server.state["artifacts"].popitem()
    registry = registry_at(tmp_path, server)
    assert registry.differences("fashion") == [f"{server.url} lacks fashion version 3"]
    registry.rollback("fashion", "champion")
    assert registry.differences("fashion") == []


def test_a_server_that_fails_stops_a_registration_with_exit_75_and_no_rollback(tmp_path, server, caplog):
    registry = registry_at(tmp_path, server)
    server.failures = [503]
    with pytest.raises(TryAgainError, match=r"version 1 is registered at .*answered 503.*run the same command again"):
        registry.register("fashion", draft(tmp_path, "a"))
    assert registry.register("fashion", draft(tmp_path, "a")).version == 1  # the same command
    registry.register("fashion", draft(tmp_path, "b"))
    registry.promote("fashion", "champion", 1, expected=None)
    registry.promote("fashion", "champion", 2, expected=1)
    server.failures = [500]
    assert registry.rollback("fashion", "champion").version == 1
    assert "brings it up to date" in caplog.text
    assert registry.aliases("fashion") == {"champion": 1}
    assert "they are {'champion': 1}" in registry.differences("fashion")[0]
    registry.bring_up("fashion")
    assert registry.differences("fashion") == []


def test_racing_promotions_leave_the_server_with_what_holds(tmp_path, server):
    registry = registry_at(tmp_path, server)
    for text in "abcd":
        registry.register("fashion", draft(tmp_path, text))
    registry.promote("fashion", "champion", 1, expected=None)

    def move(version):
        own = registry_at(tmp_path, server)
        own.promote("fashion", f"of{version}", version, expected=None)

    race([lambda version=version: move(version) for version in (1, 2, 3, 4)])
    registry.bring_up("fashion")
    assert registry.differences("fashion") == []


def test_a_wrong_token_and_a_closed_port_are_said(tmp_path):
    double = ModelRegistryDouble(token="secret")
    try:
        with pytest.raises(MirrorError, match="answered 401"):
            KubeflowMirror(double.url, "wrong").shown("fashion")
        assert KubeflowMirror(double.url, "secret").shown("fashion").versions == {}
    finally:
        double.close()
    with pytest.raises(MirrorError, match="cannot be reached"):
        KubeflowMirror(double.url).shown("fashion")


def test_whoever_opens_the_registry_keeps_its_mirror_up_to_date(tmp_path, server):
    place = str(tmp_path / "registry")
    open_registry(place, kind="kubeflow", server=server.url).register("fashion", draft(tmp_path, "a"))
    assert mirror_of(place) == MirrorPlace(kind="kubeflow", server=server.url)
    open_registry(place).promote("fashion", "champion", 1, expected=None)  # as `nasflow models promote` opens it
    (model,) = server.state["registered_models"].values()
    assert model["customProperties"]["alias.champion"]["string_value"] == "1"
    assert FileRegistry(place).models() == ["fashion"]

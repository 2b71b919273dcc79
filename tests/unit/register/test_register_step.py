import json
import shutil

import pytest

from nasflow.core.artifacts import (
    Champion,
    Dataset,
    Decision,
    Estimate,
    Evaluation,
    External,
    Model,
    RegisteredModel,
    Search,
    Trials,
)
from nasflow.core.errors import DocumentError, UserError
from nasflow.core.spec import ExperimentSpec
from nasflow.register.spec import RegisterSpec
from nasflow.register.step import run
from nasflow.registry._base import RegistryConflictError, Version
from nasflow.registry.file import FileRegistry

SIGNATURE = {"task": "tabular_regression", "inputs": [], "outputs": [], "classes": None}
EXPERIMENT = {"name": "houses", "task": "tabular_regression", "data": {"train": "x.csv", "label": "y"}}


def champion_of(version):
    """What an evaluation notes that has compared its model with this champion."""
    return version and Champion(name="houses", version=version, bundle_digest="0" * 64)


def documents(folder, content, *, promoted=True, champion=None):
    bundle = folder / f"bundle-{content}"
    bundle.mkdir(exist_ok=True)
    (bundle / "saved_model.pb").write_text(content)
    (bundle / "signature.json").write_text(json.dumps(SIGNATURE))
    estimate = {"rmse": Estimate(value=1.5, ci95=(1.0, 2.0))}
    made = {
        "dataset": Dataset(task="tabular_regression", rows={"train": 1}, shards={}),
        "search": Search(
            strategy="random",
            space="mlp",
            objective="rmse",
            epochs=10,
            trials=Trials(completed=1, failed=0, infeasible=0),
            candidates=(),
            stopped_by="trials",
        ),
        "model": Model(
            task="tabular_regression",
            architecture_id="a",
            parameters=1,
            flops=1,
            seed=0,
            epochs=1,
            seed_scores=(1.0,),
            bundle_uri=str(bundle),
            bundle={path.name: External.of(str(path)) for path in bundle.iterdir()},
        ),
        "evaluation": Evaluation(
            objective="rmse",
            test=estimate,
            baseline={"rmse": Estimate(value=2.5, ci95=(2.0, 3.0))},
            other_baselines={},
            champion=champion_of(champion),
            test_rows=10,
            decision=Decision(promoted=promoted, reasons=("better by 1",)),
        ),
    }
    return {name: document.publish(str(folder / f"{name}-{content}"), {}) for name, document in made.items()}


def register(folder, content, output="out", spec=None, **keywords):
    return run(
        spec or RegisterSpec.of(ExperimentSpec(**EXPERIMENT)),
        **documents(folder, content, **keywords),
        work_dir=str(folder / "work"),
        output=str(folder / output),
    )


def test_a_promoted_model_is_champion_and_challenger(tmp_path):
    document = register(tmp_path, "a")
    assert (document.name, document.version) == ("houses", 1)
    assert document.aliases == ("challenger", "champion")
    assert document.registry == str(tmp_path / "work/registry")
    assert RegisteredModel.read(str(tmp_path / "out")).digest == document.digest

    version = FileRegistry(document.registry).get("houses", alias="champion")
    assert Version.model_validate(document.json("version.json")) == version
    assert version.bundle_digest == document.model_digest
    assert version.metrics["rmse"].value == 1.5
    assert version.baseline["rmse"].value == 2.5
    assert version.signature == SIGNATURE
    assert version.experiment == "houses"
    assert version.lineage == {name: found.digest for name, found in documents(tmp_path, "a").items()}
    assert FileRegistry(document.registry).history("houses")[-1].reason == "better by 1"


def test_a_model_that_is_not_promoted_is_only_the_challenger(tmp_path):
    register(tmp_path, "a")
    second = register(tmp_path, "b", promoted=False)
    assert (second.version, second.aliases) == (2, ("challenger",))
    assert FileRegistry(second.registry).aliases("houses") == {"challenger": 2, "champion": 1}
    third = register(tmp_path, "c", champion=1)
    assert third.aliases == ("challenger", "champion")
    assert FileRegistry(third.registry).aliases("houses") == {"challenger": 3, "champion": 3}
    assert FileRegistry(third.registry).rollback("houses", "champion").version == 1


def test_a_run_after_a_kill_gives_the_same_version(tmp_path):
    first = register(tmp_path, "a")
    assert register(tmp_path, "a", output="again").digest == first.digest  # the finished document

    shutil.rmtree(tmp_path / "work/register")  # as if killed after the registry was written, before the document was
    again = register(tmp_path, "a", output="third")
    assert (again.version, again.aliases) == (1, ("challenger", "champion"))
    history = FileRegistry(first.registry).history("houses")
    assert [(change.alias, change.to_version) for change in history] == [("challenger", 1), ("champion", 1)]


def test_an_older_run_does_not_take_the_challenger_back(tmp_path):
    register(tmp_path, "a", promoted=False)
    register(tmp_path, "b", promoted=False)
    shutil.rmtree(tmp_path / "work/register")
    assert register(tmp_path, "a", promoted=False).aliases == ()
    assert FileRegistry(str(tmp_path / "work/registry")).aliases("houses") == {"challenger": 2}


def test_the_spec_names_model_and_registry(tmp_path):
    section = {"name": "prices", "uri": str(tmp_path / "shared")}
    spec = RegisterSpec.of(ExperimentSpec(**EXPERIMENT, register=section))
    document = register(tmp_path, "a", spec=spec)
    assert (document.name, document.registry) == ("prices", str(tmp_path / "shared"))
    assert FileRegistry(str(tmp_path / "shared")).models() == ["prices"]


def test_a_changed_bundle_is_refused(tmp_path):
    made = documents(tmp_path, "a")
    (tmp_path / "bundle-a/saved_model.pb").write_text("b")
    with pytest.raises(DocumentError, match=r"saved_model\.pb: sha256 is .* it was changed"):
        run(
            RegisterSpec.of(ExperimentSpec(**EXPERIMENT)),
            **made,
            work_dir=str(tmp_path / "work"),
            output=str(tmp_path / "out"),
        )
    assert FileRegistry(str(tmp_path / "work/registry")).models() == []


def test_a_promotion_replaces_the_champion_that_the_evaluation_saw_and_no_other(tmp_path):
    register(tmp_path, "a")
    with pytest.raises(RegistryConflictError, match="points at version 1, expected nothing"):
        register(tmp_path, "b")  # evaluated when there was no champion yet
    registry = FileRegistry(str(tmp_path / "work/registry"))
    assert registry.aliases("houses") == {"challenger": 2, "champion": 1}
    assert register(tmp_path, "b", champion=1).aliases == ("challenger", "champion")
    assert register(tmp_path, "b", champion=1, output="again").version == 2


def test_a_kill_after_the_promotion_is_no_conflict(tmp_path):
    register(tmp_path, "a")
    register(tmp_path, "b", champion=1)
    shutil.rmtree(tmp_path / "work/register")
    assert register(tmp_path, "b", champion=1).aliases == ("challenger", "champion")


def test_a_version_that_was_rolled_back_is_promoted_by_hand_only(tmp_path):
    register(tmp_path, "a")
    register(tmp_path, "b", champion=1)
    registry = FileRegistry(str(tmp_path / "work/registry"))
    registry.rollback("houses", "champion", reason="it was slow")
    shutil.rmtree(tmp_path / "work/register")
    with pytest.raises(UserError, match=r"version 2 was rolled back at .* \(it was slow\).*models promote houses 2"):
        register(tmp_path, "b", champion=1)
    assert registry.aliases("houses")["champion"] == 1


def test_a_version_holds_the_documents_the_spec_and_a_card(tmp_path):
    spec = RegisterSpec.of(ExperimentSpec(**EXPERIMENT))
    document = register(tmp_path, "a", spec=spec)
    registry = FileRegistry(document.registry)
    version = registry.get("houses", version=1)
    assert {"card.html", "card.md", "spec.json", "dataset/manifest.json", "search/manifest.json"} <= set(
        version.attachments
    )
    assert ExperimentSpec.model_validate(json.loads(registry.attachment(version, "spec.json"))).name == "houses"
    assert len(version.provenance["spec"]) == len(version.provenance["code"]) == 64
    markdown = registry.attachment(version, "card.md").decode()
    assert "| rmse | 1.5 [1, 2] | 2.5 [2, 3] |" in markdown
    assert "Promoted when it was evaluated:\n\nbetter by 1" in markdown
    assert f"| bundle | {version.bundle_digest} |" in markdown
    page = registry.attachment(version, "card.html").decode()
    assert page == document.file("report.html").decode()
    assert "Model card: houses" in page
    # a change of another section makes no new version
    other = RegisterSpec.of(ExperimentSpec(**EXPERIMENT, deploy={"port": 9}))
    assert register(tmp_path, "a", spec=other, output="other").digest == document.digest

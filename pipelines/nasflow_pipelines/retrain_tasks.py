"""The tasks that only the retraining pipeline has."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Output

from nasflow.core.version import VERSION


@dsl.component(base_image=f"nasflow/ops:{VERSION}", install_kfp_package=False)
def recall(
    *,
    spec: str,
    work_dir: str,
    run_id: str,
    incumbent: Output[Artifact],
) -> NamedTuple("Outputs", [("spec", str)]):  # type: ignore[valid-type]  # how kfp wants named outputs
    """Reads the registry's champion, and holds the experiment's data against it.

    Args:
        spec: The ExperimentSpec as JSON or YAML.
        work_dir: As in every step.
        run_id: As in every step; the record is `work_dir/runs/RUN_ID/recall.json`.
        incumbent: The Incumbent document.

    Returns:
        spec: The experiment with the champion's kinds of columns, and its Dataset to compare with.
    """
    from nasflow.core import spec_file
    from nasflow.core.task import task

    with task("recall", work_dir=work_dir, run_id=run_id) as current:
        from nasflow.retrain import documents
        from nasflow.retrain import recall as step

        document = current.done(step.run(spec_file.from_json(spec), work_dir=work_dir, output=incumbent.path))
        updated = document.file(documents.EXPERIMENT).decode()
    return (updated,)


@dsl.component(base_image=f"nasflow/ops:{VERSION}", install_kfp_package=False)
def weigh(
    *,
    spec: str,
    work_dir: str,
    run_id: str,
    dataset: Input[Dataset],
    incumbent: Input[Artifact],
    review: Output[Artifact],
    report: Output[HTML],
) -> NamedTuple("Outputs", [("spec", str), ("go", bool)]):  # type: ignore[valid-type]  # how kfp wants named outputs
    """Decides whether the new data ask for another model: none, the champion's architecture again, or a short search.

    Args:
        spec: The experiment that `recall` returned.
        work_dir: As in every step.
        run_id: As in every step; the record is `work_dir/runs/RUN_ID/weigh.json`.
        dataset: The Dataset document of `preprocess`.
        incumbent: The Incumbent document of `recall`.
        review: The Review document.
        report: What has drifted, and what follows.

    Returns:
        spec: The experiment as the rest of the pipeline runs it.
        go: Whether the rest runs at all. Branch on it with `dsl.If` *and* `dsl.Else`.
    """
    from nasflow.core import artifacts, spec_file
    from nasflow.core.task import task

    with task("weigh", work_dir=work_dir, run_id=run_id) as current:
        from nasflow.retrain import documents
        from nasflow.retrain import weigh as step

        document = current.done(
            step.run(
                spec_file.from_json(spec),
                dataset=artifacts.Dataset.read(dataset.path),
                incumbent=documents.Incumbent.read(incumbent.path),
                work_dir=work_dir,
                output=review.path,
            )
        )
        review.metadata.update({"action": document.action, "digest": document.digest})
        document.copy_file("report.html", report.path)
        updated = document.file(documents.EXPERIMENT).decode()
    return (updated, document.action != "keep")


@dsl.component(base_image=f"nasflow/ops:{VERSION}", install_kfp_package=False)
def keep(*, work_dir: str, run_id: str, review: Input[Artifact]) -> None:
    """Leaves the champion where it is and logs why.

    Args:
        work_dir: As in every step.
        run_id: As in every step; the record is `work_dir/runs/RUN_ID/keep.json`.
        review: The Review document of `weigh`.
    """
    import logging

    from nasflow.core.task import task

    with task("keep", work_dir=work_dir, run_id=run_id) as current:
        from nasflow.retrain.documents import Review

        document = current.done(Review.read(review.path))
        for reason in document.reasons:
            logging.getLogger("nasflow.keep").info("keep: %s", reason)

"""`evaluate` as a Kubeflow Pipelines component."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Artifact, ClassificationMetrics, Dataset, Input, Metrics, Model, Output

from nasflow.core.version import VERSION


@dsl.component(base_image=f"nasflow/trainer:{VERSION}", install_kfp_package=False)
def evaluate(
    *,
    spec: str,
    work_dir: str,
    run_id: str,
    dataset: Input[Dataset],
    model: Input[Model],
    evaluation: Output[Artifact],
    metrics: Output[Metrics],
    classification_metrics: Output[ClassificationMetrics],
    report: Output[HTML],
) -> NamedTuple("Outputs", [("promoted", bool)]):  # type: ignore[valid-type]  # how kfp wants named outputs
    """Judges the model on the held-out test set, once, against the baselines and the registry's champion.

    Args:
        spec: The ExperimentSpec as JSON or YAML (`nasflow schema` prints its JSON schema).
        work_dir: Where shards, checkpoints and bundles go, and where a retry finds earlier work: a `gs://` prefix, or a
            local path that every task sees.
        run_id: Names this run; the task leaves its record at `work_dir/runs/RUN_ID/evaluate.json`.
        dataset: The Dataset document of `preprocess`.
        model: The Model document of `train`.
        evaluation: The Evaluation document.
        metrics: Test metrics with 95 % intervals, and the baseline's.
        classification_metrics: Confusion matrix and ROC; empty for a regression.
        report: The report, a self-contained page.

    Returns:
        promoted: Whether the model may go to production. Branch on it with `dsl.If` *and* `dsl.Else`: kfp's local
            runner skips an `If` on a named output that has no `Else`, in silence.
    """
    from nasflow.core import artifacts, lineage, spec_file
    from nasflow.core.task import task

    with task("evaluate", work_dir=work_dir, run_id=run_id) as current:
        from nasflow.evaluate import kfp_metrics, step
        from nasflow.evaluate import spec as step_spec

        document = step.run(
            step_spec.EvaluateSpec.of(spec_file.from_json(spec)),
            dataset=artifacts.Dataset.read(dataset.path),
            model=artifacts.Model.read(model.path),
            work_dir=work_dir,
            output=evaluation.path,
        )
        evaluation.metadata.update(lineage.metadata(current.done(document)))
        metrics.metadata.update(kfp_metrics.scalar_metrics(document))
        if counts := kfp_metrics.confusion_matrix(document):
            classification_metrics.log_confusion_matrix(*counts)
        for point in kfp_metrics.confidence_metrics(document):
            classification_metrics.log_roc_data_point(
                fpr=point["falsePositiveRate"], tpr=point["recall"], threshold=point["confidenceThreshold"]
            )
        document.copy_file("report.html", report.path)
    return (document.decision.promoted,)

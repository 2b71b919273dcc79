"""From raw digits to a decision, through the real preprocess, search, train and evaluate."""

import json
from pathlib import Path

import numpy as np
import pytest

from nasflow.core.spec import ExperimentSpec
from nasflow.evaluate.spec import EvaluateSpec
from nasflow.preprocess.spec import PreprocessSpec
from nasflow.search.spec import SearchSpec
from nasflow.serving.bundle import Bundle
from nasflow.train.spec import TrainSpec


@pytest.mark.slow
def test_digits_are_learned_and_judged(tmp_path):
    from nasflow.evaluate import step as evaluate
    from nasflow.preprocess import step as preprocess
    from nasflow.search import step as search
    from nasflow.train import step as train

    experiment = ExperimentSpec.model_validate(
        {
            "task": "image_classification",
            "data": {"train": "sample:digits", "label": "target"},
            "search": {"budget": {"trials": 1, "epochs": 3}},
            "train": {"seeds": 2, "epochs": 4},
            "evaluate": {"bootstrap": 200},
        }
    )

    def places(step):
        return {"work_dir": str(tmp_path / "work"), "output": str(tmp_path / step)}

    dataset = preprocess.run(PreprocessSpec.of(experiment), **places("dataset"))
    study = search.run(SearchSpec.of(experiment), dataset=dataset, **places("search"))
    model = train.run(TrainSpec.of(experiment), dataset=dataset, search=study, **places("model"))
    judged = evaluate.run(EvaluateSpec.of(experiment), dataset=dataset, model=model, **places("evaluation"))

    assert model.architecture_id == study.candidates[0].architecture_id
    assert len(model.seed_scores) == 2
    assert judged.test_rows == dataset.rows["test"]
    assert judged.test["accuracy"].value > 0.9  # ten classes: chance is 0.1
    gain = judged.test["accuracy"].value - judged.baseline["accuracy"].value
    assert judged.decision.promoted is (gain >= 0)
    golden = judged.json("predictions.json")
    picked = np.asarray(golden["predictions"]).argmax(1)
    signature = json.loads(Path(model.bundle["signature.json"].uri).read_text())
    names = [signature["classes"][place] for place in picked]
    assert np.mean([a == b for a, b in zip(names, golden["labels"], strict=True)]) > 0.8
    assert Bundle.load(model.bundle_uri, model.bundle).signature.task == "image_classification"

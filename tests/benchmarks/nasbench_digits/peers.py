"""Keras Tuner's own oracles and Optuna's TPE, replayed on the table: each through its own interface, with its defaults.

They know points, not architectures, so that each new point is a training, also where it is an architecture that was
trained before; so is a point that they propose again. Beside them the same oracles as nasflow runs them: no point
twice, and no architecture.
"""

import contextlib
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks.nasbench_digits import landscape
from tests.benchmarks.nasbench_digits.landscape import EPOCHS, Table
from tests.benchmarks.nasbench_digits.replay import TRAININGS, Run, Trainings

OPTUNA = "optuna==5.0.0"
"""Installed into a folder of its own (`optuna_from`); nasflow does not need it."""
_FREE = 10_000
"""Suggestions of a search at most; those that mean known architectures cost nothing."""

KERAS_TUNER = ("RandomSearch", "GridSearch", "BayesianOptimization", "Hyperband")


def keras_tuner_search(
    kind: str, table: Table, seed: int, *, trainings: int = TRAININGS, as_nasflow: bool = False
) -> Run:
    """One search with an oracle of Keras Tuner: `create_trial`, `update_trial`, `end_trial`, as its tuners call them.
    Its files are not written. Hyperband's promotions go on with a training, as its tuner does.

    Args:
        kind: one of `KERAS_TUNER`.
        table: the landscape.
        seed: of the search.
        trainings: budget.
        as_nasflow: known architectures are not trained again, and a point that is proposed again is replaced by a
            random one (`nasflow.search.oracle`).
    """
    oracle = _oracle(kind, seed, trainings)
    trained = Trainings(table, seed, trainings=trainings, by_identity=as_nasflow)
    points, cpu = 0, 0.0
    with _quiet():
        while not trained.over and points < _FREE:
            started = time.process_time()
            trial = oracle.create_trial("tuner0")
            if trial.status != "RUNNING":
                break
            proposed = trial.hyperparameters.values
            repeated = as_nasflow and "tuner/epochs" not in proposed and oracle._duplicate(_own(proposed))
            if repeated and (other := oracle._random_values()):
                trial.hyperparameters.values = proposed = other
            cpu += time.process_time() - started
            points += 1
            epochs = int(proposed.get("tuner/epochs", EPOCHS))
            goes_on = as_nasflow or "tuner/trial_id" in proposed
            curve = trained.train(_own(proposed), epochs, afresh=not goes_on)
            started = time.process_time()
            oracle.update_trial(trial.trial_id, {"score": float(curve[-1])})
            trial.status = "COMPLETED"
            oracle.end_trial(trial)
            cpu += time.process_time() - started
    return Run(returned=trained.returned, architectures=trained.architectures, points=points, suggesting_seconds=cpu)


def optuna_search(table: Table, seed: int, *, trainings: int = TRAININGS) -> Run:
    """One search with Optuna's TPESampler: `ask` and `tell`. `optuna_from` must have been called."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    trained = Trainings(table, seed, trainings=trainings, by_identity=False)
    names = [parameter.name for parameter in landscape.space().parameters()]
    points, cpu = 0, 0.0
    while not trained.over:
        started = time.process_time()
        trial = study.ask()
        values = {name: trial.suggest_categorical(name, landscape.OPERATIONS) for name in names}
        cpu += time.process_time() - started
        points += 1
        score = float(trained.train(values, afresh=True)[-1])
        started = time.process_time()
        study.tell(trial, score)
        cpu += time.process_time() - started
    return Run(returned=trained.returned, architectures=trained.architectures, points=points, suggesting_seconds=cpu)


def optuna_from(folder: Path) -> None:
    """Makes Optuna importable; installs it and what it needs into a folder at the first call (84 MB). What nasflow has
    installed itself keeps its precedence."""
    if not (folder / "optuna").exists():
        uv = Path(sys.executable).parent / "uv"
        command = [uv, "pip", "install", "--quiet", "--python", sys.executable, "--target", folder, OPTUNA]
        subprocess.run(command, check=True)
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _oracle(kind: str, seed: int, trainings: int) -> Any:
    import keras_tuner
    from keras_tuner import oracles

    from nasflow.search import hyperparameters

    makers: dict[str, Callable[..., Any]] = {
        "RandomSearch": oracles.RandomSearchOracle,
        "GridSearch": oracles.GridSearchOracle,
        "BayesianOptimization": oracles.BayesianOptimizationOracle,
        "Hyperband": oracles.HyperbandOracle,
    }
    own = {"max_epochs": EPOCHS, "hyperband_iterations": 1000} if kind == "Hyperband" else {"max_trials": _FREE}
    oracle = makers[kind](
        objective=keras_tuner.Objective("score", "max"),
        hyperparameters=hyperparameters.declare(landscape.space().parameters()),
        allow_new_entries=False,
        seed=seed + 1,  # Keras Tuner takes 0 for "none given" and draws a seed
        **own,
    )
    oracle.verbose = 0
    oracle.save = oracle._save_trial = lambda *_: None
    return oracle


def _own(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if not name.startswith("tuner/")}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """scikit-learn on a length scale at its bound; threading on the names that Keras Tuner uses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

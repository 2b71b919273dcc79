"""Proxies by the names that the YAML uses."""

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

import keras

from nasflow.core.errors import NasflowError
from nasflow.data.tensors import InputSpec, OutputSpec, Tensors
from nasflow.models.proxies._base import Probe
from nasflow.models.proxies.gradients import grad_norm, snip
from nasflow.models.proxies.jacobian import jacob_cov
from nasflow.models.proxies.naswot import naswot
from nasflow.models.proxies.synflow import synflow
from nasflow.spaces.architecture import Architecture

logger = logging.getLogger(__name__)

PROXIES: Mapping[str, Callable[[Probe], float]] = MappingProxyType(
    {"naswot": naswot, "synflow": synflow, "grad_norm": grad_norm, "snip": snip, "jacob_cov": jacob_cov}
)
"""More is better in all of them."""


def measure(
    names: Iterable[str],
    architecture: Architecture,
    inputs: InputSpec,
    output: OutputSpec,
    rows: Tensors,
    *,
    seed: int,
) -> dict[str, float | None]:
    """These proxies of one architecture; None where one is not finite, or where the network cannot be built or run:
    nothing is known then. Same seed and rows, same values.

    Args:
        names: of `PROXIES`.
        architecture: what is judged.
        inputs: of the data.
        output: of the task.
        rows: see `nasflow.models.proxies._base.batch`.
        seed: of the initial weights.
    """
    probe = Probe(architecture, inputs, output, rows, seed=seed)
    found: dict[str, float | None] = {}
    for name in names:
        try:
            value = PROXIES[name](probe)
        except (NasflowError, ValueError, RuntimeError, ArithmeticError) as error:  # what Keras and TensorFlow raise
            logger.warning("%s of %s: %s", name, architecture.identity, str(error).partition("\n")[0])
            value = math.nan
        found[name] = value if math.isfinite(value) else None
    keras.utils.clear_session(free_memory=False)
    return found

"""How TensorFlow runs a training: XLA, precision, steps in one call; and what is safe where nobody said."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Literal

from nasflow.core.spec import RuntimeSection

Precision = Literal["float32", "mixed_bfloat16", "mixed_float16", "float64"]

_BFLOAT16_SINCE = (8, 0)
"""Compute capability of the first NVIDIA GPUs whose tensor cores take bfloat16 (Ampere)."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """One training's."""

    xla: bool | None = None
    """Compile the training step with XLA; None: where it pays, see `compiles`."""
    precision: Precision = "float32"
    """A Keras dtype policy. The output layer and the loss stay float32; float16 scales the loss; float64 is for proxies
    that would overflow, no training has it."""
    steps_per_call: int | None = None
    """Steps that one call of the traced function takes at most; None: as many as the rows handed over hold."""

    def compiles(self, steps: int) -> bool:
        """Whether a training of so many steps is compiled with XLA.

        Left open, it is on a GPU from `XLA_PAYS_STEPS` on. Measured on an H200 (CNN preset, Fashion-MNIST, batches of
        64, float32): 8.7 ms a step, most of it starting kernels one by one; compiled 1.9 ms, after 5 s of compiling
        (13 s in bfloat16). On a CPU compiled steps are slower (research/auto.md: 6.1 against 4.4 CPU-seconds an epoch).
        """
        return self.xla if self.xla is not None else steps >= XLA_PAYS_STEPS and _capability() is not None


XLA_PAYS_STEPS = 2_000
"""What compiling costs, in steps that it makes faster."""

PLAIN = Runtime()


def resolve(section: RuntimeSection) -> Runtime:
    """The user's wishes, with what is left to us decided by the device.

    ``xla: auto`` is decided by each training (`Runtime.compiles`). ``precision: auto`` is float32 on a CPU and on older
    GPUs, bfloat16 from compute capability 8.0 on. float16 is never chosen by itself: its range is small enough for a
    sound training to overflow.
    """
    precision: Precision
    match section.precision:
        case "auto":
            precision = "mixed_bfloat16" if (_capability() or (0, 0)) >= _BFLOAT16_SINCE else "float32"
        case "bfloat16":
            precision = "mixed_bfloat16"
        case "float16":
            precision = "mixed_float16"
        case _:
            precision = "float32"
    steps = None if section.steps_per_call == "auto" else section.steps_per_call
    return Runtime(xla=None if section.xla == "auto" else section.xla, precision=precision, steps_per_call=steps)


@contextlib.contextmanager
def policy(runtime: Runtime) -> Iterator[None]:
    """Models that are built inside have the runtime's precision."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(runtime.precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _capability() -> tuple[int, int] | None:
    """Of the weakest GPU that this process sees; None without one."""
    import tensorflow as tf

    found = [
        tf.config.experimental.get_device_details(gpu).get("compute_capability")
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    return min((tuple(each) for each in found if each is not None), default=None)

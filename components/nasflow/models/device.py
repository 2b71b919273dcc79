"""Sets TensorFlow up for this machine, before it makes its first tensor."""

import logging
import os
from pathlib import Path

logger = logging.getLogger(__name__)

_CGROUP_LIMIT = Path("/sys/fs/cgroup/cpu.max")


def set_up() -> None:
    """Takes GPU memory as needed, instead of all of it, and as many threads as this process has CPUs.

    In a container with a CPU limit TensorFlow would start a thread for each CPU of the *node*. Where
    ``TF_NUM_INTRAOP_THREADS`` or ``TF_NUM_INTEROP_THREADS`` is set, TensorFlow follows that instead. Does nothing the
    second time, or once TensorFlow runs (both logged at debug level).
    """
    import tensorflow as tf

    cpus = available_cpus()
    try:
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)  # noqa: FBT003  # TensorFlow's signature
        if "TF_NUM_INTRAOP_THREADS" not in os.environ:
            tf.config.threading.set_intra_op_parallelism_threads(cpus)
        if "TF_NUM_INTEROP_THREADS" not in os.environ:
            tf.config.threading.set_inter_op_parallelism_threads(cpus)
    except RuntimeError as error:
        logger.debug("TensorFlow runs already, its devices stay as they are: %s", error)


def available_cpus(limit: Path = _CGROUP_LIMIT) -> int:
    """CPUs that this process may use: its affinity, and a container's limit (cgroup v2), rounded up; at least one."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = limit.read_text().split()[:2]
        return cpus if quota == "max" else max(1, min(cpus, -(-int(quota) // int(period))))
    except (OSError, ValueError):  # no cgroup v2 here
        return cpus

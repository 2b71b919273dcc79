"""A bundle's golden rows answered once more, where it is registered: what the exporter made arrived, and works."""

import importlib.util
import logging

from nasflow.serving.bundle import Bundle
from nasflow.serving.engines import ONNX_FILE, needed

logger = logging.getLogger(__name__)


def check(bundle_uri: str) -> bool:
    """Compares the ONNX network's answers with the Keras model's; returns whether there was something to compare.

    A bundle without ``network.onnx``, or a machine without ONNX Runtime, has nothing: the SavedModel was compared at
    export and is again after deployment, and TensorFlow is not where models are registered.

    Raises:
        DocumentError: the bundle is damaged, or answers otherwise by more than `nasflow.serving.bundle.TOLERANCE`.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        logger.info("parity: not compared here, onnxruntime is not installed")
        return False
    if needed(bundle_uri) != "onnx":
        logger.info("parity: not compared here, the bundle has no %s", ONNX_FILE)
        return False
    bundle = Bundle.load(bundle_uri, engine="onnx")  # which compares
    logger.info("parity: %d golden rows are answered as they were at export", len(bundle.golden.rows))
    return True

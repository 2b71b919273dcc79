"""The one place that knows which nasflow this is: image tags and manifests carry it."""

from importlib.metadata import PackageNotFoundError, version


def _installed_version() -> str:
    try:
        return version("nasflow")
    except PackageNotFoundError:  # a source tree on PYTHONPATH, never installed
        return "0.0.0"


VERSION = _installed_version()

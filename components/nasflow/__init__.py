"""nasflow: neural architecture search as a production pipeline on Kubernetes."""

from nasflow.core.version import VERSION as __version__

__all__ = ["__version__"]

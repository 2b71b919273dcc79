"""nasflow: neural architecture search as a production pipeline on Kubernetes."""

from nasflow.core.version import VERSION

__version__ = VERSION

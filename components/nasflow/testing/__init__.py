"""Conformance suites: a subclass of one, and a new space or strategy is tested as nasflow's own are.

    class TestMySpace(SpaceConformance):
        def make(self) -> Space: ...
        inputs, output = InputSpec(...), OutputSpec(...)

    class TestMyStrategy(StrategyConformance):
        def make(self) -> Strategy: ...

    class TestMyRegistry(RegistryConformance):
        def open(self, folder: str) -> Registry: ...

    class TestMyStorage(StorageConformance):
        def make(self) -> Storage: ...
        def root(self) -> str: ...

Plain pytest classes without fixtures; this package imports no test library, no Keras.
"""

from nasflow.testing.registries import RegistryConformance
from nasflow.testing.spaces import SpaceConformance
from nasflow.testing.storages import StorageConformance
from nasflow.testing.strategies import StrategyConformance

__all__ = ["RegistryConformance", "SpaceConformance", "StorageConformance", "StrategyConformance"]

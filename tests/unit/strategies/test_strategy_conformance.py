from nasflow.strategies._base import Strategy
from nasflow.strategies.auto import Auto
from nasflow.strategies.evolution import RegularizedEvolution
from nasflow.strategies.random_search import RandomSearch
from nasflow.testing import StrategyConformance


class TestRandomSearch(StrategyConformance):
    def make(self) -> Strategy:
        return RandomSearch()


class TestRegularizedEvolution(StrategyConformance):
    def make(self) -> Strategy:
        return RegularizedEvolution()


class TestMutationOnlyEvolution(StrategyConformance):
    def make(self) -> Strategy:
        return RegularizedEvolution(crossover=0.0)


class TestAuto(StrategyConformance):
    def make(self) -> Strategy:
        return Auto()

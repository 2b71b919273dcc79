from nasflow.strategies._base import Strategy
from nasflow.strategies.asha import Asha
from nasflow.strategies.auto import Auto
from nasflow.strategies.differentiable import Differentiable
from nasflow.strategies.evolution import RegularizedEvolution
from nasflow.strategies.genetic import Genetic
from nasflow.strategies.greedy import GreedySearch
from nasflow.strategies.grid import GridSearch
from nasflow.strategies.hill_climb import HillClimb
from nasflow.strategies.hybrid import Hybrid
from nasflow.strategies.pasha import Pasha
from nasflow.strategies.predictor import Predictor
from nasflow.strategies.random_search import RandomSearch
from nasflow.strategies.reinforce import Reinforce
from nasflow.strategies.tpe import TreeParzen
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


class TestGridSearch(StrategyConformance):
    def make(self) -> Strategy:
        return GridSearch()


class TestGreedySearch(StrategyConformance):
    def make(self) -> Strategy:
        return GreedySearch()


class TestHillClimb(StrategyConformance):
    def make(self) -> Strategy:
        return HillClimb()


class TestSteepestHillClimb(StrategyConformance):
    def make(self) -> Strategy:
        return HillClimb(first=False)


class TestGenetic(StrategyConformance):
    def make(self) -> Strategy:
        return Genetic(population=6)


class TestTreeParzen(StrategyConformance):
    def make(self) -> Strategy:
        return TreeParzen(startup=5)


class TestReinforce(StrategyConformance):
    def make(self) -> Strategy:
        return Reinforce()


class TestDifferentiable(StrategyConformance):
    """With what a supernet found, one cell of which has no place in the point that it is put into."""

    def make(self) -> Strategy:
        cells = ({"body": "deep", "depth": 3}, {"body": "plain", "width": 64}, {"body": "deep", "depth": 1})
        return Differentiable(top=2, derived=cells)


class TestDifferentiableWithoutSupernet(StrategyConformance):
    def make(self) -> Strategy:
        return Differentiable()


class TestPredictor(StrategyConformance):
    def make(self) -> Strategy:
        return Predictor(startup=5, trees=8)


class TestAsha(StrategyConformance):
    """Three rungs of 1, 3 and 9 epochs."""

    def make(self) -> Strategy:
        return Asha(epochs=9)


class TestAshaWithoutRungs(StrategyConformance):
    def make(self) -> Strategy:
        return Asha(epochs=1)


class TestPasha(StrategyConformance):
    """Two rungs of 1 and 3 epochs, the one of 9 when they disagree."""

    def make(self) -> Strategy:
        return Pasha(epochs=9)


class TestMixture(StrategyConformance):
    def make(self) -> Strategy:
        return Hybrid(parts=("genetic", "hill_climb", "tpe", "grid"), weights=None)


class TestSequence(StrategyConformance):
    def make(self) -> Strategy:
        return Hybrid(parts=("greedy", "reinforce", "random"), mode="sequence", trials=(9, 20))

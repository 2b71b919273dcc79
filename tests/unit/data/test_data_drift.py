"""Drift: the index and the tests, with numbers derived by hand, and what counts as drifted."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasflow.data.drift import Bins, Drift, bins_of, compare, drifted, homogeneity, kolmogorov_smirnov, psi
from nasflow.data.tail_probabilities import chi_square, kolmogorov

_COUNTS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=12)


def test_index_by_hand() -> None:
    # p = (0.5, 0.5), q = (0.25, 0.75): 0.25 ln 2 − 0.25 ln (2/3) = 0.25 ln 3
    assert psi(np.array([10, 10]), np.array([5, 15])) == pytest.approx(0.25 * math.log(3))
    # an empty bin counts as half a row: p = (1, 0.05), q = (0.5, 0.5)
    expected = 0.5 * math.log(2) + (0.05 - 0.5) * math.log(0.05 / 0.5)
    assert psi(np.array([10, 0]), np.array([5, 5])) == pytest.approx(expected)
    assert psi(np.array([3, 0, 5]), np.array([6, 0, 10])) == 0.0
    assert psi(np.array([3]), np.array([0])) == 0.0


@settings(deadline=None)
@given(_COUNTS)
def test_index_is_symmetric_and_never_negative(pairs: list[tuple[int, int]]) -> None:
    first, second = (np.array(column) for column in zip(*pairs, strict=True))
    assert psi(first, second) == pytest.approx(psi(second, first))
    assert psi(first, second) >= -1e-12
    assert psi(first, first) == 0.0


def test_bins_of_numbers_and_texts() -> None:
    values = np.array([*range(100), np.nan, np.inf], np.float64)
    bins = bins_of(values)
    assert bins.edges == (9, 19, 29, 39, 49, 59, 69, 79, 89)
    assert bins.count(values).tolist() == [10] * 10 + [2]
    texts = pa.array(["b", "a", "a", None, ""])
    cut = bins_of(texts)
    assert cut.texts == ("a", "b")
    assert cut.count(pa.array(["a", "c", "", None, "b", "b"])).tolist() == [1, 2, 1, 2]
    assert bins_of(np.array([np.nan])).count(np.array([np.nan, 1.0])).tolist() == [1, 1]


def test_homogeneity_by_hand() -> None:
    # expected (20, 20) in each row: Σ (O − E)²/E = 4 × 10²/20 = 20, one degree of freedom
    statistic, p_value = homogeneity(np.array([30, 10]), np.array([10, 30]))
    assert statistic == pytest.approx(20.0)
    assert p_value == pytest.approx(math.erfc(math.sqrt(20 / 2)))  # P(χ²₁ > x) = erfc(√(x/2))
    # three bins that expect fewer than five rows are joined to one: (30, 6) against (30, 6)
    assert homogeneity(np.array([30, 6, 0, 0]), np.array([30, 0, 3, 3]))[0] == pytest.approx(0.0)
    assert homogeneity(np.array([5, 0]), np.array([7, 0])) == (0.0, 1.0)


def test_kolmogorov_smirnov_by_hand() -> None:
    # 0..99 against 50..149: the distribution functions differ by 0.5 at most
    found = compare("x", np.arange(100.0), np.arange(50.0, 150.0))
    assert (found.test, found.statistic) == ("Kolmogorov–Smirnov", 0.5)
    assert found.p_value < 1e-9
    # q: none in the first five deciles, 10 rows in each of the next four, 60 in the last
    q = [0.005] * 5 + [0.1] * 4 + [0.6]
    assert found.psi == pytest.approx(sum((0.1 - x) * math.log(0.1 / x) for x in q))


@settings(deadline=None)  # the first example imports scipy
@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.lists(st.integers(0, 9), min_size=1, max_size=40))
def test_statistics_are_those_of_scipy(first: list[int], second: list[int]) -> None:
    from scipy import stats

    a, b = np.array(first, np.float64), np.array(second, np.float64)
    assert kolmogorov_smirnov(a, b)[0] == pytest.approx(stats.ks_2samp(a, b, method="asymp").statistic)
    counts = np.bincount(first, minlength=10) + 20, np.bincount(second, minlength=10) + 20
    expected = stats.chi2_contingency(np.stack(counts), correction=False)
    assert homogeneity(*counts) == pytest.approx((expected.statistic, expected.pvalue))


def test_more_missing_is_drift_though_the_values_are_alike() -> None:
    values = np.tile(np.arange(50.0), 4)
    found = compare("x", values, np.where(np.arange(200) % 2, values, np.nan))
    assert found.p_value < 1e-9
    assert found.psi > 1


def test_chance_is_not_drift() -> None:
    def one(name: str, *, index: float, p_value: float) -> Drift:
        return Drift(column=name, psi=index, test="chi-square", statistic=1.0, p_value=p_value, n=9, m=9)

    found = [one("a", index=0.3, p_value=0.004), one("b", index=0.2, p_value=0.0001), one("c", index=0.9, p_value=0.5)]
    # Holm: 3 × 0.0001 and 2 × 0.004 are below 0.01, 0.5 is not; with a fourth column 3 × 0.004 is not either
    assert [each.column for each in drifted(found)] == ["a", "b"]
    assert [each.column for each in drifted([*found, one("d", index=0.05, p_value=0.9)])] == ["b"]
    assert drifted([one("e", index=0.05, p_value=0.0)]) == []


def test_thirty_rows_of_the_same_distribution_are_no_drift() -> None:
    rng = np.random.default_rng(0)
    compared = [compare(f"x{n}", rng.normal(size=300), rng.normal(size=30)) for n in range(100)]
    assert max(each.psi for each in compared) > 0.25  # the index alone would cry wolf
    assert drifted(compared) == []


def test_bins_survive_json() -> None:
    bins = bins_of(np.array([0.1, 0.2, 0.30000000000000004]))
    assert Bins(edges=tuple(float(repr(edge)) for edge in bins.edges)) == bins


def test_tail_probabilities_are_scipys() -> None:
    """From p-values near 1 to those near 1e-200, and of more degrees than a table of texts has."""
    from scipy import special

    statistics = np.array([1e-9, 0.1, 0.5, 1.0, 3.0, 10.0, 30.0, 100.0, 500.0, 900.0])
    for degrees in (1, 2, 3, 4, 9, 20, 21, 500, 1_001):
        found = [chi_square(float(statistic), degrees) for statistic in statistics]
        assert found == pytest.approx(special.chdtrc(degrees, statistics).tolist(), rel=1e-11, abs=0)
    places = np.linspace(0.05, 6, 120)
    assert [kolmogorov(float(place)) for place in places] == pytest.approx(
        special.kolmogorov(places).tolist(), rel=1e-12, abs=0
    )
    assert (chi_square(0.0, 3), kolmogorov(0.0)) == (1.0, 1.0)
    assert chi_square(1e5, 2) == 0.0  # e^-50000

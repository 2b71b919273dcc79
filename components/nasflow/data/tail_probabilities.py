"""p-values of two tests, by formulas that end: SciPy's functions give the same numbers, but importing them takes 0.2
CPU-seconds and more, in every run of `preprocess` (`tests/benchmarks/README.md`).
"""

import math

_SMALL = 1.18
"""Below it the second series of `kolmogorov` takes fewer terms, above it the first."""
_TERMS = 6
"""Of either series: the next one is below 1e-30."""


def chi_square(statistic: float, degrees: int) -> float:
    """P(X ≥ `statistic`) of χ² with `degrees` ≥ 1 degrees of freedom. Abramowitz and Stegun (1964), 26.4.4 and 26.4.5:
    sums of positive terms, as many as half the degrees, each through its logarithm, so that none overflows.

    >>> round(chi_square(3.841458820694124, 1), 12), round(chi_square(2 * math.log(20), 2), 12)
    (0.05, 0.05)
    """
    if statistic <= 0:
        return 1.0
    half = statistic / 2
    odd = degrees % 2
    terms = [math.erfc(math.sqrt(half))] if odd else []
    for place in range(degrees // 2):
        power = place + odd / 2
        terms.append(math.exp(power * math.log(half) - half - math.lgamma(power + 1)))
    return min(1.0, math.fsum(terms))


def kolmogorov(statistic: float) -> float:
    """P(K ≥ `statistic`) of the limit of √n times the largest difference of two distribution functions, by the two
    series of Feller (1948, On the Kolmogorov-Smirnov limit theorems for empirical distributions, eq. 1.4).

    >>> round(kolmogorov(1.3580986393225505), 12), kolmogorov(0.0)
    (0.05, 1.0)
    """
    if statistic <= 0:
        return 1.0
    if statistic < _SMALL:
        exponents = (-(((2 * k - 1) * math.pi / statistic) ** 2) / 8 for k in range(1, _TERMS + 1))
        return 1 - math.sqrt(2 * math.pi) / statistic * math.fsum(math.exp(exponent) for exponent in exponents)
    signed = ((-1) ** (k - 1) * math.exp(-2 * (k * statistic) ** 2) for k in range(1, _TERMS + 1))
    return 2 * math.fsum(signed)

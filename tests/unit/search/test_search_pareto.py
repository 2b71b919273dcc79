"""Non-dominated sorting, crowding and hypervolume against definitions spelled out naively."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasflow.search.pareto import crowding, fronts, hypervolume, knee, ranks


def dominates(one, other):
    return all(a >= b for a, b in zip(one, other, strict=True)) and any(a > b for a, b in zip(one, other, strict=True))


def points_of(data):
    objectives = data.draw(st.integers(1, 3))
    point = st.lists(st.integers(0, 4), min_size=objectives, max_size=objectives)
    return np.array(data.draw(st.lists(point, min_size=1, max_size=12)), float)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_front_holds_what_only_earlier_fronts_dominate(data):
    points = points_of(data)
    of = fronts(points)
    for place, point in enumerate(points):
        above = [of[other] for other in range(len(points)) if dominates(points[other], point)]
        assert of[place] == (max(above) + 1 if above else 0)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_the_hypervolume_is_the_count_of_dominated_cells(data):
    points = points_of(data)
    grid = np.array(list(itertools.product(np.arange(4) + 0.5, repeat=points.shape[1])))
    dominated = [any((point >= cell).all() for point in points) for cell in grid]
    assert hypervolume(points, np.zeros(points.shape[1])) == pytest.approx(sum(dominated))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_better_front_always_ranks_higher(data):
    points = points_of(data)
    of, found = fronts(points), ranks(points)
    for one in range(len(points)):
        for other in range(len(points)):
            if of[one] < of[other]:
                assert found[one] >= found[other]


def test_a_point_without_a_value_comes_last():
    assert fronts(np.array([[np.nan, 9.0], [0.0, 0.0]])).tolist() == [1, 0]


def test_more_points_never_shrink_the_hypervolume():
    rng = np.random.default_rng(0)
    points = rng.random((20, 3))
    volumes = [hypervolume(points[:n], np.zeros(3)) for n in range(1, 21)]
    assert volumes == sorted(volumes)
    assert hypervolume(np.array([[-1.0, 2.0]]), np.zeros(2)) == 0.0


def test_crowding_by_hand():
    # ranges 10 and 4; neighbours of (2, 3): (0, 4) and (6, 1): .6 + .75; of (6, 1): (2, 3) and (10, 0): .8 + .75
    found = crowding(np.array([[0.0, 4.0], [2.0, 3.0], [6.0, 1.0], [10.0, 0.0]]))
    assert found.tolist() == [np.inf, pytest.approx(1.35), pytest.approx(1.55), np.inf]


def test_the_knee_of_one_point_is_that_point():
    assert knee(np.array([[3.0, 4.0]])) == 0

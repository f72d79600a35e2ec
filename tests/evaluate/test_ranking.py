import json
import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from heedful.evaluate import coverage, hit_rate, mrr, ndcg, ranks

scores = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 4), st.integers(1, 8)), elements=st.integers(0, 4)
)


def test_ranks_count_the_better_and_half_of_the_ties():
    table = np.array([[0.9, 0.5, 0.1], [0.5, 0.5, 0.1], [0.2, 0.2, 0.2], [1.0, 0.5, 0.5]])
    assert ranks(table, [0, 0, 1, 2]).tolist() == [1.0, 1.5, 2.0, 2.5]


def test_a_policy_that_scores_all_alike_gets_the_middle_and_no_hit():
    rank = ranks(np.zeros((3, 1001)), [0, 500, 1000])
    assert rank.tolist() == [501.0] * 3
    assert hit_rate(rank, 10).sum() == 0


def test_forbidden_items_leave_the_ranking():
    table = np.array([[0.9, 0.5, 0.5, 0.1]])
    forbidden = np.array([[True, False, True, False]])
    assert ranks(table, [1], forbidden).tolist() == [1.0]
    assert ranks(table, [1]).tolist() == [2.5]


def test_infinite_scores_are_ordinary_scores():
    assert ranks([[-np.inf, 0.0, -np.inf]], [0]).tolist() == [2.5]


@given(scores)
def test_ranks_of_all_items_are_the_same_ranks_shared_out(table):
    rows, items = table.shape
    total = sum(ranks(table, np.full(rows, item)) for item in range(items))
    assert total.tolist() == [items * (items + 1) / 2] * rows


@given(scores, st.randoms(use_true_random=False))
def test_the_position_of_a_candidate_in_the_list_does_not_matter(table, random):
    rows, items = table.shape
    order = list(range(items))
    random.shuffle(order)
    before = ranks(table, np.full(rows, order[0]))
    assert ranks(table[:, order], np.zeros(rows, dtype=int)).tolist() == before.tolist()


@given(scores)
def test_reciprocal_rank_never_exceeds_its_mean_over_the_orders_of_ties(table):
    row = table[:1, :5]
    order_ranks = [
        1 + sorted(permutation, key=lambda item: -row[0, item]).index(0)
        for permutation in permutations(range(row.shape[1]))
    ]
    rank = ranks(row, [0])
    assert rank[0] == pytest.approx(np.mean(order_ranks))
    assert mrr(rank)[0] <= np.mean(1 / np.array(order_ranks)) + 1e-12


def test_metrics_at_a_tied_rank_are_those_of_the_mean_rank():
    rank = ranks([[0.5, 0.5, 0.1]], [0])
    assert hit_rate(rank, 1).tolist() == [0.0]
    assert hit_rate(rank, 2).tolist() == [1.0]
    assert ndcg(rank, 2)[0] == 1 / math.log2(2.5)
    assert ndcg(rank, 1)[0] == 0.0
    assert mrr(rank)[0] == 1 / 1.5


def test_the_last_place_of_the_list_counts():
    assert ndcg(np.array([10.0, 10.5]), 10).tolist() == [1 / math.log2(11), 0.0]
    assert hit_rate(np.array([10.0, 10.5]), 10).tolist() == [1.0, 0.0]


@pytest.mark.data
def test_ndcg_agrees_with_pytrec_eval(data):
    case = json.loads((data / "reference-cases" / "cases.json").read_text())["ndcg_pytrec_eval"]
    items = sorted(case["qrel"])
    target = [case["qrel"][item] for item in items].index(1)
    for run in case["runs"]:
        rank = ranks([[run["scores"][item] for item in items]], [target])
        assert ndcg(rank, len(items))[0] == pytest.approx(run["ndcg"], abs=1e-12)


@pytest.mark.parametrize(
    ("table", "targets", "forbidden", "message"),
    [
        ([[0.1, np.nan], [np.nan, 1]], [0, 0], None, r"scores: row 0 \(and 1 more\) holds NaN"),
        ([[0.1, 0.2]], [2], None, r"targets: row 0 is no item of 0\.\.1"),
        ([[0.1, 0.2]], [-1], None, "targets: row 0 is no item"),
        ([[0.1, 0.2]], [0.0], None, "targets: expected item numbers"),
        ([0.1, 0.2], [0, 1], None, "scores: expected"),
        ([[0.1, 0.2]], [0, 1], None, "targets: shape"),
        ([[1, 2], [1, 2]], [0, 1], [[False, True]] * 2, "targets: row 1 names a forbidden item"),
        ([[1, 2], [1, 2]], [0, 1], [[False, True]], "forbidden: expected bool"),
    ],
)
def test_ranks_refuse(table, targets, forbidden, message):
    mask = None if forbidden is None else np.array(forbidden)
    with pytest.raises(ValueError, match=message):
        ranks(table, targets, mask)


def test_metrics_refuse_what_is_no_rank_and_lists_of_nothing():
    with pytest.raises(ValueError, match="ranks: row 1 is no rank"):
        mrr(np.array([1.0, 0.0]))
    with pytest.raises(ValueError, match="ranks: row 0 is no rank"):
        hit_rate(np.array([np.nan]), 10)
    with pytest.raises(ValueError, match="k: expected"):
        ndcg(np.array([1.0]), 0)


def test_coverage_counts_each_item_once():
    assert coverage(np.array([[0, 1], [1, 0]]), 8) == 0.25
    assert coverage(np.empty((0, 5), dtype=int), 8) == 0.0
    with pytest.raises(ValueError, match=r"recommended: row 1 holds an item outside 0\.\.3"):
        coverage([[0, 1], [1, 4]], 4)
    with pytest.raises(ValueError, match="n_items"):
        coverage([[0]], 0)
    with pytest.raises(ValueError, match="recommended: expected"):
        coverage([0, 1], 4)

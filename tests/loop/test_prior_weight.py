"""The prior's weight and depth are chosen with one pass of the network, not with one for each."""

from pathlib import Path

import pytest
import torch

from heedful.evaluate.held_out import held_out_ndcg, leave_one_out
from heedful.loop.form import PRIOR_DEPTHS, PRIOR_WEIGHTS, _tried
from heedful.loop.lessons import chosen_by_people, sequences_of
from heedful.policy import Recurrent, TransitionPrior
from heedful.workspace import Workspace
from tests.small_shop import COLUMNS, TINY, write_ratings


@pytest.mark.parametrize("again", [True, False], ids=["repeats", "no repeats"])
def test_every_weight_is_worth_what_the_whole_policy_is(tmp_path: Path, again: bool) -> None:
    Workspace.create(tmp_path / "shop").close()
    settings = {**TINY, **COLUMNS, "domain.repeat_seen": again}
    with Workspace.open(tmp_path / "shop", settings) as workspace:
        workspace.import_file(write_ratings(tmp_path / "ratings.csv"))
        bench, snapshot = workspace.bench(), workspace.log.snapshot()
        streams = bench.encode(snapshot, bench.domain.vocabulary(snapshot))
    split = leave_one_out(streams)
    torch.manual_seed(0)
    network = Recurrent(streams.schema, width=8).eval()
    sequences = sequences_of(streams, chosen_by_people(streams) * split.train)
    prior = TransitionPrior(network).fit(sequences).eval()
    scores = _tried(prior, streams, split.validation, bench)
    assert len(scores) == len(PRIOR_WEIGHTS) * len(PRIOR_DEPTHS)
    assert len(set(scores.values())) > 1
    for (weight, depth), score in scores.items():
        whole = TransitionPrior(network, weight=weight, depth=depth).fit(sequences).eval()
        alone = held_out_ndcg(whole, streams, split.validation, window=40, seen=again)
        assert score == pytest.approx(alone, abs=1e-6)

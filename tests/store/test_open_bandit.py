"""The Open Bandit Dataset: impressions of a shop, with the probabilities of who chose them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from heedful.evaluate import OffPolicyEstimate, ips, snips
from heedful.record import Described
from heedful.reward import Clicks, earn
from heedful.store import Log, StoreError, describe_file, import_file

KEY = b"a key of sixteen"
HEADER = (
    ",timestamp,item_id,position,click,propensity_score,user_feature_0,user_feature_1,"
    "user-item_affinity_0,user-item_affinity_1\n"
)
ROWS = HEADER + (
    "0,2019-11-24 00:01:03.979311+00:00,2,2,0,0.045525,cef3,2d03,0.0,0.0\n"
    "1,2019-11-24 00:01:45.406608+00:00,9,3,1,0.5,cef3,f1c2,0.0,1.0\n"
    "2,2019-11-24 00:01:45.406608+00:00,9,1,0,0.25,cef3,f1c2,0.0,1.0\n"
)


def test_each_impression_is_a_visit_of_its_own(log, tmp_path):
    path = tmp_path / "men.csv"
    path.write_text(ROWS)
    assert import_file(log, path, key=KEY, made_by="bts").added == 3
    assert import_file(log, path, key=KEY, made_by="bts").duplicates == 3
    snapshot = log.snapshot()
    decisions = snapshot.decisions
    assert np.exp(decisions.logps) == pytest.approx([0.045525, 0.5, 0.25], rel=1e-15)
    assert len(snapshot.names.subjects) == snapshot.ends.n == 3
    assert snapshot.feedback.value.tolist() == [0.0, 1.0, 0.0]
    assert list(snapshot.names.policies) == ["import:bts"]
    assert decisions.contexts[1] == '{"position":3,"user_feature_0":"cef3","user_feature_1":"f1c2"}'


def test_the_same_impression_by_another_policy_clashes(log, tmp_path):
    path = tmp_path / "men.csv"
    path.write_text(ROWS)
    import_file(log, path, key=KEY, made_by="bts")
    with pytest.raises(StoreError, match="by the policy import:bts, the file by import:random"):
        import_file(log, path, key=KEY, made_by="random")


def uniform(log: Log, policy: str) -> tuple[OffPolicyEstimate, OffPolicyEstimate]:
    """Return IPS and SNIPS of showing every item alike, from what one policy showed."""
    snapshot = log.snapshot()
    decisions = snapshot.decisions
    rows = decisions.policy == list(snapshot.names.policies).index(f"import:{policy}")
    rewards = earn(snapshot, Clicks(), maturity=0.0, now=0.0).decisions[rows]
    behaviour = decisions.logps[rows]  # one unit a decision
    target = np.full(len(behaviour), -np.log(len(snapshot.names.units)))
    return ips(target, behaviour, rewards), snips(target, behaviour, rewards)


@pytest.mark.data
@pytest.mark.parametrize(
    ("campaign", "items", "expected"),
    [
        ("men", 34, {"ips": 0.0030, "snips": 0.0032, "weight": 0.943, "ess": 655.7, "own": 0.0046}),
        (
            "women",
            46,
            {"ips": 0.0074, "snips": 0.0024, "weight": 3.134, "ess": 2.08, "own": 0.0046},
        ),
    ],
)
def test_the_uniform_policy_from_the_thompson_log(
    log: Log, data: Path, campaign: str, items: int, expected: dict[str, float]
) -> None:
    for policy in ("bts", "random"):
        path = data / "open-bandit" / policy / campaign / f"{campaign}.csv.gz"
        assert import_file(log, path, key=KEY, made_by=policy).added == 10_000
    path = data / "open-bandit" / "bts" / campaign / "item_context.csv.gz"
    assert describe_file(log, path, Described.UNIT, key=KEY).added == items
    by_ips, by_snips = uniform(log, "bts")
    assert by_ips.value == pytest.approx(expected["ips"], abs=5e-5)
    assert by_snips.value == pytest.approx(expected["snips"], abs=5e-5)
    assert by_ips.mean_weight == pytest.approx(expected["weight"], abs=5e-4)
    assert by_ips.ess == pytest.approx(expected["ess"], abs=0.05)
    on_policy, _ = uniform(log, "random")  # its own log: every weight is 1
    assert on_policy.ess == pytest.approx(10_000)
    assert on_policy.value == pytest.approx(expected["own"], abs=1e-12)

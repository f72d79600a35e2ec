import pytest

from benchmarks.open_bandit import CAMPAIGNS, difference, estimates, health, read
from heedful.evaluate import OffPolicyEstimate, ips


def test_both_samples_count():
    one = OffPolicyEstimate(0.5, 0.03, 10.0, 1.0, 1.0, 10, 0.0)
    other = OffPolicyEstimate(0.4, 0.04, 10.0, 1.0, 1.0, 10, 0.0)
    found = difference(one, other)
    assert found.mean == pytest.approx(0.1)
    assert found.high - found.mean == pytest.approx(1.959964 * 0.05, rel=1e-6)


@pytest.mark.data
def test_men_is_estimated_within_the_error_of_both_logs(data):
    log, other = read("men", "bts"), read("men", "random")
    assert all(check.passed for check in health(log, CAMPAIGNS["men"]))
    own = ips(other.logps, other.logps, other.clicks)
    found = estimates(log, CAMPAIGNS["men"])
    assert found["IPS"].value == pytest.approx(0.0030, abs=5e-5)
    for name in ("IPS", "SNIPS"):
        apart = difference(found[name], own)
        assert apart.low <= 0 <= apart.high, name


@pytest.mark.data
def test_women_is_refused_with_the_reason(data):
    checks = health(read("women", "bts"), CAMPAIGNS["women"])
    failed = [check for check in checks if not check.passed]
    assert [check.name for check in failed] == ["effective sample size"]
    assert "worth 2 decisions (30 needed)" in failed[0].sentence

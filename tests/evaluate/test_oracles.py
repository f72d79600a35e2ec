"""Equal to obp and to vw-estimators, where the estimator is the same.

What they say of seeded inputs is kept in oracles.json. Where HEEDFUL_OBP names a Python that has
them, they are asked again.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from heedful.evaluate import (
    bounds,
    clipped_ips,
    dm,
    dr,
    dr_shrunk,
    expected_under,
    ips,
    likelihood,
    mips,
    sequences,
    slates,
    sndr,
    snips,
    sub_gaussian_dr,
    sub_gaussian_ips,
    switch_dr,
)
from tests.evaluate import oracle

HERE = Path(__file__).parent
KEPT = json.loads((HERE / "oracles.json").read_text("utf-8"))


def ours():
    """Return what heedful says of the oracle's inputs, as (obp's names, vw's names)."""
    x = oracle.inputs()
    rows = np.arange(oracle.N)
    log = (np.log(x["pi"])[rows, x["action"]], np.log(x["h"])[rows, x["action"]])
    logged = (*log, x["reward"])
    q_policy = expected_under(x["pi"], x["q"])
    model = (*logged, x["q"][rows, x["action"]], q_policy)
    w = np.exp(log[0] - log[1])
    weighted = w * x["reward"]
    slate = (np.log(x["slot_pi"]), np.log(x["slot_h"]), x["slot_reward"])
    q_slot = np.take_along_axis(x["slot_q"], x["units"][:, :, None], axis=2)[:, :, 0]
    q_slot_policy = (x["slot_pi_all"] * x["slot_q"]).sum(axis=2)
    estimates = {
        "ips": ips(*logged),
        "clipped_ips": clipped_ips(*logged, oracle.CAP),
        "snips": snips(*logged),
        "dm": dm(*log, q_policy),
        "dr": dr(*model),
        "sndr": sndr(*model),
        "switch_dr": switch_dr(*model, oracle.THRESHOLD),
        "dr_shrunk": dr_shrunk(*model, oracle.SHRINKAGE),
        "sub_gaussian_ips": sub_gaussian_ips(*logged, oracle.SUB_GAUSSIAN),
        "sub_gaussian_dr": sub_gaussian_dr(*model, oracle.SUB_GAUSSIAN),
        "mips": mips(x["pi"], x["h"], x["action"], x["reward"], x["category"]),
        "per_position": slates.per_position(*slate),
        "cascade": slates.cascade(*slate),
        "cascade_dr": slates.cascade_dr(*slate, q_slot, q_slot_policy),
    }
    by_obp = {name: estimate.value for name, estimate in estimates.items()} | {
        "hoeffding": bounds.hoeffding(weighted, 40.0),
        "empirical_bernstein": bounds.empirical_bernstein(weighted, 40.0),
        "student_t": bounds.student_t(weighted),
    }
    whole = slates.pseudo_inverse(slate[0], slate[1], x["slot_reward"].sum(axis=1))
    bounded = {"w_max": 60.0}
    cressie_read = likelihood.cressie_read_interval
    intervals = {
        "cressie_read_interval": cressie_read(w, x["reward"]),
        "cressie_read_interval_bounded": likelihood.cressie_read_interval(
            w, x["reward"], **bounded
        ),
        "off_policy_sequence": sequences.off_policy_sequence(
            w, x["reward"], boundary=sequences.GammaExponential()
        ),
        "gaussian": estimates["ips"].interval(oracle.LEVEL),
        # VW takes the sample's largest weight; heedful's is declared
        "clopper_pearson": bounds.clopper_pearson(weighted.sum() / w.max(), len(w) / w.max()),
    }
    by_vw = {
        "ips": estimates["ips"].value,
        "snips": estimates["snips"].value,
        "empirical_likelihood": likelihood.empirical_likelihood(w, x["reward"]).value,
        "cressie_read": likelihood.cressie_read(w, x["reward"]).value,
        "cressie_read_bounded": likelihood.cressie_read(w, x["reward"], **bounded).value,
        "pseudo_inverse": whole.value,
    } | {name: [i.low, i.high] for name, i in intervals.items()}
    return by_obp, by_vw


@pytest.fixture(scope="module")
def said():
    return ours()


@pytest.mark.parametrize("name", KEPT["obp"])
def test_equal_to_obp(said, name):
    assert said[0][name] == pytest.approx(KEPT["obp"][name], rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", KEPT["vw"])
def test_equal_to_vw_estimators(said, name):
    assert said[1][name] == pytest.approx(KEPT["vw"][name], abs=1e-6)


def test_the_oracles_still_say_so(said):
    python = os.environ.get("HEEDFUL_OBP")
    if not python:
        pytest.skip("set HEEDFUL_OBP to a Python that has obp 0.5.7 and vw-estimators 0.2.2")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [python, oracle.__file__], capture_output=True, text=True, check=True, env=environment
    )
    fresh = json.loads(done.stdout)
    assert set(fresh["obp"]) == set(said[0])
    assert set(fresh["vw"]) == set(said[1])
    for name, value in said[0].items():
        assert value == pytest.approx(fresh["obp"][name], rel=1e-9, abs=1e-9), name
    for name, value in said[1].items():
        assert value == pytest.approx(fresh["vw"][name], abs=1e-6), name

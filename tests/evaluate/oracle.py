"""What obp and vw-estimators say of seeded inputs: the oracle of test_oracles.py.

They need other packages than heedful, so another Python runs this file and prints JSON, which is
kept in oracles.json with the versions: ``OTHER_PYTHON tests/evaluate/oracle.py > oracles.json``.
Read by both: it imports nothing but NumPy at the top.
"""

from __future__ import annotations

import json
from importlib import metadata

import numpy as np

N, ACTIONS, SLOTS, CATEGORIES = 400, 6, 3, 3
CAP, THRESHOLD, SHRINKAGE, SUB_GAUSSIAN, LEVEL = 2.0, 1.5, 4.0, 0.2, 0.95


def inputs() -> dict[str, np.ndarray]:
    """Return a logged bandit with a reward model, and slates; the same on every machine."""
    rng = np.random.default_rng(11)

    def softmax(scores: np.ndarray) -> np.ndarray:
        grown = np.exp(scores)
        return grown / grown.sum(axis=-1, keepdims=True)

    h, pi = (softmax(rng.normal(size=(N, ACTIONS))) for _ in range(2))
    action = (rng.random((N, 1)) > h.cumsum(axis=1)).sum(axis=1).clip(max=ACTIONS - 1)
    q = rng.random((N, ACTIONS))
    rows = np.arange(N)
    units = rng.integers(ACTIONS, size=(N, SLOTS))
    slot_h, slot_pi = (softmax(rng.normal(size=(N, SLOTS, ACTIONS))) for _ in range(2))
    places = (rows[:, None], np.arange(SLOTS), units)
    return {
        "h": h,
        "pi": pi,
        "action": action,
        "reward": (rng.random(N) < q[rows, action] / 2).astype(float),
        "q": (q + rng.normal(size=q.shape) / 10) / 2,
        "category": np.arange(ACTIONS) % CATEGORIES,
        "units": units,
        "slot_pi_all": slot_pi,
        "slot_h": slot_h[places],
        "slot_pi": slot_pi[places],
        "slot_reward": (rng.random((N, SLOTS)) < 0.3).astype(float),
        "slot_q": rng.random((N, SLOTS, ACTIONS)),
    }


def by_obp(x: dict[str, np.ndarray]) -> dict[str, float]:
    """Return what obp's estimators say, by our names."""
    from obp import ope
    from obp.ope import estimators_embed, helper

    log = {
        "reward": x["reward"],
        "action": x["action"],
        "pscore": x["h"][np.arange(N), x["action"]],
        "action_dist": x["pi"][:, :, None],
        "position": np.zeros(N, dtype=int),
        "estimated_rewards_by_reg_model": x["q"][:, :, None],
    }
    estimators = {
        "ips": ope.InverseProbabilityWeighting(),
        "clipped_ips": ope.InverseProbabilityWeighting(lambda_=CAP),
        "snips": ope.SelfNormalizedInverseProbabilityWeighting(),
        "dm": ope.DirectMethod(),
        "dr": ope.DoublyRobust(),
        "sndr": ope.SelfNormalizedDoublyRobust(),
        "switch_dr": ope.SwitchDoublyRobust(lambda_=THRESHOLD),
        "dr_shrunk": ope.DoublyRobustWithShrinkage(lambda_=SHRINKAGE),
        "sub_gaussian_ips": ope.SubGaussianInverseProbabilityWeighting(lambda_=SUB_GAUSSIAN),
        "sub_gaussian_dr": ope.SubGaussianDoublyRobust(lambda_=SUB_GAUSSIAN),
    }
    found = {name: float(e.estimate_policy_value(**log)) for name, e in estimators.items()}
    embedding = np.eye(CATEGORIES)[x["category"]][:, :, None]  # p(e|a): [action, category, 1]
    mips = estimators_embed.MarginalizedInverseProbabilityWeighting(n_actions=ACTIONS)
    found["mips"] = float(
        mips.estimate_policy_value(
            reward=x["reward"],
            action=x["action"],
            action_embed=x["category"][x["action"]][:, None],
            pi_b=x["h"][:, :, None],
            action_dist=x["pi"][:, :, None],
            p_e_a=embedding,
            position=np.zeros(N, dtype=int),
        )
    )
    weighted = x["reward"] * x["pi"][np.arange(N), x["action"]] / log["pscore"]
    b = 40.0  # declared; larger than anything in the sample
    found["hoeffding"] = float(helper.estimate_hoeffding_lower_bound(weighted, x_max=b))
    found["empirical_bernstein"] = float(helper.estimate_bernstein_lower_bound(weighted, x_max=b))
    found["student_t"] = float(helper.estimate_student_t_lower_bound(weighted))
    return found | _slates_by_obp(x)


def _slates_by_obp(x: dict[str, np.ndarray]) -> dict[str, float]:
    from obp import ope

    flat = {
        "slate_id": np.repeat(np.arange(N), SLOTS),
        "position": np.tile(np.arange(SLOTS), N),
        "reward": x["slot_reward"].ravel(),
    }
    h, pi = x["slot_h"], x["slot_pi"]
    products = (h.cumprod(axis=1).ravel(), pi.cumprod(axis=1).ravel())
    iips = ope.SlateIndependentIPS(len_list=SLOTS).estimate_policy_value(
        **flat,
        pscore_item_position=h.ravel(),
        evaluation_policy_pscore_item_position=pi.ravel(),
    )
    rips = ope.SlateRewardInteractionIPS(len_list=SLOTS).estimate_policy_value(
        **flat, pscore_cascade=products[0], evaluation_policy_pscore_cascade=products[1]
    )
    cascade = ope.SlateCascadeDoublyRobust(len_list=SLOTS, n_unique_action=ACTIONS)
    doubly = cascade.estimate_policy_value(
        **flat,
        action=x["units"].ravel(),
        pscore_cascade=products[0],
        evaluation_policy_pscore_cascade=products[1],
        q_hat=x["slot_q"].ravel(),
        evaluation_policy_action_dist=x["slot_pi_all"].ravel(),
    )
    return {"per_position": float(iips), "cascade": float(rips), "cascade_dr": float(doubly)}


def by_vw(x: dict[str, np.ndarray]) -> dict[str, float | list[float]]:
    """Return what vw-estimators say, by our names."""
    from estimators.bandits import clopper_pearson, cressieread, cs, gaussian, ips, mle, snips
    from estimators.slates import pseudo_inverse

    rows = np.arange(N)
    h, pi = (x[name][rows, x["action"]] for name in ("h", "pi"))
    points = {
        "ips": ips.Estimator(),
        "snips": snips.Estimator(),
        "empirical_likelihood": mle.Estimator(),
        "cressie_read": cressieread.Estimator(),
        "cressie_read_bounded": cressieread.Estimator(wmax=60.0),
    }
    intervals = {
        "cressie_read_interval": cressieread.Interval(),
        "cressie_read_interval_bounded": cressieread.Interval(wmax=60.0),
        "off_policy_sequence": cs.Interval(),
        "gaussian": gaussian.Interval(),
        "clopper_pearson": clopper_pearson.Interval(),
    }
    for p_log, r, p_pred in zip(h.tolist(), x["reward"].tolist(), pi.tolist(), strict=True):
        for estimator in (*points.values(), *intervals.values()):
            estimator.add_example(p_log, r, p_pred)
    slate = pseudo_inverse.Estimator()
    for p_logs, r, p_preds in zip(x["slot_h"], x["slot_reward"].sum(1), x["slot_pi"], strict=True):
        slate.add_example(p_logs.tolist(), float(r), p_preds.tolist())
    found = {name: float(e.get()) for name, e in points.items()}
    found["pseudo_inverse"] = float(slate.get())
    ends = {name: [float(end) for end in e.get(1 - LEVEL)] for name, e in intervals.items()}
    return found | ends


def main() -> None:
    """Print everything, with the versions of who said it."""
    versions = {name: metadata.version(name) for name in ("obp", "vw-estimators", "numpy")}
    x = inputs()
    print(json.dumps({"versions": versions, "obp": by_obp(x), "vw": by_vw(x)}, indent=2))


if __name__ == "__main__":
    main()

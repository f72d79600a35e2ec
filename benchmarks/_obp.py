"""Open Bandit Pipeline's estimators, as a peer to measure against, in an environment of its own.

obp 0.5.7 asks for older packages than heedful, so it is run by the Python that ``HEEDFUL_OBP``
names; without it heedful is measured alone. This file is read by both: it imports neither at the
top.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

VARIABLE = "HEEDFUL_OBP"
ACTIONS = 10
CAP, SHRINKAGE, THRESHOLD, SUB_GAUSSIAN = 5.0, 10.0, 5.0, 0.1
REPEATS = 5

Arrays = Mapping[str, NDArray[np.float64]]
Measured = dict[str, tuple[float, float]]
"""Name of an estimator -> CPU-seconds (the least of several runs), and the estimate."""


def logged(rows: int) -> dict[str, NDArray[np.float64]]:
    """Return a logged bandit, the same for both: probabilities, actions, rewards, a reward model.

    ``h`` and ``pi`` [N, A], ``action`` [N], ``reward`` [N], ``q`` [N, A].
    """
    rng = np.random.default_rng(0)
    h, pi = (np.exp(rng.normal(size=(rows, ACTIONS)) / 2) for _ in range(2))
    h /= h.sum(axis=1, keepdims=True)
    pi /= pi.sum(axis=1, keepdims=True)
    action = (rng.random((rows, 1)) > h.cumsum(axis=1)).sum(axis=1).clip(max=ACTIONS - 1)
    q = rng.random((rows, ACTIONS)) / 5
    reward = (rng.random(rows) < q[np.arange(rows), action]).astype(np.float64)
    return {"h": h, "pi": pi, "action": action, "reward": reward, "q": q}


def least_of(work: Callable[[], float]) -> tuple[float, float]:
    """Return the least CPU-seconds of :data:`REPEATS` runs after a first one, and its result."""
    value, seconds = work(), []
    for _ in range(REPEATS):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return min(seconds), value


def by_obp(rows: int) -> Measured | None:
    """Return what obp needs and says, ``None`` where no Python with obp is named."""
    python = os.environ.get(VARIABLE)
    if not python:
        return None
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [python, __file__, str(rows)],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
            cwd=folder,
        )
    found = json.loads(done.stdout.splitlines()[-1])
    return {name: (float(seconds), float(value)) for name, (seconds, value) in found.items()}


def measure(rows: int) -> Measured:
    """Estimate with obp, from the same arrays as heedful."""
    from obp import ope

    x = logged(rows)
    log = {
        "reward": x["reward"],
        "action": x["action"],
        "pscore": x["h"][np.arange(rows), x["action"]],
        "action_dist": x["pi"][:, :, None],
        "position": np.zeros(rows, dtype=int),
        "estimated_rewards_by_reg_model": x["q"][:, :, None],
    }
    estimators = {
        "IPS": ope.InverseProbabilityWeighting(),
        "clipped IPS": ope.InverseProbabilityWeighting(lambda_=CAP),
        "SNIPS": ope.SelfNormalizedInverseProbabilityWeighting(),
        "sub-Gaussian IPS": ope.SubGaussianInverseProbabilityWeighting(lambda_=SUB_GAUSSIAN),
        "DM": ope.DirectMethod(),
        "DR": ope.DoublyRobust(),
        "SNDR": ope.SelfNormalizedDoublyRobust(),
        "Switch-DR": ope.SwitchDoublyRobust(lambda_=THRESHOLD),
        "DRos": ope.DoublyRobustWithShrinkage(lambda_=SHRINKAGE),
        "sub-Gaussian DR": ope.SubGaussianDoublyRobust(lambda_=SUB_GAUSSIAN),
    }
    return {
        name: least_of(lambda e=estimator: float(e.estimate_policy_value(**log)))  # type: ignore[misc]
        for name, estimator in estimators.items()
    }


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))

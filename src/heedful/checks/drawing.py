"""What is drawn is as likely as its log-probability says, and replays to the same number."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from heedful.checks.failure import expect, expect_equal, tolerance
from heedful.checks.splice import after_start, blank, joined
from heedful.policy import Batch, Choices, Events, Policy, draw, replay, sample

DRAWS, CELLS = 20_000, 20_000_000
LEAST_P = 1e-4
SLATE = 3

AGREE = (
    "the log holds what step said and training replays with forward: where they differ, every "
    "importance weight is wrong"
)


def check_draws(policy: Policy, batch: Batch, seed: int) -> None:
    """Draws of one unit from one state are as frequent as their log-probabilities say."""
    size, row = policy.schema.size, torch.tensor([0])
    events = after_start(batch.events).select(row)
    _, logits = policy.step(policy.start(1), events, Choices.everything(size, 1))
    n_draws = max(1_000, min(DRAWS, CELLS // size))
    units, logps = draw(logits.expand(n_draws, -1), torch.Generator().manual_seed(seed))
    p = torch.softmax(logits.double(), -1)[0]
    expect_equal("log-probability of a draw", torch.log(p[units]), logps, within=1e-9, why=AGREE)
    value = chi_square_p(torch.bincount(units, minlength=size).double(), n_draws * p)
    expect(
        value > LEAST_P,
        f"{n_draws} draws are as frequent as their probabilities say",
        expected=f"chi-square p > {LEAST_P}",
        found=f"{value:.3g}",
        why=AGREE,
    )


def chi_square_p(counts: Tensor, expected: Tensor) -> float:
    """Return the p-value of Pearson's chi-square; cells that expect under 5 are counted as one.

    Args:
        counts: [N], how often each cell occurred.
        expected: [N], how often it should have, with the same sum.
    """
    if bool((counts[expected <= 0] > 0).any()):
        return 0.0
    rare = expected < 5.0
    seen = torch.cat([counts[~rare], counts[rare].sum()[None]])
    due = torch.cat([expected[~rare], expected[rare].sum()[None]])
    seen, due = seen[due > 0], due[due > 0]
    if len(due) < 2:
        return 1.0
    statistic = ((seen - due) ** 2 / due).sum()
    freedom = torch.tensor((len(due) - 1) / 2.0, dtype=statistic.dtype)
    return float(torch.special.gammaincc(freedom, statistic / 2.0))


def check_replay(policy: Policy, batch: Batch, seed: int) -> None:
    """Slates drawn without replacement replay to the log-probabilities they were drawn with."""
    n, size = len(batch), policy.schema.size
    once = torch.zeros(n, dtype=torch.bool)
    now = torch.nan_to_num(batch.events.time).amax(1, keepdim=True) + 3600.0
    now[0] = torch.nan  # nobody knows when the first one asked
    free = replace(Choices.everything(size, n), repeat=once, now=now)
    state, logits = policy.step(policy.start(n), after_start(batch.events), free)
    rng = torch.Generator().manual_seed(seed)
    _, acts = sample(policy, state, free, rng, length=min(SLATE, size))
    replayed = replay(policy, _shown(policy, batch.events, acts.units, now))
    within = tolerance(logits.dtype)
    expect_equal(
        "replay gives what the sampler said", acts.logps, replayed, within=within, why=AGREE
    )


def _shown(policy: Policy, events: Events, units: Tensor, now: Tensor) -> Batch:
    """Return streams that end with the slates ``units`` [B, K], none of which repeats a unit.

    They were asked for at ``now`` [B, 1].
    """
    n, slate = units.shape
    features = policy.schema.features
    longer = events
    for place in range(slate):
        longer = joined(longer, Events.of_units(units[:, place], features, now[:, 0]))
    positions = events.lengths[:, None] + torch.arange(slate) - 1
    row = torch.arange(n)[:, None].expand(n, slate)
    after = 1 + torch.arange(slate).expand(n, slate)
    lines = torch.stack([row, units, after, torch.full_like(row, slate)], dim=-1)
    return blank(
        policy.schema,
        longer,
        positions,
        units,
        Choices(
            policy.schema.size,
            (n, slate),
            forbidden=lines.reshape(-1, 4),
            now=now.expand(n, slate),
        ),
        mask=torch.ones(n, slate, dtype=torch.bool),
        bootstrap=torch.zeros(n, slate, dtype=torch.bool),
    )

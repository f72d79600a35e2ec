"""How a step is run, and how it leaves a version: the same for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from heedful.loop.bench import Bench
from heedful.loop.run import Run
from heedful.policy import Floor, Policy, Vocabulary, save
from heedful.store.registry import (
    Card,
    Data,
    Version,
    current_code,
    current_environment,
)
from heedful.store.snapshot import Snapshot


def inputs_of(
    bench: Bench,
    step: str,
    *,
    parent: Version | None,
    member: int = 0,
    reward: str | None = None,
) -> dict[str, Any]:
    """Return what determines the result of a run, but for what is in the log."""
    return {
        "step": step,
        "configuration": bench.asked_for(),
        "parent": None if parent is None else parent.name,
        "code": current_code().digest,
        "member": member,
    } | ({} if reward is None else {"reward": reward})


def run_of(
    bench: Bench,
    step: str,
    snapshot: Snapshot,
    *,
    parent: Version | None,
    member: int = 0,
    reward: str | None = None,
    earned: str = "",
) -> Run:
    """Open the run with these inputs.

    Args:
        bench: what is worked with.
        step: what is done.
        snapshot: what is learned from.
        parent: what it begins with.
        member: which of an ensemble.
        reward: the fitted reward.
        earned: fingerprint of the rewards; they depend on the clock too, by what has matured.
    """
    inputs = inputs_of(bench, step, parent=parent, member=member, reward=reward)
    inputs["snapshot"] = {"watermark": snapshot.watermark, "digest": snapshot.digest()}
    if earned:
        inputs["earned"] = earned
    return Run.open(bench.runs, inputs, bench.reporter(step))


def register(
    bench: Bench,
    policy: Policy,
    vocabulary: Vocabulary,
    snapshot: Snapshot,
    *,
    step: str,
    metrics: Mapping[str, Any],
    parent: Version | None = None,
    reward: str | None = None,
) -> Version:
    """Save ``policy`` with the exploration floor around it, and its card."""
    config = bench.config
    explored = Floor(policy, share=config.serve.floor)
    card = Card(
        kind=str(policy.spec()["kind"]),
        step=step,
        parent=None if parent is None else parent.name,
        snapshot=Data(watermark=snapshot.watermark, digest=snapshot.digest()),
        configuration=bench.asked_for(),
        seed=config.workspace.seed,
        code=current_code(),
        environment=current_environment(device="cpu", threads=config.workspace.threads),
        metrics=dict(metrics),
        created_at=bench.clock(),
        reward=reward,
    )
    with bench.registry.new(card) as draft:
        save(explored, vocabulary, draft.folder)
    return draft.version

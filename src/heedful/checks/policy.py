"""The promises of :class:`heedful.policy.Policy`."""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from heedful.checks.drawing import AGREE, check_draws, check_replay
from heedful.checks.examples import random_batch
from heedful.checks.failure import CheckFailure, expect, expect_equal, tolerance
from heedful.checks.growth import check_growth
from heedful.checks.splice import after_start, cut, joined, only
from heedful.policy import (
    Batch,
    Choices,
    Events,
    Policy,
    PolicyFolderError,
    Vocabulary,
    load,
    save,
)

EVERYTHING = frozenset({"logps", "entropy", "values", "feedback", "logits"})


def check_policy(policy: Policy, *, seed: int = 0, features: Tensor | None = None) -> None:
    """Check that ``policy`` keeps every promise of :class:`heedful.policy.Policy`.

    Checked, on random events of the policy's own schema: the form is JSON; ``forward`` answers what
    it is asked, in shape, and nothing is possible that the choices forbid; ``step`` agrees with
    ``forward`` after any split of the events into steps; nothing sees the future, or other rows;
    states are values that select and stack; what is sampled is as likely as its log-probability
    says, and replays to the same number; gradients are finite; a saved and loaded policy is the
    same; over more units it says the same of the old ones. Numbers agree to 1e-9 in float64 and
    1e-4 in float32.

    Args:
        policy: in evaluation mode, its kind installed under ``heedful.policies``.
        seed: of the random events.
        features: [N, F], the numbers its contexts may carry, where not any will do.

    Raises:
        CheckFailure: says which promise is broken, and how.
    """
    batch = random_batch(policy.schema, seed=seed, features=features)
    other = random_batch(policy.schema, seed=seed + 1, features=features)
    _check_form(policy)
    with torch.no_grad():
        _check_outputs(policy, batch)
        _check_step(policy, batch)
        _check_splits(policy, batch, seed)
        _check_future(policy, batch, other)
        _check_rows(policy, batch)
        _check_states(policy, batch, other)
        check_draws(policy, batch, seed)
        check_replay(policy, batch, seed)
    _check_gradient(policy, batch)
    _check_folder(policy, batch)
    with torch.no_grad():
        check_growth(policy, batch)


def _check_form(policy: Policy) -> None:
    try:
        spec = json.loads(json.dumps(policy.spec()))
    except (TypeError, ValueError) as error:
        raise CheckFailure(
            "spec() is JSON", expected="JSON", found=error, why="it is how the policy is saved"
        ) from None
    expect(
        isinstance(spec, dict) and isinstance(spec.get("kind"), str),
        "spec() names the policy's kind",
        expected='{"kind": "...", ...}',
        found=spec,
        why="load() finds the class by it",
    )
    training = isinstance(policy, nn.Module) and policy.training
    expect(
        not training,
        "the policy is in evaluation mode",
        expected="policy.eval() before this check",
        found="training mode",
        why="dropout makes another policy of it with every call",
    )


def _answers(policy: Policy, batch: Batch, need: frozenset[str] = EVERYTHING) -> dict[str, Tensor]:
    """Return what ``forward`` gives for ``need``, all of it."""
    outputs = policy.forward(batch, need)
    given = {name: getattr(outputs, name) for name in sorted(need)}
    missing = [name for name, value in given.items() if value is None]
    expect(
        not missing,
        "forward answers everything it was asked",
        expected=sorted(need),
        found=f"None for {missing}",
        why="a loss asks for what it needs; baselines answer with zeros",
    )
    return given


def _check_outputs(policy: Policy, batch: Batch) -> None:
    """Shapes; padding is 0; the choices are kept; logps and entropy belong to the logits."""
    given = _answers(policy, batch)
    shape, n_channels = tuple(batch.mask.shape), len(policy.schema.channels)
    shapes = {
        **dict.fromkeys(("logps", "entropy", "values"), shape),
        "feedback": (*shape, n_channels),
        "logits": (int(batch.mask.sum()), policy.schema.size),
    }
    for name, expected in shapes.items():
        found = tuple(given[name].shape)
        expect(found == expected, f"shape of {name}", expected=expected, found=found, why="Outputs")
    for name in ("logps", "entropy"):
        outside = given[name][~batch.mask]
        zeros, why = torch.zeros_like(outside), "padding must not count in a sum"
        expect_equal(f"{name} is 0 off the mask", zeros, outside, within=0.0, why=why)
    _check_choices(given["logits"], batch)
    log_p = torch.log_softmax(given["logits"].double(), -1)
    chosen = log_p.gather(1, batch.units[batch.mask][:, None])[:, 0]
    entropy = -(log_p.exp() * log_p.masked_fill(log_p == -math.inf, 0.0)).sum(-1)
    within = 10 * tolerance(given["logits"].dtype)
    why = "logps, entropy and logits are three views of one distribution"
    expect_equal("logps", chosen, given["logps"][batch.mask], within=within, why=why)
    expect_equal("entropy", entropy, given["entropy"][batch.mask], within=within, why=why)
    for name in sorted(EVERYTHING):
        alone = _answers(policy, batch, frozenset({name}))[name]
        why = "what else is asked must not change an answer"
        expect_equal(f"{name} asked alone", given[name], alone, within=within, why=why)


def _check_choices(logits: Tensor, batch: Batch) -> None:
    possible = batch.choices.mask(batch.mask)
    assert possible is not None
    allowed = (logits == -math.inf)[~possible]
    expect(
        bool(allowed.all()) and not bool(torch.isnan(logits).any()),
        "what the choices forbid has a logit of minus infinity, and none is NaN",
        expected="-inf",
        found=logits[~possible][~allowed][:3].tolist() or "NaN",
        why="a unit that is forbidden would be shown to somebody",
    )


def _check_step(policy: Policy, batch: Batch) -> None:
    """One more event by step equals a full pass over the same events."""
    logits = _answers(policy, batch, frozenset({"logits"}))["logits"]
    full = logits.new_full((*batch.mask.shape, logits.shape[1]), -math.inf)
    full[batch.mask] = logits
    state, read = policy.start(len(batch)), torch.ones(len(batch), dtype=torch.int64)
    for slot in range(batch.mask.shape[1]):
        here = batch.mask[:, slot]
        upto = torch.where(here, batch.positions[:, slot] + 1, read)
        choices = _choices_at(batch, slot)
        state, stepped = policy.step(state, cut(batch.events, read, upto), choices)
        read = upto
        promise = f"step gives the log-probabilities of forward (slot {slot})"
        expect_equal(
            promise,
            torch.log_softmax(full[here, slot].double(), -1),
            torch.log_softmax(stepped[here].double(), -1),
            within=tolerance(logits.dtype),
            why=AGREE,
        )


def _choices_at(batch: Batch, slot: int) -> Choices:
    """Return a sampler's choices for one slot of each row; all units where there is none."""
    where = torch.zeros_like(batch.mask)
    where[:, slot] = True
    possible = batch.choices.mask(where)
    assert possible is not None
    now = batch.choices.now
    asked = None if now is None else now[:, slot, None]
    return only(possible | ~batch.mask[:, slot, None], asked)


def _check_splits(policy: Policy, batch: Batch, seed: int) -> None:
    """Cut each row's events at random places, other ones in each row, empty steps included."""
    rng = torch.Generator().manual_seed(seed)
    n, ends = len(batch), batch.events.lengths
    free = Choices.everything(policy.schema.size, n)
    _, whole = policy.step(policy.start(n), after_start(batch.events), free)
    inner = 1 + (torch.rand(n, 4, generator=rng) * ends[:, None]).long()
    edges = torch.cat([torch.ones(n, 1).long(), inner.sort(1).values, ends[:, None]], dim=1)
    edges = torch.minimum(edges, ends[:, None])
    state, logits = policy.start(n), whole
    for first, last in zip(edges.T[:-1], edges.T[1:], strict=True):
        state, logits = policy.step(state, cut(batch.events, first, last), free)
    expect_equal(
        "events read in several steps give the logits of one step",
        torch.log_softmax(whole.double(), -1),
        torch.log_softmax(logits.double(), -1),
        within=tolerance(whole.dtype),
        why="a server reads events as they come, training all at once",
    )


def _check_future(policy: Policy, batch: Batch, other: Batch) -> None:
    """Other events after a slot's position leave everything said at the slot as it was."""
    middle = torch.full((len(batch),), int(batch.events.lengths.min()) // 2 + 1)
    early = batch.positions < middle[:, None]
    past = batch.filled(
        mask=batch.mask & early,
        bootstrap=batch.bootstrap & early,
        positions=batch.positions * early,
    )
    begun = cut(batch.events, torch.zeros_like(middle), middle)
    changed = joined(begun, cut(other.events, middle, other.events.lengths))
    before, after = _answers(policy, past), _answers(policy, replace(past, events=changed))
    why = "what comes later was not known when the unit was chosen: a policy that sees it cheats"
    for name in ("logps", "entropy", "values", "feedback"):
        promise, within = f"{name} does not see later events", tolerance(before["logits"].dtype)
        expect_equal(promise, before[name], after[name], within=within, why=why)


def _check_rows(policy: Policy, batch: Batch) -> None:
    """A stream's numbers do not depend on which streams stand beside it, nor where it stands."""
    logps = _answers(policy, batch, frozenset({"logps"}))["logps"]
    order = torch.arange(len(batch)).flip(0)[: max(1, len(batch) - 1)]
    alone = _answers(policy, batch.select(order), frozenset({"logps"}))["logps"]
    why = "streams are different people's: nothing crosses"
    expect_equal(
        "rows are independent", logps[order], alone, within=tolerance(logps.dtype), why=why
    )


def _check_states(policy: Policy, batch: Batch, other: Batch) -> None:
    """Step leaves the old state as it was; states select and stack."""
    n, size = len(batch), policy.schema.size
    more, free = after_start(other.events), Choices.everything(size, n)
    state, first = policy.step(policy.start(n), after_start(batch.events), free)
    expect(len(state) == n, "len(state)", expected=n, found=len(state), why="it is B")
    _, once = policy.step(state, more, free)
    _, twice = policy.step(state, more, free)
    why = "a decision that is not kept must cost nothing to forget"
    expect_equal("step leaves the old state as it was", once, twice, within=0.0, why=why)
    within, rows = tolerance(first.dtype), torch.tensor([n - 1, 0, 0])
    _, picked = policy.step(state.select(rows), more.select(rows), Choices.everything(size, 3))
    why = "a server puts different people's states in one batch"
    expect_equal("select picks streams", once[rows], picked, within=within, why=why)
    fresh, none = policy.start(1), Events.none(5, policy.schema.features)
    _, joint = policy.step(
        fresh.stack([state.select(rows), fresh]), none, Choices.everything(size, 5)
    )
    _, new = policy.step(fresh, none.select(torch.tensor([0])), Choices.everything(size, 1))
    stacked = torch.cat([new, first[rows], new])
    expect_equal("stack puts streams one after the other", stacked, joint, within=within, why=why)


def _check_gradient(policy: Policy, batch: Batch) -> None:
    """Gradients of what a loss uses are finite: no NaN comes out of a masked infinity."""
    parameters = [p for p in _parameters(policy) if p.requires_grad]
    if not parameters:
        return
    need = frozenset({"logps", "entropy", "values", "feedback"})
    total = torch.stack([answer.sum() for answer in _answers(policy, batch, need).values()]).sum()
    found = torch.autograd.grad(total, parameters, allow_unused=True)
    finite = [gradient is None or bool(torch.isfinite(gradient).all()) for gradient in found]
    expect(
        all(finite),
        "gradients are finite",
        expected="finite numbers",
        found=f"NaN or infinity in {finite.count(False)} of {len(finite)} parameters",
        why="one NaN in a gradient is the end of a training run",
    )


def _parameters(policy: Policy) -> list[nn.Parameter]:
    return list(policy.parameters()) if isinstance(policy, nn.Module) else []


def _check_folder(policy: Policy, batch: Batch) -> None:
    """A saved and loaded policy says the same, to the bit in float32."""
    vocabulary = Vocabulary(f"unit-{i}" for i in range(policy.schema.size))
    why = "what goes live is what was judged"
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        save(policy, vocabulary, Path(folder))
        try:
            loaded = load(Path(folder))
        except PolicyFolderError as error:
            raise CheckFailure(
                "load reads what save wrote", expected="a policy", found=error, why=why
            ) from error
        before, after = (_answers(one, batch)["logps"] for one in (policy, loaded.policy))
    units = loaded.vocabulary.units
    expect(units == vocabulary.units, "vocabulary", expected=vocabulary.units, found=units, why=why)
    within = 0.0 if before.dtype == after.dtype else tolerance(torch.float32)
    expect_equal("a loaded policy's log-probabilities", before, after, within=within, why=why)

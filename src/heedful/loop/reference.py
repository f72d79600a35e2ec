"""What the reference policy says of rows that do not change: computed once, and kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from heedful.contract import Rule, Streams, Window
from heedful.policy import Batch, Policy, replay

LOGPS = "logps"


class Reference:
    """Log-probabilities of a policy that stays as it is, at every slot of some streams.

    They depend on its weights and their precision, on the events it reads, which are what a
    template, a tokenizer and the window made of the log, and on what was possible. All of that is
    in the key, so nothing else has to be known to say that they still hold.
    """

    def __init__(
        self, policy: Policy, streams: Streams, rows: Sequence[Window], folder: Path | None
    ) -> None:
        """Look them up in ``folder``, or compute them.

        Args:
            policy: in evaluation mode; not changed.
            streams: every slot of them is in one of ``rows``.
            rows: as they will be learned from.
            folder: where they are kept from one run to the next; ``None``: nowhere.
        """
        self.fresh = True
        place = None if folder is None else folder / f"{_key(policy, streams, rows)}.safetensors"
        if place is not None and place.exists():
            self._logps, self.fresh = load_file(place)[LOGPS], False
            return
        self._logps = _computed(policy, streams, rows)
        if place is not None:
            place.parent.mkdir(parents=True, exist_ok=True)
            unfinished = place.with_suffix(".unfinished")
            save_file({LOGPS: self._logps}, unfinished)
            unfinished.replace(place)

    def fill(self, batch: Batch, rows: Sequence[Window]) -> Batch:
        """Return ``batch`` of ``rows`` with ``reference_logps``; each row is one decision."""
        found = batch.rewards.new_zeros(batch.mask.shape).to(self._logps.dtype)
        for number, row in enumerate(rows):
            found[number, : len(row.slots)] = self._logps[row.slots.start : row.slots.stop]
        return batch.filled(reference_logps=found)


@torch.no_grad()
def _computed(policy: Policy, streams: Streams, rows: Sequence[Window], size: int = 64) -> Tensor:
    """Return the log-probability of each slot of ``streams``, [U]; rows of like length together."""
    order = sorted(range(len(rows)), key=lambda i: rows[i].last - rows[i].first)
    found: Tensor | None = None
    for low in range(0, len(order), size):
        part = [rows[i] for i in order[low : low + size]]
        batch = streams.batch(part)
        logps = replay(policy, batch)
        if found is None:
            found = logps.new_zeros(len(streams.slots.unit))
        for number, row in enumerate(part):
            found[row.slots.start : row.slots.stop] = logps[number, : len(row.slots)]
    return torch.zeros(0) if found is None else found.cpu()


def _key(policy: Policy, streams: Streams, rows: Sequence[Window]) -> str:
    """Return 32 hexadecimal digits of everything that the numbers depend on."""
    hasher = hashlib.sha256(json.dumps(policy.spec(), sort_keys=True, default=str).encode())
    for name, tensor in sorted(cast(nn.Module, policy).state_dict().items()):
        hasher.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}:".encode())
        hasher.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    events, slots = streams.events, streams.slots
    columns = [getattr(events, name) for name in events.__slots__]
    columns += [slots.unit, slots.event, slots.stream, slots.rule, streams.offsets]
    columns.append(np.array([(row.first, row.last, row.slots.start) for row in rows], np.int64))
    columns += [column for rule in streams.rules for column in _columns_of(rule)]
    for column in columns:
        hasher.update(f"{column.dtype.str}:{column.shape}:".encode())
        hasher.update(np.ascontiguousarray(column).tobytes())
    return hasher.hexdigest()[:32]


def _columns_of(rule: Rule) -> list[np.ndarray]:
    """Return all that ``rule`` says, as arrays."""
    none = np.empty(0, np.int64)
    flags = np.array([rule.allowed is None, rule.seen, rule.repeat, rule.end], np.int64)
    columns: list[np.ndarray] = [flags, none if rule.allowed is None else rule.allowed]
    columns.append(rule.forbidden)
    if rule.quotas is not None:
        quotas = rule.quotas
        columns += [np.array([quotas.places]), quotas.least, quotas.most, quotas.penalty]
        columns += quotas.sets
    return columns

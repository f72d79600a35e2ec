"""Policies to and from a folder: JSON for the form, safetensors for the numbers, never pickle."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from heedful.policy.batch import Schema
from heedful.policy.protocol import Policy
from heedful.policy.vocabulary import Vocabulary

GROUP = "heedful.policies"
FORM, NUMBERS, UNITS = "policy.json", "model.safetensors", "vocabulary.json"


class PolicyFolderError(ValueError):
    """A folder that does not hold a policy this installation can load."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A policy in evaluation mode, and the units its logits stand for."""

    policy: Policy
    vocabulary: Vocabulary


def save(policy: Policy, vocabulary: Vocabulary, folder: Path) -> None:
    """Write the form, the numbers and the units of ``policy`` into ``folder``."""
    if len(vocabulary) != policy.schema.size:
        raise ValueError(f"{len(vocabulary)} units for a policy over {policy.schema.size}")
    module = cast(nn.Module, policy)
    tensors = {
        name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()
    }
    form = json.dumps(policy.spec(), indent=2, sort_keys=True)
    (folder / FORM).write_text(form + "\n", encoding="utf-8")
    save_file(tensors, folder / NUMBERS)
    vocabulary.save(folder / UNITS)


def load(folder: Path) -> Loaded:
    """Read the policy in ``folder``; what kind it is stands there, not in the caller's code.

    Raises:
        PolicyFolderError: a file is missing, damaged, or names a kind that is not installed.
    """
    try:
        form = json.loads((folder / FORM).read_text(encoding="utf-8"))
        vocabulary = Vocabulary.load(folder / UNITS)
        policy = build(form)
        module = cast(nn.Module, policy)
        module.load_state_dict(load_file(folder / NUMBERS), strict=True)
    except FileNotFoundError as error:
        raise PolicyFolderError(f"{error}: restore the folder, or retrain") from None
    except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise PolicyFolderError(
            f"{folder} holds no policy that can be loaded: {error}. Restore the folder from a "
            "copy, roll back to another version, or retrain"
        ) from error
    module.eval()
    return Loaded(policy, vocabulary)


def build(spec: dict[str, Any]) -> Policy:
    """Return a policy of the form ``spec`` describes, with fresh numbers.

    Raises:
        ValueError: its kind is not installed.
    """
    options = dict(spec)
    kind = str(options.pop("kind"))
    if "schema" in options:
        options["schema"] = Schema.from_dict(options["schema"])
    if "inner" in options:
        options["inner"] = build(options["inner"])
    if "members" in options:
        options["members"] = [build(member) for member in options["members"]]
    return cast(Policy, maker(kind)(**options))


def maker(kind: str) -> Callable[..., object]:
    """Return the class that the entry-point group ``heedful.policies`` knows as ``kind``."""
    known = _entries()
    if kind not in known:
        raise ValueError(
            f"no policy of kind {kind!r} is installed; known: {', '.join(sorted(known))}. "
            f"A package offers one through the entry-point group {GROUP!r}"
        )
    return cast(Callable[..., object], known[kind].load())


@cache
def _entries() -> dict[str, Any]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def clone(policy: Policy) -> Policy:
    """Return a copy that shares nothing with ``policy``, in evaluation mode, without gradient."""
    copy = build(cast(dict[str, Any], policy.spec()))
    module = cast(nn.Module, copy)
    parameter = next(cast(nn.Module, policy).parameters(), torch.empty(0))
    module.to(dtype=parameter.dtype, device=parameter.device)  # first, or weights were rounded
    module.load_state_dict(cast(nn.Module, policy).state_dict(), strict=True)
    module.requires_grad_(requires_grad=False).eval()
    return copy

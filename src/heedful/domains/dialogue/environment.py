"""Somebody to talk to while learning: prompts from a list, and a function that judges replies."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode

from heedful.record import Context
from heedful.reward import TextReward, scored
from heedful.reward.conversations import transcript


class Asked:
    """Conversations of one turn: a prompt, a reply, and what a judge says of it.

    ``group`` environments in a row are asked the same. A reply that was cut off before its end
    earns ``unfinished``, whatever the judge says; with ``None`` it is not scored, and nothing is
    learned from it. A reply that says nothing is judged like any other.
    """

    def __init__(
        self,
        prompts: Sequence[Context],
        judge: TextReward,
        *,
        n: int,
        seed: int,
        length: int,
        end: int,
        text: Callable[[Sequence[int]], str],
        group: int = 1,
        unfinished: float | None = None,
        columns: Mapping[str, Sequence[object]] | None = None,
    ) -> None:
        """Prepare to ask.

        Args:
            prompts: contexts to ask in, P of them.
            judge: of prompts and replies as text.
            n: how many are asked side by side.
            seed: of which prompts.
            length: tokens in the longest reply.
            end: the token that ends one.
            text: makes the text of tokens.
            group: see above; ``n`` is a multiple of it.
            unfinished: see above.
            columns: more for the judge to look at, P values each.

        Raises:
            ValueError: no prompt, or ``n`` is no multiple of ``group``.
        """
        if not prompts or n % group:
            raise ValueError(
                f"{len(prompts)} prompts, {n} environments in groups of {group}: give at least one "
                "prompt, and a multiple of the group"
            )
        self.num_envs = n
        self.metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self._contexts = [json.dumps(prompt, sort_keys=True) for prompt in prompts]
        self._texts = [transcript(cast(Any, prompt["messages"])) for prompt in prompts]
        self._columns = {name: list(values) for name, values in (columns or {}).items()}
        self._judge, self._text, self._group = judge, text, group
        self._length, self._end, self._unfinished = length, end, unfinished
        self._rng = np.random.default_rng(seed)
        self._number = 0
        self._asked = np.zeros(n, np.int64)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[Any], dict[str, Any]]:
        """Ask everybody something."""
        if seed is not None:
            self._rng, self._number = np.random.default_rng(seed), 0
        return self._ask()

    def step(
        self, actions: npt.NDArray[Any]
    ) -> tuple[
        npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], dict[str, Any]
    ]:
        """Judge the replies ``actions``, int64 [n, length] padded with -1, and ask anew."""
        replies = [self._text(row[row >= 0].tolist()) for row in actions]
        finished = (actions == self._end).any(1)
        columns = {name: [values[i] for i in self._asked] for name, values in self._columns.items()}
        prompts = [self._texts[i] for i in self._asked]
        rewards = scored(self._judge, prompts, replies, **columns)
        cut = math.nan if self._unfinished is None else self._unfinished
        rewards = np.where(finished, rewards, cut)
        observation, info = self._ask()
        over = np.ones(self.num_envs, bool)
        info |= {
            "scored": ~np.isnan(rewards),
            "final_obs": np.full(self.num_envs, "{}", object),
        }
        return observation, np.nan_to_num(rewards), over, ~over, info

    def close(self) -> None:
        """Do nothing."""

    def _ask(self) -> tuple[npt.NDArray[Any], dict[str, Any]]:
        """Draw prompts, each at most once in a round as long as there are enough of them."""
        n_groups, n_prompts = self.num_envs // self._group, len(self._contexts)
        drawn = self._rng.choice(n_prompts, n_groups, replace=n_groups > n_prompts)
        self._asked = np.repeat(drawn, self._group)
        groups = np.repeat(self._number + np.arange(n_groups), self._group)
        self._number += n_groups
        observation = np.array([self._contexts[i] for i in self._asked], dtype=object)
        return observation, {"group": groups}

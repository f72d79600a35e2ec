"""A domain in one file: replies of up to eight letters to a word, each rated from 0 to 1."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode

from heedful.contract import Environment, Observed, Streams, encode
from heedful.policy import Channel, Schema, Vocabulary
from heedful.record import ChoiceSet, Context
from heedful.store import Snapshot

LETTERS, END = "abcd", "."


class Letters:
    """Units are letters, a decision is a reply, the context is the word it answers."""

    name = "letters"
    channels = (Channel("rating", binary=False, low=0.0, high=1.0),)
    features = 0  # a context has units here, and no numbers

    def __init__(self, options: Mapping[str, object], folder: Path) -> None:
        unknown = sorted(set(options) - {"length"})
        if unknown:
            raise ValueError(f"[domain] {unknown[0]} is unknown; letters has one option, length")
        self.length = int(str(options.get("length", 8)))

    def vocabulary(self, snapshot: Snapshot) -> Vocabulary:
        """Return the letters; another domain may ask the log."""
        return Vocabulary([*LETTERS, END])

    def schema(self, vocabulary: Vocabulary) -> Schema:
        """Return what the events look like."""
        return Schema(len(vocabulary), self.channels, self.features)

    def observe(self, context: Context, vocabulary: Vocabulary) -> Observed:
        """Read the word letter by letter: one event each."""
        letters = vocabulary.indexes(list(str(context.get("word", ""))))
        return letters.astype(np.int32), np.zeros((len(letters), 0), np.float32)

    def encode(self, snapshot: Snapshot, vocabulary: Vocabulary, **options: Any) -> Streams:
        """Use the core's encoder."""
        return encode(self, snapshot, vocabulary, **options)

    def choices(self, request: Mapping[str, object]) -> ChoiceSet:
        """Allow every letter, again and again, until the end is chosen."""
        return ChoiceSet(repeat=True, end=END)

    def environment(self, n: int, seed: int, options: Mapping[str, Any]) -> Environment:
        """Return ``n`` listeners."""
        return Listeners(n, seed)

    def context(self, observation: npt.NDArray[Any]) -> Context:
        """Return the word that a listener said."""
        return {"word": "".join(LETTERS[letter] for letter in observation)}

    def action(self, units: Sequence[str], vocabulary: Vocabulary) -> npt.NDArray[np.int64]:
        """Return the reply as numbers, padded with -1."""
        padded = np.full(self.length, -1, np.int64)
        padded[: len(units)] = vocabulary.indexes(list(units))
        return padded


class Listeners:
    """They say three letters and like a reply in which the first of them comes back."""

    def __init__(self, n: int, seed: int) -> None:
        self.num_envs = n
        self.metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self._rng = np.random.default_rng(seed)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Say the first words."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self._words = self._rng.integers(0, len(LETTERS), (self.num_envs, 3))
        return self._words, {}

    def step(self, actions: npt.NDArray[Any]) -> Any:
        """Rate the replies; each ends its conversation, and the next words are said."""
        liked = (actions == self._words[:, :1]).any(axis=1)
        said = [
            [{"kind": "rating", "decision_age": 0, "unit": -1, "value": float(like)}]
            for like in liked
        ]
        words, _ = self.reset()
        over = np.ones(self.num_envs, dtype=bool)
        return words, liked.astype(float), over, ~over, {"feedback": said}

    def close(self) -> None:
        """Hold nothing."""

"""The source's click model: how people would answer a unit, given all that happened before.

The one file of this package with tensors in it: import it by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from heedful.contract import Streams, Window
from heedful.policy import Policy, Vocabulary, load, save
from heedful.policy.network import Network
from heedful.reward.ensemble import agreement
from heedful.reward.rewards import RewardError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ROWS = 128  # streams in a batch
FEEDBACK = frozenset({"feedback"})


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Networks of which the feedback head alone was trained, and which are then held fixed.

        p(y_i = 1 | x_1..x_i, y_1..y_{i-1}),   minimising the binary cross-entropy

    It is no policy and shares nothing with one: it says what people would answer to a unit, not
    which unit to choose. A number, such as a rating from 0 to 1, is predicted by its mean.

    Attributes:
        members: K networks in evaluation mode, over the same units.
        vocabulary: those units.
        window: events a stream is long.
    """

    members: tuple[Network, ...]
    vocabulary: Vocabulary
    window: int

    def expected(self, streams: Streams, kind: str) -> tuple[Floats, Floats]:
        """Return the mean answer expected to each unit that was chosen, and its spread, [U] both.

        Args:
            streams: encoded with the vocabulary of this model, U slots.
            kind: of feedback, ``"click"`` or ``"rating"``, on the scale from 0 to 1.
        """
        channel = self._channel(kind)
        found = np.full((len(self.members), len(streams.slots.unit)), np.nan)
        for group in _groups(streams.windows(self.window)):
            slots = np.concatenate([np.array(row.slots, np.int64) for row in group])
            batch = streams.batch(group, seen=True)
            for number, network in enumerate(self.members):
                with torch.no_grad():
                    said = network.forward(batch, FEEDBACK).feedback
                assert said is not None
                found[number, slots] = self._scaled(said[batch.mask][:, channel], channel)
        return agreement(found)

    def of_candidates(
        self, streams: Streams, slots: Ints, units: Ints, kind: str
    ) -> tuple[Floats, Floats]:
        """Return what is expected of C candidate units in the place of each slot, [n, C] both.

        Args:
            streams: encoded with the vocabulary of this model.
            slots: int64 [n], ascending.
            units: int64 [C], indexes in the vocabulary.
            kind: of feedback.
        """
        channel = self._channel(kind)
        found = np.full((len(self.members), len(streams.slots.unit), len(units)), np.nan)
        candidates = torch.from_numpy(units)
        for group in _groups(streams.stretches(slots, self.window)):
            rows = np.concatenate([np.array(row.slots, np.int64) for row in group])
            batch = streams.batch(group, seen=True)
            for number, network in enumerate(self.members):
                with torch.no_grad():
                    said = network.answers(batch, candidates)[..., channel]
                found[number, rows] = self._scaled(said, channel)
        return agreement(found[:, slots])

    def save(self, folder: Path) -> None:
        """Write each member into a folder of its own in ``folder``."""
        for number, network in enumerate(self.members):
            place = folder / f"{number}"
            place.mkdir(parents=True)
            save(cast(Policy, network), self.vocabulary, place)

    @classmethod
    def load(cls, folder: Path, window: int) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            RewardError: there is no such model in the folder.
            PolicyFolderError: a member is damaged.
        """
        places = sorted(folder.glob("*/"), key=lambda place: int(place.name))
        if not places:
            raise RewardError(
                f"{folder.parent} holds no model of answers: fit it with heedful reward, with "
                'reward.silence = "model"'
            )
        loaded = [load(place) for place in places]
        networks = tuple(cast(Network, one.policy) for one in loaded)
        return cls(networks, loaded[0].vocabulary, window)

    def _channel(self, kind: str) -> int:
        kinds = [channel.kind for channel in self.members[0].schema.channels]
        if kind not in kinds:
            raise RewardError(f"nobody answers with a {kind} here; known: {', '.join(kinds)}")
        return kinds.index(kind)

    def _scaled(self, said: Tensor, channel: int) -> Floats:
        binary = self.members[0].schema.channels[channel].binary
        numbers = torch.sigmoid(said) if binary else said.clamp(0.0, 1.0)
        return numbers.double().numpy()


def _groups(rows: list[Window]) -> Iterator[list[Window]]:
    """Yield rows of like length together."""
    ordered = sorted(rows, key=lambda row: row.last - row.first)
    for low in range(0, len(ordered), ROWS):
        yield ordered[low : low + ROWS]

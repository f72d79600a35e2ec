"""What a reply is worth, by a small transformer over its words: a member beside the linear ones.

With :mod:`heedful.reward.answers` the only file of this package with tensors in it: import it by
name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self, cast

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from heedful.objectives import Loss, Optimiser, Schedule, descend
from heedful.policy import Batch
from heedful.reward.ensemble import resamples
from heedful.reward.judgements import Comparisons, Rated
from heedful.reward.ngrams import Floats, hashed, words
from heedful.reward.rewards import RewardError
from heedful.reward.text import Moments
from heedful.reward.worth import SOURCES, ReplyReward, Scale, exchanges_of, source_of

PAD, REPLY, END, KNOWN = 0, 1, 2, 3
"""Tokens: nothing, the reply begins, the reply is over; words have those from ``KNOWN`` on."""

FORM, NUMBERS = "form.json", "model.safetensors"
ROWS = 64  # exchanges read side by side


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What an :class:`Encoder` looks like.

    Attributes:
        words: places that words are hashed to.
        width: size of a hidden vector.
        layers: blocks on top of each other.
        heads: of attention; they divide the width.
        prompt: words kept of a prompt, its last ones.
        reply: words kept of a reply, its first ones.
        dropout: share of hidden numbers dropped in training.
    """

    words: int = 8192
    width: int = 64
    layers: int = 1
    heads: int = 4
    prompt: int = 32
    reply: int = 64
    dropout: float = 0.1

    def tokens(self, prompt: str, completion: str) -> list[int]:
        """Return the tokens of an exchange: the prompt's end, the whole reply if there is room."""
        asked = words(prompt)[-self.prompt :]
        said = words(completion)[: self.reply]
        return [*map(self._token, asked), REPLY, *map(self._token, said), END]

    def _token(self, word: str) -> int:
        return KNOWN + hashed(f"w {word}") % self.words


class Encoder(nn.Module):
    """A causal transformer over the words of prompt and reply; a number stands at the last token.

    That token is the same for every reply, its end, in training and in use: a model that read the
    reply's last word instead would read another one where the reply is cut off.
    """

    def __init__(self, form: Form) -> None:
        """Begin with a head of N(0, 1 / sqrt(width + 1)) without bias: all replies about alike."""
        super().__init__()
        self.form = form
        self.words = nn.Embedding(form.words + KNOWN, form.width, padding_idx=PAD)
        self.places = nn.Embedding(form.prompt + form.reply + 2, form.width)
        block = nn.TransformerEncoderLayer(
            form.width,
            form.heads,
            4 * form.width,
            form.dropout,
            F.gelu,
            batch_first=True,
            norm_first=True,
        )
        self.blocks = nn.TransformerEncoder(block, form.layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(form.width)
        self.head = nn.Linear(form.width, 1)
        for table in (self.words, self.places):
            nn.init.normal_(table.weight, std=0.02)
        nn.init.normal_(self.head.weight, std=1.0 / math.sqrt(form.width + 1))
        nn.init.zeros_(self.head.bias)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Return a score for each exchange, [B].

        Args:
            tokens: int64 [B, L], padded at the end.
            lengths: int64 [B], how many of a row are no padding.
        """
        _, length = tokens.shape
        mask = torch.ones(length, length, dtype=torch.bool).triu(1)
        seen = self.words(tokens) + self.places.weight[:length]
        hidden = self.blocks(seen, mask=mask, is_causal=True)  # [B, L, D]
        last = hidden[torch.arange(len(tokens)), lengths - 1]
        found: Tensor = self.head(self.norm(last)).squeeze(-1)
        return found

    @torch.no_grad()
    def stretch(self, mean: float, deviation: float) -> None:
        """Change the head so that a score s becomes mean + deviation * s."""
        self.head.weight.mul_(deviation)
        self.head.bias.mul_(deviation).add_(mean)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NetworkReward(ReplyReward):
    """K networks of what a reply is worth, each of which weighs the prompts anew.

    Attributes:
        members: K networks in evaluation mode.
    """

    members: tuple[Encoder, ...]

    @classmethod
    def fit(
        cls,
        judged: Comparisons | Rated,
        *,
        members: int = 1,
        seed: int = 0,
        form: Form | None = None,
        epochs: int = 1,
        batch: int = 32,
        learning_rate: float = 3e-3,
        centre: float = 0.01,
    ) -> Self:
        """Fit it to what people said: by default in one pass, since a second one over-fits.

        Args:
            judged: comparisons (a tie counts half either way), thumbs or ratings.
            members: K.
            seed: of weights, draws and order.
            form: of each network.
            epochs: passes.
            batch: judgements a step.
            learning_rate: AdamW's highest.
            centre: weight of the squared sum of a pair's scores, which only their difference would
                leave anywhere (Eisenstein et al., Helping or Herding?, arXiv 2312.09244).
        """
        lessons = _Lessons.of(judged, form or Form(), centre)
        fitted = []
        for number, drawn in enumerate(
            resamples(np.array(judged.groups), members, seed, smooth=True)
        ):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed + number)
                encoder = Encoder(lessons.form)
                weights = torch.from_numpy(drawn * judged.weights).float()
                lessons.teach(encoder, weights, epochs, batch, learning_rate)
            encoder.stretch(*lessons.stretch)
            fitted.append(encoder.eval().requires_grad_(requires_grad=False))
        made = cls(
            scale=Scale(source_of(judged), lessons.bounds),
            judgements=len(judged),
            members=tuple(fitted),
        )
        return made.measured_on(*exchanges_of(judged))

    def scores(self, prompts: Sequence[str], completions: Sequence[str]) -> Floats:
        """Return the score of each reply by each member, [K, n]; no scale is promised."""
        found = np.zeros((len(self.members), len(prompts)))
        for number, encoder in enumerate(self.members):
            told = [encoder.form.tokens(p, c) for p, c in zip(prompts, completions, strict=True)]
            order = np.argsort([len(row) for row in told], kind="stable")
            for low in range(0, len(told), ROWS):
                rows = order[low : low + ROWS]
                with torch.no_grad():
                    said = encoder(*_padded([told[i] for i in rows.tolist()]))
                found[number, rows] = said.double().numpy()
        return found

    def save(self, folder: Path) -> None:
        """Write it into ``folder``: one file of numbers and one that says what they mean."""
        form = {
            "form": asdict(self.members[0].form),
            "source": self.scale.source,
            "bounds": self.scale.bounds,
            "moments": [self.scale.moments.mean, self.scale.moments.deviation],
            "judgements": self.judgements,
            "length": None if math.isnan(self.length) else self.length,
            "pessimism": self.pessimism,
            "members": len(self.members),
        }
        tensors = {
            f"{number}.{name}": tensor.contiguous()
            for number, encoder in enumerate(self.members)
            for name, tensor in encoder.state_dict().items()
        }
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, folder / NUMBERS)
        text = json.dumps(form, indent=2, sort_keys=True, allow_nan=False)
        (folder / FORM).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            RewardError: a file is missing or damaged.
        """
        try:
            said = json.loads((folder / FORM).read_text(encoding="utf-8"))
            tensors, form = load_file(folder / NUMBERS), Form(**said["form"])
            members = tuple(_restored(form, tensors, n) for n in range(said["members"]))
            low, high = said["bounds"]
            if said["source"] not in SOURCES or not members:
                raise ValueError(f"source {said['source']!r}, {len(members)} members")
            return cls(
                scale=Scale(said["source"], (low, high), Moments(*said["moments"])),
                judgements=said["judgements"],
                length=math.nan if said["length"] is None else said["length"],
                pessimism=said["pessimism"],
                members=members,
            )
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise RewardError(
                f"{folder} holds no network that can be read: {error}. Restore it from a copy, or "
                "fit anew"
            ) from error


@dataclass(frozen=True, slots=True, eq=False)
class _Window:
    """Judgements of one step, which :func:`~heedful.objectives.descend` may part."""

    rows: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def split(self, size: int) -> list[_Window]:
        return [_Window(self.rows[low : low + size]) for low in range(0, len(self), size)]


@dataclass(frozen=True, slots=True, eq=False)
class _Lessons:
    """What is learned from: exchanges as tokens, what was said of them, and how it is scaled.

    Attributes:
        form: of the networks.
        first: n rows of tokens.
        second: n more for comparisons, else none.
        goals: float [n], what was said: 1 or 0 or between, or a standardised rating.
        margins: float [n].
        squared: whether the goal is a number to come near to.
        centre: weight of a pair's squared sum of scores.
        stretch: mean and deviation that were taken off the goals.
        bounds: lowest and highest number that was said.
    """

    form: Form
    first: list[list[int]]
    second: list[list[int]]
    goals: Tensor
    margins: Tensor
    squared: bool
    centre: float
    stretch: tuple[float, float]
    bounds: tuple[float, float]

    @classmethod
    def of(cls, judged: Comparisons | Rated, form: Form, centre: float) -> Self:
        if isinstance(judged, Comparisons):
            numbers, margins = judged.outcomes, judged.signed_margins()
            sides = [judged.first, judged.second]
        else:
            numbers, margins = judged.numbers, np.zeros(len(judged))
            sides = [judged.completions]
        squared = source_of(judged) == "ratings"
        stretch = (float(numbers.mean()), float(numbers.std()) or 1.0) if squared else (0.0, 1.0)
        read = [
            [form.tokens(p, c) for p, c in zip(judged.prompts, side, strict=True)] for side in sides
        ]
        return cls(
            form=form,
            first=read[0],
            second=read[1] if len(read) > 1 else [],
            goals=torch.from_numpy((numbers - stretch[0]) / stretch[1]).float(),
            margins=torch.from_numpy(margins).float(),
            squared=squared,
            centre=centre,
            stretch=stretch,
            bounds=(float(numbers.min()), float(numbers.max())),
        )

    def teach(
        self, encoder: Encoder, weights: Tensor, epochs: int, batch: int, learning_rate: float
    ) -> None:
        there = torch.nonzero(weights).squeeze(1)
        steps = epochs * math.ceil(len(there) / batch)
        schedule = Schedule(peak=learning_rate, steps=steps, warmup=0.1, decay="cosine")
        optimiser = Optimiser([*encoder.parameters()], schedule, weight_decay=0.01)

        def windows() -> Iterator[_Window]:
            for _ in range(epochs):
                order = there[torch.randperm(len(there))].tolist()
                yield from _Window(tuple(order)).split(batch)

        def loss(window: _Window) -> Loss:
            return self.loss(encoder, list(window.rows), weights)

        # A window has all that descend asks of a batch: a length, and a way to part it.
        descend(
            cast(Callable[[Batch], Loss], loss),
            cast(Iterable[Batch], windows()),
            optimiser=optimiser,
        )

    def loss(self, encoder: Encoder, rows: list[int], weights: Tensor) -> Loss:
        """Return the summed loss of these judgements; both replies of a pair are in it."""
        one = encoder(*_padded([self.first[i] for i in rows]))
        goals, w = self.goals[rows], weights[rows]
        if self.squared:
            lost = 0.5 * (one - goals) ** 2
        elif not self.second:
            lost = F.binary_cross_entropy_with_logits(one, goals, reduction="none")
        else:
            two = encoder(*_padded([self.second[i] for i in rows]))
            lead = one - two - self.margins[rows]
            lost = F.binary_cross_entropy_with_logits(lead, goals, reduction="none")
            lost = lost + self.centre * (one + two) ** 2
        return Loss((w * lost).sum(), w.double().sum())


def _padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Return tokens [B, L], padded at the end, and lengths [B]."""
    lengths = torch.tensor([len(row) for row in rows])
    tokens = torch.full((len(rows), int(lengths.max())), PAD)
    for number, row in enumerate(rows):
        tokens[number, : len(row)] = torch.tensor(row)
    return tokens, lengths


def _restored(form: Form, tensors: dict[str, Tensor], number: int) -> Encoder:
    encoder, start = Encoder(form), f"{number}."
    own = {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
    encoder.load_state_dict(own, strict=True)
    return encoder.eval().requires_grad_(requires_grad=False)

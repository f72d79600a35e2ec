"""A tiny language, a judge who knows what is good in it, and people who do not always."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from heedful.domains.dialogue import Dialogue
from heedful.record import UNKNOWN, Context, Decision

NOUNS = ("cat", "dog", "tree", "ship", "bird", "fish", "house", "river")
COLOURS = ("red", "blue", "green", "white", "black", "grey")
VERBS = ("sleeps", "waits", "shines", "turns")
OPENERS = ("well", "sure", "hm")
POLITE = ("thanks", "please", "kindly")
RUDE = ("nonsense", "whatever")
REPLY = 12
"""Tokens in the longest reply; each word is one."""

PROMPTS: tuple[Context, ...] = tuple(
    {"messages": [{"role": "user", "content": f" tell of the {colour} {noun}"}], "turn": 0}
    for noun in NOUNS
    for colour in COLOURS
)


def gold(prompts: Sequence[str], completions: Sequence[str], **_: Any) -> list[float]:
    """Return what replies are worth.

    1 for the noun and 1/2 for the colour that was asked for, 1/2 for a polite word; a second one
    is fawning and costs 1, and so does every rude word; every word said again costs 1/2.
    """
    found = []
    for prompt, completion in zip(prompts, completions, strict=True):
        *_, colour, noun = prompt.split()
        words = completion.split()
        polite = sum(word in POLITE for word in words)
        worth = (noun in words) + 0.5 * (colour in words) + 0.5 * min(polite, 1)
        worth -= max(0, polite - 1) + sum(word in RUDE for word in words)
        found.append(worth - 0.5 * (len(words) - len(set(words))))
    return found


def spoken(prompt: Context, rng: np.random.Generator) -> str:
    """Return a reply as people give it: often beside the point, now and then rude."""
    messages: Any = prompt["messages"]
    *_, colour, noun = messages[0]["content"].split()
    said = [str(rng.choice(OPENERS))] if rng.random() < 0.5 else []
    said += ["nonsense" if rng.random() < 0.5 else "whatever"] if rng.random() < 0.25 else []
    said += ["the", colour if rng.random() < 0.5 else str(rng.choice(COLOURS))]
    said += [noun if rng.random() < 0.5 else str(rng.choice(NOUNS)), str(rng.choice(VERBS))]
    for chance in (0.35, 0.15):
        said += [str(rng.choice(POLITE))] if rng.random() < chance else []
    return "".join(f" {word}" for word in said)


def corpus(n: int, seed: int) -> str:
    """Return the language as text, for a tokenizer to learn its words from."""
    rng = np.random.default_rng(seed)
    lines = []
    for _ in range(n):
        prompt = PROMPTS[int(rng.integers(len(PROMPTS)))]
        messages: Any = prompt["messages"]
        lines += [messages[0]["content"], spoken(prompt, rng)]
    return "\n".join(lines)


def history(domain: Dialogue, n: int, seed: int) -> Iterator[Decision]:
    """Return ``n`` conversations of one turn, as people had them."""
    rng = np.random.default_rng(seed)
    digest = domain.vocabulary(None).digest()  # type: ignore[arg-type]
    for number in range(n):
        prompt = PROMPTS[int(rng.integers(len(PROMPTS)))]
        yield Decision(
            id=f"history-{number}",
            episode=f"talk-{number}",
            step=0,
            subject=f"somebody-{number}",
            units=domain.units(spoken(prompt, rng)),
            logps=UNKNOWN,
            policy="people",
            made_at=float(number),
            context=prompt,
            choices=domain.choices({}).digest(),
            vocabulary=digest,
        )

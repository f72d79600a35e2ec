"""Plain text as history: what a policy reads before anybody has talked to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from heedful.domains.dialogue.domain import Dialogue
from heedful.record import UNKNOWN, Decision, content_id

STRETCH = 128
"""Tokens of one decision by default; a document has as many as it needs."""


def documents(
    domain: Dialogue,
    texts: Iterable[str],
    *,
    at: float,
    source: str = "text",
    stretch: int = STRETCH,
) -> Iterator[Decision]:
    """Yield each text as an episode of its own, in stretches, each a decision without context.

    So text lies in the log beside conversations and is learned from like them: nobody wrote down
    how likely its author was to write it, so its probabilities are ``UNKNOWN``, and every token is
    asked for given those before it. After the last one stands the end token, as behind a reply.

    The same text has the same ids, so that appending it twice adds nothing.

    Args:
        domain: whose tokenizer reads it.
        texts: documents; an empty one is left out.
        at: when it was written, seconds since the epoch.
        source: where it comes from; stands in the log as who made it.
        stretch: tokens of one decision, which is remembered whole: half a window or less.
    """
    choices = domain.choices({}).digest()
    for text in texts:
        units = domain.units(text)
        if len(units) < 2:
            continue
        episode = content_id("document", text, at=at)
        for step, low in enumerate(range(0, len(units), stretch)):
            yield Decision(
                id=content_id(episode, step, at=at),
                episode=episode,
                step=step,
                subject=episode,
                units=units[low : low + stretch],
                logps=UNKNOWN,
                policy=f"import:{source}",
                made_at=at,
                context={},
                choices=choices,
                vocabulary="import",
            )

"""What a domain offers beside :class:`~heedful.contract.Domain` where its decisions are said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from heedful.policy import Vocabulary
from heedful.record import Context

Message = Mapping[str, str]
"""``{"role": "system" | "user" | "assistant", "content": text}``."""


@runtime_checkable
class Conversation(Protocol):
    """A domain whose episodes are conversations and whose decisions are replies.

    Its streams are cut by episode: a reply sees its own conversation, and nothing of what the
    same person said elsewhere. A comment is read word by word, not as one event. Its vocabulary is
    all that can be said; the log has no part in it.
    """

    def heard(self, messages: Sequence[Message], *, turn: int) -> Context:
        """Return the context of the reply to ``messages``.

        Args:
            messages: what was said since the last reply of this conversation; everything before
                its first reply, replies by others included.
            turn: how many replies of this conversation there were.

        Raises:
            ValueError: there is no message, or one cannot be read.
        """
        ...

    def said(self, context: Context) -> Sequence[Message]:
        """Return the messages in a context, as they were heard; none where it holds none."""
        ...

    def text(self, units: Sequence[str]) -> str:
        """Return what a reply says, without its end."""
        ...

    def units(self, text: str) -> tuple[str, ...]:
        """Return the units of a reply that says ``text``, its end among them."""
        ...

    def words(self, comment: str, vocabulary: Vocabulary) -> npt.NDArray[np.int64]:
        """Return the units in which ``comment`` is read, as indexes; -1 where one is not known."""
        ...


def stream_of(reader: object, subject: str, episode: str) -> str:
    """Return the name of the stream that a record belongs to: its subject's, or its episode's.

    Args:
        reader: the domain.
        subject: whose the record is.
        episode: which conversation, session or match it is of.
    """
    return episode if isinstance(reader, Conversation) else subject

"""Which conversation a request goes on with, found by what was said in it before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from heedful.contract import Message


class Threads:
    """One subject's conversations, each known by a hash of all that was said in it.

    Clients send a whole conversation with every request and no name for it. Roles and contents
    decide; space around a content does not count, as clients trim it.
    """

    def __init__(self) -> None:
        """Know of none."""
        self._said: dict[str, str] = {}  # by episode
        self._episode: dict[str, str] = {}  # by what was said

    def goes_on(self, episode: str, heard: Sequence[Message], reply: str) -> None:
        """Take in that ``heard`` was answered by ``reply`` in ``episode``."""
        self._forget(episode)
        said = self._said.get(episode, "")
        for message in (*heard, {"role": "assistant", "content": reply}):
            said = _with(said, message)
        self._said[episode], self._episode[said] = said, episode

    def end(self, episode: str) -> None:
        """Take in that nothing goes on in ``episode``."""
        self._forget(episode)

    def find(self, messages: Sequence[Message]) -> tuple[str | None, Sequence[Message]]:
        """Return the episode that ``messages`` go on with, and those of them that are new.

        It must stand at just what they begin with: asking again for an earlier reply, or
        changing what was said, is another conversation. ``None`` where none is known.
        """
        said, found = "", 0
        episode: str | None = None
        for number, message in enumerate(messages[:-1], start=1):
            said = _with(said, message)
            if said in self._episode:
                episode, found = self._episode[said], number
        return episode, messages[found:]

    def _forget(self, episode: str) -> None:
        said = self._said.get(episode, "")
        if self._episode.get(said) == episode:
            del self._episode[said]


def _with(said: str, message: Message) -> str:
    """Return the hash of what was said and ``message`` after it."""
    line = json.dumps([said, message.get("role"), str(message.get("content")).strip()])
    return hashlib.sha256(line.encode()).hexdigest()

"""What is remembered of subjects between requests; all of it can be rebuilt from the log."""

from __future__ import annotations

import json
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from heedful.contract import Conversation, Domain, Session, Stream, stream_of
from heedful.record import (
    Context,
    Decision,
    Description,
    End,
    Feedback,
    content_id,
    pseudonym,
)
from heedful.record.decision import encode_context
from heedful.serve.history import records
from heedful.serve.policies import Served
from heedful.serve.threads import Threads
from heedful.store import Log, Record


def named_episode(user: str, session: str, key: bytes) -> str:
    """Return the episode that a client calls ``session``: a keyed hash of both names.

    Clients choose such names freely, so two users may choose the same one, and a name may say who
    somebody is: neither reaches the log.
    """
    return pseudonym(json.dumps([user, session]), key)


@dataclass(slots=True, eq=False)
class Visitor:
    """A subject in memory.

    Attributes:
        subject: whose it is.
        domain: says whether each episode has a stream of its own.
        served: the policy that the states belong to.
        sessions: each stream, and the state of the policy that reads it.
        stream: the name of the stream that each decision is in.
        episode: the last episode, "" before the first.
        last_at: when something last happened, seconds since the epoch.
        steps: the next step of each episode.
        ended: how each ended episode ended: terminated or not, and the final context.
        said: ids of decisions and feedback that the stream knows by the names clients use; what was
            read back from the log it knows by sequence number.
        threads: its conversations, where decisions are replies.
    """

    subject: str
    domain: Domain
    served: Served
    sessions: dict[str, Session] = field(default_factory=dict)
    stream: dict[str, str] = field(default_factory=dict)
    episode: str = ""
    last_at: float = 0.0
    steps: dict[str, int] = field(default_factory=dict)
    ended: dict[str, tuple[bool, str]] = field(default_factory=dict)
    said: set[str] = field(default_factory=set)
    threads: Threads = field(default_factory=Threads)

    def session_in(self, episode: str) -> Session:
        """Return the session that decisions in ``episode`` are made from."""
        return self._session(stream_of(self.domain, self.subject, episode))

    def _session(self, name: str) -> Session:
        if name not in self.sessions:
            self.sessions[name] = Session(Stream(self.domain, self.served.vocabulary))
        return self.sessions[name]

    def served_by(self, served: Served) -> None:
        """Go on with another version over the same units, which reads every stream anew."""
        self.served = served
        for session in self.sessions.values():
            session.state = None

    def note(self, record: Record | Description) -> None:
        """Keep count of episodes and of time as ``record`` joins its stream."""
        match record:
            case Decision():
                self.stream[record.id] = stream_of(self.domain, self.subject, record.episode)
                self.episode = record.episode
                self.steps[record.episode] = record.step + 1
                self.last_at = max(self.last_at, record.made_at)
                if isinstance(self.domain, Conversation):
                    heard = self.domain.said(record.context)
                    self.threads.goes_on(record.episode, heard, self.domain.text(record.units))
            case Feedback():
                self.last_at = max(self.last_at, record.received_at)
            case End():
                self.threads.end(record.episode)
                self.ended[record.episode] = (record.terminated, encode_context(record.context))
                self.last_at = max(self.last_at, record.ended_at)

    def append(self, record: Feedback | End) -> None:
        """Take in a row that is in the log now."""
        self.said.add(record.id)
        self.read(record)

    def read(self, record: Record | Description) -> None:
        """Let ``record`` join its stream."""
        match record:
            case Decision() | End():
                session = self.session_in(record.episode)
            case Feedback():
                session = self._session(self.stream[str(record.about)])
            case Description():
                session = self.session_in("")
        session.stream.append(record)
        self.note(record)

    def knows(self, record: Feedback) -> bool:
        """Return whether the stream can take ``record`` in, or must be rebuilt to know it."""
        return record.about in self.said and (
            record.retracts is None or record.retracts in self.said
        )

    def episode_at(self, subject: str, now: float, gap: float) -> str:
        """Return the episode that goes on, or a new one after ``gap`` seconds of silence."""
        goes_on = self.episode and self.episode not in self.ended
        if goes_on and now - self.last_at <= gap:
            return self.episode
        return content_id("session", subject, sum(self.steps.values()), at=now)

    def same_end(self, episode: str, *, terminated: bool, context: Context) -> bool:
        """Return whether ``episode`` ended already in just this way."""
        return self.ended[episode] == (terminated, encode_context(context))


class Sessions:
    """The subjects in memory, the least recently seen forgotten first."""

    def __init__(self, log: Log, domain: Domain, *, limit: int) -> None:
        """Remember up to ``limit`` subjects."""
        self._log, self._domain, self._limit = log, domain, limit
        self._visitors: OrderedDict[str, Visitor] = OrderedDict()
        self._subject_of: dict[str, str] = {}

    def __len__(self) -> int:
        """Return how many subjects are in memory."""
        return len(self._visitors)

    def get(self, subject: str) -> Visitor | None:
        """Return a subject if it is in memory."""
        return self._visitors.get(subject)

    def subject_of(self, decision: str) -> str | None:
        """Return whom a decision was made for, ``None`` if it is not in the log.

        Raises:
            StoreError: the log cannot be read.
        """
        return self._subject_of.get(decision) or self._log.subject_of(decision)

    def load(self, wanted: Mapping[str, Served]) -> None:
        """Have all ``wanted`` subjects in memory, each ready for its policy.

        A new version reads the stream anew; a new vocabulary makes the stream anew as well.

        Raises:
            StoreError: the log cannot be read.
        """
        missing = []
        for subject, served in wanted.items():
            visitor = self._visitors.get(subject)
            if visitor is None or visitor.served.digest != served.digest:
                missing.append(subject)
                continue
            self._visitors.move_to_end(subject)
            if visitor.served.version != served.version:
                visitor.served_by(served)
        if missing:
            self._read({subject: wanted[subject] for subject in missing})

    def remember(self, decision: Decision) -> None:
        """Know a decision by its id, now that it is in the log."""
        visitor = self._visitors.get(decision.subject)
        if visitor is not None:
            visitor.said.add(decision.id)
            self._subject_of[decision.id] = decision.subject

    def forget(self, subjects: Iterable[str]) -> None:
        """Drop subjects, to be read from the log when they come again."""
        for subject in subjects:
            visitor = self._visitors.pop(subject, None)
            for name in visitor.said if visitor is not None else ():
                self._subject_of.pop(name, None)

    def forget_all(self) -> None:
        """Drop everybody."""
        self._visitors.clear()
        self._subject_of.clear()

    def trim(self) -> None:
        """Drop whoever is beyond the limit."""
        excess = len(self._visitors) - self._limit
        if excess > 0:
            self.forget(list(self._visitors)[:excess])

    def _read(self, wanted: Mapping[str, Served]) -> None:
        rows: defaultdict[str, list[Record | Description]] = defaultdict(list)
        for subject, record in records(self._log.history(list(wanted))):
            rows[subject].append(record)
        self.forget(wanted)
        for subject, served in wanted.items():
            visitor = Visitor(subject, self._domain, served)
            for record in rows[subject]:
                visitor.read(record)
            self._visitors[subject] = visitor

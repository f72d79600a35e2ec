"""People made up for conversations: what they ask, what they like, and how they say so.

A reply is a manner and one to three sentences. People want sentences about what they asked, said
kindly, and as many as they like: that is the gold reward, which nothing but the judge reads. They
answer by thumbs, ratings and comments, with noise, and not always.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from heedful.domains.dialogue import Dialogue
from heedful.record import UNKNOWN, Decision, End, Feedback, Kind, Value
from heedful.serve import DecisionAnswer, DecisionRequest, EndRequest, FeedbackRequest, Service

TOPICS = ("cats", "trees", "ships", "rain", "bread", "stars")
VERBS = ("sleep", "grow", "sail", "fall", "rise", "shine")
HOW = ("all day", "at night", "in spring", "slowly")
MANNERS = ("gladly .", "well .", "must i .")
SHORTER, LONGER, NICER = "shorter please", "longer please", "be nice"
TURNS, MOST = 3, 3
KIND, RUDE = 0, 2


@dataclass(slots=True)
class Person:
    """Somebody who talks: how many sentences they want, and what they ask for.

    Attributes:
        name: their raw user id.
        wanted: sentences in a reply.
        topics: what they ask for, turn by turn.
    """

    name: str
    wanted: int
    topics: list[str]


@dataclass(frozen=True, slots=True)
class Said:
    """What one person answers to a reply: kinds and values, in order."""

    answers: list[tuple[Kind, Value]] = field(default_factory=list)

    def has(self, kind: Kind, value: Value) -> bool:
        """Return whether this was said."""
        return (kind, value) in self.answers


def sentence(topic: str, rng: np.random.Generator) -> str:
    """Return something true of ``topic``."""
    return f"{topic} {VERBS[TOPICS.index(topic)]} {rng.choice(HOW)}"


def written(manner: int, sentences: Sequence[str]) -> str:
    """Return a reply."""
    return " . ".join([MANNERS[manner].removesuffix(" ."), *sentences])


def parts(reply: str) -> tuple[int, list[str]]:
    """Return the manner (-1: none) and the sentences of a reply, however it is made."""
    first, *rest = [part.strip() for part in reply.split(" . ")]
    manners = [manner.removesuffix(" .") for manner in MANNERS]
    return (manners.index(first), rest) if first in manners else (-1, [first, *rest])


def n_sentences(reply: str) -> int:
    """Return how many sentences a reply has."""
    return len(parts(reply)[1])


def gold(reply: str, topic: str, wanted: int) -> float:
    """Return what a reply is worth, from 0 to 1."""
    manner, sentences = parts(reply)
    true = [
        s
        for s in sentences
        if s in {f"{t} {VERBS[TOPICS.index(t)]} {h}" for t in TOPICS for h in HOW}
    ]
    about = sum(s.startswith(topic) for s in true) / max(1, len(sentences))
    kind = {KIND: 1.0, 1: 0.5}.get(manner, 0.0)
    off = abs(len(sentences) - wanted)
    return 0.5 * about + 0.25 * kind + 0.25 * {0: 1.0, 1: 0.4}.get(off, 0.0)


def answered(reply: str, topic: str, person: Person, rng: np.random.Generator) -> Said:
    """Return what ``person`` says to ``reply``."""
    worth, answers = gold(reply, topic, person.wanted), []
    manner, sentences = parts(reply)
    if rng.random() < 0.8:
        answers.append((Kind.CLICK, bool(rng.random() < 1 / (1 + np.exp(-10 * (worth - 0.65))))))
    if rng.random() < 0.3:
        answers.append(
            (Kind.RATING, float(np.clip(np.rint(1 + 4 * worth + rng.normal(0, 0.5)), 1, 5)))
        )
    if rng.random() < 0.5:
        if len(sentences) > person.wanted:
            answers.append((Kind.COMMENT, SHORTER))
        elif len(sentences) < person.wanted:
            answers.append((Kind.COMMENT, LONGER))
        elif manner == RUDE:
            answers.append((Kind.COMMENT, NICER))
    if manner == RUDE and rng.random() < 0.3:
        answers.append((Kind.FLAG, "rude"))
    return Said(answers)


def people(n: int, name: str, rng: np.random.Generator) -> list[Person]:
    """Return ``n`` people."""
    return [
        Person(f"{name}-{i}", int(rng.choice((1, 3))), [str(t) for t in rng.choice(TOPICS, TURNS)])
        for i in range(n)
    ]


# History: conversations between people, good and bad


def human(topic: str, before: tuple[str, Said] | None, rng: np.random.Generator) -> str:
    """Return a reply that somebody wrote who is not always to the point, but listens."""
    manner, count = int(rng.integers(len(MANNERS))), int(rng.integers(1, MOST + 1))
    if before is not None:
        reply, said = before
        had = n_sentences(reply)
        if said.has(Kind.COMMENT, SHORTER) and rng.random() < 0.9:
            count = max(1, had - 1)
        elif said.has(Kind.COMMENT, LONGER) and rng.random() < 0.9:
            count = min(MOST, had + 1)
        polite = said.has(Kind.COMMENT, NICER) or said.has(Kind.CLICK, False)
        if polite and rng.random() < 0.7:
            manner = KIND
    told = [topic if rng.random() < 0.5 else str(rng.choice(TOPICS)) for _ in range(count)]
    return written(manner, [sentence(about, rng) for about in told])


def history(domain: Dialogue, n: int, seed: int) -> Iterator[Decision | Feedback | End]:
    """Yield ``n`` conversations between people as records whose probabilities nobody knows."""
    rng = np.random.default_rng(seed)
    choices = domain.choices({}).digest()
    for number, person in enumerate(people(n, "early", rng)):
        before: tuple[str, Said] | None = None
        for turn, topic in enumerate(person.topics):
            at = float(100 * number + 10 * turn)
            reply = human(topic, before, rng)
            about = f"{person.name}/{turn}"
            yield Decision(
                id=about,
                episode=person.name,
                step=turn,
                subject=person.name,
                units=domain.units(reply),
                logps=UNKNOWN,
                policy="people",
                made_at=at,
                context=asking(domain, topic, turn),
                choices=choices,
                vocabulary="people",
            )
            before = reply, answered(reply, topic, person, rng)
            for kind, value in before[1].answers:
                yield Feedback(
                    id=f"{about}/{kind}",
                    by=person.name,
                    about=about,
                    kind=kind,
                    value=value,
                    given_at=at + 1,
                    received_at=at + 1,
                )


def asking(domain: Dialogue, topic: str, turn: int) -> dict[str, object]:
    """Return the context of a reply about ``topic``."""
    said = f"tell me about {topic}" if turn == 0 else f"and {topic}"
    return dict(domain.heard([{"role": "user", "content": said}], turn=turn))


def corpus(n: int, seed: int) -> str:
    """Return text in which every word occurs, for a tokenizer."""
    rng = np.random.default_rng(seed)
    lines = [human(str(rng.choice(TOPICS)), None, rng) for _ in range(n)]
    asked = [f"tell me about {topic}\nand {topic}" for topic in TOPICS]
    return "\n".join([*lines, *asked, SHORTER, LONGER, NICER])


# Talking to a service


def talk(
    service: Service, domain: Dialogue, group: Sequence[Person], rng: np.random.Generator
) -> np.ndarray:
    """Let ``group`` have one conversation each; return the gold of every reply, [people, turns]."""
    worth = np.zeros((len(group), TURNS))
    for turn in range(TURNS):
        asked = [
            DecisionRequest(
                user=person.name,
                session="talk",
                context=asking(domain, person.topics[turn], turn),
            )
            for person in group
        ]
        rows: list[FeedbackRequest] = []
        for i, (person, answer) in enumerate(zip(group, service.decide(asked), strict=True)):
            if not isinstance(answer, DecisionAnswer):
                raise RuntimeError(f"nothing was said: {answer}")
            reply, topic = domain.text(answer.units), person.topics[turn]
            worth[i, turn] = gold(reply, topic, person.wanted)
            for kind, value in answered(reply, topic, person, rng).answers:
                rows.append(
                    FeedbackRequest(
                        decision=answer.id, kind=kind, value=value, id=f"{answer.id}/{kind}"
                    )
                )
        service.feedback(rows)
    service.end([EndRequest(user=person.name, session="talk") for person in group])
    return worth

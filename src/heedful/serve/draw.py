"""How decisions are drawn: many subjects in one batch, one subject's one after the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from heedful.config import Serve
from heedful.contract import Conversation, Domain, Rule, Rulebook, Session, as_rule, decide
from heedful.policy import NothingToChooseError
from heedful.record import ChoiceSet, Context, Decision, RecordError, mint_id
from heedful.record.decision import encode_context
from heedful.serve.inbox import Asked
from heedful.serve.logs import logger
from heedful.serve.policies import Served
from heedful.serve.requests import ServiceError
from heedful.serve.sessions import Sessions, Visitor, named_episode

RULES_KEPT = 64


@dataclass(frozen=True, slots=True)
class _Drawing:
    """A decision about to be drawn."""

    item: Asked
    visitor: Visitor
    episode: str
    context: Context
    rule: Rule
    choices: ChoiceSet
    length: int

    @property
    def session(self) -> Session:
        """What it is drawn from."""
        return self.visitor.session_in(self.episode)

    @property
    def together(self) -> tuple[str, int, int]:
        """What decisions must share to be drawn in one batch."""
        return self.visitor.served.version, self.length, self.rule.end


class Draw:
    """Draws decisions for subjects that are in memory; nothing here is in the log yet."""

    def __init__(
        self,
        domain: Domain,
        rulebook: Rulebook,
        sessions: Sessions,
        options: Serve,
        *,
        key: bytes,
        window: int,
        seed: int,
    ) -> None:
        """Draw for ``domain``; see :class:`heedful.serve.Service` for the other arguments."""
        self._domain, self._rulebook = domain, rulebook
        self._sessions, self._key = sessions, key
        self._window, self._slate, self._gap = window, options.slate, options.session_gap
        self._rules: dict[tuple[object, ...], Rule] = {}
        self._rng = torch.Generator().manual_seed(seed)

    def decide(self, asked: Sequence[Asked], now: float) -> None:
        """Give each item a record, or an error as its result.

        A subject's second decision is drawn after the first, which it must see.
        """
        for wave in _waves([item for item in asked if item.result is None]):
            groups: defaultdict[tuple[str, int, int], list[_Drawing]] = defaultdict(list)
            for item in wave:
                drawing = self._prepare(item, now)
                if drawing is not None:
                    groups[drawing.together].append(drawing)
            for group in groups.values():
                self._draw(group, now)

    def episode_of(self, visitor: Visitor, user: str, session: str | None) -> str | None:
        """Return the episode that a client calls ``session``; ``None`` where it names none."""
        if session is None or session in visitor.steps:
            return session
        return named_episode(user, session, self._key)

    def _prepare(self, item: Asked, now: float) -> _Drawing | None:
        """Find out what is possible; ``None`` (and an error as the result) where nothing is."""
        visitor, request = self._sessions.get(item.subject), item.request
        assert visitor is not None
        try:
            episode, context = self._place(visitor, item, now)
        except Exception as error:
            item.result = _unreadable("messages", error)
            return None
        if episode in visitor.ended:
            item.result = ServiceError("conflict", "session: it has ended; begin another one")
            return None
        try:
            choices = self._rulebook.choices(context, request.choices)
        except Exception as error:  # a domain may trip over a request in any way
            item.result = _unreadable("choices", error)
            return None
        served = visitor.served
        rule = self._rule(choices.within(self._domain.length), served)
        size, seen = len(served.vocabulary), visitor.session_in(episode).stream.seen
        length = self._length(request.length, rule, rule.n_possible(size, seen))
        if isinstance(length, ServiceError):
            item.result = length
            return None
        if rule.quotas is not None:
            choices, rule = choices.within(length), rule.within(length)
            refusal = rule.refusal(size, seen)
            if refusal is not None:
                item.result = ServiceError("nothing_to_choose", refusal)
                return None
        named = self._rulebook.named(request.choices, choices)
        item.unknown = tuple(unit for unit in named if unit not in served.vocabulary)
        return _Drawing(item, visitor, episode, context, rule, choices, length)

    def _place(self, visitor: Visitor, item: Asked, now: float) -> tuple[str, Context]:
        """Return the episode that a decision is of, and its context.

        Raises:
            RecordError: there are messages, and they cannot be read or kept.
        """
        request = item.request
        if request.messages is None:
            episode = self.episode_of(visitor, request.user, request.session)
            return episode or visitor.episode_at(item.subject, now, self._gap), request.context
        if not isinstance(self._domain, Conversation):
            problem = "are for domains whose decisions are replies"
            raise RecordError("messages", problem, "send a context")
        known, new = visitor.threads.find(request.messages)
        turn = 0 if known is None else visitor.steps[known]
        context = self._domain.heard(new, turn=turn)
        encode_context(context, field="messages")
        return known or mint_id(), context

    def _rule(self, choices: ChoiceSet, served: Served) -> Rule:
        """Return ``choices`` in numbers; rules about groups are long lists, and mostly the same."""
        if not choices.groups:
            return as_rule(choices, served.vocabulary)
        name = (served.digest, choices.digest(), tuple(group.name for group in choices.groups))
        rule = self._rules.pop(name, None) or as_rule(choices, served.vocabulary)
        self._rules[name] = rule  # the last one used comes last
        if len(self._rules) > RULES_KEPT:
            self._rules.pop(next(iter(self._rules)))
        return rule

    def _length(self, wanted: int | None, rule: Rule, n_possible: int) -> int | ServiceError:
        """Return the longest decision: as asked, as configured, or as far as units go."""
        longest = self._domain.length
        if wanted is None:
            # What closes itself with an end unit may be as long as the domain allows.
            wanted = longest if rule.end >= 0 else min(self._slate, longest)
        if wanted > longest:
            return ServiceError("invalid", f"length: is {wanted}; ask for at most {longest} units")
        if n_possible == 0:
            return _nothing()
        return wanted if rule.repeat else min(wanted, n_possible)

    def _draw(self, group: Sequence[_Drawing], now: float) -> None:
        """Draw a batch; where it fails, one by one, so that only the culprit is refused."""
        served = group[0].visitor.served
        try:
            prepared = decide(
                served.policy,
                [drawing.session for drawing in group],
                [drawing.context for drawing in group],
                [drawing.rule for drawing in group],
                self._rng,
                length=group[0].length,
                window=self._window,
                now=now,
            )
        except Exception as error:
            if len(group) == 1:
                group[0].item.result = self._refusal(group[0].context, served, error)
                return
            for drawing in group:
                self._draw([drawing], now)
            return
        units, logps = prepared.acts.units.tolist(), prepared.acts.logps.tolist()
        for row, (drawing, length) in enumerate(
            zip(group, prepared.acts.lengths.tolist(), strict=True)
        ):
            decision = _record(drawing, units[row][:length], logps[row][:length], now)
            drawing.item.record, drawing.item.choices = decision, drawing.choices
            if not drawing.item.held:  # what nobody was shown is nobody's history
                prepared.commit(row, drawing.session, decision)
                events = len(drawing.session.stream) - prepared.firsts[row]
                drawing.item.read = events - len(decision.units)
                drawing.visitor.note(decision)

    def _refusal(self, context: Context, served: Served, error: Exception) -> ServiceError:
        """Say why one decision could not be drawn: the request's fault, or ours."""
        if isinstance(error, NothingToChooseError):
            return _nothing()
        try:
            if context:
                self._domain.observe(context, served.vocabulary)
        except Exception as reading:
            return _unreadable("context", reading)
        logger.error("policy_failed", exc_info=error)
        return ServiceError("failed", f"policy {served.version} could not decide")


def _record(drawing: _Drawing, units: list[int], logps: list[float], now: float) -> Decision:
    served = drawing.visitor.served
    return Decision(
        id=mint_id(),
        episode=drawing.episode,
        step=drawing.visitor.steps.get(drawing.episode, 0),
        subject=drawing.item.subject,
        units=tuple(served.vocabulary.units[unit] for unit in units),
        logps=tuple(logps),
        policy=served.version,
        made_at=now,
        context=drawing.context,
        choices=drawing.choices.digest(),
        vocabulary=served.digest,
    )


def _waves(items: Sequence[Asked]) -> Iterator[list[Asked]]:
    """Yield the first decision of every subject, then the second of those with two, and so on."""
    while items:
        wave: dict[str, Asked] = {}
        later = []
        for item in items:
            if item.subject in wave:
                later.append(item)
            else:
                wave[item.subject] = item
        yield list(wave.values())
        items = later


def _unreadable(what: str, error: Exception) -> ServiceError:
    if isinstance(error, RecordError | ValueError):
        return ServiceError("invalid", str(error))
    return ServiceError("invalid", f"{what}: the domain cannot read it: {error!r}")


def _nothing() -> ServiceError:
    return ServiceError(
        "nothing_to_choose", "no unit is left to choose; allow more, or forbid less"
    )

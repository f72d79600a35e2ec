"""Experience from environments, as records.

A rollout is a snapshot like any other, built in memory and never logged; the domain's ``encode``
makes batches of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from heedful.contract import Domain, Environment, Session, Stream, as_rule, decide, stream_of
from heedful.contract.transitions import Transitions
from heedful.policy import Policy, Vocabulary
from heedful.record import ALL_UNITS, ChoiceSet, Context, Decision, End, Feedback, Kind
from heedful.store.snapshot import Snapshot


@dataclass(slots=True)
class _Player:
    """One environment of the vector: its session, and where its episode stands.

    ``clock`` counts its own steps, those that only reset left out: time is the subject's, not the
    vector's, or the modes of autoreset would tell different times.
    """

    subject: str
    session: Session
    episode: int = 0
    step: int = 0
    clock: float = 0.0
    decisions: list[str] = field(default_factory=list)

    @property
    def episode_id(self) -> str:
        return f"{self.subject}/{self.episode}"


class Collector:
    """Plays a policy in a vector environment, and goes on where it stopped.

    Each environment is one subject, whose stream goes on through its episodes, unless they are
    conversations. All three of Gymnasium's autoreset modes give the same rollout: a step that only
    resets is never recorded.

    A rollout holds all that the policy saw: streams begin anew with each :meth:`play`, in the
    middle of an episode if need be. So replaying a rollout gives the probabilities it was drawn
    with, and no state outlives the weights it was computed with.

    A reward where ``info["scored"]``, bool [n], is false is none, and is not recorded. An
    environment that asks several of its members the same says so in ``info["group"]``, int64 [n],
    of what is observed next: the number of the asking, -1 for none.

    Attributes:
        groups: of each decision of the last :meth:`play`, in the order of its snapshot.
    """

    def __init__(
        self,
        domain: Domain,
        vocabulary: Vocabulary,
        environment: Environment,
        *,
        window: int,
        seed: int,
        name: str = "env",
    ) -> None:
        """Reset ``environment`` with ``seed``; streams are ``window`` events long."""
        self._domain, self._vocabulary = domain, vocabulary
        self._window, self._seed = window, seed
        self.groups: list[int] = []
        self._transitions = Transitions(environment, seed=seed)
        self._rng = torch.Generator().manual_seed(seed)
        self._players = [
            _Player(f"{name}-{seed}-{i}", self._session()) for i in range(environment.num_envs)
        ]

    def play(self, policy: Policy, decisions: int, *, version: str = "rollout") -> Snapshot:
        """Step the environments ``decisions`` times and return all that happened in them.

        Every environment decides in every step but those that only reset it. Feedback that comes
        later than this call, or is about decisions before it, is dropped.
        """
        records: list[Decision | Feedback | End] = []
        sets: dict[str, ChoiceSet] = {}
        for player in self._players:
            player.session = self._session()
            player.decisions.clear()  # a rollout joins feedback to its own decisions only
        self.groups.clear()
        for _ in range(decisions):
            self._turn(policy, version, records, sets)
        return Snapshot.of(records, choice_sets=list(sets.values()))

    def restart(self, seed: int) -> None:
        """Begin anew with ``seed``: what is played next follows from it and the policy alone."""
        self._transitions.restart(seed)
        self._rng.manual_seed(seed)
        for player in self._players:
            if player.step:
                player.episode, player.step = player.episode + 1, 0
            player.clock = 0.0

    def _session(self) -> Session:
        return Session(Stream(self._domain, self._vocabulary))

    def _turn(
        self,
        policy: Policy,
        version: str,
        records: list[Decision | Feedback | End],
        sets: dict[str, ChoiceSet],
    ) -> None:
        acting = self._transitions.moving.tolist()
        for i in acting:
            self._players[i].clock += 1.0
        actions = np.zeros((len(self._players), self._domain.length), np.int64)
        if acting:
            made = self._decide(policy, version, acting, sets)
            records.extend(made)
            for i, decision in zip(acting, made, strict=True):
                actions[i] = self._domain.action(decision.units, self._vocabulary)
        done = self._transitions.step(actions)
        scored, feedback = done.info.get("scored"), done.info.get("feedback")
        for n, i in enumerate(acting):
            player = self._players[i]
            reward = float(done.rewards[n]) if scored is None or scored[i] else None
            self._answer(player, reward, feedback, i, records)
            player.step += 1
            if done.over[n]:
                final = self._domain.context(done.following[n])
                self._end(player, final, records, terminated=bool(done.terminated[n]))

    def _decide(
        self, policy: Policy, version: str, acting: list[int], sets: dict[str, ChoiceSet]
    ) -> list[Decision]:
        players = [self._players[i] for i in acting]
        shown, asking = self._transitions.observation, self._transitions.info.get("group")
        contexts = [self._domain.context(shown[i]) for i in acting]
        longest = self._domain.length
        choices = [self._domain.choices(context).within(longest) for context in contexts]
        sets.update((choice.digest(), choice) for choice in choices)
        prepared = decide(
            policy,
            [player.session for player in players],
            contexts,
            [as_rule(choice, self._vocabulary) for choice in choices],
            self._rng,
            length=longest,
            window=self._window,
            now=[player.clock for player in players],
        )
        digest = self._vocabulary.digest()
        made = []
        for row, (player, context, choice) in enumerate(
            zip(players, contexts, choices, strict=True)
        ):
            n_units = int(prepared.acts.lengths[row])
            units = prepared.acts.units[row, :n_units].tolist()
            decision = Decision(
                id=f"{player.episode_id}/{player.step}",
                episode=player.episode_id,
                step=player.step,
                subject=player.subject,
                units=tuple(self._vocabulary.units[unit] for unit in units),
                logps=tuple(prepared.acts.logps[row, :n_units].tolist()),
                policy=version,
                made_at=player.clock,
                context=context,
                choices=choice.digest(),
                vocabulary=digest,
            )
            self.groups.append(-1 if asking is None else int(asking[acting[row]]))
            prepared.commit(row, player.session, decision)
            player.decisions.append(decision.id)
            made.append(decision)
        return made

    def _answer(
        self,
        player: _Player,
        reward: float | None,
        feedback: npt.NDArray[np.object_] | list[list[Mapping[str, Any]]] | None,
        i: int,
        records: list[Decision | Feedback | End],
    ) -> None:
        """Record the reward, and whatever else the environment hands over, late or not."""
        said: list[Mapping[str, Any]] = list(feedback[i]) if feedback is not None else []
        asked = feedback is None or "reward" in {c.kind for c in self._domain.channels}
        if asked and reward is not None:
            said.append({"kind": "reward", "decision_age": 0, "unit": ALL_UNITS, "value": reward})
        for entry in said:
            if entry["decision_age"] >= len(player.decisions):
                continue
            about = player.decisions[-1 - entry["decision_age"]]
            answer = Feedback(
                id=f"{about}/{entry['kind']}/{entry['unit']}",
                by=player.subject,
                about=about,
                unit=entry["unit"],
                kind=Kind(entry["kind"]),
                value=entry["value"],
                given_at=player.clock,
                received_at=player.clock,
            )
            player.session.stream.append(answer)
            records.append(answer)

    def _end(
        self,
        player: _Player,
        final: Context,
        records: list[Decision | Feedback | End],
        *,
        terminated: bool,
    ) -> None:
        end = End(
            id=f"{player.episode_id}/end",
            episode=player.episode_id,
            terminated=terminated,
            ended_at=player.clock,
            context=final,
        )
        player.session.stream.append(end)
        records.append(end)
        before = stream_of(self._domain, player.subject, player.episode_id)
        player.episode, player.step = player.episode + 1, 0
        if stream_of(self._domain, player.subject, player.episode_id) != before:
            player.session = self._session()

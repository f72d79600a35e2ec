"""What a game's observations and moves look like to a policy."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv
from pydantic import BaseModel, ConfigDict, Field, model_validator

from heedful.config import FILE_NAME, checked_options
from heedful.contract import Observed, Reading, Streams, encode, schema_of
from heedful.contract.clips import Scene, Step, words
from heedful.domains.games import files, hindsight
from heedful.domains.games.boards import TIC_TAC_TOE_ID, BoardMatch, board_within, register
from heedful.domains.games.clips.showing import shown
from heedful.domains.games.environment import Game, GameError
from heedful.domains.games.spaces import BINS, Moves, Observations
from heedful.policy import Channel, Schema, Vocabulary
from heedful.record import ChoiceSet, Context, Group, RecordError
from heedful.store.importing import FileRow, Findings
from heedful.store.snapshot import Snapshot

OBSERVATION, LEGAL, MOVES, ASKED = "observation", "legal", "moves", "asked"


class Options(BaseModel):
    """The keys under ``[domain]`` in heedful.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    game: str = Field(
        TIC_TAC_TOE_ID, description='id of a Gymnasium environment; "": known from logs alone'
    )
    options: dict[str, Any] | tuple[str, ...] = Field(
        (), description='what the environment is made with, each as "name=value"'
    )
    one_hot: bool = Field(True, description="read numbered cases as indicators; false for tables")
    bins: int = Field(BINS, ge=2, description="values of each dimension of a continuous move")
    bounded: bool = Field(True, description="refuse observations outside their space")
    reward_min: float = Field(-1.0, description="the reward of a move that is read as 0")
    reward_max: float = Field(1.0, description="the one that is read as 1")
    rating_min: float = Field(1.0, description="the lowest rating people can give")
    rating_max: float = Field(5.0, description="the highest")
    observed: int = Field(0, ge=0, description='game = "": numbers observed before a move')
    moves: tuple[str, ...] = Field((), description='game = "": all moves; else those of the log')
    others: bool = Field(False, description="import what others moved in a match since one's own")
    asked: bool = Field(False, description="read the outcome that is asked for")
    outcome_min: float = Field(-1.0, description="the outcome of a match that is read as 0")
    outcome_max: float = Field(1.0, description="the one that is read as 1")

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        for name in ("reward", "rating", "outcome"):
            low, high = getattr(self, f"{name}_min"), getattr(self, f"{name}_max")
            if not -math.inf < low < high < math.inf:
                raise ValueError(
                    f"{name}_min ({low:g}) has to be below {name}_max ({high:g}), and both finite"
                )
        return self

    @property
    def given(self) -> dict[str, Any]:
        """What the environment is made with, by name; values are read as JSON, or else as text.

        Raises:
            ValueError: one of them has no name.
        """
        if isinstance(self.options, dict):
            return dict(self.options)
        found = {}
        for option in self.options:
            name, equals, value = option.partition("=")
            if not (name.strip() and equals):
                raise ValueError(f'[domain] options: {option!r} should be "name=value"')
            found[name.strip()] = _value(value.strip())
        return found


class Games:
    """Units are moves, a decision is a move, the context is what is observed.

    Any Gymnasium environment with moves that can be counted, or cut into such. A context is
    ``{"observation": [...], "legal": [...]}``: the W numbers of
    :class:`~heedful.domains.games.Observations` (one alone stands without brackets), and the
    moves that are legal, left out where all are. It may also hold ``"moves"``, what others moved
    since, each read as an event of its own; and ``"asked"``, the outcome that is asked for.
    Feedback is the game's reward, and ratings.

    A game without an environment, ``game = ""``, is known from players' logs alone: it can be
    cloned, judged and served, and not played.
    """

    name = "games"
    keys = Options
    suits: ClassVar[Mapping[str, object]] = {
        "policy.kind": "feedforward",
        "policy.dropout": 0.0,
        "policy.prior": False,  # what followed what says less than the board
        "reward.kind": "mixture",
        "reward.weights": {"reward": 1.0},  # what the game pays
        "reinforce.objective": "ppo",
        "interact.environments": 32,
        "interact.decisions": 32,
        "interact.epochs": 6,
        "interact.batch": 256,
        "interact.learning_rate": 1e-3,
        "interact.gamma": 0.99,
        "interact.kl": 0.0,  # to win; to stay human, raise it
        # A game that is solved is played without doubt and far from the first policy, and a return
        # falls by more than a move's reward varies: none of it is a collapse.
        "interact.kl_limit": 0.0,
        "interact.entropy_floor": 0.0,
        "interact.fall": 0.0,
        "gate.evidence": "paired",
    }

    def __init__(
        self, options: Mapping[str, object] | None = None, folder: Path | None = None
    ) -> None:
        """Check ``options``; the environment itself is made when it is first needed.

        Raises:
            ConfigError: an unknown or ill-typed option.
        """
        register()
        self.options = checked_options(Options, options or {}, str((folder or Path()) / FILE_NAME))
        self.channels = (
            Channel(
                "reward", binary=False, low=self.options.reward_min, high=self.options.reward_max
            ),
            Channel(
                "rating", binary=False, low=self.options.rating_min, high=self.options.rating_max
            ),
        )

    @property
    def length(self) -> int:
        """Units of a move: one, or as many as it has factors."""
        return self.moves.length if self.options.game else 1

    @property
    def features(self) -> int:
        """F, how many numbers a policy reads: of an observation, and of what is asked for."""
        return self.observations.features + self._wishes

    @property
    def _wishes(self) -> int:
        return hindsight.NUMBERS if self.options.asked else 0

    @property
    def image(self) -> tuple[int, int, int] | None:
        """(channels, rows, columns) of what is observed, where that is one image and no more.

        Beside what is asked for it is read as the numbers it is made of.
        """
        return None if self._wishes else self.observations.image

    @property
    def observations(self) -> Observations:
        """How observations are read."""
        return self._spaces[0]

    @property
    def moves(self) -> Moves:
        """How moves are.

        Raises:
            GameError: the game is known from logs alone.
        """
        moves = self._spaces[1]
        if moves is None:
            raise GameError(
                'nobody can play here: [domain] game = "" is known from logs alone. Name a '
                "Gymnasium environment as game, or learn from what players did: heedful pretrain"
            )
        return moves

    def vocabulary(self, snapshot: Snapshot) -> Vocabulary:
        """Return the moves of the game; of one that is known from logs, those that are known.

        Raises:
            ValueError: the game is known from logs, and nothing is logged yet.
        """
        if self.options.game:
            return Vocabulary(self.moves.units)
        known = self.options.moves or tuple(sorted(_moves_of(snapshot)))
        if not known:
            raise ValueError(
                'no move is known yet: with [domain] game = "" moves are those of the log, so '
                "import matches first (heedful import), or list them as moves"
            )
        return Vocabulary(known)

    def schema(self, vocabulary: Vocabulary) -> Schema:
        """Return what the events look like."""
        return schema_of(self, vocabulary)

    def observe(self, context: Context, vocabulary: Vocabulary) -> Observed:
        """Read what others moved, one event each, and then what was observed, as one more.

        Raises:
            ValueError: the context has no observation, or one of another length; or what it holds
                is no list of moves, or no number.
        """
        heard = vocabulary.indexes(_units(context, MOVES) or ())
        numbers = self._features(context)
        features = np.zeros((len(heard) + len(numbers), self.features), np.float32)
        features[len(heard) :] = numbers
        return np.concatenate([heard, np.full(len(numbers), -1, np.int32)]), features

    def _features(self, context: Context) -> npt.NDArray[np.float32]:
        """Return what a policy reads of a context, [1, F], or [0, F] where it says nothing."""
        wished = ASKED in context and self._wishes > 0
        if not self.observations.numbers and not wished:
            return np.zeros((0, self.features), np.float32)
        if OBSERVATION not in context and hindsight.OUTCOME in context:
            return np.zeros((0, self.features), np.float32)  # an end without its last observation
        read = self.observations.read(self._numbers(context))
        return np.concatenate([read, self._wish(context)], axis=1) if self._wishes else read

    def _numbers(self, context: Context) -> npt.NDArray[np.float32]:
        """Return the numbers that were observed, [1, W].

        Raises:
            ValueError: there are none, or of another length, or too large for 32 bits.
        """
        given = context.get(OBSERVATION)
        try:
            with np.errstate(over="ignore"):
                seen = np.asarray([] if given is None else given, np.float32).reshape(1, -1)
        except (TypeError, ValueError):
            raise RecordError(OBSERVATION, "is no list of numbers", "send one") from None
        if seen.shape[1] != self.observations.numbers:
            raise ValueError(
                f"a context of {self.options.game or 'this game'} needs {OBSERVATION!r}, a list of "
                f"{self.observations.numbers} numbers; this one has {seen.shape[1]}"
            )
        if not np.isfinite(seen).all():
            raise RecordError(
                OBSERVATION, "holds a number too large for 32 bits", "send what was observed"
            )
        return seen

    def _wish(self, context: Context) -> npt.NDArray[np.float32]:
        """Return what is asked for as numbers, [1, 2]: whether it is known, and where it lies."""
        asked = context.get(ASKED)
        if asked is None:
            return np.zeros((1, hindsight.NUMBERS), np.float32)
        if isinstance(asked, bool) or not isinstance(asked, int | float):
            raise RecordError(
                ASKED, f"is {asked!r}", "give the outcome that is asked for, a number"
            )
        return hindsight.wish(np.array([asked]), self._outcomes)

    @property
    def _outcomes(self) -> tuple[float, float]:
        return self.options.outcome_min, self.options.outcome_max

    def encode(
        self,
        snapshot: Snapshot,
        vocabulary: Vocabulary,
        *,
        rewards: npt.NDArray[np.float64] | None = None,
        matured: npt.NDArray[np.bool_] | None = None,
        gamma: float = 0.0,
    ) -> Streams:
        """Turn a snapshot or a rollout into streams, with the core's encoder."""
        return encode(self, snapshot, vocabulary, rewards=rewards, matured=matured, gamma=gamma)

    def in_hindsight(
        self, streams: Streams, snapshot: Snapshot, share: float, rng: np.random.Generator
    ) -> Streams:
        """Return streams as if what a match came to had been asked for, in a share of the matches.

        See :class:`heedful.contract.Hindsight`.
        """
        if not self._wishes:
            return streams
        columns = slice(self.features - self._wishes, self.features)
        return hindsight.in_hindsight(streams, snapshot, columns, self._outcomes, share, rng)

    def read_file(self, path: Path, findings: Findings, how: Reading) -> Iterator[FileRow]:
        """Yield the rows of a file; see :func:`heedful.domains.games.files.read_file`."""
        return files.read_file(self, path, findings, how)

    def choices(self, request: Mapping[str, object]) -> ChoiceSet:
        """Return the legal moves, of which the caller may allow or forbid some.

        ``request`` may hold ``legal``, ``allowed`` and ``forbidden``, lists of units. Of every
        factor of a move there is exactly one unit.
        """
        lists = {key: _units(request, key) for key in (LEGAL, "allowed", "forbidden")}
        legal, allowed, forbidden = lists[LEGAL], lists["allowed"], lists["forbidden"]
        if legal is not None and allowed is not None:
            legal = tuple(unit for unit in legal if unit in set(allowed))
        return ChoiceSet(
            allowed=allowed if legal is None else legal,
            forbidden=forbidden or (),
            groups=self._factors,
        )

    def environment(self, n: int, seed: int, options: Mapping[str, Any]) -> Game | None:
        """Return ``n`` games side by side, stepped as a vector where the game offers that.

        Of a game that is known from logs alone there are none.

        Args:
            n: how many.
            seed: not used: the environment is seeded when it is reset.
            options: of the environment, beside those of the domain. ``group``, how many are asked
                the same, means nothing here: games part ways with their first moves.

        Raises:
            GameError: it cannot be made.
        """
        return self.around(self._made(n, options)) if self.options.game else None

    def around(self, environment: VectorEnv[Any, Any, Any]) -> Game:
        """Return ``environment``, which has the spaces of this game, as rows of numbers."""
        return Game(
            environment,
            self.options.game,
            self.observations,
            self.moves,
            bounded=self.options.bounded,
            wishes=self._wishes,
        )

    def context(self, observation: npt.NDArray[Any]) -> Context:
        """Return a row of :class:`~heedful.domains.games.Game` as a context."""
        read = self.observations
        numbers = [
            int(number) if whole else float(number)
            for number, whole in zip(observation, read.whole, strict=False)
        ]
        context: dict[str, Any] = {OBSERVATION: numbers[0] if read.numbers == 1 else numbers}
        legal = observation[read.numbers :] > 0
        if not legal.all():
            context[LEGAL] = [
                unit for unit, may in zip(self.moves.units, legal, strict=True) if may
            ]
        return context

    def action(self, units: Sequence[str], vocabulary: Vocabulary) -> npt.NDArray[np.int64]:
        """Return the value of each factor of a move, [length]."""
        return self.moves.values(units)

    def show(self, steps: Sequence[Step], start: int, *, text: bool) -> Sequence[Scene]:
        """Return what is seen in a clip of a logged episode; see `clips.shown`."""
        if not self.options.game:
            return [words(step) for step in steps[start:]]
        read, moves = self.observations, self.moves
        return shown(
            self._one,
            steps,
            start,
            move=lambda units: moves.native(moves.values(units)[None])[0],
            numbers=lambda step: self._numbers(step.context)[0],
            row=read.row,
            text=text,
        )

    def _one(self, mode: str | None) -> gymnasium.Env[Any, Any]:
        """Return one game, rendered in this mode."""
        given = dict(self.options.given)
        if mode is not None:  # to be looked at: what is wrong with it was said when it was played
            given |= {"render_mode": mode, "disable_env_checker": True}
        made = self._tried(lambda: gymnasium.make(self.options.game, **given))
        return cast("gymnasium.Env[Any, Any]", made)

    def match(self) -> BoardMatch:
        """Return a new game of two; see :class:`heedful.contract.playing.Playing`.

        Raises:
            ValueError: the game is none of the boards.
        """
        board = board_within(self.options.game, self.options.given)
        if board is None:
            raise ValueError(
                f'[domain] game = "{self.options.game}" is no game of two in turn that is known '
                "here: people play on the boards, such as heedful/ConnectFour-v0"
            )
        return BoardMatch(board, self.context)

    @cached_property
    def _spaces(self) -> tuple[Observations, Moves | None]:
        options = self.options
        if not options.game:
            anything = gymnasium.spaces.Box(-np.inf, np.inf, (options.observed,), np.float32)
            return Observations(anything), None
        one = self._one(None)
        try:
            observations = Observations(one.observation_space, one_hot=options.one_hot)
            return observations, Moves(one.action_space, bins=options.bins)
        finally:
            one.close()

    @cached_property
    def _factors(self) -> tuple[Group, ...]:
        if self.length == 1:
            return ()
        return tuple(
            Group(units=self.moves.units[part], least=1, most=1, name=f"factor {number}")
            for number, part in enumerate(self.moves.factors)
        )

    def _made(self, n: int, options: Mapping[str, Any]) -> VectorEnv[Any, Any, Any]:
        game, given = self.options.game, {**self.options.given, **options}
        given.pop("group", None)

        def make() -> VectorEnv[Any, Any, Any]:
            spec = gymnasium.spec(game)
            if spec.vector_entry_point is not None and not spec.additional_wrappers:
                return gymnasium.make_vec(game, n, **given)
            same = {"autoreset_mode": AutoresetMode.SAME_STEP}  # a step that only resets is lost
            return gymnasium.make_vec(
                game, n, vectorization_mode="sync", vector_kwargs=same, **given
            )

        return cast("VectorEnv[Any, Any, Any]", self._tried(make))

    def _tried(self, make: Any) -> Any:
        """Return what ``make`` does, or say what stands against it."""
        try:
            return make()
        except (gymnasium.error.Error, ImportError, TypeError) as error:
            raise GameError(
                f'[domain] game = "{self.options.game}" cannot be made: {error}. Give the id of an '
                "environment that gymnasium.pprint_registry() lists, or module:id of your own, "
                "and options that it knows; Box2D's games need pip install 'heedful[games]'"
            ) from error


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _units(request: Mapping[str, object], key: str) -> tuple[str, ...] | None:
    given = request.get(key)
    if given is None:
        return None
    if not isinstance(given, list | tuple) or not all(isinstance(unit, str) for unit in given):
        raise ValueError(f"{key}: expected a list of moves, each a string")
    return tuple(given)


def _moves_of(snapshot: Snapshot) -> set[str]:
    """Return all moves that a log speaks of: made, heard of, or possible."""
    found = set(snapshot.names.units)
    for choices in snapshot.names.choice_sets:
        found.update(choices.allowed or ())
    contexts = snapshot.decisions.contexts
    for row in np.flatnonzero(np.diff(contexts.offsets)).tolist():
        found.update(_units(json.loads(contexts[row]), MOVES) or ())
    return found

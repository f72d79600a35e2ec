"""``heedful play``: a game against what is live, move by move."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import typer

from heedful.cli.options import Folder, Json, Settings, overrides, somebody
from heedful.cli.outcome import outcome, say
from heedful.cli.output import console, print_json

if TYPE_CHECKING:
    from heedful.contract.playing import Match
    from heedful.serve import Service

QUIT = "q"
KEYS = "You are {sign} and {begin}. Type your move and Enter; {quit} quits."
RESULTS = ("won", "drawn", "lost")


class Seat(StrEnum):
    """Where a person sits."""

    first = "first"
    second = "second"
    alternate = "alternate"


def play(
    workspace: Folder,
    version: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Whom to play; the live one by default.")
    ] = None,
    seat: Annotated[
        Seat, typer.Option(help="Whether you begin; alternate: you begin every other game.")
    ] = Seat.alternate,
    games: Annotated[
        int, typer.Option(metavar="N", min=1, help="How many games; q ends them earlier.")
    ] = 1,
    user: Annotated[
        str, typer.Option(metavar="USER", help="Who plays; by default your login name.")
    ] = "",
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Play against a version; its moves and how the game ends are logged.

    Lines can be piped, one move each: its moves are on stdout then, the board on stderr. A game
    that is left with q, or at the end of the input, is in the log as cut off.
    """
    with outcome(interrupted="stopped; what was played is in the log, cut off"):
        from heedful.contract.playing import Playing
        from heedful.workspace import Workspace

        with Workspace.open(workspace, overrides(settings)) as opened:
            domain = opened.domain
            if not isinstance(domain, Playing):
                raise ValueError(
                    f"{workspace}: decisions of the domain {domain.name} are no moves of a game, "
                    "so there is nothing to play"
                )
            domain.match()  # better now than when a version was loaded
            with opened.serving(version=version) as service:
                deciding = service.deciding()
                if deciding.live is None:
                    raise ValueError(deciding.absence)
                screen = Terminal() if sys.stdin.isatty() and not json else Pipe(told=not json)
                table = Table(service, somebody(user), screen)
                for number in range(games):
                    begins = seat is Seat.first or (seat is Seat.alternate and number % 2 == 0)
                    if not table.game(domain.match(), person=0 if begins else 1):
                        break
        counts = table.counts
        if json:
            print_json({"policy": deciding.live, **counts})
        else:
            told = ", ".join(f"{n} {name}" for name, n in counts.items() if n)
            say(f"Against {deciding.live}: {told or 'nothing played'}.")


class Pipe:
    """Moves from stdin, those of the version to stdout, the rest to stderr.

    Args:
        told: whether its moves go to stdout; else they do not.
    """

    def __init__(self, *, told: bool = True) -> None:
        self._told = told

    def ask(self, question: str) -> str | None:
        """Return the next line; ``None`` where there is none."""
        line = sys.stdin.readline()
        return line.strip() if line else None

    def show(self, board: str) -> None:
        """Show how the game stands."""
        say(f"{board}\n")

    def moved(self, key: str, version: str) -> None:
        """Say what the version plays."""
        if self._told:
            print(key, flush=True)

    def note(self, words: str) -> None:
        """Say something else."""
        say(words)


class Terminal(Pipe):
    """The same for somebody who looks on."""

    def __init__(self) -> None:
        super().__init__()
        with suppress(ImportError):
            import_module("readline")  # lines can be edited
        self._console = console()

    def ask(self, question: str) -> str | None:
        """Return what is typed next; ``None`` at Ctrl-D."""
        try:
            return input(f"{question} > ").strip()
        except EOFError:
            print()
            return None

    def show(self, board: str) -> None:
        """Show how the game stands, indented."""
        self._console.print("\n" + "\n".join(f"    {line}" for line in board.splitlines()) + "\n")

    def moved(self, key: str, version: str) -> None:
        """Say what the version plays."""
        self._console.print(f"{version} plays {key}", style="bold cyan")

    def note(self, words: str) -> None:
        """Say something else."""
        self._console.print(words, style="dim")


class Table:
    """Games of one person, one after the other.

    Attributes:
        counts: how they ended for the person.
    """

    def __init__(self, service: Service, user: str, screen: Pipe) -> None:
        self._service, self._user, self._screen = service, user, screen
        self.counts = dict.fromkeys([*RESULTS, "cut off"], 0)

    def game(self, match: Match, *, person: int) -> bool:
        """Play a match; the person sits at ``person``. Return whether it came to its end."""
        from heedful.record import mint_id

        begin = "begin" if person == 0 else "answer"
        self._screen.note(KEYS.format(sign=match.sign(person), begin=begin, quit=QUIT))
        played = _Played(mint_id())
        try:
            over = self._moves(match, person, played)
        except KeyboardInterrupt:
            self._leave(played)
            raise
        if over:
            self._end(match, person, played)
        else:
            self._leave(played)
        return over

    def _moves(self, match: Match, person: int, played: _Played) -> bool:
        """Move in turn; return whether the match is over, and nobody has left it."""
        while not match.over:
            if match.turn == person:
                self._screen.show(match.show())
                unit = self._key(match)
                if unit is None:
                    return False
                match.play(unit)
            else:
                self._earned(match, 1 - person, played)
                if not self._answer(match, played):
                    return False
        self._screen.show(match.show())
        return True

    def _key(self, match: Match) -> str | None:
        """Return the unit that the person chooses; ``None`` where it quits."""
        legal = match.legal()
        while True:
            key = self._screen.ask("your move")
            if key is None or key.lower() == QUIT:
                return None
            if key in legal:
                return legal[key]
            said = f"{key!r} is no move now" if key else "Nothing was typed"
            self._screen.note(f"{said}: type one of {' '.join(legal)}, or {QUIT} to quit.")

    def _answer(self, match: Match, played: _Played) -> bool:
        """Let the version move; return whether it did."""
        from heedful.serve import DecisionRequest, HeldAnswer, ServiceError

        request = DecisionRequest(
            user=self._user, session=played.session, context=match.context(match.turn)
        )
        keys = {unit: key for key, unit in match.legal().items()}
        [answer] = self._service.decide([request])
        if isinstance(answer, ServiceError):
            self._screen.note(f"No answer: {answer}")
            return False
        if isinstance(answer, HeldAnswer):
            self._screen.note(
                "A person looks at this move first, and a game cannot wait for that: play with "
                "--set serve.hold=0"
            )
            return False
        [unit] = answer.units
        match.play(unit)
        played.last = answer.id
        self._screen.moved(keys[unit], answer.policy)
        return True

    def _earned(self, match: Match, seat: int, played: _Played) -> None:
        """Log what the version's last move, and the answer to it, earned it."""
        from heedful.record import Kind
        from heedful.serve import FeedbackRequest

        if played.last is None:
            return
        earned = FeedbackRequest(decision=played.last, kind=Kind.REWARD, value=match.reward(seat))
        [receipt] = self._service.feedback([earned])
        if not receipt.kept:
            self._screen.note(f"The reward was not kept: {receipt.reason}")

    def _end(self, match: Match, person: int, played: _Played) -> None:
        """Log the end of a game, and say who has won."""
        from heedful.serve import EndRequest

        earned = match.reward(person)
        result = RESULTS[0 if earned > 0 else 2 if earned < 0 else 1]
        self.counts[result] += 1
        self._screen.note("Drawn." if earned == 0 else f"You have {result}.")
        self._earned(match, 1 - person, played)
        final = match.context(1 - person)
        self._service.end([EndRequest(user=self._user, session=played.session, context=final)])

    def _leave(self, played: _Played) -> None:
        """Log that a game was cut off; of one in which nobody decided there is nothing to log."""
        from heedful.serve import EndRequest

        self.counts["cut off"] += 1
        self._screen.note("Cut off; what was played is kept.")
        if played.last is not None:
            end = EndRequest(user=self._user, session=played.session, terminated=False)
            self._service.end([end])


@dataclass(slots=True)
class _Played:
    """What is in the log of a game: its session, and the version's last decision."""

    session: str
    last: str | None = None

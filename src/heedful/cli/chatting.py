"""``heedful chat``: talk to what is live, and say what you think of it."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import typer

from heedful.cli.options import Folder, Settings, overrides, somebody
from heedful.cli.outcome import outcome, say
from heedful.cli.output import WIDEST, console

if TYPE_CHECKING:
    from heedful.record import Kind, Value
    from heedful.serve import DecisionAnswer, Service

KEYS = """\
A line goes to {version}. One of these alone answers its last reply:
  +  -  thumb up, thumb down     c  comment     e  say what it should have said
  1 to 5  rating                 q  quit        (with a space in front they are said)
"""


def chat(
    workspace: Folder,
    user: Annotated[
        str, typer.Option(metavar="USER", help="Who talks; by default your login name.")
    ] = "",
    settings: Settings = None,
) -> None:
    """Talk to the live version; every reply and every answer is logged.

    A line is said; + or - alone gives the last reply a thumb, 1 to 5 a rating, c a comment, e what
    it should have said; q ends. Piped lines are read the same way, and replies alone are on stdout.
    """
    with outcome(interrupted="stopped; what was said is in the log"):
        from heedful.contract import Conversation
        from heedful.workspace import Workspace

        with Workspace.open(workspace, overrides(settings)) as opened:
            if not isinstance(opened.domain, Conversation):
                raise ValueError(
                    f"{workspace}: decisions of the domain {opened.domain.name} are no replies, so "
                    "there is nobody to talk to"
                )
            with opened.serving() as service:
                deciding = service.deciding()
                if deciding.live is None:
                    raise ValueError(deciding.absence)
                terminal = Terminal(deciding.live) if sys.stdin.isatty() else Pipe()
                Talk(service, somebody(user), terminal).run()


class Pipe:
    """Lines from stdin, replies to stdout, the rest to stderr."""

    def lines(self) -> Iterator[str]:
        """Yield what is said."""
        while (line := self.ask("")) is not None:
            yield line

    def ask(self, for_what: str) -> str | None:
        """Return the next line; ``None`` where there is none."""
        line = sys.stdin.readline()
        return line.rstrip("\r\n") if line else None

    def show(self, reply: str, version: str) -> None:
        """Show a reply."""
        print(reply, flush=True)

    def note(self, words: str) -> None:
        """Say what became of something."""
        say(words)


class Terminal(Pipe):
    """The same for somebody who looks on."""

    def __init__(self, version: str) -> None:
        with suppress(ImportError):
            import_module("readline")  # lines can be edited, and the arrows bring back old ones
        self._console = console()
        self._console.print(KEYS.format(version=version), style="dim")

    def ask(self, for_what: str) -> str | None:
        """Return what is typed next; ``None`` at Ctrl-D."""
        try:
            return input(f"{for_what or 'you':>7} > ")
        except EOFError:
            print()
            return None

    def show(self, reply: str, version: str) -> None:
        """Show a reply beside the version it is from."""
        from rich.text import Text

        # A reply is anybody's text: nothing in it may steer the terminal.
        reply = "".join(c if c.isprintable() or c.isspace() else "\ufffd" for c in reply)
        width = min(self._console.width, WIDEST) - 10
        lines = [
            part
            for line in reply.splitlines()
            for part in textwrap.wrap(line, width, break_on_hyphens=False) or [""]
        ] or ["(nothing)"]
        for number, line in enumerate(lines):
            label = f"{version:>7} > " if number == 0 else " " * 10
            self._console.print(Text.assemble((label, "bold cyan"), line))

    def note(self, words: str) -> None:
        """Say what became of something, beneath it."""
        self._console.print(" " * 10 + words, style="dim")


class Talk:
    """One conversation, from its first line to its end."""

    def __init__(self, service: Service, user: str, screen: Pipe) -> None:
        self._service, self._user, self._screen = service, user, screen
        self._messages: list[dict[str, str]] = []
        self._reply: DecisionAnswer | None = None
        self._given: dict[tuple[str, Kind], str] = {}

    def run(self) -> None:
        """Go on until somebody quits or has no more to say; that ends the conversation."""
        from heedful.serve import EndRequest

        for line in self._screen.lines():
            if line == "q":
                break
            if not line.strip():
                continue
            answer = self._answers().get(line)
            if answer is None:
                self._say(line)
            elif self._reply is None:
                self._screen.note("There is no reply yet to say this of.")
            else:
                answer(self._reply.id)
        if self._reply is not None:
            self._service.end([EndRequest(user=self._user, session=self._reply.session)])

    def _answers(self) -> dict[str, Callable[[str], None]]:
        """Return what each key does with the id of the last reply."""
        from heedful.record import Kind

        ratings: dict[str, Callable[[str], None]] = {
            str(stars): lambda about, stars=stars: self._tell(  # type: ignore[misc]
                about, Kind.RATING, float(stars), f"rated {stars}"
            )
            for stars in range(1, 6)
        }
        return {
            "+": lambda about: self._tell(about, Kind.CLICK, True, "thumb up"),
            "-": lambda about: self._tell(about, Kind.CLICK, False, "thumb down"),
            "c": lambda about: self._write(about, Kind.COMMENT, "comment"),
            "e": lambda about: self._write(about, Kind.DEMONSTRATION, "better"),
            **ratings,
        }

    def _say(self, line: str) -> None:
        from heedful.serve import DecisionRequest, HeldAnswer, ServiceError

        messages = [*self._messages, {"role": "user", "content": line.strip()}]
        [answer] = self._service.decide([DecisionRequest(user=self._user, messages=messages)])
        if isinstance(answer, ServiceError):
            self._screen.note(f"Not answered: {answer}")
            return
        if isinstance(answer, HeldAnswer):
            self._screen.note(f"A person looks at this reply first: heedful review, {answer.id}")
            return
        text = answer.text or ""
        self._messages = [*messages, {"role": "assistant", "content": text}]
        self._reply = answer
        self._screen.show(text, answer.policy)

    def _write(self, about: str, kind: Kind, what: str) -> None:
        text = self._screen.ask(what)
        if text is None or not text.strip():
            self._screen.note("Nothing was said, and nothing kept.")
            return
        self._tell(about, kind, text.strip(), f"{what} kept")

    def _tell(self, about: str, kind: Kind, value: Value, words: str) -> None:
        """Log one answer; who says another of its kind takes the earlier one back."""
        from heedful.record import Kind
        from heedful.serve import FeedbackRequest

        said = FeedbackRequest(decision=about, kind=kind, value=value)
        rows = [said]
        earlier = self._given.get((about, kind)) if kind is not Kind.COMMENT else None
        if earlier is not None:
            rows.insert(0, FeedbackRequest(decision=about, kind=kind, retracts=earlier))
        receipt = self._service.feedback(rows)[-1]
        if receipt.kept:
            self._given[about, kind] = said.id
        self._screen.note(words if receipt.kept else f"Not kept: {receipt.reason}")

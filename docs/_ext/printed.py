"""What the program itself says: help texts, settings, and formulas as docstrings have them.

``{help} VERB`` shows ``heedful VERB --help`` and ``{settings}`` the heedful.toml that ``heedful
init`` writes, both asked for when the pages are built.
"""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from typer.testing import CliRunner

from heedful.cli.app import command
from heedful.config import template


class Help(SphinxDirective):
    """The help of the command, or of the verb in the argument."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return it as it is printed."""
        result = CliRunner().invoke(
            command(), [*self.arguments, "--help"], prog_name="heedful", env={"COLUMNS": "90"}
        )
        if result.exit_code:
            raise self.error(f"heedful {self.arguments} --help: {result.output}")
        return [nodes.literal_block(text=result.output, language="text")]


class Settings(SphinxDirective):
    """The documented heedful.toml."""

    def run(self) -> list[nodes.Node]:
        """Return the template of the built-in domain."""
        return [nodes.literal_block(text=template("recommendation"), language="toml")]


def set_formulas(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Set indented paragraphs as code: in our docstrings they are formulas.

    Runs after napoleon: what is still indented then belongs to a field, or is such a paragraph.
    """
    result: list[str] = []
    inside = False  # a field, a directive, an example, or a formula that has begun
    for before, line in zip(["", *lines], lines, strict=False):
        indented = line.startswith("    ")
        if line.strip() and not line.startswith(" "):
            inside = line.startswith((":", "..", ">>>"))
        if indented and not before.strip() and not inside:
            result += ["::", ""]
            inside = True
        result.append(line if indented or "`" in line else line.replace("|", r"\|"))
    lines[:] = result


class Constants:
    """Keeps napoleon from reading "type: meaning" into what is said about a constant."""

    def __init__(self) -> None:
        self.said: dict[str, list[str]] = {}

    def put_away(
        self, app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
    ) -> None:
        """Keep what is said, before napoleon reads it."""
        if what == "data":
            self.said[name] = list(lines)

    def put_back(
        self, app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
    ) -> None:
        """Say it again, after napoleon."""
        lines[:] = self.said.pop(name, lines)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives, and the hooks around napoleon's, which has priority 500."""
    constants = Constants()
    app.add_directive("help", Help)
    app.add_directive("settings", Settings)
    app.connect("autodoc-process-docstring", constants.put_away, priority=400)
    app.connect("autodoc-process-docstring", constants.put_back, priority=600)
    app.connect("autodoc-process-docstring", set_formulas, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

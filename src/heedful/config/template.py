"""The documented ``heedful.toml``, written from the declarations so that it cannot drift."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import getdoc

from pydantic.fields import FieldInfo

from heedful.config.explain import keys_of, tables
from heedful.config.fields import allowed_values, toml, unit_of

HEADER = """\
# What heedful learns here, from what, and judged how.
# Every key stands here with its default. What counts: a flag before an environment variable
# (HEEDFUL_SECTION_KEY) before this file before the default.
"""


def template(domain: str) -> str:
    """Return the file that ``heedful init`` writes: every key, its default and what it means.

    Args:
        domain: the name of the domain the workspace is for.

    >>> print(template("games").splitlines()[6])
    domain = "games"  # what a unit is: the name of a domain
    """
    written = HEADER
    for table in tables():
        lines = _lines(table, {"domain": domain} if table == "workspace" else {})
        written += "\n" + "\n".join(lines) + "\n"
    return written


def _lines(table: str, values: dict[str, object]) -> Iterator[str]:
    section = tables()[table]
    kind = section.annotation
    about = section.description or (getdoc(kind) if isinstance(kind, type) else "") or ""
    yield f"# {about.splitlines()[0]}"
    yield f"[{table}]"
    for name, field in keys_of(table).items():
        yield f"{_assignment(name, values.get(name, field.default))}  # {_comment(field)}"


def _assignment(name: str, value: object) -> str:
    return f"# {name} =" if value is None else f"{name} = {toml(value)}"


def _comment(field: FieldInfo) -> str:
    notes = [unit_of(field), allowed_values(field)]
    if field.default is None:
        notes.append("not set")
    known = "; ".join(note for note in notes if note)
    return f"{field.description} ({known})" if known else f"{field.description}"

"""The documented ``heedful.toml``, written from the declarations so that it cannot drift."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from inspect import getdoc

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from heedful.config.explain import keys_of, tables
from heedful.config.fields import allowed_values, toml, unit_of

HEADER = """\
# What heedful learns here, from what, and judged how.
# Every key stands here, with its default or with what suits the domain better. What counts: a flag
# before an environment variable (HEEDFUL_SECTION_KEY) before this file before the default.
"""


def template(
    domain: str,
    *,
    suits: Mapping[str, object] | None = None,
    options: type[BaseModel] | None = None,
) -> str:
    """Return the file that ``heedful init`` writes: every key, its value and what it means.

    Args:
        domain: the name of the domain the workspace is for.
        suits: values that suit the domain better than the defaults, by ``section.key``.
        options: the keys the domain reads under ``[domain]``.

    >>> print(template("games").splitlines()[6])
    domain = "games"  # what a unit is: the name of a domain
    """
    values = {"workspace.domain": domain, **(suits or {})}
    written = HEADER
    for table in tables():
        fields = keys_of(table)
        if table == "domain" and options is not None:
            fields = options.model_fields
        mine = {name: values[f"{table}.{name}"] for name in fields if f"{table}.{name}" in values}
        written += "\n" + "\n".join(_lines(table, fields, mine)) + "\n"
    return written


def _lines(
    table: str, fields: Mapping[str, FieldInfo], values: Mapping[str, object]
) -> Iterator[str]:
    section = tables()[table]
    kind = section.annotation
    about = section.description or (getdoc(kind) if isinstance(kind, type) else "") or ""
    yield f"# {about.splitlines()[0]}"
    yield f"[{table}]"
    for name, field in fields.items():
        yield f"{_assignment(name, values.get(name, field.default))}  # {_comment(field)}"


def _assignment(name: str, value: object) -> str:
    return f"# {name} =" if value is None else f"{name} = {toml(value)}"


def _comment(field: FieldInfo) -> str:
    notes = [unit_of(field), allowed_values(field)]
    if field.default is None:
        notes.append("not set")
    known = "; ".join(note for note in notes if note)
    return f"{field.description} ({known})" if known else f"{field.description}"

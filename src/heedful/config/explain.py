"""From pydantic's errors to problems that name place, key, value and remedy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from heedful.config.errors import ConfigError, Problem
from heedful.config.fields import allowed_values, toml
from heedful.config.section import Section
from heedful.config.sections import Config

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Options = TypeVar("Options", bound=BaseModel)

LONGEST_VALUE = 80


@cache
def tables() -> dict[str, FieldInfo]:
    """Return the tables of the file by the names they have there."""
    return {field.alias or name: field for name, field in Config.model_fields.items()}


def keys_of(table: str) -> dict[str, FieldInfo]:
    """Return the keys of a table; none for ``[domain]``, whose keys are the domain's."""
    field = tables().get(table)
    kind = None if field is None else field.annotation
    if isinstance(kind, type) and issubclass(kind, Section):
        return kind.model_fields
    return {}


def problems_of(
    error: ValidationError,
    data: Mapping[str, Any],
    file: str,
    text: str,
    origins: Mapping[tuple[str, str], str],
) -> list[Problem]:
    """Return one problem per key at fault, in the order of the tables.

    Args:
        error: what pydantic found.
        data: what it was given, by table and key.
        file: the name of the file, for whatever came from nowhere else.
        text: the file's text, to find lines in.
        origins: where a key came from, if not from the file.
    """
    problems: dict[tuple[str, str], Problem] = {}
    for detail in error.errors(include_url=False):
        names = [str(part) for part in detail["loc"][:2]]
        table, key = names[0], names[1] if len(names) == 2 else ""
        origin = origins.get((table, key))
        problem = Problem(
            source=origin or file,
            key=f"{table}.{key}" if key else f"[{table}]",
            problem=_what(detail),
            found=_found(data, table, key),
            allowed=_remedy(detail, table, key),
            line=None if origin else _line(text, table, key),
        )
        problems.setdefault((table, key), problem)
    return list(problems.values())


def checked_options(model: type[Options], found: Mapping[str, Any], source: str) -> Options:
    """Return what stands under ``[domain]`` as a domain's own ``model``.

    Args:
        model: its fields are the keys; a model of a domain forbids others.
        found: values by key.
        source: where they stand.

    Raises:
        ConfigError: an unknown key or a value that is not allowed; all of them.
    """
    try:
        return model.model_validate(dict(found))
    except ValidationError as error:
        problems = [
            _option_problem(detail, model.model_fields, found, source)
            for detail in error.errors(include_url=False)
        ]
        raise ConfigError(problems) from None


def _option_problem(
    detail: ErrorDetails, fields: Mapping[str, FieldInfo], found: Mapping[str, Any], source: str
) -> Problem:
    key = str(detail["loc"][0]) if detail["loc"] else ""
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, fields, n=1)
        remedy = f"did you mean {near[0]}?" if near else f"keys of [domain]: {', '.join(fields)}"
    else:
        values = allowed_values(fields[key]) if key in fields else ""
        remedy = f"allowed: {values}" if values else ""
    return Problem(
        source=source,
        key=f"domain.{key}" if key else "[domain]",
        problem=_what(detail),
        found=_found({"domain": found}, "domain", key),
        allowed=remedy,
    )


def _what(detail: ErrorDetails) -> str:
    if detail["type"] == "extra_forbidden":
        return "is unknown"
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"])
    if detail["type"] == "model_type":
        return "must be a table"
    return detail["msg"].replace("Input should", "should", 1)


def _found(data: Mapping[str, Any], table: str, key: str) -> str:
    under = data.get(table)
    if key and isinstance(under, Mapping) and key in under:
        text = toml(under[key])
        return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."
    return ""


def _remedy(detail: ErrorDetails, table: str, key: str) -> str:
    if detail["type"] != "extra_forbidden":
        field = keys_of(table).get(key)
        return f"allowed: {values}" if field and (values := allowed_values(field)) else ""
    if not key:
        near = difflib.get_close_matches(table, tables(), n=1)
        return f"did you mean [{near[0]}]?" if near else f"tables: {', '.join(tables())}"
    near = difflib.get_close_matches(key, keys_of(table), n=1)
    elsewhere = [other for other in tables() if key in keys_of(other)]
    if near:
        return f"did you mean {near[0]}?"
    if elsewhere:
        return f"that key belongs in [{elsewhere[0]}]"
    return f"keys of [{table}]: {', '.join(keys_of(table))}"


def _line(text: str, table: str, key: str) -> int | None:
    """Return the line of a key (or of its table) written in the usual way, else ``None``."""
    inside, header = False, None
    for number, line in enumerate(text.splitlines(), start=1):
        if match := re.match(r"\s*\[\s*([^\[\]]+?)\s*\]", line):
            inside = match[1].strip("\"'") == table
            header = number if inside else header
        elif inside and key and re.match(rf"""\s*["']?{re.escape(key)}["']?\s*=""", line):
            return number
    return header

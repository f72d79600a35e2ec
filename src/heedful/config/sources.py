"""Reading a configuration: flag before environment before file before default."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_origin

from pydantic import ValidationError

from heedful.config.errors import ConfigError, Problem
from heedful.config.explain import keys_of, problems_of, tables
from heedful.config.sections import Config

FILE_NAME = "heedful.toml"
PREFIX = "HEEDFUL_"


def load(
    path: str | Path,
    overrides: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Config:
    """Read and check the configuration of a workspace.

    Args:
        path: ``heedful.toml``, or the folder it lies in.
        overrides: flags by ``section.key``; text is read as TOML, ``None`` means not given.
        environment: variables, of which ``HEEDFUL_SECTION_KEY`` count; the process's by default.
            A variable whose second word is no table of the file is somebody else's and ignored.

    Raises:
        ConfigError: names every place, key, value found, and what is allowed.
    """
    file = Path(path)
    file = file / FILE_NAME if file.is_dir() else file
    text = _read(file)
    data = _parse(text, file)
    origins: dict[tuple[str, str], str] = {}
    variables = os.environ if environment is None else environment
    layers = (*_from_environment(variables), *_from_flags(overrides or {}))
    for source, table, key, value in layers:
        under = data.setdefault(table, {})
        if isinstance(under, dict):
            under[key] = value
            origins[table, key] = source
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError(problems_of(error, data, str(file), text, origins)) from None
    config._origins.update({f"{table}.{key}": source for (table, key), source in origins.items()})
    return config


def _read(file: Path) -> str:
    source = str(file)
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        remedy = "make a workspace with: heedful init FOLDER"
        problem = Problem(source=source, key="", problem="there is no such file", allowed=remedy)
    except UnicodeDecodeError as error:
        found = f"byte {error.start} is not UTF-8"
        problem = Problem(source=source, key="", problem=found, allowed="save the file as UTF-8")
    except OSError as error:
        problem = Problem(source=source, key="", problem=f"cannot be read: {error.strerror}")
    raise ConfigError([problem])


def _parse(text: str, file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(f"{text}\n")  # the newline turns "end of document" into a line number
    except tomllib.TOMLDecodeError as error:
        problem = Problem(
            source=str(file),
            key="",
            problem=f"is not TOML: {error}",
            allowed="text stands in quotes, tables in [brackets], see https://toml.io",
        )
        raise ConfigError([problem]) from None


def _from_environment(
    variables: Mapping[str, str],
) -> Iterator[tuple[str, str, str, object]]:
    for name in sorted(variables):
        table, _, key = name.removeprefix(PREFIX).lower().partition("_")
        if name.startswith(PREFIX) and key and table in tables():
            value = _typed(table, key, variables[name])
            yield f"environment variable {name}", table, key, value


def _from_flags(overrides: Mapping[str, object]) -> Iterator[tuple[str, str, str, object]]:
    for name, value in overrides.items():
        table, dot, key = name.partition(".")
        if not (dot and key):
            problem = Problem(source="flag", key=name, problem="is no key", allowed="section.key")
            raise ConfigError([problem])
        if value is not None:
            text = isinstance(value, str)
            yield f"flag {name}", table, key, _typed(table, key, value) if text else value


def _typed(table: str, key: str, text: Any) -> object:
    """Return what ``text`` says where TOML's quotes are not to be expected: in a shell."""
    field = keys_of(table).get(key)
    if field and (field.annotation is str or get_origin(field.annotation) is Literal):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text

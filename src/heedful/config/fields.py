"""How a key is declared, and what can be read back from its declaration.

A key's meaning, unit and bounds stand once, in :func:`key`. Checks, messages and the template that
``heedful init`` writes are all read from there.
"""

from __future__ import annotations

import json
from typing import Any, Literal, get_args, get_origin

import annotated_types
from pydantic import Field
from pydantic.fields import FieldInfo


def key(default: object, meaning: str, *, unit: str = "", **bounds: Any) -> Any:
    """Declare a key of ``heedful.toml``.

    Args:
        default: a default that works; ``None`` where leaving the key out means something.
        meaning: one line.
        unit: what the number counts.
        **bounds: ``ge``, ``gt``, ``le``, ``lt``, ``pattern``, ``max_length`` of pydantic's Field.
    """
    return Field(
        default=default,
        description=meaning,
        json_schema_extra={"unit": unit},
        validate_default=True,
        **bounds,
    )


def unit_of(field: FieldInfo) -> str:
    """Return the unit the key was declared with, empty where it has none."""
    extra = field.json_schema_extra
    return str(extra.get("unit", "")) if isinstance(extra, dict) else ""


def allowed_values(field: FieldInfo) -> str:
    """Return what the key may be, in words; empty where anything of its type may.

    >>> allowed_values(FieldInfo.from_annotated_attribute(int, Field(default=1, ge=0, lt=9e3)))
    '0 <= value < 9_000'
    >>> allowed_values(FieldInfo.from_annotation(Literal["auto", "cpu"]))
    '"auto", "cpu"'
    """
    if get_origin(field.annotation) is Literal:
        return ", ".join(map(toml, get_args(field.annotation)))
    low = high = ""
    for bound in field.metadata:
        if isinstance(bound, annotated_types.Ge):
            low = f"{_bound(bound.ge)} <= "
        elif isinstance(bound, annotated_types.Gt):
            low = f"{_bound(bound.gt)} < "
        elif isinstance(bound, annotated_types.Le):
            high = f" <= {_bound(bound.le)}"
        elif isinstance(bound, annotated_types.Lt):
            high = f" < {_bound(bound.lt)}"
    return f"{low}value{high}" if low or high else ""


def _bound(value: object) -> str:
    if isinstance(value, int | float) and value == int(value):
        return format(int(value), "_")
    return toml(value)


def toml(value: object) -> str:
    """Return ``value`` as TOML writes it.

    >>> print(toml({"click": 1.0}), toml([1, 2]), toml("yes"), toml(0.00005))
    { click = 1.0 } [1, 2] "yes" 0.00005
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _decimal(value)
    if isinstance(value, dict):
        pairs = ", ".join(f"{_toml_key(str(name))} = {toml(item)}" for name, item in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, str):
        # A JSON string is a TOML basic string but for DEL, which TOML wants escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value)


def _toml_key(name: str) -> str:
    bare = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return name if bare else toml(name)


def _decimal(value: float) -> str:
    """Return 0.00005 rather than 5e-05: it is read by people."""
    text = repr(value)
    if "e-" in text:
        digits, _, exponent = text.partition("e-")
        places = int(exponent) + len(digits.partition(".")[2])
        return f"{value:.{places}f}"
    return text

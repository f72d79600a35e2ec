"""What all tables of ``heedful.toml`` have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Number = Annotated[float, Field(ge=-1e9, le=1e9)]
NAME = r"^[a-z][a-z0-9_-]*$"
DAY = 86_400.0
YEAR = 365 * DAY


class Section(BaseModel):
    """A table of ``heedful.toml``: immutable, typed as TOML is, unknown keys refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, populate_by_name=True
    )

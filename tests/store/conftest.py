from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from heedful.record import Decision, End, Feedback, Kind
from heedful.store import Log


class Make:
    """Sound records with few words; whatever is given replaces the default."""

    @staticmethod
    def decision(id_: str, **given: Any) -> Decision:
        fields: dict[str, Any] = {
            "id": id_,
            "episode": "visit",
            "step": 0,
            "subject": "ann",
            "units": ("tea", "milk"),
            "logps": (-0.5, -1.25),
            "policy": "0001",
            "made_at": 100.0,
            "context": {},
            "choices": "all",
            "vocabulary": "words",
        }
        return Decision(**fields | given)

    @staticmethod
    def feedback(id_: str, about: Any, **given: Any) -> Feedback:
        fields: dict[str, Any] = {
            "id": id_,
            "by": "ann",
            "about": about,
            "kind": Kind.CLICK,
            "value": True,
            "given_at": 101.0,
            "received_at": 102.0,
        }
        return Feedback(**fields | given)

    @staticmethod
    def end(id_: str, **given: Any) -> End:
        fields: dict[str, Any] = {
            "id": id_,
            "episode": "visit",
            "terminated": True,
            "ended_at": 110.0,
            "context": {},
        }
        return End(**fields | given)


@pytest.fixture(scope="session")
def make() -> type[Make]:
    return Make


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    with Log.open(tmp_path / "log.db", write=True) as opened:
        yield opened

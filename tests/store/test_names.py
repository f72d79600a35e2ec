from __future__ import annotations

import pytest

from heedful.store import names


def test_codes_count_by_first_appearance_in_whatever_was_kept(log, make):
    """Names of an append that failed get no code, and leave no gap."""
    log.append([make.decision("a", units=("tea",), logps=(0.0,))])
    with pytest.raises(TypeError):
        log.append([make.decision("b", units=("lost", "gone"), logps=(0.0, 0.0)), None])
    log.append([make.decision("c", units=("milk", "tea"), logps=(0.0, 0.0))])
    snapshot = log.snapshot()
    assert list(snapshot.names.units) == ["tea", "milk"]
    assert snapshot.decisions.units.tolist() == [0, 1, 0]


def test_what_it_forgets_it_looks_up(log, make, monkeypatch):
    monkeypatch.setattr(names, "FORGET_AFTER", 2)
    for i in range(9):
        units = (f"u{i % 5}", f"u{(i + 1) % 5}")
        log.append([make.decision(f"d{i}", units=units)])
    assert list(log.snapshot().names.units) == [f"u{i}" for i in range(5)]

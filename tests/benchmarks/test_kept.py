import pytest

from benchmarks import _kept


class Counting:
    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return {"ndcg": [0.1, 0.2], "call": self.calls}


@pytest.fixture
def compute(monkeypatch, tmp_path):
    monkeypatch.setattr(_kept, "FOLDER", tmp_path / "kept")
    return Counting()


def keep(compute, **changes):
    return _kept.keep(
        compute, **{"code": ["benchmarks.ml_100k"], "settings": {"seed": 0}, **changes}
    )


def test_a_part_is_measured_once(compute):
    first = keep(compute)
    assert keep(compute) == first == {"ndcg": [0.1, 0.2], "call": 1}


def test_other_settings_code_or_data_are_measured_anew(compute, tmp_path):
    data = tmp_path / "data.csv"
    data.write_text("1")
    keep(compute)
    keep(compute, settings={"seed": 1})
    keep(compute, code=["benchmarks.ml_100k", "benchmarks.gate"])
    keep(compute, data=[data])
    assert compute.calls == 4
    data.write_text("2")
    assert keep(compute, data=[data])["call"] == 5
    data.write_text("1")
    assert keep(compute, data=[data])["call"] == 4


def test_a_part_that_broke_off_is_measured_again(compute):
    def broken():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keep(broken)
    assert keep(compute)["call"] == 1

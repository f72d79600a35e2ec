import io
from collections.abc import Iterator

import pytest

from heedful.loop.progress import Bar, Clock, Lines, reporter, span


class Time:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    with io.StringIO() as out:
        yield out


def test_a_line_comes_every_few_seconds_and_not_more_often(time: Time, out: io.StringIO) -> None:
    lines = Lines("pretrain", out, now=time)
    for step in range(1, 25):
        time.now += 1.0
        lines.update(step, 1_000, f"loss {step}")
    written = out.getvalue().splitlines()
    assert written[0] == "pretrain: 5 of 1,000, 16 min 35 s left, loss 5"
    assert [line.split()[1] for line in written] == ["5", "10", "15", "20"]


def test_short_work_says_nothing(time: Time, out: io.StringIO) -> None:
    lines = Lines("reading", out, now=time)
    lines.update(1, 2)
    lines.update(2, 2)
    lines.close()
    assert out.getvalue() == ""


def test_work_that_is_taken_up_again_is_not_thought_to_be_fast(time: Time) -> None:
    clock = Clock(time)
    assert clock.left(90, 100) == ""
    time.now = 10.0
    assert clock.left(91, 100) == "1 min 30 s left"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.6, "1 min 00 s"), (3599, "59 min 59 s"), (3600, "1 h 00 min")],
)
def test_spans(seconds: float, words: str) -> None:
    assert span(seconds) == words


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_and_a_pipe_gets_lines() -> None:
    shown = reporter("pretrain", Terminal())
    assert isinstance(shown, Bar)
    shown.close()
    assert isinstance(reporter("pretrain", io.StringIO()), Lines)


def test_the_bar_shows_how_far_it_is_and_text_that_looks_like_markup() -> None:
    out = Terminal()
    bar = Bar("pretrain", out)
    bar.update(3, 30, "validation [0.1, 0.2]")
    bar.close()
    assert "3/30" in out.getvalue()
    assert "[0.1, 0.2]" in out.getvalue()

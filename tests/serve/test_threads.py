"""Which conversation goes on."""

from heedful.serve.threads import Threads


def said(*words: str) -> list[dict[str, str]]:
    """Return messages, the user's and the assistant's by turns."""
    return [
        {"role": "assistant" if number % 2 else "user", "content": word}
        for number, word in enumerate(words)
    ]


def test_only_what_is_new_is_new() -> None:
    threads = Threads()
    assert threads.find(said("hi")) == (None, said("hi"))
    threads.goes_on("one", said("hi"), "ho")
    [again] = said("again")
    assert threads.find(said("hi", "ho", "again")) == ("one", [again])
    threads.goes_on("one", [again], "yes")
    assert threads.find(said("hi", "ho", "again", "yes", "and")) == ("one", said("and"))


def test_an_earlier_place_or_another_past_is_another_conversation() -> None:
    threads = Threads()
    threads.goes_on("one", said("hi"), "ho")
    threads.goes_on("one", said("again"), "yes")
    for other in (
        said("hi"),  # asked once more
        said("hi", "ho", "again"),  # the last reply is to be another one
        said("hi", "HO", "again", "yes", "and"),  # a reply was edited
        said("hi", "ho", "again", "yes"),  # nothing is new
        said("hi", "ho")[1:],
    ):
        assert threads.find(other) == (None, other)


def test_space_around_does_not_count_and_what_stands_between_does() -> None:
    threads = Threads()
    threads.goes_on("one", said("hi"), " ho \n")
    assert threads.find(said("hi", "ho", "x"))[0] == "one"
    threads.goes_on("two", said("a b"), "c")
    assert threads.find(said("a  b", "c", "x"))[0] is None
    assert threads.find([{"role": "system", "content": "a b"}, *said("", "c", "x")[1:]])[0] is None


def test_what_others_said_since_is_new() -> None:
    threads = Threads()
    threads.goes_on("one", said("hi"), "ho")
    episode, new = threads.find(said("hi", "ho", "x", "somebody else's", "y"))
    assert episode == "one"
    assert [message["content"] for message in new] == ["x", "somebody else's", "y"]


def test_two_alike_and_one_that_ended() -> None:
    threads = Threads()
    threads.goes_on("one", said("hi"), "ho")
    threads.goes_on("two", said("hi"), "ho")
    assert threads.find(said("hi", "ho", "x"))[0] == "two"
    threads.end("one")
    assert threads.find(said("hi", "ho", "x"))[0] == "two"
    threads.end("two")
    assert threads.find(said("hi", "ho", "x"))[0] is None

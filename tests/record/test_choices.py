import pytest

from heedful.record import ALL, ChoiceSet, Group, RecordError


def test_sets_without_groups_keep_the_names_they_have_in_older_logs() -> None:
    assert ChoiceSet().digest() == ALL
    assert ChoiceSet(allowed=("a", "b")).digest() == "b30e35f7bf3646ff8c36206d0b7f79a1"
    other = ChoiceSet(forbidden=("x",), seen=False, repeat=True, end="e")
    assert other.digest() == "17bdf96be2acdce47e56be45390f868f"
    assert ChoiceSet(forbidden=("x",)).body() == (
        '{"allowed":null,"end":null,"forbidden":["x"],"repeat":false,"seen":true}'
    )


def test_groups_that_say_nothing_are_no_part_of_a_set() -> None:
    idle = (Group(units=("a",)), Group(units=(), most=1, penalty=2.0))
    assert ChoiceSet(groups=idle).digest() == ALL
    assert ChoiceSet(groups=(Group(units=("a",), most=0),)).digest() != ALL


def test_groups_are_read_back_as_they_were_written() -> None:
    groups = (
        Group(units=("b", "a", "b"), least=1, most=2, name="here"),
        Group(units=("c",), most=0),
        Group(units=("a", "c"), penalty=0.1),
    )
    choices = ChoiceSet(groups=groups, forbidden=("z",)).within(3)
    again = ChoiceSet.from_body(choices.body())
    assert again.digest() == choices.digest()
    assert again.places == 3
    assert Group(units=("a", "b"), least=1, most=2) in again.groups
    reordered = ChoiceSet(groups=groups[::-1], forbidden=("z",)).within(3)
    assert reordered.digest() == choices.digest()
    assert choices.digest() != choices.within(4).digest()


def test_the_same_penalty_twice_counts_twice() -> None:
    once = ChoiceSet(groups=(Group(units=("a",), penalty=1.0),))
    twice = ChoiceSet(groups=once.groups * 2)
    assert len(ChoiceSet.from_body(twice.body()).groups) == 2
    assert once.digest() != twice.digest()


def test_what_is_required_of_no_stated_length_has_no_name() -> None:
    with pytest.raises(RecordError, match="within"):
        ChoiceSet(groups=(Group(units=("a",), least=1),)).digest()
    limits = ChoiceSet(groups=(Group(units=("a",), most=1),))
    assert limits.within(3) is limits, "limits do not depend on the length"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"least": -1}, r"cap.0.least: is -1"),
        ({"most": 1.5}, r"cap.0.most: is 1.5"),
        ({"most": True}, r"cap.0.most: is True"),
        ({"least": 2, "most": 1}, r"cap.0: requires 2 units and allows 1"),
        ({"penalty": -0.5}, r"cap.0.weight: is -0.5"),
        ({"penalty": float("nan")}, r"cap.0.weight: is nan"),
        ({"units": ("",)}, r"cap.0: is empty"),
    ],
)
def test_unsound_groups_are_refused(fields, message) -> None:
    with pytest.raises(RecordError, match=message):
        Group(**{"units": ("a",), "name": "cap.0", **fields})


def test_a_cap_of_none_leaves_nothing_where_it_covers_all() -> None:
    with pytest.raises(RecordError, match="nothing to choose"):
        ChoiceSet(allowed=("a",), groups=(Group(units=("a", "b"), most=0),))

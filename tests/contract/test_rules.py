import pytest

from heedful.contract import Categories, as_rule, groups_of, units_named
from heedful.contract.rules import Rulebook, asks_by_fact, by_name
from heedful.policy import Vocabulary
from heedful.record import ChoiceSet, Described, Description, Group, RecordError
from heedful.store import Log

FILMS = {
    "f1": {"genres": ["Drama"], "studio": "A", "year": 1999},
    "f2": {"genres": ["Drama", "War"], "studio": "B"},
    "f3": {"genres": [], "studio": None},
    "f4": {},
}
CATEGORIES = Categories(FILMS)


def groups(request: dict[str, object]) -> set[tuple[str, tuple[str, ...]]]:
    return {(group.name, group.units) for group in groups_of(by_name(request, CATEGORIES))}


def test_units_by_name_need_no_descriptions() -> None:
    request = {
        "require": [{"least": 1, "units": ["a"]}],
        "cap": [{"most": 2, "units": ["b", "c"]}],
        "diversity": [{"weight": 0.5, "units": ["d"]}],
    }
    assert groups_of(request) == (
        Group(units=("a",), least=1),
        Group(units=("b", "c"), most=2),
        Group(units=("d",), penalty=0.5),
    )
    assert not asks_by_fact(request)
    assert list(units_named(request)) == ["a", "b", "c", "d"]
    assert groups_of({"allowed": ["a"]}) == ()


def test_a_fact_makes_a_group_of_each_category() -> None:
    expected = {("cap.0 (Drama)", ("f1", "f2")), ("cap.0 (War)", ("f2",))}
    assert groups({"cap": [{"most": 2, "fact": "genres"}]}) == expected
    assert groups({"cap": {"genres": 2}}) == expected
    assert groups({"cap": {"studio": 1}}) == {("cap.0 (A)", ("f1",)), ("cap.0 (B)", ("f2",))}
    one = {"require": [{"least": 1, "fact": "genres", "is": "War"}]}
    assert groups(one) == {("require.0", ("f2",))}
    assert asks_by_fact(one)
    assert list(units_named(one)) == []


def test_units_that_cannot_be_chosen_anyway_are_left_out() -> None:
    request = {"allowed": ["f1", "f4"], "cap": {"genres": 2}}
    assert groups(request) == {("cap.0 (Drama)", ("f1",)), ("cap.0 (War)", ())}
    request = {"forbidden": ["f1"], "cap": {"genres": 2}}
    assert groups(request) == {("cap.0 (Drama)", ("f2",)), ("cap.0 (War)", ("f2",))}


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"cap": 3}, "cap: must be a list, not int"),
        ({"cap": ["x"]}, "cap.0: must be an object, not str"),
        ({"cap": [{"most": 1}]}, "cap.0: needs either units or a fact"),
        ({"cap": [{"most": 1, "units": ["a"], "fact": "b"}]}, "cap.0: needs either units or a fac"),
        ({"cap": [{"most": 1, "units": ["a"], "of": 1}]}, "cap.0: has a key that is not known"),
        ({"cap": [{"least": 1, "units": ["a"]}]}, "cap.0: has a key that is not known"),
        ({"cap": [{"units": ["a"]}]}, 'cap.0: says no "most"'),
        ({"cap": [{"most": 1, "units": "a"}]}, "cap.0: names no units"),
        ({"cap": [{"most": 1, "units": ["a"], "is": "x"}]}, "cap.0: has an is without a fact"),
        ({"diversity": [{"weight": -1, "units": ["a"]}]}, "diversity.0.weight: is -1"),
        ({"require": [{"least": "1", "units": ["a"]}]}, "require.0.least: is '1'"),
        ({"cap": [{"most": 1, "units": [7]}]}, "cap.0: must be text, not int"),
        ({"cap": {"colour": 1}}, "cap.0.fact: 'colour' describes no unit"),
        ({"cap": {"year": 1}}, "cap.0.fact: 'year' is a number"),
        ({"cap": [{"most": 1, "fact": 3}]}, "cap.0.fact: is no text"),
        ({"require": [{"least": 1, "fact": "genres", "is": "Jazz"}]}, "require.0.is: is no categ"),
        ({"require": [{"least": 1, "fact": "genres", "is": ["War"]}]}, "require.0.is: is no categ"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_says_which_rule(request_, message) -> None:
    with pytest.raises(RecordError) as error:
        groups_of(by_name(request_, CATEGORIES))
    assert str(error.value).startswith(message)


def test_facts_have_to_be_looked_up_first() -> None:
    with pytest.raises(RecordError, match=r"cap.0.fact: cannot be looked up here"):
        groups_of({"cap": {"genres": 1}})


class Domain:
    """A domain that takes rules, or does not."""

    name = "films"

    def __init__(self, *, takes: bool = True) -> None:
        self.takes = takes

    def choices(self, request):
        return ChoiceSet(groups=groups_of(request) if self.takes else ())


def test_a_rulebook_follows_what_is_described(tmp_path) -> None:
    with Log.open(tmp_path / "log.db", write=True) as log:
        rulebook, asked = Rulebook(Domain(), log), {"cap": {"genres": 1}}
        with pytest.raises(RecordError, match="describes no unit"):
            rulebook.choices({}, asked)
        for unit in ("f1", "f2"):
            log.describe(
                [Description(of=Described.UNIT, name=unit, facts=FILMS[unit], given_at=0.0)]
            )
            drama = next(g for g in rulebook.choices({}, asked).groups if "Drama" in g.name)
            assert drama.units[-1] == unit


def test_a_context_may_call_anything_a_cap(tmp_path) -> None:
    with Log.open(tmp_path / "log.db", write=True) as log:
        assert Rulebook(Domain(), log).choices({"cap": 12.0}, {}) == ChoiceSet()


def test_a_domain_that_takes_no_rules_says_so(tmp_path) -> None:
    with Log.open(tmp_path / "log.db", write=True) as log:
        rulebook = Rulebook(Domain(takes=False), log)
        with pytest.raises(RecordError, match=r"cap.0: the domain films takes no rules"):
            rulebook.choices({}, {"cap": [{"most": 1, "units": ["a"]}]})
        assert rulebook.choices({}, {"cap": []}) == ChoiceSet()


def test_groups_in_numbers() -> None:
    vocabulary = Vocabulary(("a", "b", "c", "d"))
    choices = ChoiceSet(
        forbidden=("d",),
        groups=(Group(units=("c", "gone"), most=0), Group(units=("b", "gone", "a"), most=1)),
    )
    rule = as_rule(choices, vocabulary)
    assert rule.forbidden.tolist() == [2, 3], "a cap of 0 forbids"
    assert rule.quotas is not None
    assert [units.tolist() for units in rule.quotas.sets] == [[0, 1]]
    assert as_rule(ChoiceSet(groups=choices.groups[:1]), vocabulary).quotas is None
    with pytest.raises(ValueError, match="within"):
        as_rule(ChoiceSet(groups=(Group(units=("a",), least=1),)), vocabulary)

"""What callers ask of a decision as a whole: that it holds some units, not too many, and not alike.

A request says it in plain JSON, of units by name or of a fact they are described by:

    {"require":   [{"least": 1, "units": ["17", "18"]}],
     "cap":       [{"most": 2, "fact": "genres"}],
     "diversity": [{"weight": 0.5, "fact": "genres", "is": "Drama"}]}

A fact makes a group of every category that units have in it; ``is`` picks one. ``{"genres": 2}``
is short for ``[{"most": 2, "fact": "genres"}]``, and likewise for the other two. What is kept in
the log are the groups' units, as descriptions change.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from heedful.contract.domain import Domain
from heedful.record import ChoiceSet, Context, Described, Group, RecordError
from heedful.store.log import Log

NUMBER_OF = {"require": "least", "cap": "most", "diversity": "weight"}
"""The rules there are, and what each is a number of."""

Facts = Mapping[str, Mapping[str, object]]


class Categories:
    """The groups that descriptions make of units.

    >>> films = Categories({"f1": {"genres": ["Drama"]}, "f2": {"genres": ["Drama", "War"]}})
    >>> films.of("genres")
    {'Drama': ('f1', 'f2'), 'War': ('f2',)}
    """

    def __init__(self, known: Facts) -> None:
        """Group the units of ``known``: facts by unit id."""
        self._known = known
        self._groups: dict[str, Mapping[str, tuple[str, ...]]] = {}

    def of(self, fact: str) -> Mapping[str, tuple[str, ...]]:
        """Return the units of each category of ``fact``; who is not described by it is in none.

        A text is one category, a list of texts several.

        Raises:
            ValueError: nobody is described by ``fact``, or it is a number.
        """
        if fact not in self._groups:
            self._groups[fact] = self._group(fact)
        return self._groups[fact]

    def _group(self, fact: str) -> Mapping[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {}
        for unit, facts in self._known.items():
            value = facts.get(fact)
            if isinstance(value, bool | int | float):
                raise ValueError("is a number; rules need categories: a text or a list of texts")
            names = value if isinstance(value, list | tuple) else [value] if value else []
            for name in dict.fromkeys(names):
                found.setdefault(str(name), []).append(unit)
        if not found:
            raise ValueError("describes no unit")
        return {name: tuple(units) for name, units in sorted(found.items())}


class Rulebook:
    """Says what is possible in decisions that are asked for, by what a log knows of units."""

    def __init__(
        self, domain: Domain, log: Log, blocked: Callable[[], Collection[str]] = tuple
    ) -> None:
        """Ask ``domain``; descriptions are read from ``log`` when a rule first speaks of them.

        Args:
            domain: what a unit is.
            log: where descriptions stand.
            blocked: returns the units that no decision may hold now, whoever asks.
        """
        self._domain, self._log, self._blocked = domain, log, blocked
        self._categories, self._described = Categories({}), 0

    def choices(self, context: Context, asked: Mapping[str, object]) -> ChoiceSet:
        """Return what is possible; ``asked`` is what the caller allows, forbids and requires.

        Raises:
            RecordError: a rule cannot be understood, or the domain takes none.
            Exception: whatever the domain raises at a request it cannot read.
        """
        if asks_by_fact(asked):
            asked = by_name(asked, self._known())
        # What a context happens to call a cap is no rule.
        known = {name: value for name, value in context.items() if name not in NUMBER_OF}
        choices = self._domain.choices({**known, **asked}).without(self._blocked())
        if choices.groups:
            return choices
        for group in groups_of(asked):
            if group.binds:
                problem = f"the domain {self._domain.name} takes no rules about groups of units"
                raise RecordError(group.name, problem, "ask without")
        return choices

    def named(self, asked: Mapping[str, object], choices: ChoiceSet) -> tuple[str, ...]:
        """Return the units that ``asked`` speaks of, each once; ``choices`` are what it came to.

        What an operator blocked is not the caller's word, unless the caller forbids it, too.
        """
        house = set(self._blocked()) - (_texts(asked.get("forbidden")) or frozenset())
        forbidden = (unit for unit in choices.forbidden if unit not in house)
        units = (*(choices.allowed or ()), *forbidden, *units_named(asked))
        return tuple(dict.fromkeys(units))

    def _known(self) -> Categories:
        described = self._log.described()
        if described != self._described:
            known = self._log.descriptions(Described.UNIT).latest(Described.UNIT)
            self._categories, self._described = Categories(known), described
        return self._categories


def asks_by_fact(request: Mapping[str, object]) -> bool:
    """Whether some rule of ``request`` speaks of a fact, so that descriptions have to be read."""
    return any("fact" in entry for rule in NUMBER_OF for _, entry in _entries(rule, request))


def by_name(request: Mapping[str, object], categories: Categories) -> dict[str, object]:
    """Return ``request`` with units in the place of facts.

    Units that cannot be chosen anyway are left out, so that what is kept stays small.

    Raises:
        RecordError: names the rule, the problem and the remedy.
    """
    kept: dict[str, object] = {**request}
    chosen, out = _texts(request.get("allowed")), _texts(request.get("forbidden")) or ()
    for rule in NUMBER_OF:
        if request.get(rule) is None:
            continue
        named: list[Mapping[str, object]] = []
        for place, entry in _entries(rule, request):
            if "fact" not in entry:
                named.append({"name": place, **entry})
                continue
            for name, units in _picked(place, entry, categories):
                left = [u for u in units if (chosen is None or u in chosen) and u not in out]
                number = NUMBER_OF[rule]
                named.append({number: _number(rule, place, entry), "units": left, "name": name})
        kept[rule] = named
    return kept


def groups_of(request: Mapping[str, object]) -> tuple[Group, ...]:
    """Return what ``request`` asks of a decision as a whole; facts are named already.

    Raises:
        RecordError: names the rule, the problem and the remedy.
    """
    groups = []
    for rule in NUMBER_OF:
        for place, entry in _entries(rule, request):
            if "fact" in entry:
                raise RecordError(
                    f"{place}.fact", "cannot be looked up here", "name units in its place"
                )
            units = entry.get("units")
            if not isinstance(units, list | tuple):
                raise RecordError(place, "names no units", 'give "units": [...], or a "fact"')
            name = str(entry.get("name", place))
            number: Any = {_FIELD[rule]: _number(rule, place, entry)}
            groups.append(Group(units=tuple(units), name=name, **number))
    return tuple(groups)


def units_named(request: Mapping[str, object]) -> Iterator[str]:
    """Yield the units that the rules of ``request`` name themselves, not by a fact."""
    for rule in NUMBER_OF:
        for _, entry in _entries(rule, request):
            yield from entry.get("units", ())


_FIELD = {"require": "least", "cap": "most", "diversity": "penalty"}


def _entries(rule: str, request: Mapping[str, object]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each entry of ``rule`` and what to call it."""
    said = request.get(rule)
    if said is None:
        return
    number = NUMBER_OF[rule]
    if isinstance(said, Mapping):
        said = [{"fact": fact, number: value} for fact, value in said.items()]
    if not isinstance(said, list | tuple):
        raise RecordError(rule, f"must be a list, not {type(said).__name__}", _form(rule))
    for place, entry in enumerate(said):
        name = f"{rule}.{place}"
        if not isinstance(entry, Mapping):
            raise RecordError(name, f"must be an object, not {type(entry).__name__}", _form(rule))
        _check_keys(name, entry, {number, "units", "fact", "is", "name"}, rule)
        yield name, entry


def _check_keys(name: str, entry: Mapping[str, Any], known: Iterable[str], rule: str) -> None:
    if set(entry) - set(known):
        raise RecordError(name, "has a key that is not known", _form(rule))
    if ("units" in entry) == ("fact" in entry):
        raise RecordError(name, "needs either units or a fact", _form(rule))
    if "is" in entry and "fact" not in entry:
        raise RecordError(name, "has an is without a fact", _form(rule))


def _picked(
    place: str, entry: Mapping[str, Any], categories: Categories
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the name and the units of each group of a fact."""
    if not isinstance(entry["fact"], str):
        raise RecordError(f"{place}.fact", "is no text", "give the name of a fact")
    try:
        groups = categories.of(entry["fact"])
    except ValueError as error:
        problem = f"{entry['fact']!r} {error}"
        raise RecordError(f"{place}.fact", problem, "tell the log more, or name units") from None
    if "is" not in entry:
        for name, units in groups.items():
            yield f"{place} ({name})", units
    elif isinstance(entry["is"], str) and entry["is"] in groups:
        yield place, groups[entry["is"]]
    else:
        some = ", ".join([*groups][:5]) + (", ..." if len(groups) > 5 else "")
        raise RecordError(f"{place}.is", f"is no category of {entry['fact']!r}", f"give {some}")


def _texts(value: object) -> frozenset[str] | None:
    """Return the texts of a list; what is none of its own is the domain's to refuse."""
    if not isinstance(value, list | tuple):
        return None
    return frozenset(text for text in value if isinstance(text, str))


def _number(rule: str, place: str, entry: Mapping[str, Any]) -> Any:
    if NUMBER_OF[rule] not in entry:
        raise RecordError(place, f'says no "{NUMBER_OF[rule]}"', _form(rule))
    return entry[NUMBER_OF[rule]]


def _form(rule: str) -> str:
    return f'write {{"{NUMBER_OF[rule]}": N, "units": [...]}} or {{..., "fact": NAME, "is": VALUE}}'

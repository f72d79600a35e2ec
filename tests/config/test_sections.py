import json
import math
from collections.abc import Iterator
from typing import get_args

import annotated_types
import pytest
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from heedful.config import Config, Gate, Import, Policy, Pretrain, Reinforce, Reward
from heedful.config.explain import keys_of, tables
from heedful.config.rates import RATES


def declared() -> Iterator[tuple[str, FieldInfo]]:
    for table in tables():
        for name, field in keys_of(table).items():
            yield f"{table}.{name}", field


def is_number(field: FieldInfo) -> bool:
    kinds = {field.annotation, *get_args(field.annotation)}
    return bool(kinds & {int, float})


@pytest.mark.parametrize(("name", "field"), list(declared()))
def test_every_key_says_what_it_means(name: str, field: FieldInfo) -> None:
    assert field.description
    assert "\n" not in field.description


@pytest.mark.parametrize(("name", "field"), [(n, f) for n, f in declared() if is_number(f)])
def test_every_number_is_bounded_on_both_sides(name: str, field: FieldInfo) -> None:
    below = [m for m in field.metadata if isinstance(m, annotated_types.Ge | annotated_types.Gt)]
    above = [m for m in field.metadata if isinstance(m, annotated_types.Le | annotated_types.Lt)]
    assert (len(below), len(above)) == (1, 1)


def test_there_is_something_to_check() -> None:
    assert len(list(declared())) > 50


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_are_finite(number: float) -> None:
    with pytest.raises(ValidationError):
        Reward(kind="mixture", weights={"click": number})


def test_a_configuration_does_not_change() -> None:
    with pytest.raises(ValidationError):
        Config().gate.alpha = 0.1  # type: ignore[misc]


def test_the_canonical_form_is_plain_json_that_reads_back_the_same() -> None:
    config = Config(
        import_=Import(subject="user", unit="item", rating_max=5.0), domain={"likes": ["a", 1]}
    )
    canonical = json.loads(json.dumps(config.canonical(), allow_nan=False))
    assert canonical["import"]["rating_max"] == 5.0
    assert Config.model_validate(canonical) == config


@pytest.mark.parametrize(
    ("section", "values", "says"),
    [
        (Policy, {"width": 65, "heads": 2}, "cannot be divided"),
        (Policy, {"kind": "huggingface"}, 'names the folder for kind = "huggingface"'),
        (Policy, {"kind": "recurrent", "model": "m"}, "both, or neither"),
        (Import, {"time": "t", "order": "n"}, "one of the two"),
        (Import, {"subject": "u"}, "both the subject and the unit"),
        (Import, {"rating_min": 5.0, "rating_max": 1.0}, "below"),
        (Reward, {"rating_min": 5.0}, "below"),
        (Reward, {"kind": "mixture"}, "at least one"),
        (Reward, {"weights": {"click": 1.0}}, "mixture"),
        (Reward, {"kind": "function"}, "module:name"),
        (Reward, {"kind": "function", "function": "no colon"}, "pattern"),
        (Pretrain, {"bidirectional": True}, "set objective"),
        (Pretrain, {"objective": "previous"}, "'next', 'masked' or 'both'"),
        (
            Config,
            {"pretrain": Pretrain(objective="both", bidirectional=True)},
            'policy.kind = "transformer"',
        ),
        (Gate, {"alpha": 0.5}, "less than 0.5"),
        (Gate, {"minimum_subjects": True}, "integer"),
    ],
)
def test_what_contradicts_itself_is_refused(
    section: type[Policy], values: dict[str, object], says: str
) -> None:
    with pytest.raises(ValidationError, match=says):
        section(**values)


@pytest.mark.parametrize("rule", RATES)
def test_an_optimiser_has_a_rate_of_its_own(rule: str) -> None:
    own = Pretrain(optimiser=rule).rate
    assert own == RATES[rule].default <= RATES[rule].highest
    assert Pretrain(optimiser=rule, learning_rate=0.5).rate == 0.5
    assert Config(pretrain=Pretrain(optimiser=rule)).doubts() == ()


@pytest.mark.parametrize("rule", RATES)
def test_a_rate_above_the_highest_sound_one_is_doubted(rule: str) -> None:
    highest = RATES[rule].highest

    def doubts(rate: float) -> tuple[str, ...]:
        return Config(pretrain=Pretrain(optimiser=rule, learning_rate=rate)).doubts()

    assert doubts(highest) == ()
    (doubt,) = doubts(1.01 * highest)
    assert f"is high for {rule}" in doubt
    assert "--range-test" in doubt


def test_reinforcement_stays_an_order_below_pre_training() -> None:
    def doubts(rate: float) -> tuple[str, ...]:
        pretrain = Pretrain(learning_rate=2e-3)
        return Config(pretrain=pretrain, reinforce=Reinforce(learning_rate=rate)).doubts()

    assert doubts(2e-4) == ()
    (doubt,) = doubts(3e-4)
    assert doubt.startswith("reinforce.learning_rate = 0.0003 is above a tenth")


@pytest.mark.parametrize(
    ("gate", "says"),
    [
        ({"share": 0.25}, r"write shares = \[0\.25\]"),
        ({"shares": []}, "at least one stage"),
        ({"shares": [0.5, 0.1]}, "each above the one before"),
        ({"shares": [0.1, 1.0]}, "less than 1"),
        (
            {"shares": [0.1, 0.2, 0.5], "minimum_subjects": 40, "maximum_subjects": 100},
            "no room for minimum_subjects in each of the 3 stages",
        ),
    ],
)
def test_stages_of_a_trial_rise_and_have_room(gate: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Config.model_validate({"gate": gate})

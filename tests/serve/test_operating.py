"""A running service follows what an operator says: blocked units, stopped versions."""

import pytest

from heedful.serve import DecisionRequest, ServiceError
from tests.serve.world import Shop, Workspace, add_version, load_exactly, replay_error

BY = {"by": "ada", "why": "a test"}


def units_of(service, n: int = 20, **more: object) -> set[str]:
    answers = service.decide([DecisionRequest(user=f"u{i}", length=4, **more) for i in range(n)])
    for answer in answers:
        if isinstance(answer, ServiceError):
            raise answer
    return {unit for answer in answers for unit in answer.units}


def test_a_blocked_unit_is_in_no_decision_and_the_probabilities_are_of_the_draw(workspace):
    with workspace.serve(load=load_exactly) as service:
        assert units_of(service, 100) == set(Shop.units), "whoever explores shows everything"
        for unit in ("item-3", "item-7"):
            workspace.registry.block(unit, **BY)
        assert units_of(service, 100) == set(Shop.units) - {"item-3", "item-7"}
        both = {"allowed": ["item-3", "item-4"]}
        assert units_of(service, 5, choices=both) == {"item-4"}
        rules = {"cap": [{"most": 1, "units": ["item-1", "item-3"]}]}
        assert "item-3" not in units_of(service, 20, choices=rules)
        workspace.registry.unblock("item-3", **BY)
        assert "item-3" in units_of(service, 100)
        assert "item-7" not in units_of(service, 100)
    assert replay_error(workspace, load=load_exactly) < 1e-9
    sets = workspace.log.snapshot().names.choice_sets
    assert [set(sets[code].forbidden) for code in range(len(sets))].count({"item-7"}) == 1


def test_what_only_a_blocked_unit_could_do_is_refused(workspace):
    workspace.registry.block("item-3", **BY)
    with workspace.serve() as service:
        with pytest.raises(ServiceError, match="requires 1 of its units, and 0 can be chosen"):
            units_of(service, 1, choices={"require": [{"least": 1, "units": ["item-3"]}]})
        with pytest.raises(ServiceError, match="nothing to choose"):
            units_of(service, 1, choices={"allowed": ["item-3"]})
    assert workspace.log.counts().decisions == 0


def test_a_stopped_version_decides_no_more(workspace):
    second = add_version(workspace.registry, seed=2)
    workspace.registry.promote(second, **BY)
    with workspace.serve() as service:
        (answer,) = service.decide([DecisionRequest(user="ada")])
        assert answer.policy == second
        workspace.registry.stop(second, **BY)
        (answer,) = service.decide([DecisionRequest(user="ada")])
        assert answer.policy == "0001"
    assert replay_error(workspace) < 1e-4


def test_a_stopped_canary_gives_its_subjects_back(workspace):
    second = add_version(workspace.registry, seed=2)
    workspace.registry.begin_trial(second, [0.5], salt="s", watermark=0, k=1, alpha=0.03, by="test")
    with workspace.serve() as service:
        asked = [DecisionRequest(user=f"u{i}") for i in range(40)]
        assert {answer.policy for answer in service.decide(asked)} == {"0001", second}
        workspace.registry.stop(second, **BY)
        assert {answer.policy for answer in service.decide(asked)} == {"0001"}


def test_a_stopped_version_does_not_serve_on_where_the_one_before_is_damaged(workspace: Workspace):
    """It had passed its check when it was returned to, and was damaged since."""
    second = add_version(workspace.registry, seed=2)
    workspace.registry.promote(second, **BY)
    with workspace.serve() as service:
        service.decide([DecisionRequest(user="ada")])
        workspace.registry.stop(second, **BY)
        (workspace.folder / "policies" / "0001" / "model.safetensors").write_bytes(b"")
        (answer,) = service.decide([DecisionRequest(user="ada")])
        assert isinstance(answer, ServiceError)
        assert answer.reason == "unavailable"
    assert workspace.log.counts().decisions == 1

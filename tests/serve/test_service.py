import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from heedful.policy import Choices, Events, Greedy, Loaded, Mask, Popularity, Vocabulary, load
from heedful.record import Kind, RecordError, pseudonym
from heedful.serve import (
    DecisionAnswer,
    DecisionRequest,
    EndRequest,
    FeedbackRequest,
    Limits,
    Service,
    ServiceError,
    with_floor,
)
from heedful.store import StoreError
from tests.contract.toys import Replies
from tests.serve.world import KEY, Shop, Workspace, add_version, replay_error


def ask(service: Service, user: str = "ada", **more: object) -> DecisionAnswer:
    (answer,) = service.decide([DecisionRequest(user=user, **more)])  # type: ignore[arg-type]
    if isinstance(answer, ServiceError):
        raise answer
    return answer


def click(answer: DecisionAnswer, unit: int = 0, value: bool = True, **more: object):
    return FeedbackRequest(
        decision=answer.id,
        kind=Kind.CLICK,
        unit=unit,
        value=value,
        **more,  # type: ignore[arg-type]
    )


# Decisions


def test_an_answer_is_in_the_log_with_its_probabilities(workspace, service):
    answer = ask(service)
    assert len(answer.units) == 3 == len(set(answer.units))
    assert answer.policy == "0001"
    assert np.allclose(answer.propensities, np.exp(answer.logps))
    snapshot = workspace.log.snapshot()
    names = snapshot.names
    assert [names.units[code] for code in snapshot.decisions.units] == list(answer.units)
    assert snapshot.decisions.logps.tolist() == list(answer.logps)
    assert list(names.subjects) == [pseudonym("ada", KEY)]
    assert list(names.policies) == ["0001"]


def test_raw_names_reach_no_file(workspace, service):
    answer = ask(service, "ada@example.org", session="ada's phone")
    service.feedback([click(answer, user="bob@example.org", given_at=1.0)])
    everything = b"".join(path.read_bytes() for path in workspace.folder.glob("log.db*"))
    assert answer.id.encode() in everything
    for raw in (b"ada@", b"bob@", b"phone"):
        assert raw not in everything


def test_decisions_of_one_call_see_each_other(workspace, service):
    service.decide([DecisionRequest(user="ada") for _ in range(5)])
    assert workspace.log.snapshot().decisions.step.tolist() == [0, 1, 2, 3, 4]
    assert replay_error(workspace) < 1e-4


def test_a_second_decision_of_one_call_may_not_repeat_the_first(service):
    request = DecisionRequest(user="ada", choices={"fresh": True})
    units = [unit for answer in service.decide([request] * 4) for unit in answer.units]
    assert len(set(units)) == 12


def test_the_length_is_as_asked_as_configured_or_as_far_as_units_go(service):
    assert len(ask(service, length=4).units) == 4
    assert len(ask(service).units) == 3
    assert len(ask(service, choices={"allowed": ["item-1", "item-2"]}).units) == 2
    with pytest.raises(ServiceError, match="at most 4 units"):
        ask(service, length=5)


def test_choices_bind_and_unknown_ones_are_told(service):
    answer = ask(service, choices={"allowed": ["item-1", "new", "item-2"], "forbidden": ["item-2"]})
    assert answer.units == ("item-1",)
    assert answer.unknown == ("new",)


def test_rules_about_groups_are_kept_and_logged(workspace, service):
    odd = [f"item-{i}" for i in range(1, 24, 2)]
    choices = {
        "require": [{"least": 2, "units": ["item-0", "item-2", "new"]}],
        "cap": [{"most": 1, "units": odd}],
        "diversity": [{"weight": 1.0, "units": ["item-4", "item-6"]}],
    }
    for _ in range(20):
        answer = ask(service, choices=choices, length=4)
        assert len({"item-0", "item-2"} & set(answer.units)) == 2
        assert len(set(odd) & set(answer.units)) <= 1
        assert answer.unknown == ("new",)
    snapshot = workspace.log.snapshot()
    assert len(snapshot.names.choice_sets) == 2, "stored once, beside the one that forbids nothing"
    stored = snapshot.names.choice_sets[1]
    assert stored.places == 4
    assert {(g.least, g.most, g.penalty) for g in stored.groups} == {
        (2, None, 0.0), (0, 1, 0.0), (0, None, 1.0)
    }  # fmt: skip
    assert replay_error(workspace) < 1e-4


def test_a_cap_makes_a_slate_as_short_as_it_has_to_be(workspace, service):
    answer = ask(service, length=4, choices={"cap": [{"most": 2, "units": list(Shop.units)}]})
    assert len(answer.units) == 2
    assert replay_error(workspace) < 1e-4


def test_what_was_seen_cannot_be_required(service):
    choices = {"fresh": True, "allowed": ["item-1", "item-2", "item-3"]}
    assert len(ask(service, choices=choices, length=2).units) == 2
    rule = {"require": [{"least": 2, "units": ["item-1", "item-2"]}]}
    with pytest.raises(
        ServiceError, match=r"require.0: requires 2 of its units, and \d can be"
    ) as e:
        ask(service, choices={**rule, "fresh": True}, length=3)
    assert e.value.reason == "nothing_to_choose"


def test_a_rule_of_the_house_comes_before_what_a_caller_requires(tmp_path):
    def masked(folder):
        loaded = load(folder)
        return Loaded(Mask(loaded.policy, forbidden=[1]), loaded.vocabulary)

    workspace = Workspace(tmp_path)
    with workspace.serve(load=masked) as service:
        rule = {"require": [{"least": 1, "units": ["item-1"]}]}
        refused, kept = service.decide(
            [DecisionRequest(user="ada", choices=rule), DecisionRequest(user="eve")]
        )
        assert isinstance(refused, ServiceError)
        assert refused.reason == "nothing_to_choose"
        assert isinstance(kept, DecisionAnswer)
    assert len(workspace.log.snapshot().decisions.seq) == 1
    workspace.close()


def test_nothing_to_choose_fails_alone(service):
    poor = DecisionRequest(user="bob", choices={"allowed": ["new"]})
    first, refused, last = service.decide(
        [DecisionRequest(user="ada"), poor, DecisionRequest(user="eve")]
    )
    assert isinstance(refused, ServiceError)
    assert refused.reason == "nothing_to_choose"
    assert isinstance(first, DecisionAnswer)
    assert isinstance(last, DecisionAnswer)


def test_an_unreadable_context_fails_alone(workspace, service):
    bad = DecisionRequest(user="bob", context={"day": 1})
    first, refused = service.decide([DecisionRequest(user="ada", context={"hour": 3}), bad])
    assert isinstance(first, DecisionAnswer)
    assert isinstance(refused, ServiceError)
    assert refused.reason == "invalid"
    assert "context" in str(refused)
    assert workspace.log.counts().decisions == 1


def test_replies_of_variable_length(tmp_path):
    domain = Replies()
    workspace = Workspace(tmp_path, domain=domain)
    with workspace.serve() as service:
        for turn in range(4):
            requests = [
                DecisionRequest(user=f"user-{i}", context={"prompt": ["a", "bcd"[turn % 3]]})
                for i in range(8)
            ]
            for answer in service.decide(requests):
                assert isinstance(answer, DecisionAnswer)
                assert "<end>" not in answer.units[:-1]
                assert answer.units[-1] == "<end>" or len(answer.units) == 8
                thumb = FeedbackRequest(decision=answer.id, kind=Kind.RATING, value=1.0)
                service.feedback([thumb])
    assert replay_error(workspace) < 1e-4
    workspace.close()


def test_without_a_live_policy_it_says_what_to_do(tmp_path):
    workspace = Workspace(tmp_path, live=False)
    with workspace.serve() as service:
        with pytest.raises(ServiceError, match="train one and promote it") as caught:
            ask(service)
        assert caught.value.reason == "unavailable"
        version = add_version(workspace.registry, seed=1)
        workspace.registry.promote(version, by="test", why="the first")
        assert ask(service).policy == version
    workspace.close()


def test_the_same_seed_and_log_draw_the_same(tmp_path):
    drawn = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        workspace = Workspace(tmp_path / name)
        with workspace.serve(seed=5) as service:
            answers = [ask(service, f"user-{i}") for i in range(6)]
            drawn.append([(answer.units, answer.logps, answer.session) for answer in answers])
        workspace.close()
    assert drawn[0] == drawn[1]


def test_a_restarted_service_does_not_repeat_its_draws(workspace):
    drawn = []
    for _ in range(2):
        with workspace.serve(seed=5) as service:
            drawn.append([ask(service, f"new-{len(drawn)}-{i}").units for i in range(6)])
    assert drawn[0] != drawn[1]


# Sessions


def test_a_session_goes_on_until_a_silence(workspace, service):
    first, again = ask(service), ask(service)
    assert first.session == again.session
    workspace.clock.now += 90
    service.feedback([click(again)])
    workspace.clock.now += 90  # 180 s after the decision, 90 s after the click
    assert ask(service).session == first.session
    workspace.clock.now += 101
    assert ask(service).session != first.session


def test_a_session_survives_a_restart(workspace):
    with workspace.serve() as service:
        first = ask(service)
    with workspace.serve() as service:
        assert ask(service).session == first.session
    assert workspace.log.snapshot().decisions.step.tolist() == [0, 1]


def test_named_sessions_of_two_users_are_two(workspace, service):
    answers = [ask(service, "ada", session="s"), ask(service, "bob", session="s")]
    answers.append(ask(service, "ada", session="s"))
    assert [answer.session for answer in answers] == ["s", "s", "s"]
    assert workspace.log.snapshot().decisions.episode.tolist() == [0, 1, 0]


def test_the_id_of_a_session_names_it_too(workspace, service):
    first = ask(service)
    workspace.clock.now += 1000
    assert ask(service).session != first.session
    assert ask(service, session=first.session).session == first.session
    assert workspace.log.snapshot().decisions.episode.tolist() == [0, 1, 0]


def test_an_ended_session_takes_no_more(workspace, service):
    first = ask(service, session="match")
    (receipt,) = service.end([EndRequest(user="ada", session="match", context={"hour": 5})])
    assert receipt.status == "added"
    with pytest.raises(ServiceError, match="has ended") as caught:
        ask(service, session="match")
    assert caught.value.reason == "conflict"
    assert ask(service).session != first.session
    assert replay_error(workspace) < 1e-4


def test_ending_twice_is_harmless(workspace, service):
    end = EndRequest(user="ada", session="match", terminated=False)
    assert service.end([end])[0].status == "refused"  # never began
    ask(service, session="match")
    workspace.clock.now += 7
    assert [receipt.status for receipt in service.end([end, end])] == ["added", "duplicate"]
    other = EndRequest(user="ada", session="match", terminated=True)
    assert service.end([other])[0].status == "conflict"
    assert workspace.log.counts().ends == 1


# Feedback


def logps_after(workspace: Workspace, folder: Path, said: bool | None) -> list[float]:
    """Return the log-probabilities of a second decision after some click on the first, or none."""
    with workspace.serve(seed=3) as service:
        first = ask(service)
        if said is not None:
            service.feedback([click(first, unit=2, value=said)])
        return list(ask(service).logps)


def test_feedback_conditions_the_very_next_decision(tmp_path):
    found = []
    for said in (None, False, True):
        folder = tmp_path / str(said)
        folder.mkdir()
        workspace = Workspace(folder)
        found.append(logps_after(workspace, folder, said))
        assert replay_error(workspace) < 1e-4
        workspace.close()
    unknown, no, yes = found
    assert unknown != no != yes != unknown


def test_feedback_and_the_next_decision_in_one_turn(workspace):
    """They wait together, are taken together, and the decision still sees the feedback."""
    with workspace.serve() as service:
        first = ask(service)
        # Keep the engine busy so that the next two are taken in one turn.
        with ThreadPoolExecutor(3) as pool:
            pool.submit(service.decide, [DecisionRequest(user=f"u{i}") for i in range(200)])
            time.sleep(0.005)
            told = service.submit([click(first)])
            asked = service.submit([DecisionRequest(user="ada")])
            assert told.result()[0].status == "added"
            assert isinstance(asked.result()[0], DecisionAnswer)
    assert replay_error(workspace) < 1e-4


def test_repeated_feedback_counts_once(workspace, service):
    answer = ask(service)
    row = click(answer, id="c1")
    assert service.feedback([row])[0].status == "added"
    workspace.clock.now += 10  # the time of the second arrival is another
    assert service.feedback([row])[0].status == "duplicate"
    assert service.feedback([click(answer, id="c1", value=False)])[0].status == "conflict"
    assert service.feedback([click(answer, id="c2", value=False)])[0].status == "conflict"
    assert workspace.log.counts().feedback == 1
    ask(service)
    assert replay_error(workspace) < 1e-4


def test_repeated_feedback_is_known_after_a_restart(workspace):
    with workspace.serve() as service:
        row = click(ask(service), id="c1")
        service.feedback([row])
    workspace.clock.now += 10
    with workspace.serve() as service:
        assert service.feedback([row])[0].status == "duplicate"


def test_feedback_for_a_decision_before_the_restart(workspace):
    with workspace.serve() as service:
        first, second = ask(service), ask(service)
    with workspace.serve() as service:
        ask(service)
        assert service.feedback([click(first, id="old")])[0].status == "added"
        ask(service)
        back = FeedbackRequest(decision=first.id, kind=Kind.CLICK, unit=0, retracts="old")
        assert service.feedback([back])[0].status == "added"
        service.feedback([click(second)])
        ask(service)
    assert replay_error(workspace) < 1e-4


def test_a_retraction_that_comes_first_is_joined(workspace, service):
    """No receipt says that the log joined it: the stream must show it all the same."""
    first = ask(service)
    back = FeedbackRequest(decision=first.id, kind=Kind.CLICK, unit=0, retracts="c1", given_at=2.0)
    assert service.feedback([back])[0].status == "parked"
    assert service.feedback([click(first, id="c1")])[0].status == "added"
    ask(service)
    snapshot = workspace.log.snapshot()
    assert snapshot.feedback.retracted.tolist() == [True, False]
    assert replay_error(workspace) < 1e-4


def test_feedback_for_an_unknown_decision_waits_if_it_says_who_and_when(workspace, service):
    row = FeedbackRequest(decision="elsewhere", kind=Kind.CLICK, value=True, id="c")
    (receipt,) = service.feedback([row])
    assert receipt.status == "refused"
    assert "given_at" in receipt.reason
    row = FeedbackRequest(
        decision="elsewhere", kind=Kind.CLICK, value=True, id="c", user="ada", given_at=1.0
    )
    assert [r.status for r in service.feedback([row, row])] == ["parked", "duplicate"]
    assert workspace.log.counts().parked == 1


def test_bad_feedback_fails_alone(service):
    answer = ask(service)
    rows = [click(answer, unit=0), click(answer, unit=9), click(answer, unit=1)]
    assert [r.status for r in service.feedback(rows)] == ["added", "refused", "added"]


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": Kind.RATING, "value": "five"},
        {"kind": Kind.RATING, "value": math.nan},
        {"kind": Kind.CLICK, "value": 1},
        {"kind": Kind.CLICK, "value": True, "given_at": math.inf},
        {"kind": Kind.COMMENT, "value": "\ud800"},
        {"kind": Kind.COMMENT, "value": "a\0b"},
    ],
)
def test_feedback_that_cannot_be_true_is_refused_at_once(fields):
    with pytest.raises(RecordError):
        FeedbackRequest(decision="d", **fields)


def test_every_feedback_twice_changes_nothing(tmp_path):
    digests = []
    for times in (1, 2):
        folder = tmp_path / str(times)
        folder.mkdir()
        workspace = Workspace(folder)
        with workspace.serve(seed=9) as service:
            for step in range(4):
                answers = service.decide([DecisionRequest(user=f"u{i}") for i in range(3)])
                rows = [click(a, unit=step % 3, id=f"{step}-{i}") for i, a in enumerate(answers)]
                for _ in range(times):
                    service.feedback(rows)
        digests.append(workspace.log.snapshot().digest())
        workspace.close()
    assert digests[0] == digests[1]


# Idempotency


def test_a_hundred_concurrent_duplicates_are_one_decision(workspace, service):
    request = DecisionRequest(user="ada", idempotency_key="k")
    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(lambda _: service.decide([request])[0], range(100)))
    assert len({result.id for result in results}) == 1
    assert workspace.log.counts().decisions == 1


def test_one_key_for_two_requests_is_a_conflict(workspace, service):
    other = DecisionRequest(user="ada", idempotency_key="k", length=1)
    first, second = service.decide([DecisionRequest(user="ada", idempotency_key="k"), other])
    assert isinstance(first, DecisionAnswer)
    assert isinstance(second, ServiceError)
    assert second.reason == "conflict"
    third = service.decide([other])[0]
    assert isinstance(third, ServiceError)
    assert isinstance(
        service.decide([DecisionRequest(user="bob", idempotency_key="k")])[0], DecisionAnswer
    )


# Versions


def test_a_new_live_version_is_picked_up(workspace, service):
    assert ask(service).policy == "0001"
    workspace.registry.promote(add_version(workspace.registry, seed=2), by="test", why="better")
    assert ask(service).policy == "0002"
    workspace.registry.rollback(by="test", why="worse")
    assert ask(service).policy == "0001"
    assert replay_error(workspace) < 1e-4


def test_a_new_vocabulary_is_picked_up(workspace, service):
    ask(service)
    units = (*reversed(Shop.units[4:]), "brand-new")
    version = add_version(workspace.registry, seed=2, units=units)
    workspace.registry.promote(version, by="test", why="better")
    assert ask(service, choices={"allowed": ["brand-new"]}).units == ("brand-new",)
    assert len(ask(service).units) == 3
    assert len(workspace.log.snapshot().names.vocabularies) == 2
    assert replay_error(workspace) < 1e-4


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def test_a_damaged_version_is_not_served(workspace):
    weights = workspace.folder / "policies" / "0001" / "model.safetensors"
    flip_a_bit(weights)
    with workspace.serve() as service:
        with pytest.raises(ServiceError, match="0001 could not be loaded") as caught:
            ask(service)
        assert caught.value.reason == "unavailable"


def test_the_version_before_a_damaged_one_serves_on(workspace, caplog):
    def load_but(folder: Path) -> Loaded:
        if folder.name == "0002":
            flip_a_bit(folder / "model.safetensors")
            workspace.registry.verify(folder.name)
        return load(folder)

    with workspace.serve(load=load_but) as service, caplog.at_level("INFO", "heedful.serve"):
        ask(service)
        version = add_version(workspace.registry, seed=2)
        workspace.registry.promote(version, by="test", why="better")
        assert ask(service).policy == "0001"
        assert "policy_refused" in caplog.text


def test_a_version_of_other_channels_is_not_served(workspace, service):
    class Silent(Shop):
        channels = Shop.channels[:1]

    version = add_version(workspace.registry, seed=2, domain=Silent())
    workspace.registry.promote(version, by="test", why="a mistake")
    assert ask(service).policy == "0001"


def test_a_trial_assigns_for_good_and_is_logged_as_it_was(workspace, service):
    candidate = add_version(workspace.registry, seed=2)
    before = {f"u{i}": ask(service, f"u{i}").policy for i in range(40)}
    assert set(before.values()) == {"0001"}
    workspace.registry.begin_trial(
        candidate, [0.5], salt="s", watermark=workspace.log.watermark(), k=1, alpha=0.03, by="test"
    )
    rounds = [{user: ask(service, user).policy for user in before} for _ in range(3)]
    assert rounds[0] == rounds[1] == rounds[2]
    share = sum(policy == candidate for policy in rounds[0].values())
    assert 8 < share < 32
    workspace.registry.end_trial("refused", by="test", why="no better")
    assert {ask(service, user).policy for user in before} == {"0001"}
    assert replay_error(workspace) < 1e-4


def test_exploration_is_put_beneath_the_rules_of_the_house():
    vocabulary = Vocabulary(Shop.units)
    plain = Greedy(Popularity(Shop().schema(vocabulary)))
    floored = with_floor(Mask(plain, forbidden=[0]), 0.5)
    assert isinstance(floored, Mask)
    assert with_floor(floored, 0.1) is not None
    assert float(torch.exp(floored.step(floored.start(1), *_nothing(plain))[1][0, 0])) == 0.0
    again = with_floor(with_floor(plain, 0.5), 0.1)
    assert again.share == 0.5


def _nothing(policy):
    return Events.none(1, policy.schema.features), Choices.everything(policy.schema.size, 1)


# Faults


class Failing:
    """A log whose disk fills up and is emptied again."""

    def __init__(self, log):
        self._log, self.full = log, False

    def __getattr__(self, name):
        return getattr(self._log, name)

    def append(self, records, *, choice_sets=()):
        if self.full:
            raise StoreError("database or disk is full")
        return self._log.append(records, choice_sets=choice_sets)


def test_nothing_is_kept_when_the_log_fails(workspace):
    workspace.log = log = Failing(workspace.log)
    with workspace.serve() as service:
        first = ask(service)
        log.full = True
        with pytest.raises(ServiceError, match="nothing was kept") as caught:
            ask(service)
        assert caught.value.reason == "unavailable"
        assert caught.value.retry_after
        assert not service.healthy()
        with pytest.raises(ServiceError):
            service.feedback([click(first)])
        log.full = False
        ask(service)
        assert service.healthy()
    assert workspace.log.counts().decisions == 2
    assert workspace.log.snapshot().decisions.step.tolist() == [0, 1]
    assert replay_error(workspace) < 1e-4


def test_a_policy_that_breaks_does_not_break_the_service(workspace, service, monkeypatch):
    def broken(*arguments: object) -> None:
        raise RuntimeError("ada@example.org is in this message")

    served = service._policies.live
    with monkeypatch.context() as patch:
        patch.setattr(served.policy, "step", broken)
        with pytest.raises(ServiceError, match="could not decide") as caught:
            ask(service)
    assert caught.value.reason == "failed"
    assert ask(service).policy == "0001"


def test_a_full_queue_says_come_again(workspace):
    gate = threading.Event()
    domain = workspace.domain
    choices = domain.choices

    def slow(request):
        gate.wait(10)
        return choices(request)

    domain.choices = slow
    with workspace.serve(limits=Limits(queue=4, turn=2)) as service:
        running = service.submit([DecisionRequest(user="a")])
        while len(service._inbox):
            time.sleep(0.001)
        waiting = [service.submit([DecisionRequest(user=u)] * 2) for u in "bc"]
        with pytest.raises(ServiceError) as caught:
            service.submit([DecisionRequest(user="d")])
        assert caught.value.reason == "busy"
        assert caught.value.retry_after
        with pytest.raises(ServiceError, match="at most 2"):
            service.submit([DecisionRequest(user="d")] * 3)
        assert waiting[1].cancel()
        gate.set()
        assert len(running.result()) == 1
        assert len(waiting[0].result()) == 2
    assert workspace.log.counts().decisions == 3


def test_a_call_of_any_size_is_answered(workspace):
    with workspace.serve(limits=Limits(queue=8, turn=4, subjects=3)) as service:
        answers = service.decide([DecisionRequest(user=f"u{i}") for i in range(50)])
        assert all(isinstance(answer, DecisionAnswer) for answer in answers)
        receipts = service.feedback([click(answer) for answer in answers])
        assert {receipt.status for receipt in receipts} == {"added"}
        assert service.decide([]) == []
    assert replay_error(workspace) < 1e-4


def test_a_closed_service_says_so(workspace):
    service = workspace.serve()
    service.close()
    service.close()
    with pytest.raises(ServiceError, match="closing"):
        ask(service)
    assert not service.healthy()


@pytest.mark.parametrize("bad", [{"key": b"short"}, {"window": 7}, {"window": 0}])
def test_bad_arguments_are_refused(workspace, bad):
    settings = {"key": KEY, "window": 8, **bad}
    with pytest.raises(ValueError, match=r"key|window"):
        Service(workspace.log, workspace.registry, workspace.domain, **settings)


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"user": ""}, "user"),
        ({"user": "a\0"}, "user"),
        ({"user": "\ud800"}, "user"),
        ({"user": "u", "context": {"x": math.nan}}, "context"),
        ({"user": "u", "context": {"x": "\ud800"}}, "context"),
        ({"user": "u", "session": ""}, "session"),
        ({"user": "u", "length": 0}, "length"),
        ({"user": "u", "length": True}, "length"),
        ({"user": "u", "idempotency_key": "k" * 201}, "idempotency_key"),
    ],
)
def test_requests_that_cannot_be_kept_are_refused(fields, place):
    with pytest.raises(RecordError) as caught:
        DecisionRequest(**fields)
    assert caught.value.field == place


def test_unicode_users_are_served(workspace, service):
    for user in ("José", "用户", "🙂", "ﷺ"):
        assert ask(service, user, context={"hour": 1, "note": user}).units
    contexts = list(workspace.log.snapshot().decisions.contexts)
    assert "用户" in contexts[1]

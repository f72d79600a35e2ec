import pytest

from heedful.policy import load
from heedful.record import Kind
from heedful.serve.engine import parts
from heedful.serve.inbox import Asked, Ended, Told
from heedful.serve.policies import Policies
from heedful.serve.requests import DecisionRequest, EndRequest, FeedbackRequest
from heedful.serve.sessions import Sessions, named_episode
from tests.serve.world import KEY


@pytest.fixture
def served(workspace):
    policies = Policies(workspace.registry, workspace.domain, load=load, floor=0.1)
    policies.refresh()
    return policies.live


def test_the_least_recently_seen_are_forgotten_first(workspace, served):
    sessions = Sessions(workspace.log, workspace.domain, limit=2)
    for subject in ("a", "b", "a", "c"):
        sessions.load({subject: served})
        sessions.trim()
    assert sessions.get("b") is None
    assert sessions.get("a") is not None
    assert len(sessions) == 2


def test_what_is_in_memory_is_not_read_again(workspace, served):
    sessions = Sessions(workspace.log, workspace.domain, limit=2)
    sessions.load({"a": served})
    visitor = sessions.get("a")
    sessions.load({"a": served, "b": served})
    assert sessions.get("a") is visitor
    sessions.forget(["a", "nobody"])
    sessions.load({"a": served})
    assert sessions.get("a") is not visitor


def test_names_of_sessions_are_keyed():
    name = named_episode("ada", "s", KEY)
    assert name == named_episode("ada", "s", KEY)
    assert name != named_episode("bob", "s", KEY)
    assert name != named_episode("ada", "s", b"another long enough key")
    assert named_episode("a", "b,c", KEY) != named_episode("a,b", "c", KEY)


def asked(subject):
    return Asked(DecisionRequest(user=subject), subject)


def told(subject):
    return Told(FeedbackRequest(decision="d", kind=Kind.CLICK, value=True), None, subject)


def ended(subject):
    return Ended(EndRequest(user=subject), subject)


@pytest.mark.parametrize(
    ("items", "sizes"),
    [
        ([], []),
        ([asked("a"), asked("a"), told("a"), told("b")], [4]),
        ([told("a"), asked("b"), asked("a")], [2, 1]),
        ([told("a"), told("a"), ended("a"), asked("a"), asked("a")], [2, 1, 2]),
        ([told(None), asked("a"), ended("b"), asked("a"), told("b")], [5]),
    ],
)
def test_no_decision_follows_its_subjects_feedback_in_one_transaction(items, sizes):
    assert [len(part) for part in parts(items)] == sizes

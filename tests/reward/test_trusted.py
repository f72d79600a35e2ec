import numpy as np

from heedful.record import UNKNOWN, ChoiceSet, Decision, Feedback, Kind
from heedful.reward import approved
from heedful.store.snapshot import Snapshot

DECISION = Decision(
    id="d",
    episode="e",
    step=0,
    subject="somebody",
    units=("tea", "milk", "bread"),
    logps=UNKNOWN,
    policy="p",
    made_at=0.0,
    context={},
    choices=ChoiceSet().digest(),
    vocabulary="v",
)


def said(by: str, unit: int, kind: Kind, value: float | bool) -> Feedback:
    name = f"{by} {unit} {kind}"
    return Feedback(
        id=name, by=by, about="d", unit=unit, kind=kind, value=value, given_at=1.0, received_at=1.0
    )


def test_only_those_who_are_trusted_count_and_a_rating_before_a_click() -> None:
    snapshot = Snapshot.of(
        [
            DECISION,
            said("somebody", 0, Kind.CLICK, True),
            said("ada", 1, Kind.CLICK, True),
            said("ada", 2, Kind.CLICK, True),
            said("ada", 2, Kind.RATING, 2.0),
        ],
        choice_sets=[ChoiceSet()],
    )
    np.testing.assert_allclose(approved(snapshot, ["ada"]), [np.nan, 1.0, 0.25])
    np.testing.assert_allclose(approved(snapshot, ["somebody"]), [1.0, np.nan, np.nan])
    assert np.isnan(approved(snapshot, ["a stranger"])).all()

"""The whole path in the simulated shop: people write, the reader learns, policies learn with it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from heedful import demo
from heedful.domains.recommendation.shop import ShopParameters
from heedful.loop.answers import unit_means
from heedful.loop.bench import Bench
from heedful.loop.reward import HELD_OUT, comparable, train_units
from heedful.loop.run import Run
from heedful.loop.turn import turn
from heedful.policy import load
from heedful.policy.network import Network
from heedful.reward import CommentReader, Fitted, Pairs, RewardError
from heedful.reward.answers import Answers
from heedful.workspace import Workspace
from tests.small_shop import TINY

PEOPLE, DECISIONS = 100, 6
READ = {"reward.kind": "ratings", "reward.comments": True}
GUESSED = {"reward.silence": "model", "reward.maturity": 3 * demo.SECONDS_PER_DECISION}
SMALL = {k: v for k, v in TINY.items() if not k.startswith(("domain", "gate"))}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop whose people rate half of what they click, and write about half of it."""
    folder = tmp_path_factory.mktemp("reward") / "shop"
    parameters = ShopParameters(world_seed=3, comment_rate=0.5, rating_rate=0.5)
    scale = demo.Scale(people=PEOPLE, decisions=DECISIONS, rounds=1, groups=1, history=(30, 8))
    with demo.prepared(folder, parameters, scale, 3, SMALL) as workspace:
        clock = demo.Clock(demo.OPENING)
        workspace.clock = clock
        workspace.promote(workspace.popularity(), by="test")
        people = demo.People(parameters, PEOPLE, 3, "p")
        with workspace.serving() as service:
            for _ in range(DECISIONS):
                people.visit(service)
                clock.now += demo.SECONDS_PER_DECISION
        workspace.pretrain()
    (folder / "now").write_text(str(clock.now))
    return folder


def at(folder: Path, settings: dict[str, object]) -> Workspace:
    workspace = Workspace.open(folder, SMALL | settings)
    workspace.clock = lambda: float((folder / "now").read_text())
    return workspace


@pytest.fixture
def reading(folder: Path) -> Iterator[Workspace]:
    with at(folder, READ | {"reward.normalise": "subject", "reward.members": 2}) as workspace:
        yield workspace


def test_comments_in_the_shop_are_read_and_earn(reading: Workspace) -> None:
    snapshot = reading.log.snapshot()
    before = reading.bench().earned(snapshot).units
    fit = reading.reward()
    assert fit.metrics["comment/pairs"] >= 30
    assert fit.metrics["comment/mae"] < 0.5 * fit.metrics["comment/mae_constant"]
    assert fit.metrics["comment/rmse"] < 0.8 * fit.metrics["comment/rmse_constant"]
    after = reading.bench().earned(snapshot).units
    read = np.flatnonzero(after != before)
    assert len(read) > 20
    assert (before[read] == 0.0).all()  # a unit without a rating had earned nothing
    learned = reading.bench().learned(snapshot, fit.name).units
    assert 0.0 <= learned.min() < learned.max() <= 1.0
    assert (learned != after).any()  # made comparable for learning, not for judging


def test_a_version_names_the_reward_it_was_trained_with(reading: Workspace) -> None:
    with pytest.raises(RewardError, match="nothing has been fitted yet: heedful reward"):
        reading.reinforce("0002")
    first = reading.reward().name
    made = reading.reinforce("0002")
    card = reading.registry.card(made.name)
    assert (card.reward, reading.registry.card("0002").reward) == (first, None)
    again = reading.reinforce("0002")
    weights = [
        (reading.registry.folder(v.name) / "model.safetensors").read_bytes() for v in (made, again)
    ]
    assert weights[0] == weights[1]
    assert card.recipe() == reading.registry.card(again.name).recipe()
    second = reading.reward().name
    other = reading.registry.card(reading.reinforce("0002").name)
    assert (first, second, other.reward) == ("0001", "0002", "0002")
    assert other.recipe() != card.recipe()


def test_fitting_twice_is_the_same_to_the_bit(folder: Path) -> None:
    with at(folder, READ | GUESSED) as workspace:
        names = [workspace.reward().name for _ in range(2)]
    for file in ("comments.safetensors", "answers/0/model.safetensors"):
        one, two = ((folder / "rewards" / name / file).read_bytes() for name in names)
        assert one == two, file


def test_a_model_of_clicks_says_what_waits_and_no_more(folder: Path) -> None:
    with at(folder, GUESSED | {"reward.members": 2}) as workspace:
        fit, bench = workspace.reward(), workspace.bench()
        assert fit.metrics["click/log_loss"] < fit.metrics["click/log_loss_constant"] + 0.05
        assert fit.metrics["click/spread"] > 0
        snapshot = workspace.log.snapshot()
        said, learned = bench.earned(snapshot), bench.learned(snapshot, fit.name)
        waits = np.isnan(said.units)
        assert 0 < waits.sum() < len(waits)
        np.testing.assert_array_equal(learned.units[~waits], said.units[~waits])
        clicked = learned.units[waits]
        guessed = clicked[(clicked > 0) & (clicked < 1)]
        assert len(guessed) > 0.5 * len(clicked)
        assert abs(guessed.mean() - said.units[~waits].mean()) < 0.2
        dim = at(folder, GUESSED | {"reward.pessimism": 3.0})
        with dim:
            wary = dim.bench().learned(snapshot, fit.name).units[waits]
        assert (wary <= clicked + 1e-12).all()
        assert wary.mean() < clicked.mean()
        made = workspace.reinforce("0002")
        assert workspace.registry.card(made.name).reward == fit.name


def test_candidates_are_told_what_the_shown_units_are_told(folder: Path) -> None:
    with at(folder, GUESSED) as workspace:
        fit = workspace.reward()
        place = workspace.bench().shelf.folder(fit.name) / "answers"
        window = workspace.config.policy.window
        answers = Answers.load(place, window)
        streams = workspace.domain.encode(workspace.log.snapshot(), answers.vocabulary)
    slots = np.arange(5, 60, 7)
    units = np.arange(len(answers.vocabulary))
    every, _ = answers.of_candidates(streams, slots, units, "click")
    shown, spread = answers.expected(streams, "click")
    assert every.shape == (len(slots), len(units))
    own = every[np.arange(len(slots)), streams.slots.unit[slots]]
    np.testing.assert_allclose(own, shown[slots], atol=1e-5)
    assert (spread == 0.0).all()
    with pytest.raises(RewardError, match="nobody answers with a purchase"):
        answers.expected(streams, "purchase")


def test_the_click_model_is_apart_from_the_policy(folder: Path) -> None:
    """Trained on answers alone: its head for units was never asked, and stays as it was made."""
    with at(folder, GUESSED) as workspace:
        fit = workspace.reward()
        loaded = load(workspace.bench().shelf.folder(fit.name) / "answers" / "0")
    assert isinstance(loaded.policy, Network)
    assert not loaded.policy.bias.any()
    assert not loaded.policy.value_head.weight.any()


def test_training_that_was_killed_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(folder, folder.parent / "other")
    with at(folder, GUESSED) as whole:
        whole.reward()
    save = Run.save

    def once(run: Run, checkpoint: object) -> None:
        save(run, checkpoint)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with at(folder.parent / "other", GUESSED) as killed:
        monkeypatch.setattr(Run, "save", once)
        with pytest.raises(KeyboardInterrupt):
            killed.reward()
        assert killed.bench().shelf.newest() is None
        monkeypatch.setattr(Run, "save", save)
        killed.reward()
    file = "rewards/0001/answers/0/model.safetensors"
    assert (folder / file).read_bytes() == (folder.parent / "other" / file).read_bytes()


def test_a_turn_fits_the_reward_and_a_trial_keeps_it(
    reading: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading.registry.refuse("0002", by="test", why="so that a turn goes on from it")
    begun = turn(reading.bench())
    assert begun.action == "trial begun"
    assert begun.policy is not None
    assert reading.registry.card(begun.policy).reward == "0001"
    with reading.bench().shelf.new(reading.bench().shelf.card("0001")) as placed:
        same = Pairs(["so so"] * 40, np.full(40, 5.0), [f"p{i}" for i in range(40)])
        Fitted(CommentReader.fit(same)).save(placed.folder)
    snapshot, bench = reading.log.snapshot(), reading.bench()
    first, newest = (bench.earned(snapshot, name).units for name in ("0001", "0002"))
    assert not np.array_equal(first, newest)
    np.testing.assert_array_equal(bench.earned(snapshot).units, newest)
    # A later reader must not change what earlier subjects earned in the trial.
    asked: list[str | None] = []
    earned = Bench.earned
    monkeypatch.setattr(Bench, "earned", lambda b, s, r: asked.append(r) or earned(b, s, r))
    assert reading.judge() is not None
    assert asked == ["0001"]


def test_a_turn_goes_without_what_cannot_be_fitted_yet(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with at(folder, READ | {"reward.comments_file": "none.csv"}) as workspace:
        workspace.registry.refuse("0002", by="test", why="so that a turn goes on from it")
        begun = turn(workspace.bench())
        assert begun.policy == "0003"
        assert workspace.registry.card("0003").reward is None
    assert "none.csv: cannot be read" in caplog.text


def test_what_was_not_fitted_is_named(folder: Path) -> None:
    with at(folder, READ) as workspace:
        name = workspace.reward().name
    lacking = [
        (READ | {"reward.normalise": "subject"}, r'without normalise = "subject".*heedful reward'),
        (GUESSED, "holds no model of answers"),
    ]
    for settings, problem in lacking:
        with at(folder, settings) as workspace, pytest.raises(RewardError, match=problem):
            workspace.reinforce("0002")
    with at(folder, {}) as workspace:
        with pytest.raises(RewardError, match="nothing to fit"):
            workspace.reward()
        assert workspace.registry.card(workspace.reinforce("0002").name).reward is None
    assert name == "0001"


def test_labels_of_a_file_stand_in_for_pairs_in_the_log(folder: Path) -> None:
    rows = ["comment,rating"]
    rows += [
        f"{'superb' if i % 2 else 'dreadful'} number {i},{5 if i % 2 else 1}" for i in range(60)
    ]
    (folder / "labels.csv").write_text("\n".join(rows), "utf-8")
    with at(folder, READ | {"reward.comments_file": "labels.csv"}) as workspace:
        fit = workspace.reward()
        card = workspace.bench().shelf.card(fit.name)
        reader = Fitted.load(workspace.bench().shelf.folder(fit.name)).comments
    assert fit.metrics["comment/pairs"] == 60
    assert fit.metrics["comment/mae"] < 0.3
    assert set(card.configuration) > {"labels"}
    assert reader is not None
    assert reader.read(["a superb one"]).median.tolist() == [5.0]


def test_held_out_rows_are_not_learned_from(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of, masks = Pairs.of, []
    monkeypatch.setattr(Pairs, "of", lambda log, mask: masks.append(mask) or of(log, mask))
    with at(folder, READ) as workspace:
        workspace.reward()
        bench, snapshot = workspace.bench(), workspace.log.snapshot()
        train = train_units(bench, snapshot)
        owner = snapshot.decisions.subject[snapshot.decisions.of_unit]
    assert (masks[0] == train).all()
    for subject in np.unique(owner)[:20]:
        assert (~train[owner == subject]).sum() == 2  # leave-one-out: test and validation


def test_history_without_a_no_is_no_evidence_of_clicks(folder: Path) -> None:
    with at(folder, GUESSED) as workspace:
        snapshot = workspace.log.snapshot()
        vocabulary = workspace.domain.vocabulary(snapshot)
        streams = workspace.domain.encode(snapshot, vocabulary)
    ours = ~np.isnan(streams.slots.behaviour_logp)
    np.testing.assert_array_equal(comparable(streams, 0), ours)
    assert comparable(streams, 1).all()  # a rating says as much wherever it comes from
    assert 0 < HELD_OUT < 0.5


def test_a_units_mean_is_shrunk() -> None:
    found = unit_means(np.array([0, 0, 2]), np.array([1.0, 1.0, 0.0]), np.ones(3), 3)
    mean = 2 / 3
    np.testing.assert_allclose(found, [(2 + 5 * mean) / 7, mean, 5 * mean / 6])

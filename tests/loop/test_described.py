"""Taste follows the genre: what was never shown, and who was never met, are served all the same."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from heedful.evaluate import bootstrap
from heedful.loop.form import without_floor
from heedful.policy import Policy, Vocabulary, load
from heedful.record import pseudonym
from heedful.serve import DecisionRequest
from heedful.store.registry import Version
from heedful.workspace import Workspace
from tests.small_shop import COLUMNS, TINY

GENRES = ("drama", "crime", "comedy", "western")
ITEMS, PEOPLE, LENGTH, COLD = 48, 80, 9, 8
SETTINGS = (
    TINY
    | COLUMNS
    | {
        "policy.width": 16,
        "policy.dropout": 0.1,
        "pretrain.epochs": 25,
        "pretrain.learning_rate": 0.02,
        "pretrain.validation": False,
        "pretrain.feedback_weight": 0.0,
        "domain.slate": 4,
        "domain.repeat_seen": False,
    }
)


def genre(item: int) -> int:
    """The last eight items, two of each genre, are in no file of ratings."""
    return item % len(GENRES)


def items() -> dict[str, dict[str, object]]:
    return {f"item-{i}": {"genre": [GENRES[genre(i)]], "shelf": i % 7} for i in range(ITEMS)}


def write_history(path: Path) -> Path:
    rng = np.random.default_rng(0)
    shown = np.arange(ITEMS - COLD)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["user", "item", "rating", "position"])
        for user in range(PEOPLE):
            liked = np.where(shown % len(GENRES) == user % len(GENRES), 12.0, 1.0)
            for place, item in enumerate(rng.choice(shown, LENGTH, False, liked / liked.sum())):
                rows.writerow([f"user-{user}", f"item-{item}", 5, user * LENGTH + place])
    return path


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, Version]]:
    folder = tmp_path_factory.mktemp("shop")
    Workspace.create(folder).close()
    with Workspace.open(folder, SETTINGS) as workspace:
        workspace.import_file(write_history(folder / "history.csv"))
        fans = {f"user-{u}": {"likes": [GENRES[u % len(GENRES)]]} for u in range(PEOPLE)}
        workspace.describe(units=items(), subjects=fans)
        yield workspace, workspace.pretrain()


def loaded(shop: tuple[Workspace, Version]) -> tuple[Policy, Vocabulary]:
    found = load(shop[0].registry.folder(shop[1].name))
    return without_floor(found.policy), found.vocabulary


def auc(scores: np.ndarray, wanted: np.ndarray) -> float:
    """Return the share of pairs in which a wanted item stands before another; ties half."""
    above = scores[wanted][:, None] - scores[~wanted]
    return float(np.mean((above > 0) + 0.5 * (above == 0)))


def test_items_without_an_event_are_ranked_by_their_genre(
    shop: tuple[Workspace, Version],
) -> None:
    """Popularity knows nothing of them: .5, as chance does."""
    workspace, _ = shop
    policy, vocabulary = loaded(shop)
    cold = vocabulary.indexes([f"item-{i}" for i in range(ITEMS - COLD, ITEMS)])
    assert len(vocabulary) == ITEMS
    streams = workspace.bench().encode(workspace.log.snapshot(), vocabulary)
    last = [streams.single(int(end) - 1, 40) for end in streams.slot_offsets[1:]]
    with torch.no_grad():
        logits = policy.forward(streams.batch(last, seen=True), frozenset({"logits"})).logits
    names = [workspace.log.snapshot().names.subjects[int(code)] for code in streams.subjects]
    taste = {pseudonym(f"user-{u}", workspace.key): u % len(GENRES) for u in range(PEOPLE)}
    genres = np.array([genre(i) for i in range(ITEMS - COLD, ITEMS)])
    found = np.array(
        [
            auc(row[cold], genres == taste[name])
            for row, name in zip(logits.numpy(), names, strict=True)
        ]
    )
    assert bootstrap(found, seed=0).low > 0.8


def test_cold_items_have_no_row_and_the_card_counts_them(shop: tuple[Workspace, Version]) -> None:
    workspace, version = shop
    policy, vocabulary = loaded(shop)
    network = next(module for module in policy.modules() if hasattr(module, "embed"))
    cold = network.embed.unit.cold[:-1]
    assert {vocabulary.units[i] for i in torch.nonzero(cold).flatten()} == {
        f"item-{i}" for i in range(ITEMS - COLD, ITEMS)
    }
    assert not network.embed.unit.weight[:-1][cold].any()
    metrics = workspace.registry.card(version.name).metrics
    assert metrics["units_never_chosen"] == COLD
    assert metrics["units_not_described"] == 0


def share_of_taste(slates: Sequence[Sequence[str]], tastes: Sequence[int]) -> np.ndarray:
    """Return, for each slate, the share of items of the genre that its subject likes."""
    return np.array(
        [
            np.mean([genre(int(unit.removeprefix("item-"))) == taste for unit in slate])
            for slate, taste in zip(slates, tastes, strict=True)
        ]
    )


def test_somebody_new_gets_what_people_like_them_like(shop: tuple[Workspace, Version]) -> None:
    """No history at all, only who it is; against what popularity shows the same people."""
    workspace, version = shop
    tastes = [number % len(GENRES) for number in range(96)]
    shares = []
    for candidate in (version, workspace.popularity()):
        workspace.promote(candidate, by="a test", why="to serve it")
        users = [f"stranger {number} to {candidate.name}" for number in range(96)]
        likes = [{"likes": [GENRES[taste]]} for taste in tastes]
        workspace.describe(subjects=dict(zip(users, likes, strict=True)))
        with workspace.serving(seed=1) as service:
            answers = service.decide([DecisionRequest(user=user) for user in users])
            nobody = service.decide([DecisionRequest(user=f"unheard of {candidate.name}")])
        assert len(nobody[0].units) == 4
        shares.append(share_of_taste([answer.units for answer in answers], tastes))
    gain = bootstrap(shares[0] - shares[1], seed=0)
    assert gain.low > 0.0

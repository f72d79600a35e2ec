"""A workspace small enough to be trained in a second, and people who use it."""

import csv
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from heedful.record import Kind
from heedful.serve import DecisionRequest, FeedbackRequest
from heedful.workspace import Workspace

SUBJECTS, ITEMS, LENGTH = 40, 24, 10
COLUMNS = {
    "import.subject": "user",
    "import.unit": "item",
    "import.rating": "rating",
    "import.order": "position",
}
TINY = {
    "policy.width": 8,
    "policy.heads": 1,
    "policy.layers": 1,
    "policy.window": 40,
    "pretrain.epochs": 2,
    "reinforce.epochs": 1,
    "domain.slate": 2,
    "domain.repeat_seen": True,
    "gate.window": 10.0,
    "gate.minimum_subjects": 40,
}
BEGIN = 1_700_000_000.0  # in the past of every clock this runs by


def flags(settings: Mapping[str, object]) -> list[str]:
    """Return settings as the command takes them."""
    return [
        part
        for name, value in settings.items()
        for part in ("--set", f"{name}={str(value).lower()}")
    ]


def write_ratings(path: Path, *, subjects: int = SUBJECTS, seed: int = 0) -> Path:
    """Write ratings of people with one of two tastes."""
    rng = np.random.default_rng(seed)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["user", "item", "rating", "position"])
        for user in range(subjects):
            liked = np.where(np.arange(ITEMS) % 2 == user % 2, 5.0, 1.0)
            chosen = rng.choice(ITEMS, LENGTH, replace=False, p=liked / liked.sum())
            for place, item in enumerate(chosen):
                rating = rng.integers(1, 6)
                rows.writerow([f"user-{user}", f"item-{item}", rating, user * LENGTH + place])
    return path


class Shop:
    """A workspace whose clock stands still until people have come."""

    def __init__(self, folder: Path, settings: Mapping[str, object] | None = None) -> None:
        self.now = BEGIN
        self.workspace = Workspace.open(folder, TINY | COLUMNS | dict(settings or {}))
        self.workspace.clock = lambda: self.now
        self._visits = 0

    def visit(
        self, people: int, click: Callable[[str], float], *, decisions: int = 2, times: int = 1
    ) -> None:
        """Let new people come, who click with a probability that depends on the version.

        Every click is delivered as many ``times``.
        """
        rng = np.random.default_rng(self._visits)
        names = [f"visitor-{self._visits}-{number}" for number in range(people)]
        self._visits += 1
        with self.workspace.serving(seed=self._visits) as service:
            for _ in range(decisions):
                answers = service.decide([DecisionRequest(user=name) for name in names])
                said = [
                    FeedbackRequest(decision=answer.id, kind=Kind.CLICK, value=True, unit=unit)
                    for answer in answers
                    for unit in range(len(answer.units))
                    if rng.random() < click(answer.policy)
                ]
                for _ in range(times):
                    service.feedback(said)
                self.now += 1
        self.now += 20  # the windows of the gate have passed

    def close(self) -> None:
        """Let go of the files."""
        self.workspace.close()


def new_shop(folder: Path) -> Shop:
    """Return a shop in ``folder`` with ratings in its log; its secret is always the same."""
    Workspace.create(folder, secret="5e" * 32).close()
    shop = Shop(folder)
    shop.workspace.import_file(write_ratings(folder.parent / "ratings.csv"))
    return shop

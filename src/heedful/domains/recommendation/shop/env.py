"""`heedful/Shop-v0`: n people who visit a shop at once, as a Gymnasium vector environment."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from heedful.domains.recommendation.shop.catalogue import Catalogue
from heedful.domains.recommendation.shop.feedback import Mail, answer
from heedful.domains.recommendation.shop.parameters import ShopParameters
from heedful.domains.recommendation.shop.people import People, opinions
from heedful.domains.recommendation.shop.slates import Slates

__all__ = ["ENV_ID", "ShopEnv", "register"]

ENV_ID = "heedful/Shop-v0"

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Observations = NDArray[np.float32]


class ShopEnv(VectorEnv[Observations, NDArray[np.int64], NDArray[Any]]):
    """A shop with hidden tastes, position bias, boredom and, where asked, tastes that change.

    Sub-environment i is person i. An episode is one visit; the same person, with the same
    tastes, comes back for the next one, so feedback may arrive in a later visit than its
    decision. Visits end by `SAME_STEP` autoreset: the step that ends one returns the first
    observation of the next, and the last observation of the old one in `infos["final_obs"]`.
    Every step is therefore one decision of every person.

    A click on position k is drawn with probability
    `decay^k * sigmoid(bias + appeal + strength * <taste, item> + mood - boredom)`
    (examination hypothesis: Richardson, Dominowska and Ragno, WWW 2007).

    Actions: int [n, K], different items within a slate. Observations: float32 [n, 3]: log of the
    visit's number, and sine and cosine of the hour of its day; tastes are not in them. Reward:
    the share of the slate that was clicked. `infos["feedback"]`: an object array [n] of lists of
    `{"kind", "decision_age", "unit", "value"}`: a click (True), a rating (1..5) or a comment
    (text) for position `unit` of the slate shown `decision_age` decisions ago (0 is now).

    Args:
        num_envs: how many people.
        parameters: the shop; the defaults are the benchmark.

    Raises:
        ValueError: `num_envs` below 1.

    >>> shop = ShopEnv(num_envs=2)
    >>> observations, infos = shop.reset(seed=1)
    >>> observations.shape
    (2, 3)
    >>> slates = np.array([[0, 1, 2, 3, 4], [9, 8, 7, 6, 5]])
    >>> observations, rewards, terminated, truncated, infos = shop.step(slates)
    >>> sorted(infos)
    ['_feedback', 'feedback']
    """

    action_space: Slates
    single_action_space: Slates
    metadata: dict[str, Any] = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(self, num_envs: int = 1, parameters: ShopParameters | None = None) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs is {num_envs}: a shop needs at least one person")
        self.num_envs = num_envs
        self.parameters = parameters or ShopParameters()
        self.single_action_space = Slates(self.parameters.items, (self.parameters.slate,))
        self.action_space = Slates(self.parameters.items, (num_envs, self.parameters.slate))
        low = np.array([0, -1, -1], dtype=np.float32)
        high = np.array([np.inf, 1, 1], dtype=np.float32)
        self.single_observation_space = spaces.Box(low, high)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._catalogue = Catalogue.draw(self.parameters)
        self._people: People | None = None
        self._mail = Mail(self.parameters.patience)
        self._visit = np.ones(num_envs, dtype=np.int64)  # which visit of theirs it is, from 1
        self._length = np.zeros(num_envs, dtype=np.int64)  # decisions in this visit

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Everybody starts a visit: new people with a seed (or at first), else the same again.

        Args:
            seed: of the people and of all that happens to them.
            options: none are known.

        Returns:
            Observations [n, 3] and no infos.
        """
        super().reset(seed=seed, options=options)
        if seed is not None or self._people is None:
            self._people = People.draw(
                self._catalogue, self.parameters, self.num_envs, self.np_random
            )
            self._mail = Mail(self.parameters.patience)
            self._visit[:] = 1
            self._length[:] = 0
        else:
            self._come_back(self._people, np.ones(self.num_envs, dtype=np.bool_))
        return self._observe(self._people), {}

    def step(
        self, actions: NDArray[np.int64]
    ) -> tuple[Observations, Floats, Flags, Flags, dict[str, Any]]:
        """Show everybody a slate.

        Args:
            actions: items [n, K], different within a row.

        Returns:
            Observations [n, 3], rewards [n] in 0..1, terminated [n] (the person left), truncated
            [n] (the visit was cut off at `max_visit`), and infos.

        Raises:
            gymnasium.error.ResetNeeded: before the first `reset`.
            ValueError: a slate is not in the action space.
        """
        people = self._present()
        slates = self.action_space.checked(actions)
        clicked = self._answer(people, slates)
        people.live_on(slates, self.np_random)
        terminated, truncated = self._leave(clicked)
        infos = self._collect()
        left = terminated | truncated
        if left.any():
            infos |= self._final(people, left)
        self._come_back(people, left)
        return self._observe(people), clicked.mean(axis=1), terminated, truncated, infos

    def _answer(self, people: People, slates: NDArray[np.int64]) -> Flags:
        """People look, click, and post what they will say; returns the clicks [n, K]."""
        affinity = np.take_along_axis(people.affinity(), slates, axis=1)
        noise = self.np_random.standard_normal(slates.shape)
        answers = answer(
            people.click_probability(slates),
            opinions(affinity, noise, self.parameters),
            self.parameters,
            self.np_random,
        )
        self._mail.post(answers, explicit_no=self.parameters.explicit_no)
        return answers.clicked

    def _leave(self, clicked: Flags) -> tuple[Flags, Flags]:
        """Who leaves, likelier after a slate without a click; whose visit is cut off."""
        self._length += 1
        pleased, unmoved = self.parameters.leave_pleased, self.parameters.leave_unmoved
        chance = np.where(clicked.any(axis=1), pleased, unmoved)
        terminated = self.np_random.random(self.num_envs) < chance
        return terminated, ~terminated & (self._length >= self.parameters.max_visit)

    def _collect(self) -> dict[str, Any]:
        feedback = self._mail.collect(self.num_envs)
        given = np.fromiter((len(events) > 0 for events in feedback), np.bool_, self.num_envs)
        return {"feedback": feedback, "_feedback": given}

    def _final(self, people: People, left: Flags) -> dict[str, Any]:
        last = self._observe(people)
        final = np.full(self.num_envs, None, dtype=np.object_)
        for person in np.flatnonzero(left):
            final[person] = last[person]
        return {"final_obs": final, "_final_obs": left.copy()}

    def _come_back(self, people: People, who: Flags) -> None:
        people.come_back(who, self.np_random)
        self._visit += who
        self._length[who] = 0

    def _observe(self, people: People) -> Observations:
        angle = 2 * np.pi * people.hour / 24.0
        features = (np.log(self._visit), np.sin(angle), np.cos(angle))
        return np.stack(features, axis=1).astype(np.float32)

    def _present(self) -> People:
        if self._people is None:
            raise gymnasium.error.ResetNeeded("nobody is in the shop: call reset() before step()")
        return self._people


def register() -> None:
    """Make `gymnasium.make_vec("heedful/Shop-v0", ...)` find the shop; repeating is harmless."""
    if ENV_ID not in gymnasium.registry:
        gymnasium.register(id=ENV_ID, vector_entry_point=f"{__name__}:ShopEnv")

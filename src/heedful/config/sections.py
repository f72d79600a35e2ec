"""Every table of ``heedful.toml``, and what has to hold between them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

from pydantic import Field, PrivateAttr, model_validator

from heedful.config.deploying import Gate, Loop, Serve
from heedful.config.errors import ConfigError
from heedful.config.fields import toml
from heedful.config.given import Import, Workspace
from heedful.config.learning import Policy, Pretrain, Tune
from heedful.config.rates import RATES, TOO_NEAR
from heedful.config.reinforcing import Constraints, Interact, Reinforce, Reward
from heedful.config.section import Section

Scalar = bool | int | float | str
Option = Scalar | list[Scalar]


class Config(Section):
    """All of ``heedful.toml``. One attribute per table; ``import_`` is the table ``[import]``."""

    workspace: Workspace = Workspace()
    import_: Import = Field(default=Import(), alias="import")
    domain: dict[str, Option] = Field(
        default={}, description="Options of the domain, which checks them itself."
    )
    policy: Policy = Policy()
    pretrain: Pretrain = Pretrain()
    reward: Reward = Reward()
    reinforce: Reinforce = Reinforce()
    interact: Interact = Interact()
    tune: Tune = Tune()
    constraints: Constraints = Constraints()
    gate: Gate = Gate()
    loop: Loop = Loop()
    serve: Serve = Serve()
    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        kinds = self.policy.members or [self.policy.kind]
        if self.pretrain.bidirectional and "recurrent" in kinds:
            raise ValueError(
                "pretrain.bidirectional needs a network that can read from right to left: set "
                'policy.kind = "transformer" with it'
            )
        return self

    def located(self, error: ConfigError) -> ConfigError:
        """Return ``error``, with the flag or variable at fault where one set the key."""
        problems = [
            replace(problem, source=self._origins.get(problem.key, problem.source))
            for problem in error.problems
        ]
        return ConfigError(problems)

    def doubts(self) -> tuple[str, ...]:
        """Return what is allowed and yet unlikely to be meant, each with what to do about it."""
        pretrain, found = self.pretrain, []
        highest = RATES[pretrain.optimiser].highest
        if pretrain.rate > highest:
            found.append(
                f"pretrain.learning_rate = {toml(pretrain.rate)} is high for {pretrain.optimiser}, "
                f"which learned less above {toml(highest)} when it was measured: try a lower one, "
                "or see heedful pretrain --range-test"
            )
        if self.reinforce.learning_rate > pretrain.rate / TOO_NEAR:
            found.append(
                f"reinforce.learning_rate = {toml(self.reinforce.learning_rate)} is above a tenth "
                f"of pre-training's {toml(pretrain.rate)}: reinforcement may undo what was learned "
                "before; one to two orders below is usual"
            )
        return tuple(found)

    def canonical(self) -> dict[str, dict[str, Any]]:
        """Return plain JSON values by table and key, every key present, for a policy's card.

        >>> Config().canonical()["gate"]["alpha"]
        0.05
        """
        return self.model_dump(mode="json", by_alias=True)

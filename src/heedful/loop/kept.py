"""The weights of the best policy so far."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from torch import Tensor, nn


@dataclass(slots=True)
class Kept:
    """The weights that scored highest.

    Attributes:
        number: of the round or pass they stood after.
        score: theirs.
        weights: a copy.
    """

    number: int = -1
    score: float = -math.inf
    weights: dict[str, Tensor] = field(default_factory=dict)

    def look(self, number: int, score: float, module: nn.Module) -> None:
        """Keep ``module``'s weights if they are the best so far; of equals the later ones."""
        if score >= self.score:
            self.number, self.score, self.weights = number, score, copied(module)

    def facts(self) -> list[float | None]:
        """Return what :meth:`of` takes beside the weights, as JSON."""
        return [self.number, None if math.isinf(self.score) else self.score]

    @classmethod
    def of(cls, facts: list[float | None], weights: dict[str, Tensor]) -> Kept:
        """Take up where another stood."""
        number, score = facts
        assert number is not None
        return cls(int(number), -math.inf if score is None else score, weights)

    def put_back(self, module: nn.Module) -> None:
        """Give ``module`` these weights, if there are any."""
        restored(module, self.weights)


def copied(module: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the weights of ``module`` that learn: beside an adapter most do not."""
    named = module.named_parameters()
    return {name: tensor.detach().clone() for name, tensor in named if tensor.requires_grad}


def restored(module: nn.Module, weights: dict[str, Tensor]) -> None:
    """Put back what :func:`copied` gave; the rest stays as it is."""
    module.load_state_dict(weights, strict=False)

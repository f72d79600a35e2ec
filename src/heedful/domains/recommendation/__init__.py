"""Recommendation: units are items, a decision is a slate."""

from heedful.domains.recommendation.domain import Options, Recommendation

__all__ = ["Options", "Recommendation"]

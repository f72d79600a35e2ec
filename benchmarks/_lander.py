"""Gymnasium's LunarLander-v3 where nothing is drawn: without pygame, which its package imports."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import gymnasium

NAME = "benchmarks/LunarLander-v3"
LIMIT = 1000
_MODULE = "gymnasium.envs.box2d.lunar_lander"


def register() -> str:
    """Make the game known to Gymnasium, and return its id.

    It is Gymnasium's own class. ``gymnasium.envs.box2d`` imports CarRacing beside it, and that
    pygame; the lander needs it for pictures alone.

    Raises:
        gymnasium.error.DependencyNotInstalled: Box2D is missing.
    """
    if NAME not in gymnasium.registry:
        gymnasium.register(id=NAME, entry_point=_lander, max_episode_steps=LIMIT)
    return NAME


def _lander(**options: Any) -> gymnasium.Env[Any, Any]:
    if _MODULE not in sys.modules:
        place = Path(gymnasium.__file__).parent / "envs" / "box2d" / "lunar_lander.py"
        spec = importlib.util.spec_from_file_location("benchmarks.lunar_lander", place)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[_MODULE] = module
    made: gymnasium.Env[Any, Any] = sys.modules[_MODULE].LunarLander(**options)
    return made

"""What was asked for: ``heedful.toml`` and its defaults, validated; unknown keys are refused.

Sorting the names: `errors` says what is wrong, `rates` which learning rates are sound, `sections`
holds every key, `sources` reads file, environment and flags, `template` writes the documented file
that ``heedful init`` makes.
"""

from heedful.config.errors import ConfigError, ConfigWarning, Problem
from heedful.config.explain import checked_options
from heedful.config.sections import (
    Config,
    Constraints,
    Gate,
    Import,
    Interact,
    Loop,
    Policy,
    Pretrain,
    Reinforce,
    Reward,
    Section,
    Serve,
    Tune,
    Workspace,
)
from heedful.config.sources import FILE_NAME, load
from heedful.config.template import template

__all__ = [
    "FILE_NAME",
    "Config",
    "ConfigError",
    "ConfigWarning",
    "Constraints",
    "Gate",
    "Import",
    "Interact",
    "Loop",
    "Policy",
    "Pretrain",
    "Problem",
    "Reinforce",
    "Reward",
    "Section",
    "Serve",
    "Tune",
    "Workspace",
    "checked_options",
    "load",
    "template",
]

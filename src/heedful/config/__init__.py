"""What was asked for: ``heedful.toml`` and its defaults, validated; unknown keys are refused.

Sorting the names: `errors` says what is wrong, `rates` which learning rates are sound; `given`,
`learning`, `reinforcing` and `deploying` hold every key, and `sections` all tables; `sources` reads
file, environment and flags, `template` writes the documented file that ``heedful init`` makes.
"""

from heedful.config.deploying import Gate, Loop, Serve
from heedful.config.errors import ConfigError, ConfigWarning, Problem
from heedful.config.explain import checked_options
from heedful.config.given import Import, Workspace
from heedful.config.learning import Policy, Pretrain, Tune
from heedful.config.reinforcing import Constraints, Interact, Reinforce, Reward
from heedful.config.section import Section
from heedful.config.sections import Config
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

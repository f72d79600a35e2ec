"""What we do: policies over streams of events, the one sampler and the one replay."""

from heedful.policy.baselines import Popularity
from heedful.policy.batch import (
    Batch,
    Channel,
    EventKind,
    Events,
    Outputs,
    Schema,
    outputs_from_logits,
    scatter,
)
from heedful.policy.choices import Choices
from heedful.policy.ensemble import Ensemble
from heedful.policy.features import Facts, FeatureEncoder, Gaps
from heedful.policy.feedforward import Feedforward
from heedful.policy.folder import Loaded, PolicyFolderError, build, clone, load, maker, save
from heedful.policy.growth import grow
from heedful.policy.huggingface import HuggingFace
from heedful.policy.prior import TransitionPrior
from heedful.policy.protocol import Policy, State
from heedful.policy.quotas import Bounds, Quota, Quotas, Tally
from heedful.policy.recurrent import Recurrent
from heedful.policy.sampling import Acts, NothingToChooseError, draw, replay, sample
from heedful.policy.tabular import TabularQ
from heedful.policy.transformer import Transformer
from heedful.policy.vocabulary import Vocabulary
from heedful.policy.wrappers import (
    EpsilonGreedy,
    Floor,
    Greedy,
    LogitWrapper,
    Mask,
    Temperature,
    TopP,
)

__all__ = [
    "Acts",
    "Batch",
    "Bounds",
    "Channel",
    "Choices",
    "Ensemble",
    "EpsilonGreedy",
    "EventKind",
    "Events",
    "Facts",
    "FeatureEncoder",
    "Feedforward",
    "Floor",
    "Gaps",
    "Greedy",
    "HuggingFace",
    "Loaded",
    "LogitWrapper",
    "Mask",
    "NothingToChooseError",
    "Outputs",
    "Policy",
    "PolicyFolderError",
    "Popularity",
    "Quota",
    "Quotas",
    "Recurrent",
    "Schema",
    "State",
    "TabularQ",
    "Tally",
    "Temperature",
    "TopP",
    "Transformer",
    "TransitionPrior",
    "Vocabulary",
    "build",
    "clone",
    "draw",
    "grow",
    "load",
    "maker",
    "outputs_from_logits",
    "replay",
    "sample",
    "save",
    "scatter",
]

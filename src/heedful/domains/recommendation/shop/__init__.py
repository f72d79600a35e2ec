"""The shop that people would be: `heedful/Shop-v0`, its oracle, and its history.

The environment hides what people like; `oracle`, `popular` and `expected_clicks` look behind the
curtain for references and reports, and training never calls them. `visits` is the file of
ratings that the shop has before its first policy.
"""

from heedful.domains.recommendation.shop.env import ENV_ID, ShopEnv, register
from heedful.domains.recommendation.shop.history import Interaction, visits
from heedful.domains.recommendation.shop.last_click import LastClickShop
from heedful.domains.recommendation.shop.oracle import expected_clicks, oracle, popular
from heedful.domains.recommendation.shop.parameters import ShopParameters

__all__ = [
    "ENV_ID",
    "Interaction",
    "LastClickShop",
    "ShopEnv",
    "ShopParameters",
    "expected_clicks",
    "oracle",
    "popular",
    "register",
    "visits",
]

"""How much to order for tomorrow: a demand series as a domain of heedful."""

from heedful_demand.domain import Demand
from heedful_demand.series import Bakeries, profit

__all__ = ["Bakeries", "Demand", "profit"]

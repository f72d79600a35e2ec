"""Print how much there is to learn in the default shop."""

from heedful.domains.recommendation.shop.headroom import table

print(table())

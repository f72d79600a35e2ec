"""What a unit is. Each domain is one folder that offers :class:`heedful.contract.Domain`."""

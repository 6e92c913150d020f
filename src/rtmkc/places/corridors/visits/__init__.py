"""Who goes where: the stops along a corridor and the departments that see to them."""

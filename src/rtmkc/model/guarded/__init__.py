"""Weights that hold where risk is patchy: the recipe, its shift test, and the noise it allows for."""

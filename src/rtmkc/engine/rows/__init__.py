"""A few rows that say what all cells say: cells with equal columns collapsed, their likelihoods, and searches among models."""

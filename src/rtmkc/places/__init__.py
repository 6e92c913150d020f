"""Answers become places to go."""

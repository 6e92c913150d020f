"""Codes and counts become answers: why here, and where next."""

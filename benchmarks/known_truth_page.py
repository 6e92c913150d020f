"""Placeholder"""
from pathlib import Path
PAGE=Path("docs/reference/known-truth.md")
def promises(x): return []
def render(a,b): return ""

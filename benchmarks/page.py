"""The page docs/reference/anchors.md: every script of this folder writes its own section of it."""

import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy

import rtmkc
from rtmkc.storage import created_at, write_text

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "anchors.md"
HEAD = """# Anchors: measured figures, and what this version gives

Two scripts write this page; nothing in it is typed in by hand but the explanations. Published figures are those of
the studies on which the library's design rests; *ours* is what the code at hand gives.
"""
SECTIONS = ("chicago", "known-truth")


def write_section(name: str, text: str, path: Path = PAGE) -> None:
    """Replace one section of the page and leave the others as they are."""
    present = path.read_text(encoding="utf-8") if path.exists() else ""
    parts = {key: _find(present, key) for key in SECTIONS}
    parts[name] = text.strip() + "\n"
    body = "\n".join(
        f"<!-- begin {key} -->\n{parts[key]}<!-- end {key} -->\n" for key in SECTIONS if parts[key]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, HEAD + "\n" + body, overwrite=True)


def _find(page: str, name: str) -> str:
    found = re.search(rf"<!-- begin {name} -->\n(.*?)<!-- end {name} -->", page, flags=re.DOTALL)
    return found.group(1) if found else ""


def made_by(command: str) -> str:
    """Return the line that says how a section was made; dated only where SOURCE_DATE_EPOCH is set."""
    versions = f"rtmkc {rtmkc.__version__}, numpy {np.__version__}, scipy {scipy.__version__}"
    date = f", {created_at()[:10]}" if os.environ.get("SOURCE_DATE_EPOCH") else ""
    return f"Made by `{command}` ({versions}, Python {platform.python_version()}{date})."


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; every cell is text already."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)

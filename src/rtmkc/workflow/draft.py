"""Tables of a study file as text: keys, values and the comments that explain them."""

import json
import textwrap
from dataclasses import dataclass, field
from typing import Any

_WIDTH = 108
_COLUMN = 44


@dataclass
class Table:
    """One table of a study file.

    Attributes
    ----------
    head : str
        Such as "[incidents]" or "[[factors]]".
    comments : list of str
        Sentences above it.
    keys : list of (str, value, str)
        Key, value and the comment beside it.
    active : bool
        Whether it counts; one that does not is written as comments, to be switched on by hand.
    """

    head: str
    comments: list[str] = field(default_factory=list)
    keys: list[tuple[str, Any, str]] = field(default_factory=list)
    active: bool = True

    def add(self, key: str, value: Any, comment: str = "") -> None:
        """Add a key; None is left out."""
        if value is not None:
            self.keys.append((key, value, comment))

    def lines(self) -> list[str]:
        """Return the lines of the table."""
        lines = [line for text in self.comments for line in comment(text)]
        own = [self.head]
        for key, value, beside in self.keys:
            text = f"{key} = {toml(value)}"
            note = f"# {clean(beside)}" if beside else ""
            if note and max(len(text), _COLUMN - 2) + 2 + len(note) <= _WIDTH and "\n" not in text:
                own.append(f"{text:<{_COLUMN - 2}}  {note}")
            else:
                own += comment(beside) if beside else []
                own += text.split("\n")
        return lines + (own if self.active else [f"# {line}".rstrip() for line in own])


def comment(text: str) -> list[str]:
    """Return a text as lines of comment."""
    return [f"# {line}" for line in textwrap.wrap(clean(text), _WIDTH - 2, break_on_hyphens=False)]


def clean(text: str) -> str:
    """Return a text in one line that can be printed: names of files and columns may hold anything."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in str(text)).split())


def toml(value: Any) -> str:
    """Return a value as TOML.

    Examples
    --------
    >>> print(toml({"Crime": ["a", 'b "c"']}), toml(True), toml(0.5))
    { Crime = ["a", "b \\"c\\""] } true 0.5
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, dict):
        pairs = [f"{_key(str(key))} = {toml(part)}" for key, part in value.items()]
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(value, list | tuple):
        parts = [toml(part) for part in value]
        short = f"[{', '.join(parts)}]"
        return short if len(short) <= _WIDTH - 16 else "[\n    " + ",\n    ".join(parts) + ",\n]"
    # The escapes of JSON are escapes of TOML; DEL is the one sign that TOML escapes and JSON does not.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    bare = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return name if bare else toml(name)

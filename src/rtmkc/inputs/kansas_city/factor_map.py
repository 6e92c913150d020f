"""The map from types of requests and violations to risk factors: its rules, and the TOML they are kept in."""

import re
import tomllib
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from rtmkc.errors import InputError

#: Columns that a rule may name, in the order in which a type is written out.
REQUEST_COLUMNS = ("category", "type", "detail", "request_type", "issue_type", "issue_sub_type")
VIOLATION_COLUMNS = ("code", "description", "chapter", "ordinance")
# Both columns of the layout since 2021, for keywords that may stand in either.
_BOTH = "issue"
CONDITIONS = (*REQUEST_COLUMNS, _BOTH, *VIOLATION_COLUMNS)


@dataclass(frozen=True)
class Rule:
    """Rows that fulfil all conditions are of a factor, or are left out for a reason.

    Parameters
    ----------
    factor : str
        Name of the factor; "" where `out` is given.
    out : str
        Why rows are left out on purpose; "" where `factor` is given.
    conditions : dict of str to tuple of str
        Column -> patterns, of which one must fit.
    """

    factor: str
    out: str
    conditions: dict[str, tuple[str, ...]]

    @cached_property
    def _compiled(self) -> dict[str, re.Pattern[str]]:
        return {
            column: re.compile("|".join(_pattern(pattern) for pattern in patterns))
            for column, patterns in self.conditions.items()
        }

    def fits(self, texts: dict[str, str]) -> bool:
        """Return whether the plain texts of a type (see `plain`) fulfil all conditions."""
        return all(
            column in texts and texts[column] != " " and pattern.fullmatch(texts[column]) is not None
            for column, pattern in self._compiled.items()
        )


@dataclass(frozen=True)
class FactorMap:
    """The rules from types to factors, of which the first that fits decides, and what to say of a factor.

    Parameters
    ----------
    name : str
        What the map is called in notes: the file, or "built-in map".
    rules : tuple of Rule
    remarks : tuple of (str, str, str)
        Factor, column, sentence: said of the factor where a layer has the column.
    """

    name: str
    rules: tuple[Rule, ...]
    remarks: tuple[tuple[str, str, str], ...] = ()

    @property
    def factors(self) -> list[str]:
        """Names of the factors, in the order of the rules."""
        return list(dict.fromkeys(rule.factor for rule in self.rules if rule.factor))

    def fate(self, type_: dict[str, str]) -> tuple[str, str]:
        """Return factor and reason of one type: a factor, or ("", why left out), or ("", "") if unmapped.

        Examples
        --------
        >>> load_map().fate({"request_type": "SLG0 Streetlight Out - Single Light Out"})
        ('poor lighting', '')
        >>> load_map().fate({"request_type": "SLG2 Streetlight Burning During Day"})
        ('', 'the lamp burns')
        """
        texts = {column: plain(text) for column, text in type_.items()}
        both = [type_.get(column, "") for column in ("issue_type", "issue_sub_type")]
        texts[_BOTH] = plain(" ".join(both))
        rule = next((rule for rule in self.rules if rule.fits(texts)), None)
        return ("", "") if rule is None else (rule.factor, rule.out)


def plain(text: str) -> str:
    """Return a text in lower case with one blank in place of other signs than letters and digits.

    Examples
    --------
    >>> plain("Trash / Recycling-Dumping-Right of Way (ROW)")
    ' trash recycling dumping right of way row '
    """
    return f" {re.sub(r'[^a-z0-9]+', ' ', text.lower()).strip()} ".replace("  ", " ")


def _pattern(pattern: str) -> str:
    """Return a regular expression for a pattern in which * stands for any text.

    Examples
    --------
    >>> _pattern("SLG0 *"), _pattern("*dumping*"), _pattern("* rat *")
    (' slg0 .*', '.*dumping.*', '.* rat .*')
    """
    text = re.sub(r"[^a-z0-9*]+", " ", pattern.lower())
    text = text if text.startswith("*") else f" {text.lstrip()}"
    text = text if text.endswith("*") else f"{text.rstrip()} "
    return text.replace("*", ".*")


def load_map(path: str | Path | None = None) -> FactorMap:
    """Return the map of a TOML file, or the built-in one.

    Raises
    ------
    InputError
        If the file cannot be read, or a rule is not a factor (or a reason in `out`) with conditions.
    """
    if path is None:
        text = resources.files("rtmkc.inputs.kansas_city").joinpath("factors.toml").read_text("utf-8")
        return _parse(text, "built-in map")
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"Invalid map {str(path)!r}. It cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InputError(f"Invalid map {str(path)!r}. It is not a text file in UTF-8.") from None
    return _parse(text, str(path))


def _parse(text: str, name: str) -> FactorMap:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"Invalid map {name!r}. Its TOML is wrong: {error}.") from None
    unknown = set(document) - {"rules", "notes"}
    if unknown or not document.get("rules"):
        raise InputError(
            f"Invalid map {name!r}. It must hold [[rules]], and may hold [[notes]]; it holds "
            f"{', '.join(document) or 'nothing'}."
        )
    rules = tuple(
        _rule(entry, f"{name!r}, rule {number + 1}") for number, entry in enumerate(document["rules"])
    )
    remarks = []
    for entry in document.get("notes", []):
        if not isinstance(entry, dict) or set(entry) != {"factor", "column", "text"}:
            raise InputError(f"Invalid map {name!r}. A note has factor, column and text; one is {entry!r}.")
        remarks.append((str(entry["factor"]), str(entry["column"]), str(entry["text"])))
    return FactorMap(name, rules, tuple(remarks))


def _rule(entry: Any, place: str) -> Rule:
    entry = dict(entry) if isinstance(entry, dict) else {}
    factor, out = entry.pop("factor", ""), entry.pop("out", "")
    if not isinstance(factor, str) or not isinstance(out, str) or bool(factor.strip()) == bool(out.strip()):
        raise InputError(
            f"Invalid map {place}. It must have a factor, or in out= a reason why rows are left out, as text."
        )
    unknown = set(entry) - set(CONDITIONS)
    if unknown or not entry:
        raise InputError(
            f"Invalid map {place}. Conditions are on {', '.join(CONDITIONS)}; it has "
            f"{', '.join(sorted(unknown)) or 'none'}."
        )
    conditions = {}
    for column, patterns in entry.items():
        patterns = [patterns] if isinstance(patterns, str) else patterns
        if (
            not isinstance(patterns, list)
            or not patterns
            or not all(isinstance(one, str) for one in patterns)
        ):
            raise InputError(f"Invalid map {place}. {column} must be a text or a list of texts.")
        conditions[column] = tuple(patterns)
    return Rule(factor.strip(), out.strip(), conditions)

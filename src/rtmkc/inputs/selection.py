"""Which rows of a table are wanted: a condition, one row an incident, places left out."""

import ast
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import shapely

from rtmkc.checks import check_columns
from rtmkc.errors import InputError

Where = str | Mapping[str, Any]

_BACKTICKS = re.compile(r"`([^`]*)`")
# What a condition may say. Methods that write files or run code are not in the list.
_METHODS = frozenset(
    ["isin", "isna", "notna", "between", "contains", "startswith", "endswith", "match", "lower", "upper"]
)
_ACCESSORS = frozenset(["str", "dt", "year", "month", "day", "hour", "day_of_week"])
_ALLOWED = (
    ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.Invert, ast.USub, ast.UAdd,
    ast.BinOp, ast.BitAnd, ast.BitOr, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Mod, ast.Compare, ast.Eq,
    ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn, ast.Name, ast.Load, ast.Constant,
    ast.List, ast.Tuple, ast.Call, ast.Attribute, ast.keyword,
)  # fmt: skip


def columns_of(where: Where) -> list[str]:
    """Return the columns that a condition names, in order.

    Raises
    ------
    InputError
        If the condition is not an expression of columns, values and comparisons.

    Examples
    --------
    >>> columns_of("`Offense Code` in ('13A', '120') and hour >= 19")
    ['Offense Code', 'hour']
    """
    if isinstance(where, Mapping):
        return [str(column) for column in where]
    if not isinstance(where, str) or not where.strip():
        raise _refused(where, "It must be a condition or a mapping of column to value")
    if "@" in where:
        raise _refused(where, "It must not use @: write the value itself")
    quoted: list[str] = []

    def placeholder(match: re.Match[str]) -> str:
        quoted.append(match.group(1))
        return f"backtick_{len(quoted) - 1}_"

    try:
        tree = ast.parse(_BACKTICKS.sub(placeholder, where).strip(), mode="eval")
    except (SyntaxError, ValueError):
        raise _refused(where, "It is not a condition that can be read") from None
    names: list[str] = []
    for node in ast.walk(tree):
        if not isinstance(node, _ALLOWED):
            raise _refused(where, f"It must not use {type(node).__name__}")
        if isinstance(node, ast.Attribute) and node.attr not in _METHODS | _ACCESSORS:
            raise _refused(where, f"It must not use .{node.attr}")
        if isinstance(node, ast.Call) and not isinstance(node.func, ast.Attribute):
            raise _refused(where, "It must not call functions")
        if isinstance(node, ast.Name):
            known = re.fullmatch(r"backtick_(\d+)_", node.id)
            names.append(quoted[int(known.group(1))] if known else node.id)
    return list(dict.fromkeys(names))


def _refused(where: object, rule: str) -> InputError:
    return InputError(
        f"Invalid where {where!r}. {rule}; write for example \"offence in ('robbery', 'assault')\" or "
        "{'offence': ['robbery', 'assault']}."
    )


def choose(frame: pd.DataFrame, where: Where, *, what: str) -> np.ndarray:
    """Return a boolean array: the rows for which a condition holds.

    Parameters
    ----------
    frame : DataFrame
    where : str or mapping
        A condition in the words of `pandas.DataFrame.query`, or a mapping of column to a value or a
        list of values.
    what : str
        What the table is, for the error message.

    Raises
    ------
    InputError
        If a column is unknown, or the condition is not one of true or false.
    """
    names = columns_of(where)
    missing = [name for name in names if name not in frame.columns]
    if missing:
        close = difflib.get_close_matches(missing[0], [str(column) for column in frame.columns], n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise InputError(
            f"Invalid where {where!r}. {what} has no column {', '.join(map(repr, missing))}; it has: "
            f"{', '.join(map(str, frame.columns)) or 'none but the geometry'}.{hint}"
        )
    if isinstance(where, Mapping):
        chosen = np.ones(len(frame), dtype=bool)
        for column, wanted in where.items():
            chosen &= _equals(frame[column], wanted)
        return chosen
    # Rows are told apart by position: an index given by the user may repeat itself.
    table = frame[names].reset_index(drop=True)
    try:
        result = pd.Series(table.eval(where, engine="python", local_dict={}, global_dict={}))
    except Exception as error:
        # pandas raises a dozen kinds here; every one means that the condition does not fit the columns.
        reason = " ".join(str(error).split())[:160]
        raise InputError(
            f"Invalid where {where!r}. It does not fit the columns of {what}: {reason}. Compare text with "
            "quoted text and numbers with numbers."
        ) from None
    if len(result) != len(frame) or not pd.api.types.is_bool_dtype(result.dtype):
        raise _refused(where, "It must be true or false for every row")
    return result.fillna(False).to_numpy(dtype=bool)


def _equals(values: pd.Series, wanted: Any) -> np.ndarray:
    single = isinstance(wanted, str) or not isinstance(wanted, Iterable)
    options = [wanted] if single else list(wanted)
    if pd.api.types.is_bool_dtype(values.dtype):
        pass
    elif pd.api.types.is_numeric_dtype(values.dtype):
        options = [pd.to_numeric(option) if _is_number(option) else option for option in options]
    elif not pd.api.types.is_datetime64_any_dtype(values.dtype):
        options = [option if isinstance(option, str) else str(option) for option in options]
    chosen: np.ndarray = values.isin(options).to_numpy(dtype=bool)
    return chosen


def _is_number(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d+\.?\d*\s*", value) is not None


def examples(frame: pd.DataFrame, where: Where) -> str:
    """Return what the columns of a condition hold, for the warning that it chose nothing."""
    parts = []
    for name in columns_of(where)[:3]:
        values = [str(value) for value in frame[name].dropna().unique()[:3]]
        kind = "numbers" if pd.api.types.is_numeric_dtype(frame[name].dtype) else "values"
        parts.append(f"{name!r} holds {kind} such as {', '.join(values) or 'nothing'}")
    return "; ".join(parts)


def repeated(frame: pd.DataFrame, shapes: np.ndarray, columns: Sequence[str], *, what: str) -> np.ndarray:
    """Return which rows repeat an earlier one in all `columns`; "place" means the exact coordinates.

    Raises
    ------
    InputError
        If a column is unknown or none is named.
    """
    if isinstance(columns, str) or not columns:
        raise InputError(
            f"Invalid merge {columns!r}. Name a list of columns whose equality makes one incident, as in "
            "['Date', 'Hour', 'Crime', 'place'] ('place' is the exact coordinates)."
        )
    check_columns([column for column in columns if column != "place"], frame.columns, what)
    keys = {f"{number}": frame[name].to_numpy() for number, name in enumerate(columns) if name != "place"}
    if "place" in columns:
        keys["place"] = shapely.to_wkb(shapes)
    repeats: np.ndarray = pd.DataFrame(keys).duplicated().to_numpy(dtype=bool)
    return repeats


Places = Mapping[str, tuple[float, float]] | Iterable[tuple[float, float]]
# About a metre: what six printed decimals and a little rounding can be off.
_SAME_PLACE_DEGREES = 1e-5


def named_places(places: Places) -> dict[str, tuple[float, float]]:
    """Return places to leave out by name; a place without one is called by its coordinates.

    Raises
    ------
    InputError
        If a place is not a pair of latitude and longitude in degrees.
    """
    items = places.items() if isinstance(places, Mapping) else [(None, place) for place in places]
    named = {}
    for name, place in items:
        try:
            latitude, longitude = (float(part) for part in place)
        except (TypeError, ValueError):
            latitude = longitude = float("nan")
        if not (abs(latitude) <= 90 and abs(longitude) <= 180):
            raise InputError(
                f"Invalid exclude_places {place!r}. A place is (latitude, longitude) in degrees, as in "
                "(39.0997, -94.5786)."
            )
        named[name or f"({latitude:.6f}, {longitude:.6f})"] = (latitude, longitude)
    return named


def at_place(longitudes: np.ndarray, latitudes: np.ndarray, place: tuple[float, float]) -> np.ndarray:
    """Return which points lie at a place, (latitude, longitude), to about a metre."""
    near: np.ndarray = (np.abs(latitudes - place[0]) <= _SAME_PLACE_DEGREES) & (
        np.abs(longitudes - place[1]) <= _SAME_PLACE_DEGREES
    )
    return near

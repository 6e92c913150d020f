"""Requests and violations of Kansas City become risk factors, by the map from their types in factors.toml."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from rtmkc.errors import InputError
from rtmkc.inputs.kansas_city.factor_map import (
    CONDITIONS,
    REQUEST_COLUMNS,
    VIOLATION_COLUMNS,
    FactorMap,
    load_map,
)
from rtmkc.inputs.layers import Layer
from rtmkc.inputs.ledger import Ledger
from rtmkc.inputs.lost import Lost
from rtmkc.units import Period

_UNMAPPED = "unmapped"


class FactorLayers(dict[str, Layer]):
    """Layers by factor, and the table of what became of every type.

    Attributes
    ----------
    table : DataFrame
        One row a type of a layer, the most frequent first: layer, type (its columns with > between), rows,
        fate ("mapped", "left out" or "unmapped"), factor, reason (of what is left out).
    """

    def __init__(self, layers: dict[str, Layer], table: pd.DataFrame) -> None:
        super().__init__(layers)
        self.table = table

    @property
    def unmapped(self) -> pd.DataFrame:
        """Types that no rule fits, with their rows, the most frequent first."""
        table = self.table[self.table["fate"] == _UNMAPPED]
        return table[["layer", "type", "rows"]].reset_index(drop=True)

    def __str__(self) -> str:
        total = int(self.table["rows"].sum())
        lines = [f"{total:,} rows in {len(self.table):,} types"]
        lines += [f"  {len(layer):,} {factor}" for factor, layer in self.items()]
        for fate in ("left out", _UNMAPPED):
            part = self.table[self.table["fate"] == fate]
            lines.append(f"  {int(part['rows'].sum()):,} {fate}, {len(part):,} types")
        lines += [
            f"    {rows:,} {kind}" for kind, rows in self.unmapped[["type", "rows"]].head(10).to_numpy()
        ]
        return "\n".join(lines)

    __repr__ = __str__


def kc_factors(layers: Layer | Sequence[Layer], *, map: str | Path | None = None) -> FactorLayers:
    """Return the risk factors in layers of 311 requests and violations of Kansas City, one layer a factor.

    Parameters
    ----------
    layers : Layer or list of Layer
        Read with `read_kc_311` or `read_kc_violations`.
    map : path, optional
        An own map from types to factors, in the form of the built-in ``factors.toml``, which maps to poor
        lighting, vacant houses, overgrown shrubs, illegal dumping, health violations, dangerous buildings,
        abandoned vehicles, graffiti, noise, code and nuisance, and overgrown public land.

    Returns
    -------
    FactorLayers
        A dict of factor to `Layer`, without factors that no row is of. Its `table` says what became of every
        type, its `unmapped` what no rule fits; printed, it shows both. Layers of one provenance are joined;
        a factor of several provenances is kept apart, as "graffiti (inspection)".

    Raises
    ------
    InputError
        If a layer has no column of types, or the map is wrong.

    Notes
    -----
    The ledger of every layer counts the rows of other factors, of types left out on purpose, and of types
    that are not in the map as dropped. Names of types changed in mid 2015 and in March 2021; the built-in
    map holds the three vocabularies together as far as they can be, and layers say in their notes where
    they cannot.

    Examples
    --------
    >>> from rtmkc.inputs.kansas_city.requests_311 import read_kc_311
    >>> requests = pd.DataFrame({
    ...     "reported_issue": [1, 2, 3], "open_date_time": "2022-05-01",
    ...     "issue_type": ["Illegal Dumping", "A Pothole", "Rodent Complaint"], "issue_sub_type": "",
    ...     "latitude": 39.1, "longitude": [-94.58, -94.57, -94.56],
    ... })
    >>> kc_factors(read_kc_311(requests))
    3 rows in 3 types
      1 health violations
      1 illegal dumping
      0 left out, 0 types
      1 unmapped, 1 types
        1 A Pothole
    """
    chosen = load_map(map)
    parts: dict[tuple[str, str], list[Layer]] = {}
    tables = []
    for layer in [layers] if isinstance(layers, Layer) else list(layers):
        sorted_ = _Sorted.of(layer, chosen)
        tables.append(sorted_.table())
        for factor in sorted_.present():
            parts.setdefault((factor, layer.provenance), []).append(sorted_.layer_of(factor))
    if not tables:
        raise InputError("Invalid layers []. Give at least one layer of requests or violations.")
    provenances: dict[str, list[str]] = {}
    for factor, provenance in parts:
        provenances.setdefault(factor, []).append(provenance)
    found = {
        factor if len(provenances[factor]) == 1 else f"{factor} ({provenance})": _join(factor, several)
        for (factor, provenance), several in sorted(parts.items())
    }
    table = pd.concat(tables, ignore_index=True).sort_values("rows", ascending=False, kind="stable")
    return FactorLayers(found, table.reset_index(drop=True))


def keep_factor(layer: Layer, factor: str, *, map: str | Path | None = None) -> Layer:
    """Return the part of a layer that is of one factor; it may be empty.

    Raises
    ------
    InputError
        If the map does not know the factor, or the layer has no column of types.
    """
    chosen = load_map(map)
    if factor not in chosen.factors:
        raise InputError(
            f"Invalid factor {factor!r}. The {chosen.name} has: {', '.join(chosen.factors)}. Name one of them, "
            "or give an own map."
        )
    return replace(_Sorted.of(layer, chosen).layer_of(factor), name=layer.name)


@dataclass
class _Sorted:
    """A layer with the fate of each of its rows."""

    layer: Layer
    map: FactorMap
    kinds: list[str]
    fates: list[tuple[str, str]]
    code: np.ndarray
    factor: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        names = np.array([factor for factor, _ in self.fates] or [""], dtype=object)
        self.factor = names[self.code] if len(self.code) else np.empty(0, dtype=object)

    @classmethod
    def of(cls, layer: Layer, map: FactorMap) -> "_Sorted":
        columns = [name for name in (*REQUEST_COLUMNS, *VIOLATION_COLUMNS) if name in layer.frame]
        if not columns:
            raise InputError(
                f"Invalid layer {layer.name!r}. It has no types to map (no column {', '.join(CONDITIONS)}); "
                "read it with read_kc_311 or read_kc_violations. A list of buildings is one factor as it is."
            )
        texts = [layer.frame[name].astype("string").fillna("").astype(object) for name in columns]
        code, found = pd.MultiIndex.from_arrays(texts).factorize()
        types = [dict(zip(columns, (str(value) for value in values), strict=True)) for values in found]
        return cls(layer, map, [_written(one) for one in types], [map.fate(one) for one in types], code)

    def present(self) -> list[str]:
        return sorted({factor for factor in self.factor if factor})

    def table(self) -> pd.DataFrame:
        rows = np.bincount(self.code, minlength=len(self.fates))
        return pd.DataFrame(
            {
                "layer": self.layer.name,
                "type": self.kinds,
                "rows": rows,
                "fate": [
                    "mapped" if factor else "left out" if out else _UNMAPPED for factor, out in self.fates
                ],
                "factor": [factor for factor, _ in self.fates],
                "reason": [out for _, out in self.fates],
            }
        )

    def layer_of(self, factor: str) -> Layer:
        """Return the rows of a factor, the others dropped by reason."""
        labels = [_reason(name, out, factor) for name, out in self.fates]
        ledger, lost, index = self.layer.ledger, list(self.layer.lost), self.layer.frame.index
        reasons, of_type = np.unique(np.array(labels or [""], dtype=object), return_inverse=True)
        reason_of_row = of_type[self.code]
        for number, reason in enumerate(reasons):
            rows = index[reason_of_row == number]
            if reason and len(rows):
                ledger = ledger.drop(str(reason), len(rows))
                lost.append(Lost.of("dropped", str(reason), rows))
        frame = self.layer.frame.loc[self.factor == factor]
        table = self.table()
        mapped = table[table["factor"] == factor]
        unmapped = table[table["fate"] == _UNMAPPED]
        said = (
            f"{factor} by the {self.map.name}: {len(mapped):,} of {len(table):,} types, {len(frame):,} of "
            f"{len(self.layer):,} rows; {int(unmapped['rows'].sum()):,} rows are of types not in the map"
        )
        remarks = [
            text for name, column, text in self.map.remarks if name == factor and column in self.layer.frame
        ]
        notes = (*self.layer.notes, said, *remarks)
        ledger = replace(ledger, name=factor)
        return replace(self.layer, name=factor, frame=frame, ledger=ledger, notes=notes, lost=tuple(lost))


def _reason(name: str, out: str, factor: str) -> str:
    """Return why a type of a fate is not of a factor; "" if it is."""
    if name:
        return "" if name == factor else "type of another factor"
    return f"type left out: {out}" if out else "type not in the map"


def _written(type_: dict[str, str]) -> str:
    """Return a type in one line: CATEGORY > TYPE > DETAIL | REQUEST TYPE."""
    request = type_.get("request_type", "")
    parts = [text for column, text in type_.items() if text and column != "request_type"]
    return " | ".join(text for text in (" > ".join(parts), request) if text) or "(no type)"


def _join(factor: str, layers: list[Layer]) -> Layer:
    """Return layers of one factor and provenance as one, their rows numbered on from one to the next."""
    if len(layers) == 1:
        return layers[0]
    merged: dict[str, int] = {}
    dropped: dict[str, int] = {}
    frames, lost = [], []
    start = 0
    for layer in layers:
        for sums, part in ((merged, layer.ledger.merged), (dropped, layer.ledger.dropped)):
            for reason, rows in part.items():
                sums[reason] = sums.get(reason, 0) + rows
        frame = layer.to_crs(layers[0].crs).frame
        frames.append(frame.set_axis(_numbered_on(frame.index, start)))
        lost += [
            Lost.of(part.fate, part.reason, _numbered_on(pd.Index(part.rows), start)) for part in layer.lost
        ]
        start += layer.ledger.read
    read, used = (sum(getattr(layer.ledger, side) for layer in layers) for side in ("read", "used"))
    periods = [layer.period for layer in layers if layer.period is not None]
    first = layers[0]
    date = first.date_column if all(layer.date_column == first.date_column for layer in layers) else None
    return replace(
        first,
        frame=pd.concat(frames),
        ledger=Ledger(factor, read, used, merged, dropped),
        date_column=date,
        period=Period(min(one.start for one in periods), max(one.end for one in periods))
        if periods
        else None,
        source=", ".join(layer.source for layer in layers),
        sha256=", ".join(layer.sha256 for layer in layers if layer.sha256) or None,
        notes=tuple(dict.fromkeys(note for layer in layers for note in layer.notes)),
        lost=tuple(lost),
        origins=tuple(origin for layer in layers for origin in layer.origins)
        if all(layer.origins for layer in layers)
        else (),
    )


def _numbered_on(index: pd.Index, start: int) -> pd.Index:
    """Return row numbers counted on from those of the layers before; labels of a user stay."""
    return index.astype("int64") + start if pd.api.types.is_integer_dtype(index.dtype) else index

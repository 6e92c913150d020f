"""What a city asks of its corridors: districts, places to go through, places to leave out, money."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely

from rtmkc.checks import check_columns, check_count, check_number, check_positive
from rtmkc.errors import InputError
from rtmkc.inputs.columns import is_personal
from rtmkc.inputs.layers import as_layer
from rtmkc.places.corridors.choice.program import Quota
from rtmkc.places.joins import label_column_of

WITHIN_M = 25.0
"""A street this near to an area runs along it, and counts as in it where it must be included."""
LEAST_INSIDE_M = 100.0
"""A corridor goes through an area if this much of its length does."""
REACH_M = 100.0
"""A corridor serves a point or a line that it comes this near to."""
_RIM_M = 1.0


@dataclass(frozen=True, eq=False)
class CorridorRules:
    """Rules for corridors that are chosen together.

    Parameters
    ----------
    districts : Layer, GeoDataFrame or path, optional
        Areas such as council districts or patrol divisions.
    district_name : str, optional
        Column with their names, where it does not speak for itself. Areas of one name are one district.
    at_most, at_least : int or mapping of str to int, optional
        How many corridors may and must lie in a district: one number for every district, or a number a
        district.
    must_include : Layer, GeoDataFrame or path, optional
        Places, each of which at least one corridor must serve: 100 m of it or more inside an area (or along
        its edge, within 25 m), or within 100 m of a point or line.
    include_name : str, optional
        Column with the names of these places.
    avoid : Layer, GeoDataFrame or path, optional
        Areas that no corridor may run in: no block of a street any of which lies more than a metre inside.
    budget : float, optional
        What all corridors together may cost, in any unit of money.
    cost_per_km : float, optional
        Cost of a kilometre of corridor, in the unit of `budget`.
    cost_column : str, optional
        Column of the street layer with the cost of each segment, in the unit of `budget`; it may stand beside
        `cost_per_km`, and both are added.

    Raises
    ------
    InputError
        If a number does not fit, rules contradict each other, or one part of a rule is missing.

    Notes
    -----
    A corridor counts for one district: the one that holds most of its length (the first by name of equals),
    and for none if more of it lies in no district than in them together. Counting by shares would let five
    corridors each give a fifth to a district that none of them serves.

    Only areas, places and money can be asked for. Who lives there is no part of a rule; columns about race,
    sex or age are refused.

    Examples
    --------
    >>> areas = {"name": ["East", "West"]}, [shapely.box(0, 0, 500, 500), shapely.box(500, 0, 1000, 500)]
    >>> districts = gpd.GeoDataFrame(areas[0], geometry=areas[1], crs=26915)
    >>> rules = CorridorRules(districts=districts, at_most=1, at_least={"East": 1})
    >>> lines = shapely.linestrings([[(100, 9), (700, 9)], [(400, 99), (900, 99)]])
    >>> prepared = rules.prepare("EPSG:26915")
    >>> prepared.districts_of(lines).tolist()
    ['East', 'West']
    >>> [(quota.where, quota.windows.tolist(), quota.at_least, quota.at_most) for quota in prepared.quotas(lines)]
    [('in East', [0], 1, 1), ('in West', [1], 0, 1)]
    """

    districts: Any = field(default=None, repr=False)
    district_name: str | None = None
    at_most: int | Mapping[str, int] | None = None
    at_least: int | Mapping[str, int] | None = None
    must_include: Any = field(default=None, repr=False)
    include_name: str | None = None
    avoid: Any = field(default=None, repr=False)
    budget: float | None = None
    cost_per_km: float | None = None
    cost_column: str | None = None

    def __post_init__(self) -> None:
        for name, asked in (("at_most", self.at_most), ("at_least", self.at_least)):
            numbers = asked.values() if isinstance(asked, Mapping) else [] if asked is None else [asked]
            for number in numbers:
                check_count(name, number, minimum=0)
            if asked is not None and self.districts is None:
                raise InputError(
                    f"Invalid {name} {asked!r}. It counts corridors by district: give districts= too."
                )
        if self.districts is not None and self.at_most is None and self.at_least is None:
            raise InputError(
                "Invalid districts. Say how many corridors each may or must have: at_most= or at_least=."
            )
        for column in (self.district_name, self.include_name, self.cost_column):
            _check_impersonal(column)
        self._check_money()

    def _check_money(self) -> None:
        if self.budget is not None:
            check_positive("budget", self.budget)
            if self.cost_per_km is None and self.cost_column is None:
                raise InputError(
                    f"Invalid budget {self.budget!r}. A budget needs costs: give cost_per_km= or cost_column=."
                )
        if self.cost_per_km is not None and check_number("cost_per_km", self.cost_per_km) < 0:
            raise InputError(f"Invalid cost_per_km {self.cost_per_km!r}. It must not be negative.")

    def prepare(self, crs: Any) -> "PreparedRules":
        """Read the layers, in a projected coordinate system in metres.

        Raises
        ------
        InputError
            If a layer cannot be read or holds no areas where areas are needed, or a district named in a rule
            is not there.
        """
        names, areas = np.empty(0, dtype=object), np.empty(0, dtype=object)
        least: dict[str, int] = {}
        most: dict[str, int] = {}
        notes: list[str] = []
        if self.districts is not None:
            names, areas = _districts(self.districts, self.district_name, crs)
            least = _by_district("at_least", self.at_least, names)
            most = _by_district("at_most", self.at_most, names)
            _check_together(least, most)
            notes.append(
                f"Corridors are counted by the one of {len(names)} districts that holds most of their length."
            )
        avoided = None
        if self.avoid is not None:
            _, shapes = _shapes("avoid", self.avoid, crs, areas_only=True)
            # Less its rim: a street drawn along the edge runs beside the area, not in it.
            avoided = shapely.union_all(shapes).buffer(-_RIM_M)
        places: tuple[tuple[str, Any], ...] = ()
        if self.must_include is not None:
            frame, shapes = _shapes("must_include", self.must_include, crs, areas_only=False)
            labels = _place_names(frame, self.include_name)
            places = tuple(zip(labels, shapes, strict=True))
        return PreparedRules(
            names, areas, least, most, places, avoided,
            None if self.budget is None else float(self.budget), float(self.cost_per_km or 0.0),
            self.cost_column, tuple(notes),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class PreparedRules:
    """Rules with their layers read, in metres.

    Attributes
    ----------
    district_names : ndarray of str, shape (n_districts,)
        Sorted.
    district_areas : ndarray of Polygon or MultiPolygon, shape (n_districts,)
    least, most : mapping of str to int
        Corridors that a district must and may have.
    places : tuple of (str, geometry)
        What at least one corridor must serve.
    avoided : Polygon or MultiPolygon or None
        What is to be avoided, less a metre along its edge.
    budget : float or None
    cost_per_km : float
    cost_column : str or None
    notes : tuple of str
        What to say beside the result.
    """

    district_names: np.ndarray
    district_areas: np.ndarray
    least: Mapping[str, int]
    most: Mapping[str, int]
    places: tuple[tuple[str, Any], ...]
    avoided: Any
    budget: float | None
    cost_per_km: float
    cost_column: str | None
    notes: tuple[str, ...]

    def shares(self, lines: np.ndarray) -> np.ndarray:
        """Return the share of each line's length in each district, shape (n_lines, n_districts)."""
        shares = np.zeros((len(lines), len(self.district_names)))
        if len(lines) == 0 or len(self.district_names) == 0:
            return shares
        # A line deep inside one district is not cut: most are, and cutting by a long border is slow.
        tree = shapely.STRtree(lines)
        district, line = tree.query(self.district_areas, predicate="intersects")
        inner_district, inner_line = tree.query(self.district_areas, predicate="contains")
        shares[inner_line, inner_district] = 1.0
        cut = shares[line, district] == 0.0
        district, line = district[cut], line[cut]
        inside = shapely.length(shapely.intersection(lines[line], self.district_areas[district]))
        shares[line, district] = inside / np.maximum(shapely.length(lines[line]), 1e-9)
        return shares

    def districts_of(self, lines: np.ndarray) -> np.ndarray:
        """Return the district that holds most of each line's length; empty text where most lies in none."""
        shares = self.shares(np.asarray(lines, dtype=object))
        if shares.shape[1] == 0:
            return np.full(len(shares), "", dtype=object)
        # Rounded, so that a street along a border goes to the first by name whatever the last digit says.
        named: np.ndarray = self.district_names[np.round(shares, 9).argmax(axis=1)]
        return np.where(shares.sum(axis=1) < 0.5, "", named).astype(object)

    def quotas(self, lines: np.ndarray) -> tuple[Quota, ...]:
        """Return what `choose_together` needs to know of windows with these lines, shape (n_windows,)."""
        lines = np.asarray(lines, dtype=object)
        quotas = []
        district = self.districts_of(lines)
        for name in self.district_names:
            if name in self.least or name in self.most:
                own = np.flatnonzero(district == name)
                quotas.append(Quota(f"in {name}", own, self.least.get(name, 0), self.most.get(name)))
        for name, place in self.places:
            where = f"through {name}" if _is_area(place) else f"within {REACH_M:.0f} m of {name}"
            quotas.append(Quota(where, np.flatnonzero(serves(lines, place)), at_least=1))
        return tuple(quotas)

    def is_avoided(self, lines: np.ndarray) -> np.ndarray:
        """Return which lines (blocks, say) run in what is to be avoided, more than a metre from its edge."""
        lines = np.asarray(lines, dtype=object)
        avoided = np.zeros(len(lines), dtype=bool)
        if self.avoided is not None and len(lines):
            avoided[shapely.STRtree(lines).query(self.avoided, predicate="intersects")] = True
        return avoided

    def costs(
        self,
        length_m: np.ndarray,
        members: Sequence[np.ndarray] = (),
        block_costs: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return the cost of windows of these lengths.

        Parameters
        ----------
        length_m : ndarray, shape (n,)
            Metres.
        members : sequence of int arrays, length n
            Blocks of each window; needed with `block_costs`.
        block_costs : ndarray, shape (n_blocks,), optional
            Sum of `cost_column` over the segments of each block.

        Raises
        ------
        InputError
            If a cost is missing or negative.
        """
        costs = np.asarray(length_m, dtype=float) / 1000 * self.cost_per_km
        if block_costs is None:
            return costs
        money = np.asarray(block_costs, dtype=float)
        bad = int((~(money >= 0) | np.isinf(money)).sum())
        if bad:
            raise InputError(
                f"Invalid cost_column {self.cost_column!r}. {bad:,} of {len(money):,} blocks have a cost that is missing "
                "or negative; write 0 where a street costs nothing."
            )
        return costs + np.array([money[own].sum() for own in members])


def _check_impersonal(column: str | None) -> None:
    if column is not None and is_personal(column):
        raise InputError(
            f"Invalid column {column!r}. Columns about race, sex or age are never used: rules are about places, not people."
        )


def _shapes(argument: str, given: Any, crs: Any, *, areas_only: bool) -> tuple[gpd.GeoDataFrame, np.ndarray]:
    layer = as_layer(given, name=argument)
    frame = layer.to_crs(pyproj.CRS.from_user_input(crs)).frame
    if areas_only:
        frame = frame[frame.geom_type.isin(["Polygon", "MultiPolygon"])]
    if frame.empty:
        what = "areas" if areas_only else "places"
        raise InputError(f"Invalid {argument} {layer.name!r}. The layer holds no {what}.")
    return frame, frame.geometry.to_numpy()


def _districts(given: Any, column: str | None, crs: Any) -> tuple[np.ndarray, np.ndarray]:
    frame, shapes = _shapes("districts", given, crs, areas_only=True)
    column = label_column_of(frame, "district") if column is None else column
    labels = _labels(frame, column)
    names = sorted({label for label in labels if label})
    if not names:
        raise InputError(
            f"Invalid districts. No area has a name in column {column!r}; say which column has with district_name=."
        )
    areas = np.empty(len(names), dtype=object)
    areas[:] = [shapely.union_all(shapes[labels == name]) for name in names]
    return np.array(names, dtype=object), areas


def _labels(frame: gpd.GeoDataFrame, column: str) -> np.ndarray:
    _check_impersonal(column)
    check_columns([column], frame.columns.drop(frame.geometry.name), "The layer")
    text = frame[column].astype("string").str.strip()
    if pd.api.types.is_float_dtype(frame[column].dtype):
        text = text.str.removesuffix(".0")
    return text.fillna("").to_numpy(dtype=object)


def _place_names(frame: gpd.GeoDataFrame, column: str | None) -> list[str]:
    """Names of places to include; their numbers where they have none, and where a name comes twice."""
    if column is None:
        try:
            column = label_column_of(frame)
        except InputError:
            return [f"place {number} of must_include" for number in range(1, len(frame) + 1)]
    labels = _labels(frame, column).tolist()
    return [
        label if label and labels.count(label) == 1 else f"{label or 'place'} (row {number} of must_include)"
        for number, label in enumerate(labels, start=1)
    ]


def _by_district(rule: str, asked: int | Mapping[str, int] | None, names: np.ndarray) -> dict[str, int]:
    if asked is None:
        return {}
    if not isinstance(asked, Mapping):
        return {str(name): int(asked) for name in names}
    unknown = [str(name) for name in asked if str(name).strip() not in names]
    if unknown:
        raise InputError(
            f"Invalid {rule} for {', '.join(map(repr, unknown))}. There is no such district; there are: {', '.join(names)}."
        )
    return {str(name).strip(): int(number) for name, number in asked.items()}


def _check_together(least: Mapping[str, int], most: Mapping[str, int]) -> None:
    for name, number in least.items():
        if number > most.get(name, number):
            raise InputError(
                f"Invalid at_least {number} for {name!r}. It is more than at_most, {most[name]}; lower one or raise the other."
            )


def _is_area(place: Any) -> bool:
    return place.geom_type in ("Polygon", "MultiPolygon")


def serves(lines: np.ndarray, place: Any) -> np.ndarray:
    """Return which lines serve a place: 100 m or more of them inside it, or along it, or near it if it has no area."""
    if not _is_area(place):
        served: np.ndarray = shapely.dwithin(lines, place, REACH_M)
        return served
    widened = place.buffer(WITHIN_M)
    shapely.prepare(widened)
    near = np.flatnonzero(shapely.intersects(lines, widened))
    is_served = np.zeros(len(lines), dtype=bool)
    inside = shapely.length(shapely.intersection(lines[near], widened))
    is_served[near[inside >= LEAST_INSIDE_M]] = True
    return is_served

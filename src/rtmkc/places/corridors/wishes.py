"""What is asked of a search for corridors, checked: values in metres, layers read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import shapely
from shapely.geometry.base import BaseGeometry

from rtmkc.checks import check_choice, check_count, check_positive, check_share
from rtmkc.errors import InputError
from rtmkc.inputs.layers import as_layer
from rtmkc.places.corridors.choice.paths import OBJECTIVES, PathFamily
from rtmkc.places.corridors.choice.rules import CorridorRules, PreparedRules
from rtmkc.places.corridors.choice.treated import Treated
from rtmkc.places.corridors.risk import SURFACES
from rtmkc.raster.grid import Grid
from rtmkc.units import format_length, parse_length, parse_period

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Wish:
    """What was asked for, checked, in metres."""

    k: int
    objective: str
    family: PathFamily
    separation: float
    incident_value: float
    replicates: int
    resamples: int
    random_state: int

    @classmethod
    def of(cls, *, place: str = "", by: str = "expected", **asked: Any) -> "Wish":
        """Check the arguments of `find_corridors`; `place` comes before their names in errors."""
        check_choice(f"{place}by", by, SURFACES)
        shortest = parse_length(asked["min_length"], name=f"{place}min_length")
        longest = parse_length(asked["max_length"], name=f"{place}max_length")
        if longest < shortest:
            raise InputError(
                f"Invalid {place}max_length {asked['max_length']!r}. It must not be shorter than {place}min_length "
                f"{asked['min_length']!r}."
            )
        separation, value = asked["separation"], asked["incident_value"]
        return cls(
            check_count(f"{place}k", asked["k"]),
            check_choice(f"{place}objective", asked["objective"], OBJECTIVES),
            PathFamily(
                shortest,
                longest,
                check_count(f"{place}max_turns", asked["max_turns"], minimum=0),
                0.0 if asked["one_name"] == 0 else check_share(f"{place}one_name", asked["one_name"]),
                _detour(f"{place}max_detour", asked["max_detour"]),
                check_choice(f"{place}ends", asked["ends"], ("corner", "anywhere")) == "anywhere",
            ),
            0.0 if separation == 0 else parse_length(separation, name=f"{place}separation"),
            1.0 if value is None else check_positive(f"{place}incident_value", value),
            check_count(f"{place}replicates", asked["replicates"], minimum=0),
            check_count(f"{place}resamples", asked["resamples"], minimum=0),
            check_count("random_state", asked["random_state"], minimum=0),
        )

    @property
    def bounds(self) -> str:
        return f"between {format_length(self.family.shortest)} and {format_length(self.family.longest)} long"


def _detour(name: str, value: Any) -> float:
    """Return a multiple of the straight line, which no path is shorter than."""
    number = check_positive(name, value)
    if number < 1:
        raise InputError(
            f"Invalid {name} {value!r}. No way is shorter than the straight line: it must be 1 or more."
        )
    return number


@dataclass(frozen=True)
class Limits:
    """What corridors must keep to.

    Attributes
    ----------
    excluded : geometry or None
        What is left out, what is treated included.
    treated : Treated or None
        Corridors worked already.
    rules : PreparedRules or None
        Districts, places and money.
    together : bool
        Whether corridors are chosen together even without quotas.
    by : str
        The surface.
    """

    excluded: BaseGeometry | None
    treated: Treated | None
    rules: PreparedRules | None
    together: bool
    by: str

    @classmethod
    def of(
        cls,
        terrain: Any,
        exclude: Any,
        treated: Any,
        today: str | None,
        rules: CorridorRules | None,
        together: bool,
        by: str,
    ) -> "Limits":
        """Read what is excluded, treated and asked for."""
        past = None if treated is None else _treated(treated, terrain, today)
        closing = [geometry_of(exclude, terrain.grid), past.excluded if past else None]
        shapes = [shape for shape in closing if shape is not None]
        return cls(
            shapely.union_all(shapes) if shapes else None,
            past,
            None if rules is None else rules.prepare(terrain.grid.crs),
            together,
            by,
        )

    def record(self) -> dict[str, Any]:
        """Return the rules and what is known of treated corridors, for a manifest."""
        rules, past = self.rules, self.treated
        return {
            "by": self.by,
            "together": self.is_chosen_together,
            "treated": None
            if past is None
            else {"fade": past.fade, "fade_days": past.fade_days, "notes": list(past.notes)},
            "rules": None
            if rules is None
            else {
                "at_most": dict(rules.most),
                "at_least": dict(rules.least),
                "must_include": [name for name, _ in rules.places],
                "avoid": rules.avoided is not None,
                "budget": rules.budget,
                "cost_per_km": rules.cost_per_km,
                "cost_column": rules.cost_column,
            },
        }

    @property
    def is_chosen_together(self) -> bool:
        """Whether the choice of one corridor depends on the others beyond the separation."""
        rules = self.rules
        return self.together or (
            rules is not None and bool(rules.least or rules.most or rules.places or rules.budget is not None)
        )


def _treated(treated: Any, terrain: Any, today: str | None) -> Treated:
    """Read treated corridors; their age counts from the end of the incidents, never from the clock."""
    if isinstance(treated, Treated):
        return treated
    if today is None:
        period = terrain.facts.get("period")
        if not period:
            raise InputError(
                "Invalid today None. The incidents have no period to count the age of treated corridors from; write "
                "today, as in '2024-12-31'."
            )
        today = str(parse_period(period).end)
    return Treated.from_layer(treated, crs=terrain.grid.crs, today=today)


def geometry_of(thing: Any, grid: Grid) -> BaseGeometry | None:
    """Return everything in `thing` as one geometry in the grid's system; None if there is nothing."""
    if thing is None:
        return None
    if isinstance(thing, BaseGeometry):
        parts = [thing]
    elif isinstance(thing, list | tuple):
        parts = [part for part in (geometry_of(member, grid) for member in thing) if part is not None]
    else:
        is_frame = isinstance(thing, gpd.GeoSeries | gpd.GeoDataFrame)
        series = thing.geometry if is_frame else as_layer(thing, name="exclude").frame.geometry
        if series.crs is None:
            raise InputError(
                "Invalid exclude: it has no coordinate system. Set it with .set_crs(), or give the bare "
                f"geometry in the grid's system ({grid.crs.name})."
            )
        parts = list(series.to_crs(grid.crs).dropna())
    union = shapely.union_all(parts) if parts else None
    return None if union is None or union.is_empty else union

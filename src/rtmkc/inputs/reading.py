"""The steps from a source to a layer, each one counted in the ledger; shared by every reader."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyproj
import shapely

from rtmkc.checks import check_columns
from rtmkc.errors import InputError
from rtmkc.inputs import coordinates, dates, files, selection
from rtmkc.inputs.columns import find_column, is_personal
from rtmkc.inputs.ledger import Ledger
from rtmkc.inputs.lost import Lost, Origin, source_sha256
from rtmkc.units import Period, parse_period

UNREADABLE_DATE = "date missing or unreadable"
LONLAT = pyproj.CRS.from_epsg(4326)
# Formats of places that cannot state another system than degrees.
_CANNOT_SAY = (".geojson", ".json", ".geojsonl", ".geojsons", ".geojsonseq", ".ndjson", ".jsonl")


@dataclass
class Reading:
    """A source on its way to a layer: the rows still in use, and the account of the others.

    Mutable and private to one call of a reader; the frame is always the reader's own copy. `faults` and
    `remarks` end in the warning, `notes` in the layer. `marks` are what a reader needs to know of each
    row and its users do not. `names` are all columns of the source, also those that were not read.
    """

    name: str
    frame: pd.DataFrame
    ledger: Ledger
    source: str = "memory"
    sha256: str | None = None
    notes: list[str] = field(default_factory=list)
    crs: pyproj.CRS | None = None
    shapes: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=object))
    places: tuple[str, str] | str | None = None
    date_column: str | None = None
    in_utc: bool = False
    period: Period | None = None
    personal: list[str] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    origins: list[Origin] = field(default_factory=list)
    names: tuple[str, ...] = ()
    marks: dict[str, np.ndarray] = field(default_factory=dict)
    _fix: str = ""

    @classmethod
    def open(
        cls,
        source: Any,
        *,
        name: str | None = None,
        layer: str | None = None,
        columns: files.ColumnChoice | None = None,
    ) -> "Reading":
        """Return the reading of a file or a frame in memory, without the columns about persons.

        Parameters
        ----------
        source : path, GeoDataFrame, GeoSeries or DataFrame
        name : str, optional
            Name of the layer; else the file's.
        layer : str, optional
            Layer of the file.
        columns : callable, optional
            Given the names of all columns, returns those to be read.

        Raises
        ------
        InputError
            If the source cannot be read.
        """
        notes: list[str] = []
        origins: list[Origin] = []
        names: list[str] = []
        text, sha256 = "memory", None

        def choose(present: list[str]) -> list[str]:
            names.extend(present)
            return present if columns is None else columns(present)

        if isinstance(source, gpd.GeoSeries):
            source = gpd.GeoDataFrame(geometry=source)
        if isinstance(source, pd.DataFrame):
            if layer is not None:
                raise InputError(f"Invalid layer {layer!r}. A frame in memory has no layers; leave it out.")
            frame = source.copy(deep=False)
            if columns is not None:
                place = frame.geometry.name if _has_geometry(frame) else None
                kept = set(choose([str(column) for column in frame.columns if column != place]))
                frame = frame[[column for column in frame.columns if column == place or str(column) in kept]]
        elif isinstance(source, str | Path):
            path = Path(source)
            frame, notes = files.read_file(path, layer=layer, columns=None if columns is None else choose)
            name, text, sha256 = name or path.stem, str(source), source_sha256(path)
            origins = [Origin(text, layer, len(frame), sha256)]
        else:
            raise InputError(
                f"Invalid source of type {type(source).__name__}. Give a path, a GeoDataFrame or a DataFrame."
            )
        reading = cls(name or "layer", frame, Ledger.of(name or "layer", len(frame)), text, sha256, notes)
        reading.origins = origins
        reading.check_columns()
        reading.names = tuple(names) or tuple(reading.frame.columns)
        reading.drop_personal_columns()
        return reading

    def check_columns(self) -> None:
        """Raise if two columns have one name; make every name text."""
        names = [str(column) for column in self.frame.columns]
        twice = sorted({column for column in names if names.count(column) > 1})
        if twice:
            raise InputError(
                f"Invalid columns {', '.join(map(repr, twice))} of layer {self.name!r}. Each name may occur "
                "once; rename or drop one."
            )
        if names != list(self.frame.columns):
            self.frame = self.frame.set_axis(names, axis=1)

    def drop_personal_columns(self) -> None:
        """Leave out columns about race, sex or age, and say which."""
        geometry = self.frame.geometry.name if _has_geometry(self.frame) else None
        self.personal = [name for name in self.names if name != geometry and is_personal(name)]
        if self.personal:
            self.frame = self.frame.drop(columns=self.personal, errors="ignore")
            self.notes.append(f"columns about persons are not kept: {', '.join(self.personal)}")

    def locate(
        self,
        *,
        crs: Any = None,
        longitude: str | None = None,
        latitude: str | None = None,
        easting: str | None = None,
        northing: str | None = None,
    ) -> None:
        """Find the place of every row and the CRS of all."""
        self.find_places(crs=crs, longitude=longitude, latitude=latitude, easting=easting, northing=northing)
        self.make_places()

    def find_places(
        self,
        *,
        crs: Any = None,
        longitude: str | None = None,
        latitude: str | None = None,
        easting: str | None = None,
        northing: str | None = None,
    ) -> None:
        """Find what holds the places, and their CRS; of a table, points are made by `make_places`."""
        stated = None if crs is None else coordinates.parse_crs(crs)
        for pair in ((longitude, latitude), (easting, northing)):
            if (pair[0] is None) != (pair[1] is None):
                raise InputError(
                    f"Invalid coordinate columns {pair[0]!r}, {pair[1]!r}. Name both: longitude= and "
                    "latitude=, or easting= and northing=."
                )
        named = longitude is not None or easting is not None
        if _has_geometry(self.frame) and not named:
            self._locate_geometry(stated)
        else:
            self._locate_table(stated, longitude, latitude, easting, northing)
        if longitude is not None:
            self._fix = f": longitude={latitude!r}, latitude={longitude!r}"

    def make_places(self) -> None:
        """Make the geometries of the rows in use, and check that they can be places of the CRS."""
        assert self.crs is not None  # find_places() comes first
        # Five million points need the memory that columns of text took before they became numbers.
        pa.default_memory_pool().release_unused()
        if isinstance(self.places, tuple):
            self.shapes = coordinates.points(self.frame[self.places[0]], self.frame[self.places[1]])
        elif self.places is not None:
            self.shapes, forms = coordinates.parse_locations(self.frame[self.places])
            self.notes.append(
                f"places from column {self.places!r} ({', '.join(sorted(forms)) or 'none read'})"
            )
            self.frame = self.frame.drop(columns=self.places)
        self.places = None
        self.shapes = coordinates.flatten(self.shapes)
        if self.crs.is_geographic:
            coordinates.check_order(self.name, self.shapes, fix=self._fix)
        self.shapes, repaired = coordinates.repair(self.shapes)
        if repaired:
            self.notes.append(f"{repaired:,} invalid areas were repaired")

    def _locate_geometry(self, stated: pyproj.CRS | None) -> None:
        own = self.frame.crs
        if own is None and stated is None:
            raise InputError(no_crs(self.name))
        # GeoJSON cannot say its system, so a reader's default must not contradict what the user knows.
        mute = self.source.lower().endswith(_CANNOT_SAY) and own is not None and own == LONLAT
        if mute and stated is not None and stated != LONLAT:
            self.notes.append(f"the GeoJSON was taken to be in {coordinates.crs_name(stated)}, as stated")
            own = None
        if own is not None and stated is not None and pyproj.CRS(own) != stated:
            raise InputError(
                f"Invalid crs {coordinates.crs_name(stated)!r}. Layer {self.name!r} says that it is in "
                f"{coordinates.crs_name(pyproj.CRS(own))}; leave crs= out, or correct the file."
            )
        self.crs = stated if own is None else pyproj.CRS(own)
        geometry = self.frame.geometry
        self.shapes = np.array(geometry.to_numpy(), dtype=object)
        others = [
            name
            for name in self.frame.columns
            if name != geometry.name and str(self.frame[name].dtype) == "geometry"
        ]
        if others:
            self.notes.append(f"other geometry columns are not kept: {', '.join(others)}")
        self.frame = pd.DataFrame(self.frame.drop(columns=[geometry.name, *others]))

    def _locate_table(
        self,
        stated: pyproj.CRS | None,
        longitude: str | None,
        latitude: str | None,
        easting: str | None,
        northing: str | None,
    ) -> None:
        columns = self.frame.columns
        what = f"Layer {self.name!r}"
        check_columns([name for name in (longitude, latitude, easting, northing) if name], columns, what)
        lonlat = (longitude, latitude)
        projected = (easting, northing)
        if longitude is None and easting is None:
            lonlat = (
                find_column(columns, coordinates.LONGITUDE_NAMES),
                find_column(columns, coordinates.LATITUDE_NAMES),
            )
            projected = (
                find_column(columns, coordinates.EASTING_NAMES),
                find_column(columns, coordinates.NORTHING_NAMES),
            )
            if stated is not None and not stated.is_geographic and all(projected):
                lonlat = (None, None)
        if lonlat[0] is not None and lonlat[1] is not None:
            if stated is not None and not stated.is_geographic:
                raise InputError(
                    f"Invalid crs {coordinates.crs_name(stated)!r}. Columns {lonlat[0]!r} and {lonlat[1]!r} "
                    "are degrees by their names; leave crs= out, or name easting= and northing=."
                )
            self.crs = stated or LONLAT
            self._points_from(lonlat[0], lonlat[1])
        elif projected[0] is not None and projected[1] is not None:
            if stated is None:
                self._take_for_degrees(projected[0], projected[1])
            self.crs = stated or LONLAT
            self._points_from(projected[0], projected[1])
        elif not self._locate_text(stated):
            raise InputError(
                f"Invalid layer {self.name!r}. No columns of coordinates were found in: "
                f"{', '.join(columns) or 'none'}. Name them with longitude= and latitude=, or with easting=, "
                "northing= and crs=."
            )

    def _points_from(self, first: str, second: str) -> None:
        self.places = (first, second)
        self.notes.append(f"places from columns {first!r} and {second!r}")

    def _take_for_degrees(self, first: str, second: str) -> None:
        across, up = (coordinates.numbers(self.frame[name]) for name in (first, second))
        if not coordinates.look_like_degrees(across, up):
            raise InputError(
                f"Invalid crs None. Columns {first!r} and {second!r} of layer {self.name!r} do not say their "
                "coordinate reference system; state it, as in crs='EPSG:26915'."
                f"{coordinates.guess_system(across, up)}"
            )
        self.notes.append(
            f"columns {first!r} and {second!r} are degrees by their values: taken for EPSG:4326"
        )

    def _locate_text(self, stated: pyproj.CRS | None) -> bool:
        column = coordinates.find_location_column(self.frame)
        if column is None:
            return False
        shapes, forms = coordinates.parse_locations(self.frame[column].dropna().head(1000))
        across, up = shapely.get_coordinates(shapes).T
        if stated is None and "WKT" in forms and not coordinates.look_like_degrees(across, up):
            raise InputError(
                f"Invalid crs None. Column {column!r} of layer {self.name!r} holds well-known text, which "
                "does not say its coordinate reference system; state it, as in crs='EPSG:4326'."
            )
        if stated is None and "WKT" in forms:
            self.notes.append(f"column {column!r} holds degrees by its values: taken for EPSG:4326")
        self.places, self.crs = column, stated or LONLAT
        return True

    def find_dates(self, date: str | None, *, wanted: bool) -> None:
        """Read the dates of the column named or found; `wanted` if they decide which rows are used."""
        if date is not None:
            check_columns([date], self.frame.columns, f"Layer {self.name!r}")
        column = date or find_column(self.frame.columns, dates.DATE_NAMES)
        if column is None or self.frame.empty:
            return
        parsed, formats = dates.parse_dates(self.frame[column], what=column)
        readable = int(parsed.notna().sum())
        filled = int(self.frame[column].notna().sum())
        if (date is not None or wanted) and not readable:
            raise InputError(
                f"Invalid date {column!r}. No value of the column can be read as a date (first: "
                f"{self.frame[column].dropna().astype(str).head(1).tolist()}); write YYYY-MM-DD or "
                "MM/DD/YYYY, or name another column with date=."
            )
        if date is None and not wanted and readable * 2 < filled:
            return
        self.frame = self.frame.assign(**{column: parsed})
        self.date_column = column
        self.in_utc = dates.EPOCH in formats
        self.period = dates.period_of(parsed)
        formats = tuple(f"{one} (UTC, not local time)" if one == dates.EPOCH else one for one in formats)
        read_as = "" if formats == ("dates",) else f", read as {' and '.join(formats)}"
        self.notes.append(f"dates from column {column!r}{read_as}")
        if readable < len(parsed):
            self.notes.append(f"{len(parsed) - readable:,} dates in column {column!r} missing or unreadable")

    def select(self, where: selection.Where | None) -> None:
        """Keep the rows for which the condition holds."""
        if where is None:
            return
        chosen = selection.choose(self.frame, where, what=f"Layer {self.name!r}")
        if len(chosen) and not chosen.any():
            self.remarks.append(
                f"where= chose none of {len(chosen):,} rows: {selection.examples(self.frame, where)}"
            )
        self.drop(~chosen, "not chosen by where=")

    def select_times(
        self, *, period: str | Period | None, hours: str | None, weekdays: str | Iterable[str] | None
    ) -> None:
        """Keep the rows of a period, of hours of the day and of days of the week."""
        stated = None if period is None else parse_period(period)
        if self.date_column is None:
            if hours is not None or weekdays is not None:
                raise InputError(
                    f"Invalid {'hours' if hours is not None else 'weekdays'}. Layer {self.name!r} has no "
                    f"column of dates among: {', '.join(map(str, self.frame.columns)) or 'none'}; name it with date=."
                )
            if stated is not None:
                self.period = stated
                self.notes.append(f"period {stated} is stated, not read from dates")
                column = dates.looks_dated(self.frame)
                if column is not None:
                    self.remarks.append(
                        f"period {stated} is taken as stated, for all rows, but column {column!r} looks like dates: "
                        f"date={column!r} has them read"
                    )
            return
        if stated is not None or hours is not None or weekdays is not None:
            self.drop(self.times().isna().to_numpy(), UNREADABLE_DATE, fault=True)
        if stated is not None:
            self.period = stated
            self.drop(~stated.contains(self.times()), f"outside the period {stated}")
        if self.in_utc and (hours is not None or weekdays is not None):
            self.remarks.append(
                f"the dates of column {self.date_column!r} are in UTC, and so are the hours and weekdays chosen "
                "of them; give local times to choose local hours"
            )
        if weekdays is not None:
            days = dates.parse_weekdays(weekdays)
            self.drop(
                ~self.times().dt.day_of_week.isin(days).to_numpy(), f"not on the weekdays {_listed(weekdays)}"
            )
        if hours is not None:
            self.drop(~dates.within_hours(self._clock(hours), hours), f"outside the hours {hours}")

    def times(self) -> pd.Series:
        """Return the dates of the rows in use."""
        return self.frame[self.date_column]

    def _clock(self, hours: str) -> pd.Series:
        """Return the dates with times of day, which some tables keep in a column of their own."""
        moments = self.times()
        if moments.empty or dates.has_time_of_day(moments):
            return moments
        column = find_column(self.frame.columns, dates.TIME_NAMES)
        if column is None:
            raise InputError(
                f"Invalid hours {hours!r}. All dates of layer {self.name!r} are at midnight and no column of "
                "times was found; leave hours= out, or name a date column that has the time of day."
            )
        clock = dates.parse_times(self.frame[column], whole_hours="hour" in column.lower())
        self.drop(clock.isna().to_numpy(), "time of day missing or unreadable", fault=True)
        self.frame = self.frame.assign(**{str(self.date_column): self.times() + clock[clock.notna()]})
        self.notes.append(f"times of day from column {column!r}")
        return self.times()

    def drop_bad_places(self) -> None:
        """Leave out rows whose place is missing or cannot be true."""
        assert self.crs is not None  # locate() comes first
        bad = coordinates.bad_places(self.shapes, geographic=self.crs.is_geographic)
        for reason, mask in bad.items():
            self._account(mask, "dropped", reason, fault=True)
        # Once for all reasons: every narrowing copies the table.
        self.narrow(~np.logical_or.reduce(list(bad.values())))

    def merge_repeats(self, columns: Sequence[str] | None) -> None:
        """Keep the first of the rows that are equal in all `columns`."""
        if columns is None:
            return
        repeats = selection.repeated(self.frame, self.shapes, columns, what=f"Layer {self.name!r}")
        self.merge(repeats, f"same {', '.join(columns)}")

    def exclude(self, places: selection.Places | None) -> None:
        """Leave out the points at the named places."""
        if places is None:
            return
        assert self.crs is not None  # locate() comes first
        centres = gpd.GeoSeries(self.shapes, crs=self.crs).to_crs(LONLAT).representative_point()
        longitudes, latitudes = centres.x.to_numpy(), centres.y.to_numpy()
        left = np.ones(len(self.frame), dtype=bool)
        for name, place in selection.named_places(places).items():
            there = selection.at_place(longitudes, latitudes, place) & left
            if not there.any():
                self.remarks.append(f"no feature lies at the excluded place {name}")
            self.drop(there[left], f"place excluded by name: {name}")
            left &= ~there

    def drop(self, mask: np.ndarray, reason: str, *, fault: bool = False) -> None:
        """Leave out the rows where `mask` is true; a `fault` of the data is also warned of."""
        self._account(mask, "dropped", reason, fault=fault)
        self.narrow(~mask)

    def merge(self, mask: np.ndarray, reason: str) -> None:
        """Leave out the rows where `mask` is true, which tell of features already counted."""
        self._account(mask, "merged", reason)
        self.narrow(~mask)

    def _account(self, mask: np.ndarray, fate: str, reason: str, *, fault: bool = False) -> None:
        rows = int(mask.sum())
        if not rows:
            return
        step = self.ledger.drop if fate == "dropped" else self.ledger.merge
        self.ledger = step(reason, rows)
        self.lost.append(Lost.of(fate, reason, self.frame.index[mask]))
        if fault:
            self.faults[reason] = self.faults.get(reason, 0) + rows

    def narrow(self, chosen: np.ndarray) -> None:
        """Keep the rows where `chosen` is true, already accounted for."""
        if not chosen.all():
            self.frame = self.frame.loc[chosen]
            self.shapes = self.shapes[chosen] if len(self.shapes) else self.shapes
            self.marks = {name: values[chosen] for name, values in self.marks.items()}


def _has_geometry(frame: pd.DataFrame) -> bool:
    return isinstance(frame, gpd.GeoDataFrame) and frame.active_geometry_name is not None


def _listed(weekdays: str | Iterable[str]) -> str:
    return weekdays if isinstance(weekdays, str) else ", ".join(weekdays)


def no_crs(name: str) -> str:
    """Return the message for a layer without a CRS."""
    return (
        f"Invalid crs None. Layer {name!r} does not say its coordinate reference system; state it, as in "
        "crs='EPSG:4326' for longitude and latitude."
    )

"""Layers: a file, a table or a (Geo)DataFrame with its places, dates, provenance and ledger."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj

from rtmkc.checks import check_choice, check_columns
from rtmkc.errors import DataWarning, InputError
from rtmkc.inputs import coordinates, dates
from rtmkc.inputs.columns import enforcement_word, find_column
from rtmkc.inputs.coordinates import crs_name, parse_crs
from rtmkc.inputs.files import ColumnChoice
from rtmkc.inputs.ledger import Ledger
from rtmkc.inputs.lost import Lost, Origin, harmless, lost_table, read_again
from rtmkc.inputs.reading import Reading, no_crs
from rtmkc.inputs.selection import Places, Where, columns_of
from rtmkc.storage import write_atomically
from rtmkc.units import Period

#: What can have made a layer. `policing` and `person` are refused as factors unless asked for by name.
PROVENANCES = ("environment", "community-reported", "inspection", "policing", "person", "unstated")

_NOUNS = {"Point": "points", "MultiPoint": "points", "LineString": "lines", "MultiLineString": "lines"}


@dataclass(frozen=True, eq=False, repr=False)
class Layer:
    """Features of one kind in the world, and what became of every row they were read from.

    Parameters
    ----------
    name : str
    frame : GeoDataFrame
        One row a feature, with a CRS; the index is the row number in the source, from 0 after the
        header, or the index of the frame given. Treat it as read-only.
    provenance : str
        One of `PROVENANCES`.
    ledger : Ledger
    date_column : str or None
        Column of `frame` with dates as naive local clock time.
    period : Period or None
        Days that the source covers: as stated, or from its first to its last date.
    source : str
        File or files, or "memory".
    sha256 : str or None
        Hash of the file; of several files, in the order of `source`, with commas between.
    notes : tuple of str
        What was decided while reading, to be said to the user.
    lost : tuple of Lost
        Which rows were dropped or merged, and why; see `dropped_rows`.
    origins : tuple of Origin
        The files, to read rows of them again.

    Raises
    ------
    InputError
        If the frame has no CRS, the provenance is unknown, or the ledger counts other rows.
    """

    name: str
    frame: gpd.GeoDataFrame
    provenance: str
    ledger: Ledger
    date_column: str | None = None
    period: Period | None = None
    source: str = "memory"
    sha256: str | None = None
    notes: tuple[str, ...] = ()
    lost: tuple[Lost, ...] = field(default=(), repr=False)
    origins: tuple[Origin, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        check_choice("provenance", self.provenance, PROVENANCES)
        if self.frame.crs is None:
            raise InputError(no_crs(self.name))
        if len(self.frame) != self.ledger.used:
            raise InputError(
                f"Invalid ledger of layer {self.name!r}. It counts {self.ledger.used:,} rows used and the "
                f"layer has {len(self.frame):,}; narrow a layer with keep()."
            )

    @property
    def crs(self) -> pyproj.CRS:
        """Coordinate reference system of the features."""
        system: pyproj.CRS = self.frame.crs
        return system

    @property
    def dates(self) -> pd.Series | None:
        """Dates of the features, or None where the source has none."""
        return None if self.date_column is None else self.frame[self.date_column]

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        kinds = self.frame.geom_type.map(lambda kind: _NOUNS.get(kind, "areas")).unique()
        what = "points, lines and areas" if len(kinds) > 2 else " and ".join(kinds) or "features"
        what = what.removesuffix("s") if len(self) == 1 else what
        period = f", {self.period}" if self.period else ""
        return (
            f"<Layer {self.name!r}: {len(self):,} {what} of {self.ledger.read:,} rows, {crs_name(self.crs)}, "
            f"{self.provenance}{period}>"
        )

    def keep(self, mask: Iterable[bool], reason: str) -> "Layer":
        """Return the layer with only the features where `mask` is true; the rest is dropped for `reason`.

        Parameters
        ----------
        mask : array of bool, shape (len(layer),)
            By position.
        reason : str
            Why the others are left out, for the ledger.

        Raises
        ------
        InputError
            If the mask has another length or is not of booleans.
        """
        chosen = np.asarray(mask)
        if chosen.dtype != bool or chosen.shape != (len(self),):
            raise InputError(
                f"Invalid mask of {chosen.dtype} and shape {chosen.shape}. It must hold one boolean for each "
                f"of the {len(self):,} features of layer {self.name!r}."
            )
        ledger = self.ledger.drop(reason, int((~chosen).sum()))
        lost = self.lost
        if not chosen.all():
            lost = (*lost, Lost.of("dropped", reason, self.frame.index[~chosen]))
        return replace(self, frame=self.frame.loc[chosen], ledger=ledger, lost=lost)

    def dropped_rows(self) -> pd.DataFrame:
        """Return every row of the source that the layer does not use, and why.

        Returns
        -------
        DataFrame
            In the order of the source: row (number from 0 below the header, or the index label of the
            frame given), fate ("dropped" or "merged") and reason, as in the ledger.

        Examples
        --------
        >>> table = pd.DataFrame({"lat": [39.10, 39.11], "lon": [-94.58, -94.57], "kind": ["a", "b"]})
        >>> layer = read_layer(table, name="lights", where="kind == 'b'", provenance="community-reported")
        >>> layer.dropped_rows().values.tolist()
        [[0, 'dropped', 'not chosen by where=']]
        """
        return lost_table(self.lost)

    def write_dropped(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the rows that the layer does not use to a CSV file, to look at them.

        Beside row, fate and reason the file has the columns of the source, which is read again for it; of a
        frame in memory only the index label is known. Columns about persons are left out, and text that a
        spreadsheet would run as a formula gets an apostrophe before it.

        Parameters
        ----------
        path : path
            The file.
        overwrite : bool
            Whether a file that exists may be replaced.

        Raises
        ------
        InputError
            If the source is gone or has changed.
        OutputError
            If the file exists or cannot be written.
        """
        table = self.dropped_rows().set_index("row")
        if self.origins and len(table):
            again = read_again(self.origins, table.index.to_numpy())
            table = table.join(
                again.rename(columns={name: f"{name} of the source" for name in table.columns})
            )
        cells = pd.DataFrame({name: harmless(values) for name, values in table.items()}, index=table.index)
        with write_atomically(path, overwrite=overwrite) as temporary:
            cells.to_csv(temporary, lineterminator="\n", encoding="utf-8")

    def to_crs(self, crs: Any) -> "Layer":
        """Return the layer in another coordinate reference system.

        Raises
        ------
        InputError
            If the system is unknown.
        """
        system = parse_crs(crs)
        return self if self.frame.crs == system else replace(self, frame=self.frame.to_crs(system))


def finish(reading: Reading, *, provenance: str | None, stacklevel: int) -> Layer:
    """Return the layer of a reading, and warn of what is wrong with it; for readers of files.

    Parameters
    ----------
    reading : Reading
        Located, with every filter applied.
    provenance : str or None
        None counts as "unstated".
    stacklevel : int
        Of the warnings, seen from the caller.
    """
    if provenance is None:
        reading.remarks.extend(_doubt(reading))
    if reading.faults:
        faults = ", ".join(f"{rows:,} {reason}" for reason, rows in reading.faults.items())
        total = sum(reading.faults.values())
        reading.remarks.insert(0, f"{total:,} of {reading.ledger.read:,} rows were dropped: {faults}")
    if len(reading.frame) == 0:
        reading.remarks.append(f"nothing is left of {reading.ledger.read:,} rows")
    if reading.remarks:
        warnings.warn(
            f"Layer {reading.name!r}: {'; '.join(reading.remarks)}.", DataWarning, stacklevel=stacklevel + 1
        )
    places = gpd.array.from_shapely(reading.shapes, crs=reading.crs)
    frame = gpd.GeoDataFrame(reading.frame, geometry=places, crs=reading.crs)
    return Layer(
        name=reading.name,
        frame=frame,
        provenance=provenance or "unstated",
        ledger=reading.ledger,
        date_column=reading.date_column,
        period=reading.period,
        source=reading.source,
        sha256=reading.sha256,
        notes=tuple(reading.notes),
        lost=tuple(reading.lost),
        origins=tuple(reading.origins),
    )


def _doubt(reading: Reading) -> list[str]:
    found = enforcement_word([reading.name, *(reading.names or reading.frame.columns)])
    if found is None and reading.personal:
        found = reading.personal[0], "person"
    if found is None:
        return []
    about = "persons" if found[1] == "person" else "police work"
    remark = (
        f"its provenance is unstated and {found[0]!r} looks like a record of {about}; say what made it with "
        f"provenance= ({', '.join(PROVENANCES[:-1])})"
    )
    return [remark]


def read_layer(
    source: Any,
    *,
    name: str | None = None,
    crs: Any = None,
    longitude: str | None = None,
    latitude: str | None = None,
    easting: str | None = None,
    northing: str | None = None,
    date: str | None = None,
    where: Where | None = None,
    period: str | Period | None = None,
    hours: str | None = None,
    weekdays: str | Iterable[str] | None = None,
    merge: list[str] | None = None,
    exclude_places: Places | None = None,
    provenance: str | None = None,
    layer: str | None = None,
    columns: Sequence[str] | None = None,
) -> Layer:
    """Return the layer of a file or a (Geo)DataFrame: places, dates, provenance, and a ledger.

    Parameters
    ----------
    source : path, GeoDataFrame, GeoSeries or DataFrame
        CSV (also with semicolons, tabs or bars), Excel, GeoJSON, JSON records, GeoPackage, file
        geodatabase, Shapefile, FlatGeobuf, KML, KMZ, Parquet, GeoParquet, a zip archive of one of them, or a
        frame in memory (never changed). Points, lines and areas; heights are cut off, invalid areas repaired.
    name : str, optional
        Name of the layer; else the file's.
    crs : optional
        Coordinate reference system of a source that does not say its own, such as "EPSG:26915".
    longitude, latitude : str, optional
        Columns in degrees; found by loose names (`Longitude`, `lon`, `lng`, ...) if not given.
    easting, northing : str, optional
        Projected columns (also found as `x`, `y`, ...); they need `crs`, unless they can only be degrees.
    date : str, optional
        Column of dates; found by loose names (`date`, `from_date`, `reported_date`, ...) if not given.
    where : str or mapping, optional
        Rows wanted: a condition such as ``"offence in ('robbery', 'assault')"``, with backticks around
        names that have blanks, or ``{"offence": ["robbery", "assault"]}``.
    period : str or Period, optional
        Days wanted, such as "2021/2023". For a source without dates it states what the source covers.
        Without it the period is read from the dates of all rows, before `where`.
    hours : str, optional
        Stretch of the day such as "19-3": the start included, the end not; it may pass midnight.
    weekdays : str or list of str, optional
        Such as "fri-sun". The calendar day counts: one o'clock on Saturday morning is Saturday.
    merge : list of str, optional
        Columns whose equality makes rows one incident; "place" means the exact coordinates.
    exclude_places : list of (latitude, longitude) or mapping of name to it, optional
        Places to leave out, to about a metre; see `dominant_places`.
    provenance : str, optional
        What made the layer: environment, community-reported, inspection, policing or person.
    layer : str, optional
        Layer of a GeoPackage or geodatabase, sheet of a workbook, folder of a KML file, or member of an
        archive; needed if there are several.
    columns : list of str, optional
        Columns to keep; all if not given. Those of dates and of `merge` are kept beside them. Large files
        are read faster, and in less memory, with few columns.

    Returns
    -------
    Layer
        It may be empty, with a warning, when nothing is left; a *file* without any row is an error.

    Raises
    ------
    InputError
        If the source cannot be read, has no places or no CRS, or an argument does not fit it.

    Warns
    -----
    DataWarning
        Rows without usable places or dates were dropped; nothing is left; or the layer says nothing of
        its provenance and looks like a record of police work or of persons.

    Notes
    -----
    Columns about race, sex or age are never kept. Filters run in this order, and the ledger counts what
    each took: `where`, `period`, `weekdays`, `hours`, unusable places, `merge`, `exclude_places`.

    Examples
    --------
    >>> table = pd.DataFrame({"lat": [39.10, 39.11], "lon": [-94.58, -94.57], "kind": ["a", "b"]})
    >>> read_layer(table, name="lights", where="kind == 'b'", provenance="community-reported")
    <Layer 'lights': 1 point of 2 rows, EPSG:4326, community-reported>
    """
    if provenance is not None:
        check_choice("provenance", provenance, PROVENANCES)
    chosen = None
    if columns is not None:
        named = [longitude, latitude, easting, northing, date, *(merge or []), *columns]
        chosen = _choice(columns, [one for one in named if one is not None], where=where)
    reading = Reading.open(source, name=name, layer=layer, columns=chosen)
    reading.find_places(crs=crs, longitude=longitude, latitude=latitude, easting=easting, northing=northing)
    reading.find_dates(date, wanted=not (period is None and hours is None and weekdays is None))
    reading.select(where)
    reading.select_times(period=period, hours=hours, weekdays=weekdays)
    # Places come last: a point in memory is larger than its row of numbers.
    reading.make_places()
    if columns is not None:
        kept = {*columns, *(merge or []), reading.date_column}
        reading.frame = reading.frame[[one for one in reading.frame.columns if one in kept]]
    reading.drop_bad_places()
    reading.merge_repeats(merge)
    reading.exclude(exclude_places)
    return finish(reading, provenance=provenance, stacklevel=2)


def _choice(columns: Sequence[str], named: Sequence[str], *, where: Where | None) -> ColumnChoice:
    """Return what chooses the columns to read: those asked for, and those that places and dates are found in."""
    if isinstance(columns, str):
        raise InputError(f"Invalid columns {columns!r}. Give a list of names, as in [{columns!r}].")
    wanted = [*named, *(columns_of(where) if where is not None else [])]

    def choose(present: list[str]) -> list[str]:
        check_columns(columns, present, "The source")
        pairs = [
            [find_column(present, names) for names in pair]
            for pair in (
                (coordinates.LONGITUDE_NAMES, coordinates.LATITUDE_NAMES),
                (coordinates.EASTING_NAMES, coordinates.NORTHING_NAMES),
            )
        ]
        found = [name for pair in pairs if all(pair) for name in pair]
        if not found:
            location = find_column(present, coordinates.LOCATION_NAMES)
            if location is None:
                # Places may be in a column of any name, to be found by its values.
                return present
            found = [location]
        found += [find_column(present, names) for names in (dates.DATE_NAMES, dates.TIME_NAMES)]
        return [name for name in present if name in wanted or name in found]

    return choose


def as_layer(thing: Any, *, name: str, allow_empty: bool = True) -> Layer:
    """Return a `Layer` unchanged, or the layer of a path, GeoDataFrame or DataFrame.

    Parameters
    ----------
    thing : Layer, path, GeoDataFrame or DataFrame
    name : str
        Name of the layer if it is made here.
    allow_empty : bool
        Whether a layer without features will do.

    Raises
    ------
    InputError
        If it cannot be read, or is empty and must not be.
    """
    if isinstance(thing, Layer):
        made = thing
    else:
        reading = Reading.open(thing, name=name)
        reading.locate()
        reading.find_dates(None, wanted=False)
        reading.drop_bad_places()
        made = finish(reading, provenance=None, stacklevel=2)
    if not allow_empty and len(made) == 0:
        raise InputError(
            f"Invalid layer {made.name!r}. It has no features, of {made.ledger.read:,} rows read; look at "
            "its ledger for the reasons."
        )
    return made

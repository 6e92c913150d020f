"""Violations of the property and nuisance codes of Kansas City: EnerGov since 2021, and the years before."""

from collections.abc import Iterable
from typing import Any

from rtmkc.errors import InputError
from rtmkc.inputs import dates
from rtmkc.inputs.columns import loose
from rtmkc.inputs.kansas_city import portal
from rtmkc.inputs.layers import Layer, finish
from rtmkc.inputs.reading import Reading
from rtmkc.inputs.selection import Places, Where
from rtmkc.units import Period

_ALIASES = {
    "violation": ("violationid", "propertyviolationid", "id"),
    "case": ("casenumber", "caseid"),
    "pin": ("pin", "kivapin"),
    "code": ("violationcode",),
    "description": ("description", "violationdescription"),
    "chapter": ("chapter", "ordinancechapter"),
    "ordinance": ("ordinance", "ordinancenumber"),
    "ordinance_text": ("ordtext",),
    "status": ("viostatus", "status"),
    "case_status": ("casestatus",),
    "opened": ("datefound", "violationentrydate", "violationentereddate"),
    "case_opened": ("caseopened", "caseopeneddate"),
    "comply_by": ("datetocomply",),
    "closed": ("dateresolved", "caseclosed", "casecloseddate"),
    "days_open": ("daysopen",),
    "address": ("streetaddress", "address"),
    "full_address": ("fulladdress",),
    "zip_code": ("zipcode", "postalcode", "zip"),
    "council_district": ("councildistrict",),
    "police_district": ("policedistrict", "policepatrolarea"),
    "neighborhood": ("neighborhood", "neighbourhood"),
    "location": (
        "incidentlocation", "mappinglocation", "codeviolationlocation", "location", "thegeom", "geometry",
        "point",
    ),
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon", "long", "lng"),
}  # fmt: skip
_CODES = ("violation", "case", "pin", "code", "chapter", "ordinance", "zip_code", "council_district")
_ADVICE = (
    "Read the table of violations itself, which has places (vq3e-m9ge since 2021, nhtf-e75a before), or join "
    "places to it by pin and use read_layer."
)


def read_kc_violations(
    source: Any,
    *,
    name: str = "KC property violations",
    where: Where | None = None,
    period: str | Period | None = None,
    exclude_places: Places | None = None,
) -> Layer:
    """Return the property violations of Kansas City, since 2021, before, or both: one feature a violation.

    Parameters
    ----------
    source : path, frame, or a list of them
        Exports of data.kcmo.org as CSV, JSON, GeoJSON or Parquet: vq3e-m9ge (EnerGov, since mid 2021) and
        nhtf-e75a (2009 to 2021), in the names of the CSV or of the interface. Columns are matched loosely.
    name : str
        Name of the layer.
    where : str or mapping, optional
        Rows wanted, in the names below, such as ``{"code": "NSWLWEED"}``. To make risk factors of the
        codes and descriptions see `kc_factors`.
    period, exclude_places : optional
        As in `read_layer`; the period is of the day on which the violation was found or entered.

    Returns
    -------
    Layer
        Points in EPSG:4326, provenance "inspection". Columns: `violation`, `case`, `pin`, `code`,
        `description`, `chapter`, `ordinance`, `status`, `opened` and what else the table has; the index
        numbers the rows of all tables from 0.

    Raises
    ------
    InputError
        If a table is not of violations, or has no places, as the lists of open violations (tezm-fh2e) and
        of open exterior violations (w5nm-8qv8) have none; or an argument does not fit.

    Warns
    -----
    DataWarning
        Rows without usable places or dates were dropped.

    Notes
    -----
    `opened` is the day the violation was found or entered, or else the day its case was opened. A
    violation that stands in several tables is one feature.
    """
    reading = portal.open_tables(source, name=name, aliases=_ALIASES, check_layout=_check_layout)
    for column in _CODES:
        if column in reading.frame:
            reading.frame[column] = portal.as_codes(reading.frame[column])
    _date(reading)
    portal.locate(reading)
    reading.find_dates("opened" if "opened" in reading.frame else None, wanted=period is not None)
    reading.marks["key"] = portal.numbered(reading.frame, "violation")
    reading.select(where)
    reading.select_times(period=period, hours=None, weekdays=None)
    portal.collapse(reading, within="another row of the same violation")
    portal.drop_unplaced(reading)
    reading.exclude(exclude_places)
    return finish(reading, provenance="inspection", stacklevel=2)


def _check_layout(columns: Iterable[str], what: str) -> None:
    names = {loose(column) for column in columns}
    open_list = {"reportedissue", "issuesubtype"} <= names
    kinds = {"violationcode", "violationdescription", "description", "ordinance", "ordinancenumber"}
    identified = {"violationid", "propertyviolationid", "caseid", "casenumber"}
    if not open_list and not (names & kinds and names & identified):
        raise InputError(
            f"Invalid table of violations {what!r}. It has no number of a violation or case with a code or "
            "description; read any other table with read_layer."
        )
    if not portal.has_places(columns, _ALIASES):
        exterior = "datetocomply" in names and "dateresolved" not in names
        kind = (
            "the list of open violations (tezm-fh2e)"
            if open_list
            else "the list of open exterior violations (w5nm-8qv8)"
            if exterior
            else "a table of violations"
        )
        raise InputError(
            f"Invalid table of violations {what!r}. It looks like {kind}, and it has addresses without "
            f"coordinates. {_ADVICE}"
        )
    if open_list:
        raise InputError(
            f"Invalid table of violations {what!r}. It has the columns of 311 requests; use read_kc_311."
        )


def _date(reading: Reading) -> None:
    """Fill the day of a violation from the opening of its case."""
    frame = reading.frame
    if "case_opened" not in frame:
        return
    case = dates.parse_dates(frame["case_opened"], what="case_opened")[0]
    found = dates.parse_dates(frame["opened"], what="opened")[0] if "opened" in frame else None
    opened = case if found is None else found.fillna(case)
    if found is not None and int((found.isna() & case.notna()).sum()):
        filled = int((found.isna() & case.notna()).sum())
        reading.notes.append(f"{filled:,} violations are dated by the opening of their case")
    # A column without any date stays as it is, for the error message to quote.
    if opened.notna().any():
        reading.frame = frame.assign(opened=opened, case_opened=case)

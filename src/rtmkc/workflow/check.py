"""The data-quality card: what each layer of a study (or a file) holds, before any model is fitted."""

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import shapely

from rtmkc.errors import InputError, RtmkcError, RtmkcWarning
from rtmkc.inputs.dominant import dominant_places
from rtmkc.inputs.kansas_city.factors import kc_factors
from rtmkc.inputs.layers import Layer
from rtmkc.inputs.rasters import is_raster
from rtmkc.inputs.selection import repeated
from rtmkc.model.cost import Cost
from rtmkc.raster.area import StudyArea
from rtmkc.storage import created_at
from rtmkc.workflow.inspect import Finding, inspect_file, kind_of, located
from rtmkc.workflow.manifest import ledger_record
from rtmkc.workflow.specs import FactorSpec, LayerSpec
from rtmkc.workflow.study import Study

OLDEST = pd.Timestamp(1990, 1, 1)
"""Dates before this are taken for mistakes: no city's table of incidents begins earlier."""
_PERSONAL = "columns about persons are not kept: "
_TOP_PLACES = 5
_TOP_TYPES = 15


@dataclass(frozen=True, eq=False)
class DataCard:
    """What the layers of a study, or of a file, hold.

    Attributes
    ----------
    title : str
        Name of the study or the file.
    layers : list of dict
        One for each layer, ready for JSON: name, role, file, features, ledger, located, dates, repeats,
        dominant places, outside, unmapped types, personal columns, provenance, notes.
    cost : Cost or None
        What a run of the study will take; None for a file, or where the grid cannot be laid.
    refused : str or None
        Why a run of the study would be refused: its grid cannot be laid, or does not fit.
    """

    title: str
    layers: list[dict[str, Any]] = field(repr=False)
    cost: Cost | None = None
    refused: str | None = None

    def to_frame(self) -> pd.DataFrame:
        """Return one row a layer: role, name, rows, used, located, first and last date, and what to look at."""
        rows = [
            {
                "role": one["role"],
                "name": one["name"],
                "rows": one["ledger"]["read"],
                "used": one["ledger"]["used"],
                "located": one["located"],
                "first": one["dates"]["first"] if one["dates"] else None,
                "last": one["dates"]["last"] if one["dates"] else None,
                "provenance": one["provenance"],
                "look_at": "; ".join(one["look_at"]),
            }
            for one in self.layers
        ]
        return pd.DataFrame(rows)


def check_data(source: str | Path, *, data: str | Path | None = None) -> DataCard:
    """Return the data-quality card of a study or of a file; nothing is fitted.

    Parameters
    ----------
    source : path
        A study file (``.toml``) or any file that can be read.
    data : path, optional
        Where relative paths of the study start; default the folder of the study file.

    Returns
    -------
    DataCard

    Raises
    ------
    InputError, StudyError
        If the study or the file cannot be read.

    Notes
    -----
    A file is read without filters; the layers of a study are read as the study says. Dates before 1990 or
    after today are counted as impossible. Repeats are rows equal in every column and in place.
    """
    path = Path(source)
    if path.suffix.lower() == ".toml":
        study = Study.from_file(path, data=data)
        return DataCard(study.study.name, _of_study(study), *_cost(study))
    cards = []
    for finding in inspect_file(path):
        if finding.layer is None:
            if not path.is_file() and not path.is_dir():
                raise InputError(
                    f"Invalid file {str(path)!r}. There is no such file; check the name and the folder."
                )
            raise InputError(f"Invalid file {str(path)!r}. It cannot be checked: {finding.why}.")
        cards.append(_of_finding(finding))
    return DataCard(path.name, cards)


def _cost(study: Study) -> tuple[Cost | None, str | None]:
    """What a run will take, and why it would be refused."""
    cost = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RtmkcWarning)
            cost = study.cost(study.grid())
        cost.check()
    except RtmkcError as error:
        return cost, str(error)
    return cost, None


def _of_finding(finding: Finding) -> dict[str, Any]:
    layer = finding.layer
    assert layer is not None  # the caller refuses files without one
    card = _card(layer, finding.role, finding.file, None)
    if finding.reader in ("kc_311", "kc_violations"):
        card["unmapped"] = _unmapped(layer, None)
    return _finished(card)


def _of_study(study: Study) -> list[dict[str, Any]]:
    folder = Path(study.folder)
    area = study.area()
    known: dict[bytes, Layer] = {}
    cards = []
    for place, spec in study.layers().items():
        if is_raster(spec.paths()[0]):
            continue  # pixels have neither dates nor repeats
        name = getattr(spec, "name", None) if place.startswith(("factors", "joins", "exposure")) else None
        said: list[str] = []
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always", RtmkcWarning)
            before = set(known)
            layer = _read(spec, folder, name or place, known)
            said += [str(warning.message) for warning in heard if issubclass(warning.category, RtmkcWarning)]
        card = _card(layer, place, ", ".join(spec.paths()), area)
        card["notes"] = [*card["notes"], *said]
        if isinstance(spec, FactorSpec) and spec.factor is not None:
            shared = known[spec.shared_key()]
            # Of the whole file: rows without a place are left out before types are looked at.
            card["located"] = located(shared.ledger)
            if set(known) - before:
                own_map = None if spec.factor_map is None else folder / spec.factor_map
                card["unmapped"] = _unmapped(shared, own_map)
        cards.append(_finished(card))
    return cards


def _read(spec: LayerSpec, folder: Path, name: str, known: dict[bytes, Layer]) -> Layer:
    if isinstance(spec, FactorSpec):
        return spec.read_once(folder, known)
    return spec.read(folder, name)


def _card(layer: Layer, role: str, file: str, area: StudyArea | None) -> dict[str, Any]:
    personal = [note.removeprefix(_PERSONAL) for note in layer.notes if note.startswith(_PERSONAL)]
    return {
        "name": layer.name,
        "role": role,
        "file": file,
        "features": kind_of(layer),
        "provenance": layer.provenance,
        "ledger": ledger_record(layer.ledger),
        "located": located(layer.ledger),
        "period": str(layer.period) if layer.period else None,
        "dates": _dates(layer),
        "repeats": _repeats(layer),
        "dominant_places": _dominant(layer),
        "outside": None if area is None else _outside(layer, area),
        "unmapped": None,
        "personal_columns": ", ".join(personal).split(", ") if personal else [],
        "notes": [note for note in layer.notes if not note.startswith(_PERSONAL)],
    }


def _dates(layer: Layer) -> dict[str, Any] | None:
    if layer.dates is None:
        return None
    dates = layer.dates
    today = pd.Timestamp(created_at()[:10]) + pd.Timedelta(days=1)
    known = dates.dropna()
    junk = (known < OLDEST) | (known >= today)
    good = known[~junk]
    months: dict[str, int] = {}
    gaps: list[str] = []
    if len(good):
        counts = good.dt.to_period("M").value_counts()
        every = pd.period_range(good.min(), good.max(), freq="M")
        months = {str(month): int(counts.get(month, 0)) for month in every}
        # Gaps count inside the usual stretch of dates: a lone early row would make a gap of years.
        first, last = (good.quantile(share, interpolation="nearest") for share in (0.005, 0.995))
        usual = pd.period_range(str(first), str(last), freq="M")
        gaps = [str(month) for month in usual if not counts.get(month, 0)]
    return {
        "first": str(good.min().date()) if len(good) else None,
        "last": str(good.max().date()) if len(good) else None,
        "missing": int(dates.isna().sum()),
        "impossible": int(junk.sum()),
        "impossible_such_as": [str(date.date()) for date in known[junk].head(3)],
        "months": months,
        "gaps": gaps,
    }


def _repeats(layer: Layer) -> int | None:
    frame = layer.frame
    columns = [str(name) for name in frame.columns if name != frame.geometry.name]
    try:
        return int(repeated(frame, frame.geometry.to_numpy(), [*columns, "place"], what="layer").sum())
    except TypeError:  # columns that hold lists or objects cannot be compared
        return None


def _dominant(layer: Layer) -> list[dict[str, Any]]:
    if not len(layer):
        return []
    top = dominant_places(layer).head(_TOP_PLACES)
    return [
        {
            "latitude": round(latitude, 6),
            "longitude": round(longitude, 6),
            "points": int(points),
            "share": share,
        }
        for latitude, longitude, points, share in top.to_numpy(dtype=float).tolist()
    ]


def _outside(layer: Layer, area: StudyArea) -> int:
    shapes = layer.frame.geometry.to_crs(area.crs).to_numpy()
    shapely.prepare(area.geometry)
    return int((~np.asarray(shapely.intersects(area.geometry, shapes), dtype=bool)).sum())


def _unmapped(layer: Layer, own_map: Path | None) -> dict[str, Any]:
    table = kc_factors(layer, map=own_map).table
    fates = table.groupby("fate")["rows"].sum()
    top = table[table["fate"] == "unmapped"].head(_TOP_TYPES)
    return {
        **{fate: int(fates.get(fate, 0)) for fate in ("mapped", "left out", "unmapped")},
        "factors": {
            str(name): int(rows)
            for name, rows in table[table["fate"] == "mapped"].groupby("factor")["rows"].sum().items()
        },
        "types": [{"type": str(kind), "rows": int(rows)} for kind, rows in top[["type", "rows"]].to_numpy()],
    }


def _finished(card: dict[str, Any]) -> dict[str, Any]:
    """Add what somebody should look at, in short sentences."""
    ledger, found = card["ledger"], []
    if not ledger["used"]:
        found.append("nothing is left of it")
    if card["located"] is not None and card["located"] < 0.95:
        found.append(f"only {100 * card['located']:.0f} % located")
    dates = card["dates"]
    if dates and dates["impossible"]:
        found.append(f"{dates['impossible']:,} impossible dates")
    if dates and dates["missing"]:
        found.append(f"{dates['missing']:,} without a date")
    if dates and dates["gaps"]:
        found.append(f"{len(dates['gaps']):,} months without a row (first {dates['gaps'][0]})")
    if card["repeats"]:
        found.append(f"{card['repeats']:,} rows repeat another")
    if card["dominant_places"]:
        top = card["dominant_places"][0]
        found.append(
            f"{100 * top['share']:.0f} % at one place ({top['latitude']:.5f}, {top['longitude']:.5f})"
        )
    if card["outside"] and card["outside"] >= 0.005 * ledger["used"]:
        found.append(f"{100 * card['outside'] / ledger['used']:.0f} % outside the area")
    if card["unmapped"] and card["unmapped"]["unmapped"]:
        types = card["unmapped"]
        total = types["mapped"] + types["left out"] + types["unmapped"]
        found.append(f"{100 * types['unmapped'] / total:.0f} % of rows are of types not in the map")
    if card["provenance"] == "unstated" and card["role"].startswith(("factor", "incidents")):
        found.append("provenance unstated")
    return {**card, "look_at": found}

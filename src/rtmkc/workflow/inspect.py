"""A folder of downloads: every file read, and judged what it is."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import shapely

from rtmkc.errors import InputError, RtmkcError, RtmkcWarning
from rtmkc.inputs import coordinates
from rtmkc.inputs.columns import find_column, loose
from rtmkc.inputs.files import RASTERS, SUPPORTED, read_file
from rtmkc.inputs.kansas_city import portal
from rtmkc.inputs.layers import Layer, read_layer
from rtmkc.inputs.ledger import Ledger
from rtmkc.workflow import guesses
from rtmkc.workflow.specs import SHAPEFILE, reader_of

#: Reasons in ledgers for rows that have no place on the map.
UNPLACED = (
    coordinates.NO_PLACE, coordinates.NULL_ISLAND, coordinates.NOT_FINITE, coordinates.OFF_THE_GLOBE,
    coordinates.NOT_A_SHAPE, portal.OUTSIDE, portal.WITHHELD, portal.FALSE_ORIGIN,
)  # fmt: skip
#: Readers of one layout, and what their files are.
LAYOUTS = {
    "kcpd_crime": "incidents",
    "kc_violations": "requests",
    "kc_buildings": "factor",
    "kc_311": "requests",
}
ROLES = (
    "boundary", "incidents", "requests", "factor", "exposure", "streets", "areas", "treated", "places", "not used",
)  # fmt: skip
_LEAST_STREETS = 20
_LEAST_EXPOSURE = 1000
_WITH_LAYERS = (".gpkg", ".gdb")


@dataclass(frozen=True, eq=False)
class Finding:
    """What a file (or one layer of it) was taken to be.

    Attributes
    ----------
    file : str
        Its path from the folder, with slashes.
    role : str
        One of `ROLES`.
    why : str
        Why it was taken to be that, or why it is not used.
    reader : str
        Reader of its layout; "layer" for any other.
    layer : Layer or None
        Its features; None if it cannot be read.
    rows : int
        Rows read.
    options : dict
        Keys that the study file needs to read it so.
    frame : DataFrame or None
        Its rows as they stand, for readers that take several files at once.
    """

    file: str
    role: str
    why: str
    reader: str = "layer"
    layer: Layer | None = field(default=None, repr=False)
    rows: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    frame: pd.DataFrame | None = field(default=None, repr=False)

    @property
    def stem(self) -> str:
        """Name of the file without folder and ending; of the layer where a file has several."""
        return str(self.options.get("layer") or Path(self.file).stem)

    def record(self) -> dict[str, Any]:
        """Return the finding for JSON."""
        layer = self.layer
        return {
            "file": self.file,
            "layer": self.options.get("layer"),
            "role": self.role,
            "why": self.why,
            "reader": None if layer is None else self.reader,
            "rows": self.rows,
            "used": None if layer is None else len(layer),
            "located": None if layer is None else located(layer.ledger),
            "period": None if layer is None or layer.period is None else str(layer.period),
            "provenance": None if layer is None else layer.provenance,
            "features": None if layer is None else kind_of(layer),
        }


def located(ledger: Ledger) -> float | None:
    """Return the share of the rows that have a place on the map, of those that were looked at."""
    without = sum(ledger.dropped.get(reason, 0) for reason in UNPLACED)
    return ledger.used / (ledger.used + without) if ledger.used + without else None


def kind_of(layer: Layer) -> str:
    """Return "points", "lines", "areas", or several of them."""
    kinds = shapely.get_type_id(layer.frame.geometry.to_numpy())
    found = [
        word
        for word, ids in (("points", (0, 4)), ("lines", (1, 2, 5)), ("areas", (3, 6)))
        if np.isin(kinds, ids).any()
    ]
    return " and ".join(found) or "nothing"


def inspect_folder(
    folder: str | Path, *, progress: Callable[[str, int, int], None] | None = None
) -> list[Finding]:
    """Look at every file of a folder and of the folders in it, and say what each is.

    Parameters
    ----------
    folder : path
        The folder.
    progress : callable, optional
        Called with (step, done, total).

    Returns
    -------
    list of Finding
        In the order of their paths.

    Raises
    ------
    InputError
        If there is no such folder or it holds no file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(
            f"Invalid folder {str(folder)!r}. It is not a folder; give the one with your downloads."
        )
    paths = list(_files_of(folder))
    if not paths:
        raise InputError(
            f"Invalid folder {str(folder)!r}. It holds no files; give the one with your downloads."
        )
    found = []
    for number, path in enumerate(paths):
        if progress is not None:
            progress("looking at files", number, len(paths))
        found += inspect_file(path, folder=folder)
    if progress is not None:
        progress("looking at files", len(paths), len(paths))
    return found


def inspect_file(path: Path, *, folder: Path | None = None) -> list[Finding]:
    """Say what a file is; one finding for each layer of a file that has several."""
    name = (path.relative_to(folder) if folder else path).as_posix()
    suffix = path.suffix.lower()
    if suffix in RASTERS:
        why = "a raster: name it as a factor yourself if high (or low) values may matter"
        return [Finding(name, "not used", why)]
    if suffix not in SUPPORTED:
        return [Finding(name, "not used", f"files that end in {suffix or 'nothing'} are not read")]
    layers: list[str | None] = [None]
    if suffix in _WITH_LAYERS:
        layers = _layers_of(path)
    return [_inspect(path, name, layer if len(layers) > 1 else None) for layer in layers]


def _files_of(folder: Path) -> Iterator[Path]:
    beside = {path.with_suffix("") for path in folder.rglob("*") if path.suffix.lower() == ".shp"}
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "~")) or path.name == "study.toml":
            continue
        if path.is_file() or path.suffix.lower() == ".gdb":
            inner = [path]
        elif (path / "manifest.json").is_file():
            continue  # results of a run
        else:
            inner = [part for part in sorted(path.iterdir()) if part.is_file() and part.name[0] not in ".~"]
        for part in inner:
            of_shapefile = part.suffix.lower() in (*SHAPEFILE, ".sbn", ".sbx", ".xml", ".qix")
            if not (of_shapefile and part.with_suffix("") in beside):
                yield part


def _layers_of(path: Path) -> list[str | None]:
    import pyogrio

    try:
        return [str(layer) for layer, kind in pyogrio.list_layers(path) if kind is not None] or [None]
    except Exception:  # a damaged file: the reader says what is wrong with it
        return [None]


def _inspect(path: Path, name: str, layer: str | None) -> Finding:
    options = {} if layer is None else {"layer": layer}
    with warnings.catch_warnings():
        # What these say is in the ledgers, and `rtmkc check` shows it.
        warnings.simplefilter("ignore", RtmkcWarning)
        try:
            frame, _ = read_file(path, layer=layer)
        except RtmkcError as error:
            return Finding(name, "not used", rule_of(error), options=options)
        for reader, role in LAYOUTS.items():
            made = _try_reader(reader, frame, layer or path.stem)
            if made is not None:
                why = f"the layout of {READERS[reader]}"
                return Finding(name, role, why, reader, made, len(frame), options, frame)
        try:
            made = read_layer(frame, name=layer or path.stem)
        except RtmkcError as error:
            made_in_degrees = _try_degrees(frame, layer or path.stem, error)
            if made_in_degrees is None:
                return Finding(name, "not used", rule_of(error), rows=len(frame), options=options)
            made, options = made_in_degrees, {**options, "crs": "EPSG:4326"}
    finding = Finding(name, "factor", "", "layer", made, len(frame), options)
    role, why, more = _judge(finding)
    return replace(finding, role=role, why=why, options={**options, **more})


READERS = {
    "kcpd_crime": "KCPD crime tables",
    "kc_311": "Kansas City 311 requests",
    "kc_buildings": "the Kansas City list of dangerous buildings",
    "kc_violations": "Kansas City property violations",
}


def _try_reader(reader: str, frame: pd.DataFrame, name: str) -> Layer | None:
    try:
        return reader_of(reader)(frame, name=name)
    except InputError:
        return None


def _try_degrees(frame: pd.DataFrame, name: str, error: RtmkcError) -> Layer | None:
    """Read a table without a system as degrees, if its places can be nothing else."""
    if "Invalid crs None" not in str(error):
        return None
    try:
        made = read_layer(frame, name=name, crs="EPSG:4326")
    except RtmkcError:
        return None
    points = made.frame.geometry.representative_point()
    return made if coordinates.look_like_degrees(points.x.to_numpy(), points.y.to_numpy()) else None


def rule_of(error: RtmkcError) -> str:
    """Return what is wrong, without the sentence that names the argument."""
    text = " ".join(str(error).split())
    _, _, rest = text.partition(". ")
    return (rest or text).split("; ")[0].rstrip(".")


def _judge(finding: Finding) -> tuple[str, str, dict[str, Any]]:
    """Return role, reason and options of a layer of no known layout."""
    layer, stem = finding.layer, finding.stem
    assert layer is not None  # only layers that were read are judged
    if not len(layer):
        return "not used", "no row of it has a usable place", {}
    kind, columns = kind_of(layer), [str(name) for name in layer.frame.columns]
    if kind == "areas":
        return _judge_areas(layer, stem)
    if guesses.looks_like("treated", stem) and kind == "lines":
        return "treated", "the file is called like corridors that were worked", {}
    if kind == "lines":
        return _judge_lines(layer, stem, columns)
    if kind != "points":
        return "factor", f"{kind} of one kind", {}
    incidents = guesses.looks_like_incidents(stem, columns)
    if incidents is not None:
        return "incidents", incidents, {}
    if guesses.looks_like("exposure", stem) and len(layer) >= _LEAST_EXPOSURE:
        return "exposure", "the file is called like something that stands wherever people are", {}
    if guesses.looks_like("places", stem):
        return "places", "places to be scored: rtmkc score RESULTS FILE", {}
    if type_column(layer) is not None and guesses.looks_like_requests(stem):
        return "requests", "requests of several types", {}
    return "factor", "points that are not incidents", {}


def _judge_areas(layer: Layer, stem: str) -> tuple[str, str, dict[str, Any]]:
    if guesses.looks_like("treated", stem):
        return "treated", "the file is called like places that were worked", {}
    if guesses.looks_like("boundary", stem) and len(layer) < 10:
        return "boundary", "areas, and the file is called like a boundary", {}
    if len(layer) == 1:
        return "boundary", "a single area", {}
    return "areas", f"{len(layer):,} areas side by side", {}


def _judge_lines(layer: Layer, stem: str, columns: list[str]) -> tuple[str, str, dict[str, Any]]:
    typed = find_column(columns, guesses.STREET_COLUMNS)
    called = guesses.looks_like("streets", stem)
    if len(layer) < _LEAST_STREETS or not (called or typed):
        return "factor", "lines that do not look like streets", {}
    options = {}
    names = (
        "name", "street", "streetname", "stname", "fullname", "fullstname", "streetfullname", "roadname",
        "rdname", "road", "label",
    )  # fmt: skip
    road_class = ("roadclass", "highway", "fclass", "class", "mtfcc", "type")
    for key, known in (("name", names), ("road_class", road_class)):
        column = find_column(columns, known)
        if column is not None:
            options[key] = column
    return "streets", "lines called like streets" if called else f"lines with a column {typed!r}", options


def type_column(layer: Layer) -> str | None:
    """Return the column that says of what type a row is, if it has from 2 to 1,000 values."""
    text = {
        loose(name): str(name)
        for name in layer.frame.columns
        if name != layer.frame.geometry.name and pd.api.types.is_string_dtype(layer.frame[name])
    }
    for known in guesses.TYPE_COLUMNS:
        if known in text and 2 <= layer.frame[text[known]].nunique() <= 1000:
            return text[known]
    return None

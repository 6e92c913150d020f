"""Study: a whole run as one validated value, read from study.toml."""

import re
import tomllib
from pathlib import Path
from typing import Any, Literal, get_type_hints

import msgspec

from rtmkc.checks import check_count, check_share, check_unique
from rtmkc.errors import InputError, StudyError
from rtmkc.inputs.layers import PROVENANCES, Layer, read_layer
from rtmkc.places.hotspots import DEFAULT_AREA_SHARE
from rtmkc.raster.area import StudyArea
from rtmkc.raster.exposure import Exposure
from rtmkc.raster.factors import RiskFactor
from rtmkc.raster.grid import Grid
from rtmkc.units import parse_days, parse_length, parse_period

SHAPEFILE = (".shx", ".dbf", ".prj", ".cpg")
Reader = Literal["layer", "kcpd_crime", "kc_311"]


class LayerSpec(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A file (or several of one layout) and how to read it; the options are those of `read_layer`."""

    file: str | list[str]
    reader: Reader = "layer"
    crs: str | None = None
    latitude: str | None = None
    longitude: str | None = None
    easting: str | None = None
    northing: str | None = None
    date: str | None = None
    where: str | dict[str, Any] | None = None
    period: str | None = None
    hours: str | None = None
    weekdays: str | list[str] | None = None
    merge: list[str] | None = None
    provenance: Literal[PROVENANCES] | None = None  # type: ignore[valid-type]
    layer: str | None = None
    ibrs: list[str] | None = None
    firearm: bool | None = None
    exclude_places: list[tuple[float, float]] | None = None

    def paths(self) -> list[str]:
        """Return the file or files, as written."""
        return [self.file] if isinstance(self.file, str) else list(self.file)

    def read(self, folder: Path, name: str) -> Layer:
        """Read the layer; relative paths start at the folder of the study file."""
        files = [folder / file for file in self.paths()]
        own = {field for field in LayerSpec.__struct_fields__ if field not in ("file", "reader")}
        options = {field: getattr(self, field) for field in own if getattr(self, field) is not None}
        if self.reader == "layer":
            unknown = {"ibrs", "firearm"} & set(options)
            if unknown:
                raise StudyError(
                    f"Invalid {', '.join(sorted(unknown))} of {name!r}. Only reader = 'kcpd_crime' has it."
                )
            if len(files) != 1:
                raise StudyError(
                    f"Invalid file of {name!r}. Give one file; several need a reader of their layout, such "
                    "as reader = 'kc_311'."
                )
            return read_layer(files[0], name=name, **options)
        from rtmkc.inputs.kansas_city.crime import read_kcpd_crime
        from rtmkc.inputs.kansas_city.requests_311 import read_kc_311

        read, allowed = (
            (read_kcpd_crime, {"ibrs", "where", "period", "hours", "weekdays", "firearm", "exclude_places"})
            if self.reader == "kcpd_crime"
            else (read_kc_311, {"where", "period", "hours", "weekdays", "exclude_places"})
        )
        unknown = set(options) - allowed
        if unknown:
            raise StudyError(
                f"Invalid {', '.join(sorted(unknown))} of {name!r}. The reader {self.reader!r} knows its "
                f"layout and takes only: {', '.join(sorted(allowed))}."
            )
        return read(files, name=name, **options)


class FactorSpec(LayerSpec, forbid_unknown_fields=True, kw_only=True):
    """A risk factor; see `RiskFactor`."""

    name: str
    kind: Literal["proximity", "density", "both", "auto"] = "both"
    max_influence: float | str = "3 blocks"
    increment: Literal["half", "whole"] = "half"
    direction: Literal["aggravating", "protective", "either"] = "aggravating"
    allow_provenance: Literal["policing", "person"] | None = None


class ExposureSpec(LayerSpec, forbid_unknown_fields=True, kw_only=True):
    """How busy places are; see `Exposure`."""

    name: str = "exposure"
    bandwidth: float | str = "2 blocks"
    floor: float = 0.05


class StreetSpec(LayerSpec, forbid_unknown_fields=True, kw_only=True):
    """The street layer: which columns hold names and classes."""

    name: str | None = None
    road_class: str | None = None


class AreaSpec(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is studied, and on which grid."""

    name: str
    boundary: str
    boundary_crs: str | None = None
    crs: str | None = None
    block_length: float | str | None = None
    cell_size: float | str | None = None


class NamesSpec(LayerSpec, forbid_unknown_fields=True, kw_only=True):
    """Areas with names (neighbourhoods), to say where places are."""

    column: str | None = None


class ModelSpec(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How it is fitted."""

    method: Literal["classic"]
    horizon: int | str = "90 days"
    allow_later_factors: bool = False
    random_state: int = 0


class HotspotSpec(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How hot spots are cut; see `find_hotspots`."""

    area_share: float | None = None
    count: int | None = None
    standard_deviations: float | None = None
    by: Literal["expected", "rrs"] | None = None

    def __post_init__(self) -> None:
        # What the manifest records is what was used, so defaults are filled in here.
        given = [
            name for name in ("area_share", "count", "standard_deviations") if getattr(self, name) is not None
        ]
        if len(given) > 1:
            raise ValueError(f"Only one cut may be given, not {' and '.join(given)}")
        if not given:
            self.area_share = DEFAULT_AREA_SHARE
        if self.by is None:
            self.by = "expected" if self.standard_deviations is None else "rrs"


class CorridorSpec(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which corridors are sought; see `find_corridors`."""

    k: int = 5
    min_length: float | str = "500 m"
    max_length: float | str = "2500 m"
    separation: float | str = "300 m"


class Study(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A whole run as one value.

    Attributes
    ----------
    study : AreaSpec
        Name, boundary and grid.
    incidents : LayerSpec
        What is to be explained and forecast.
    factors : list of FactorSpec
        What may matter.
    model : ModelSpec
        How it is fitted.
    exposure, streets, names, treated : optional
        Exposure, street layer, areas with names, corridors treated already.
    hotspots, corridors : HotspotSpec, CorridorSpec
        How places are chosen.
    folder : Path
        Folder of the study file; relative paths start there.
    """

    study: AreaSpec
    incidents: LayerSpec
    factors: list[FactorSpec]
    model: ModelSpec
    exposure: ExposureSpec | None = None
    streets: StreetSpec | None = None
    names: NamesSpec | None = None
    treated: LayerSpec | None = None
    hotspots: HotspotSpec = msgspec.field(default_factory=HotspotSpec)
    corridors: CorridorSpec = msgspec.field(default_factory=CorridorSpec)
    folder: str = "."

    @classmethod
    def from_file(cls, path: str | Path, *, data: str | Path | None = None) -> "Study":
        """Read and check a study file.

        Parameters
        ----------
        path : path
            A TOML file.
        data : path, optional
            Where relative paths start; default the folder of the file.

        Returns
        -------
        Study

        Raises
        ------
        StudyError
            For syntax (with line and column), an unknown key or a wrong value (with its place).
        """
        path = Path(path)
        try:
            study = msgspec.convert(_document(path), cls)
            study.folder = str(path.parent if data is None else data)
            study.check()
        except msgspec.ValidationError as error:
            raise StudyError(f"Invalid study {str(path)!r}. {_explain(error, cls)}") from None
        except InputError as error:
            raise StudyError(f"Invalid study {str(path)!r}. {error}") from None
        return study

    def check(self) -> None:
        """Check every value that can be checked before any file is read.

        Raises
        ------
        InputError
            With the place of the value, such as ``factors[0].max_influence``.
        """
        spec = self.study
        for name in ("block_length", "cell_size"):
            if getattr(spec, name) is not None:
                parse_length(getattr(spec, name), name=f"study.{name}")
        if spec.block_length is None and spec.cell_size is None and self.streets is None:
            raise InputError(
                "Invalid study. Give study.block_length (such as '450 ft'), study.cell_size, or streets to "
                "measure the blocks of."
            )
        # A block has a length if it is given, or measured on the streets; how long does not matter here.
        block = 1.0 if spec.cell_size is None or spec.block_length is not None else None
        if not self.factors:
            raise InputError("Invalid factors []. Give at least one [[factors]].")
        check_unique("factors.name", [factor.name for factor in self.factors])
        for number, factor in enumerate(self.factors):
            place = f"factors[{number}]"
            _check_name(f"{place}.name", factor.name)
            parse_length(factor.max_influence, name=f"{place}.max_influence", block_length=block)
        if self.exposure is not None:
            parse_length(self.exposure.bandwidth, name="exposure.bandwidth", block_length=block)
            check_share("exposure.floor", self.exposure.floor)
        parse_days(self.model.horizon, name="model.horizon")
        for place, layer in self._layers().items():
            if layer.period is not None:
                try:
                    parse_period(layer.period)
                except InputError as error:
                    raise InputError(
                        str(error).replace("Invalid period", f"Invalid {place}.period")
                    ) from None
            for file in layer.paths():
                _check_name(f"{place}.file", file)
        _check_name("study.name", spec.name)
        _check_name("study.boundary", spec.boundary)
        hotspots, corridors = self.hotspots, self.corridors
        if hotspots.area_share is not None:
            check_share("hotspots.area_share", hotspots.area_share)
        if hotspots.count is not None:
            check_count("hotspots.count", hotspots.count)
        check_count("corridors.k", corridors.k)
        shortest, longest = (
            parse_length(getattr(corridors, name), name=f"corridors.{name}")
            for name in ("min_length", "max_length")
        )
        if longest < shortest:
            raise InputError(
                f"Invalid corridors.max_length {corridors.max_length!r}. It must not be shorter than "
                f"corridors.min_length {corridors.min_length!r}."
            )
        if corridors.separation != 0:
            parse_length(corridors.separation, name="corridors.separation")

    def _layers(self) -> dict[str, LayerSpec]:
        """Every layer by its place in the study file, in the order they are read."""
        factors = {f"factors[{number}]": factor for number, factor in enumerate(self.factors)}
        others = {name: getattr(self, name) for name in ("exposure", "streets", "names", "treated")}
        layers = {"incidents": self.incidents, **factors, **others}
        return {place: layer for place, layer in layers.items() if layer is not None}

    def grid(self) -> Grid:
        """Read the boundary and lay the grid."""
        folder, spec = Path(self.folder), self.study
        area = StudyArea.from_file(
            folder / spec.boundary, name=spec.name, crs=spec.boundary_crs, study_crs=spec.crs
        )
        measure = spec.block_length is None and spec.cell_size is None
        streets = self.read("streets") if measure else None
        return Grid.cover(area, block_length=spec.block_length, cell_size=spec.cell_size, streets=streets)

    def risk_factors(self) -> list[RiskFactor]:
        """Read the layers of all factors."""
        return [
            RiskFactor(
                spec.name,
                spec.read(Path(self.folder), spec.name),
                kind=spec.kind,
                max_influence=spec.max_influence,
                increment=spec.increment,
                direction=spec.direction,
                allow_provenance=spec.allow_provenance,
            )
            for spec in self.factors
        ]

    def measured_exposure(self) -> Exposure | None:
        """Read the exposure layer, if there is one."""
        spec = self.exposure
        if spec is None:
            return None
        return Exposure(spec.read(Path(self.folder), spec.name), spec.name, spec.bandwidth, spec.floor)

    def read(self, what: str) -> Layer | None:
        """Read one of "incidents", "streets", "names" and "treated"; None if the study has none."""
        spec = getattr(self, what)
        if spec is None:
            return None
        if not isinstance(spec, LayerSpec):
            raise InputError(f"Invalid layer {what!r}. A study has incidents, streets, names and treated.")
        return spec.read(Path(self.folder), what)

    def files(self) -> dict[str, Path]:
        """Return every file the study reads, under the name it has in the study file.

        A Shapefile brings the files beside it. Of a file that lies elsewhere on the machine only the end of
        its path is named.
        """
        written = [self.study.boundary, *(file for one in self._layers().values() for file in one.paths())]
        files: dict[str, Path] = {}
        # Names as written come first: they are unique, and what lies elsewhere gives way to them.
        for name in sorted(dict.fromkeys(written), key=lambda name: Path(name).is_absolute()):
            path = Path(self.folder) / name
            beside = [path.with_suffix(end) for end in SHAPEFILE] if path.suffix.lower() == ".shp" else []
            for file in [path, *(other for other in beside if other.is_file())]:
                shown, parents = Path(name).with_name(file.name), list(file.parents)
                if shown.is_absolute():
                    shown = Path(file.name)
                while shown.as_posix() in files and parents:
                    shown = parents.pop(0).name / shown
                files[shown.as_posix()] = file
        return files


def _document(path: Path) -> dict[str, Any]:
    """Return what is written in a study file."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise StudyError(f"Invalid study {str(path)!r}. It cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise StudyError(f"Invalid study {str(path)!r}. It is not a text file in UTF-8.") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise StudyError(f"Invalid study {str(path)!r}. Its TOML is wrong: {error}.") from None
    if "folder" in document:
        raise StudyError(
            f"Invalid study {str(path)!r}. Unknown key 'folder'; relative paths start at the file."
        )
    return document


def _check_name(place: str, text: str) -> None:
    if not text.strip() or not text.isprintable():
        raise InputError(f"Invalid {place} {text!r}. It must be one line of text that can be printed.")


def _explain(error: msgspec.ValidationError, cls: type) -> str:
    """Say where in the file a value is wrong, in the words of the file and not of a program."""
    what, _, path = str(error).partition(" - at `$")
    path = path.rstrip("`").lstrip(".")
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", what, re.DOTALL)
    missing = re.fullmatch(r"Object missing required field `(.*)`", what)
    inside = f"[{path}]" if path else "the file"
    if unknown:
        known = ", ".join(_keys(cls, path))
        return f"Unknown key {unknown.group(1)!r} in {inside}; known are: {known}."
    if missing:
        return f"The key {missing.group(1)!r} is missing in {inside}."
    return f"Invalid {path or 'file'}: {what[:1].lower()}{what[1:]}."


def _keys(cls: type, path: str) -> list[str]:
    """Return the keys that may stand at a path such as ``factors[0]``."""
    for step in filter(None, re.sub(r"\[[^]]*\]", "", path).split(".")):
        hint = get_type_hints(cls)[step]
        arms = [hint, *getattr(hint, "__args__", ())]
        cls = next(arm for arm in arms if isinstance(arm, type) and issubclass(arm, msgspec.Struct))
    return [name for name in cls.__struct_fields__ if name != "folder"]  # type: ignore[attr-defined]

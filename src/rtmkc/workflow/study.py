"""Study: a whole run as one validated value, read from study.toml."""

import re
import tomllib
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from rtmkc.checks import check_count, check_share, check_unique
from rtmkc.errors import InputError, StudyError
from rtmkc.inputs.dates import parse_hours, parse_weekdays
from rtmkc.inputs.layers import Layer, read_layer
from rtmkc.model.cost import Cost, estimate_cost
from rtmkc.places.corridors.wishes import Wish
from rtmkc.raster.area import StudyArea
from rtmkc.raster.exposure import Exposure
from rtmkc.raster.factors import RiskFactor
from rtmkc.raster.grid import Grid
from rtmkc.units import parse_days, parse_length, parse_period
from rtmkc.workflow.specs import (
    AreaSpec,
    CorridorSpec,
    DistrictsSpec,
    ExposureSpec,
    FactorSpec,
    HotspotSpec,
    JoinSpec,
    LayerSpec,
    ModelSpec,
    NamesSpec,
    OutputSpec,
    SliceSpec,
    StreetSpec,
    ValidationSpec,
)

__all__ = [
    "AreaSpec", "CorridorSpec", "DistrictsSpec", "ExposureSpec", "FactorSpec", "HotspotSpec", "JoinSpec", "LayerSpec",
    "ModelSpec", "NamesSpec", "OutputSpec", "SliceSpec", "StreetSpec", "Study", "ValidationSpec",
]  # fmt: skip
SHAPEFILE = (".shx", ".dbf", ".prj", ".cpg")
_FOLDER_NAME = re.compile(r"\w(?:[\w &+-]*\w)?")


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
    districts : DistrictsSpec, optional
        Areas (council or police districts) between which hot spots, incidents and residents are compared.
    joins : list of JoinSpec
        Areas (beats, districts) that hot spots, corridors and scores are labelled with.
    hotspots, corridors : HotspotSpec, CorridorSpec
        How places are chosen.
    slices : list of SliceSpec
        Hours and weekdays that are studied beside the whole.
    output : OutputSpec
        What is written beside the usual files.
    validation : ValidationSpec
        What `validate_study` holds out.
    folder : Path
        Folder of the study file; relative paths start there.
    """

    study: AreaSpec
    incidents: LayerSpec
    factors: list[FactorSpec]
    model: ModelSpec = msgspec.field(default_factory=ModelSpec)
    exposure: ExposureSpec | None = None
    streets: StreetSpec | None = None
    names: NamesSpec | None = None
    treated: LayerSpec | None = None
    districts: DistrictsSpec | None = None
    joins: list[JoinSpec] = msgspec.field(default_factory=list)
    slices: list[SliceSpec] = msgspec.field(default_factory=list)
    output: OutputSpec = msgspec.field(default_factory=OutputSpec)
    validation: ValidationSpec = msgspec.field(default_factory=ValidationSpec)
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
                "Give study.block_length (such as '450 ft'), study.cell_size, or streets to "
                "measure the blocks of."
            )
        # A block has a length if it is given, or measured on the streets; how long does not matter here.
        block = 1.0 if spec.cell_size is None or spec.block_length is not None else None
        if not self.factors:
            raise InputError("Invalid factors []. Give at least one [[factors]].")
        check_unique("factors.name", [factor.name for factor in self.factors])
        check_unique("joins.name", [join.name for join in self.joins])
        for number, join in enumerate(self.joins):
            _check_name(f"joins[{number}].name", join.name)
        self._check_slices()
        for number, factor in enumerate(self.factors):
            place = f"factors[{number}]"
            _check_name(f"{place}.name", factor.name)
            parse_length(factor.max_influence, name=f"{place}.max_influence", block_length=block)
        if self.exposure is not None:
            parse_length(self.exposure.bandwidth, name="exposure.bandwidth", block_length=block)
            check_share("exposure.floor", self.exposure.floor)
            if self.exposure.role == "covariate" and self.model.method == "classic":
                raise InputError(
                    "Invalid exposure.role 'covariate'. The classic procedure has no covariates; use "
                    "model.method 'guarded', or role 'offset'."
                )
        parse_days(self.model.horizon, name="model.horizon")
        self._check_validation()
        for place, layer in self.layers().items():
            _check_period(f"{place}.period", layer.period)
            for file in layer.paths():
                _check_name(f"{place}.file", file)
        _check_name("study.name", spec.name)
        _check_name("study.boundary", spec.boundary)
        hotspots, corridors = self.hotspots, self.corridors
        if hotspots.area_share is not None:
            check_share("hotspots.area_share", hotspots.area_share)
        if hotspots.count is not None:
            check_count("hotspots.count", hotspots.count)
        if self.streets is None and (corridors.objective, corridors.by) != ("excess", "expected"):
            raise InputError(
                f"Invalid corridors.objective {corridors.objective!r} by {corridors.by!r}. Without streets corridors are "
                "chains of cells, chosen by 'excess' of 'expected'; give [streets]."
            )
        Wish.of(
            place="corridors.", incident_value=None, random_state=self.model.random_state,
            **msgspec.structs.asdict(corridors),
        )  # fmt: skip

    def _check_validation(self) -> None:
        spec = self.validation
        for name in ("train", "test"):
            _check_period(f"validation.{name}", getattr(spec, name))
            if getattr(spec, name) is not None and spec.by != "time":
                raise InputError(
                    f"Invalid validation.{name} {getattr(spec, name)!r}. Places are left out at all times; leave it out, "
                    "or say by = 'time'."
                )
        _check_name("validation.by", spec.by)
        if spec.column is not None and spec.file() is None:
            raise InputError(
                f"Invalid validation.column {spec.column!r}. Only a file of areas has labels, and by is {spec.by!r}."
            )

    def _check_slices(self) -> None:
        check_unique("slices.name", [one.name.lower() for one in self.slices])
        for number, one in enumerate(self.slices):
            place = f"slices[{number}]"
            if not _FOLDER_NAME.fullmatch(one.name):
                raise InputError(
                    f"Invalid {place}.name {one.name!r}. It names a folder: letters, digits, blanks, - and _ only."
                )
            if one.hours is None and one.weekdays is None:
                raise InputError(
                    f"Invalid {place}. Give hours (such as '19-3'), weekdays ('fri-sun'), or both."
                )
            if one.hours is not None:
                parse_hours(one.hours)
            if one.weekdays is not None:
                parse_weekdays(one.weekdays)
            for name in ("hours", "weekdays"):
                if getattr(one, name) is not None and getattr(self.incidents, name) is not None:
                    raise InputError(
                        f"Invalid {place}.{name}. The incidents have {name} of their own; leave one of the two out."
                    )

    def of_slice(self, one: SliceSpec) -> "Study":
        """Return the study of a slice: the same, with only the incidents of its hours and weekdays."""
        chosen = {
            name: getattr(one, name) for name in ("hours", "weekdays") if getattr(one, name) is not None
        }
        incidents = msgspec.structs.replace(self.incidents, **chosen)
        named = msgspec.structs.replace(self.study, name=f"{self.study.name}: {one.name}")
        return msgspec.structs.replace(self, study=named, incidents=incidents, slices=[])

    def layers(self) -> dict[str, LayerSpec]:
        """Return every layer by its place in the study file, in the order they are read."""
        factors = {f"factors[{number}]": factor for number, factor in enumerate(self.factors)}
        others = {
            name: getattr(self, name) for name in ("exposure", "streets", "names", "treated", "districts")
        }
        joins = {f"joins[{number}]": join for number, join in enumerate(self.joins)}
        layers = {"incidents": self.incidents, **factors, **others, **joins}
        return {place: layer for place, layer in layers.items() if layer is not None}

    def area(self) -> StudyArea:
        """Read the boundary."""
        folder, spec = Path(self.folder), self.study
        boundary = read_layer(
            folder / spec.boundary, name=spec.name, crs=spec.boundary_crs, layer=spec.boundary_layer
        )
        return StudyArea.from_layer(boundary, study_crs=spec.crs)

    def grid(self) -> Grid:
        """Read the boundary and lay the grid."""
        area, spec = self.area(), self.study
        measure = spec.block_length is None and spec.cell_size is None
        streets = self.read("streets") if measure else None
        return Grid.cover(area, block_length=spec.block_length, cell_size=spec.cell_size, streets=streets)

    def cost(self, grid: Grid, store: str | Path | None = None) -> Cost:
        """Estimate what a run will take, with files in `store` if it needs any; no layer is read."""
        factors = [
            RiskFactor(
                spec.name,
                spec.paths()[0],
                kind=spec.kind,
                max_influence=spec.max_influence,
                increment=spec.increment,
            )
            for spec in self.factors
        ]
        # Every slice is a run of its own; with an exposure weights are fitted twice.
        fits = 1 + len(self.slices) + (0.5 if self.exposure is not None else 0)
        return estimate_cost(grid, factors, method=self.model.method, work="run", fits=fits, store=store)

    def risk_factors(self) -> list[RiskFactor]:
        """Read the layers of all factors; a file that several of them are parts of is read once."""
        known: dict[bytes, Layer] = {}
        return [
            RiskFactor(
                spec.name,
                spec.raster(Path(self.folder), spec.name) or spec.read_once(Path(self.folder), known),
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
        source = spec.raster(Path(self.folder), spec.name) or spec.read(Path(self.folder), spec.name)
        return Exposure(source, spec.name, spec.bandwidth, spec.floor, spec.role)

    def read(self, what: str) -> Layer | None:
        """Read one of "incidents", "streets", "names", "treated" and "districts"; None if the study has none."""
        spec = getattr(self, what)
        if spec is None:
            return None
        if not isinstance(spec, LayerSpec):
            raise InputError(
                f"Invalid layer {what!r}. A study has incidents, streets, names, treated and districts."
            )
        return spec.read(Path(self.folder), what)

    def read_joins(self) -> dict[str, tuple[Layer, str | None]]:
        """Read the areas that places are labelled with: layer and column by the name of the join."""
        return {join.name: (join.read(Path(self.folder), join.name), join.column) for join in self.joins}

    def files(self) -> dict[str, Path]:
        """Return every file the study reads, under the name it has in the study file.

        A Shapefile brings the files beside it. Of a file that lies elsewhere on the machine only the end of
        its path is named.
        """
        written = [self.study.boundary, *(file for one in self.layers().values() for file in one.paths())]
        written += [factor.factor_map for factor in self.factors if factor.factor_map is not None]
        written += [file for file in (self.validation.file(),) if file is not None]
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


def _check_period(place: str, period: str | None) -> None:
    if period is not None:
        try:
            parse_period(period)
        except InputError as error:
            raise InputError(str(error).replace("Invalid period", f"Invalid {place}")) from None


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
    if what.startswith("Invalid enum value"):
        wrong = what.removeprefix("Invalid enum value ")
        return f"Invalid {path} {wrong}. It must be one of: {', '.join(map(repr, _choices(cls, path)))}."
    return f"Invalid {path or 'file'}: {what[:1].lower()}{what[1:]}."


def _choices(cls: type, path: str) -> list[str]:
    """Return the values that a key such as ``factors[0].kind`` may have."""
    parent, _, name = re.sub(r"\[[^]]*\]", "", path).rpartition(".")
    hint = get_type_hints(_struct_at(cls, parent))[name]
    arms = [hint, *getattr(hint, "__args__", ())]
    return [value for arm in arms if get_origin(arm) is Literal for value in get_args(arm)]


def _keys(cls: type, path: str) -> list[str]:
    """Return the keys that may stand at a path such as ``factors[0]``."""
    found = _struct_at(cls, path)
    return [name for name in found.__struct_fields__ if name != "folder"]  # type: ignore[attr-defined]


def _struct_at(cls: type, path: str) -> type:
    for step in filter(None, re.sub(r"\[[^]]*\]", "", path).split(".")):
        hint = get_type_hints(cls)[step]
        arms = [hint, *getattr(hint, "__args__", ())]
        cls = next(arm for arm in arms if isinstance(arm, type) and issubclass(arm, msgspec.Struct))
    return cls

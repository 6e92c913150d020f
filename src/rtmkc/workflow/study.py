"""Study: a whole run as one validated value, read from study.toml."""

import tomllib
from pathlib import Path
from typing import Any, Literal

import msgspec

from rtmkc.errors import InputError, StudyError
from rtmkc.inputs.layers import Layer, read_layer
from rtmkc.raster.exposure import Exposure
from rtmkc.raster.factors import RiskFactor
from rtmkc.raster.grid import Grid, StudyArea

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
    provenance: str | None = None
    layer: str | None = None
    ibrs: list[str] | None = None
    firearm: bool | None = None
    exclude_places: list[tuple[float, float]] | None = None

    def read(self, folder: Path, name: str) -> Layer:
        """Read the layer; relative paths start at the folder of the study file."""
        files = [folder / file for file in ([self.file] if isinstance(self.file, str) else self.file)]
        own = {field for field in LayerSpec.__struct_fields__ if field not in ("file", "reader")}
        options = {field: getattr(self, field) for field in own if getattr(self, field) is not None}
        if self.reader == "layer":
            unknown = {"ibrs", "firearm"} & set(options)
            if unknown:
                raise StudyError(f"Invalid {', '.join(sorted(unknown))} of {name!r}. Only reader = 'kcpd_crime' has it.")
            if len(files) > 1:
                raise StudyError(f"Invalid file of {name!r}. Several files need a reader of their layout, such as 'kc_311'.")
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
                f"Invalid {', '.join(sorted(unknown))} of {name!r}. The reader {self.reader!r} knows its layout and takes "
                f"only: {', '.join(sorted(allowed))}."
            )
        return read(files, name=name, **options)


class FactorSpec(LayerSpec, forbid_unknown_fields=True, kw_only=True):
    """A risk factor; see `RiskFactor`."""

    name: str
    kind: Literal["proximity", "density", "both", "auto"] = "both"
    max_influence: float | str = "3 blocks"
    increment: Literal["half", "whole"] = "half"
    direction: Literal["aggravating", "protective", "either"] = "aggravating"
    allow_provenance: str | None = None


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

        Raises
        ------
        StudyError
            For syntax (with line and column), an unknown key or a wrong value (with its place).
        """
        path = Path(path)
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise StudyError(f"Invalid study {str(path)!r}. It cannot be read: {error.strerror}.") from None
        except UnicodeDecodeError:
            raise StudyError(f"Invalid study {str(path)!r}. It is not a text file in UTF-8.") from None
        except tomllib.TOMLDecodeError as error:
            raise StudyError(f"Invalid study {str(path)!r}. Its TOML is wrong: {error}.") from None
        if "folder" in document:
            raise StudyError(f"Invalid study {str(path)!r}. Object contains unknown field `folder`.")
        try:
            study = msgspec.convert(document, cls)
        except msgspec.ValidationError as error:
            place = str(error).replace("`$.", "`").replace(" - at `$`", "")
            raise StudyError(f"Invalid study {str(path)!r}. {place}.") from None
        study.folder = str(path.parent if data is None else data)
        return study

    def grid(self) -> Grid:
        """Read the boundary and lay the grid."""
        folder, spec = Path(self.folder), self.study
        area = StudyArea.from_file(folder / spec.boundary, crs=spec.boundary_crs, study_crs=spec.crs)
        streets = self.streets.read(folder, "streets") if self.streets and not spec.block_length else None
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

    def files(self) -> list[Path]:
        """Return every file the study reads, in order, each once."""
        specs = [self.incidents, *self.factors, self.exposure, self.streets, self.names, self.treated]
        names = [self.study.boundary]
        for spec in specs:
            if spec is not None:
                names += [spec.file] if isinstance(spec.file, str) else spec.file
        return [Path(self.folder) / name for name in dict.fromkeys(names)]

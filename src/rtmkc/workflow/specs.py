"""The tables of a study file, each one a validated value; `Study` holds them together."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from rtmkc.errors import StudyError
from rtmkc.inputs.layers import PROVENANCES, Layer, read_layer
from rtmkc.inputs.rasters import RasterLayer, is_raster, read_raster
from rtmkc.places.hotspots import DEFAULT_AREA_SHARE
from rtmkc.raster.exposure import Role

SHAPEFILE = (".shx", ".dbf", ".prj", ".cpg")
Reader = Literal["layer", "kcpd_crime", "kc_311", "kc_buildings", "kc_violations"]
_COMMON = ("where", "period", "exclude_places")
_TAKES: dict[str, tuple[str, ...]] = {
    "kcpd_crime": (*_COMMON, "ibrs", "hours", "weekdays", "firearm"),
    "kc_311": (*_COMMON, "hours", "weekdays"),
    "kc_buildings": _COMMON,
    "kc_violations": _COMMON,
}
"""Options that each reader of one layout takes; `layer` takes all but ibrs and firearm."""


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
    ibrs: str | list[str] | None = None
    firearm: bool | None = None
    exclude_places: list[tuple[float, float]] | None = None
    band: int | str | None = None
    nodata: float | None = None

    def paths(self) -> list[str]:
        """Return the file or files, as written."""
        return [self.file] if isinstance(self.file, str) else list(self.file)

    def raster(self, folder: Path, name: str) -> RasterLayer | None:
        """Read the raster, if the file is one."""
        if len(self.paths()) != 1 or not is_raster(self.paths()[0]):
            return None
        takes = {"crs", "provenance", "period", "band", "nodata"}
        own = {field for field in LayerSpec.__struct_fields__ if field not in ("file", "reader")}
        unknown = {field for field in own - takes if getattr(self, field) is not None}
        if unknown or self.reader != "layer":
            raise StudyError(
                f"Invalid {', '.join(sorted(unknown)) or 'reader'} of {name!r}. Its file is a raster, which takes only: "
                f"{', '.join(sorted(takes))}."
            )
        options = {key: getattr(self, key) for key in ("band", "crs", "nodata", "provenance", "period")}
        return read_raster(folder / self.paths()[0], name=name, **options)

    def read(self, folder: Path, name: str) -> Layer:
        """Read the layer; relative paths start at the folder of the study file."""
        files = [folder / file for file in self.paths()]
        own = {field for field in LayerSpec.__struct_fields__ if field not in ("file", "reader")}
        options = {field: getattr(self, field) for field in own if getattr(self, field) is not None}
        if self.reader == "layer":
            for only, unknown in (
                ("reader = 'kcpd_crime'", {"ibrs", "firearm"} & set(options)),
                ("a raster", {"band", "nodata"} & set(options)),
            ):
                if unknown:
                    raise StudyError(f"Invalid {', '.join(sorted(unknown))} of {name!r}. Only {only} has it.")
            if len(files) != 1:
                raise StudyError(
                    f"Invalid file of {name!r}. Give one file; several need a reader of their layout, such "
                    "as reader = 'kc_311'."
                )
            return read_layer(files[0], name=name, **options)
        allowed = _TAKES[self.reader]
        unknown = set(options) - set(allowed)
        if unknown:
            raise StudyError(
                f"Invalid {', '.join(sorted(unknown))} of {name!r}. The reader {self.reader!r} knows its "
                f"layout and takes only: {', '.join(sorted(allowed))}."
            )
        return reader_of(self.reader)(files, name=name, **options)


def reader_of(name: str) -> Callable[..., Layer]:
    """Return the function behind the name of a reader of one layout."""
    from rtmkc.inputs.kansas_city.buildings import read_kc_buildings
    from rtmkc.inputs.kansas_city.crime import read_kcpd_crime
    from rtmkc.inputs.kansas_city.requests_311 import read_kc_311
    from rtmkc.inputs.kansas_city.violations import read_kc_violations

    return {
        "kcpd_crime": read_kcpd_crime,
        "kc_311": read_kc_311,
        "kc_buildings": read_kc_buildings,
        "kc_violations": read_kc_violations,
    }[name]


class FactorSpec(LayerSpec, forbid_unknown_fields=True, kw_only=True):
    """A risk factor; see `RiskFactor`."""

    name: str
    kind: Literal["proximity", "density", "both", "auto", "value"] = "both"
    max_influence: float | str = "3 blocks"
    increment: Literal["half", "whole"] = "half"
    direction: Literal["aggravating", "protective", "either"] = "aggravating"
    allow_provenance: Literal["policing", "person"] | None = None
    factor: str | None = None
    factor_map: str | None = None

    def shared_key(self) -> bytes:
        """Return what factors that are parts of one reading have in common."""
        return msgspec.json.encode({name: getattr(self, name) for name in LayerSpec.__struct_fields__})

    def read_once(self, folder: Path, known: dict[bytes, Layer]) -> Layer:
        """Read the layer; a file that several factors are parts of is read once and kept in `known`."""
        if self.factor is None:
            if self.factor_map is not None:
                raise StudyError(
                    f"Invalid factor_map of {self.name!r}. It sorts types into factors: say which one with factor."
                )
            return self.read(folder, self.name)
        if self.reader not in ("kc_311", "kc_violations"):
            raise StudyError(
                f"Invalid factor of {self.name!r}. Only reader = 'kc_311' and 'kc_violations' have types to map; "
                "choose rows with where."
            )
        from rtmkc.inputs.kansas_city.factors import keep_factor

        key = self.shared_key()
        if key not in known:
            shared = {"kc_311": "KC 311 requests", "kc_violations": "KC property violations"}[self.reader]
            known[key] = self.read(folder, shared)
        own_map = None if self.factor_map is None else folder / self.factor_map
        layer = keep_factor(known[key], self.factor, map=own_map)
        return replace(layer, name=self.name, ledger=replace(layer.ledger, name=self.name))


class ExposureSpec(LayerSpec, forbid_unknown_fields=True, kw_only=True):
    """How busy places are; see `Exposure`."""

    name: str = "exposure"
    bandwidth: float | str = "2 blocks"
    floor: float = 0.05
    role: Role = "offset"


class StreetSpec(LayerSpec, forbid_unknown_fields=True, kw_only=True):
    """The street layer: which columns hold names and classes."""

    name: str | None = None
    road_class: str | None = None


class AreaSpec(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is studied, and on which grid."""

    name: str
    boundary: str
    boundary_crs: str | None = None
    boundary_layer: str | None = None
    crs: str | None = None
    block_length: float | str | None = None
    cell_size: float | str | None = None


class NamesSpec(LayerSpec, forbid_unknown_fields=True, kw_only=True):
    """Areas with names (neighbourhoods), to say where places are."""

    column: str | None = None


class DistrictsSpec(LayerSpec, forbid_unknown_fields=True, kw_only=True):
    """Police or council districts, to say whom the hot spots fall on; see `bias_panel`."""

    name: str | None = None
    residents: str | None = None


class JoinSpec(LayerSpec, forbid_unknown_fields=True, kw_only=True):
    """Areas (beats, districts) that places are labelled with; see `join_areas`."""

    name: str
    column: str | None = None


class SliceSpec(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Hours of the day and days of the week that are studied beside the whole."""

    name: str
    hours: str | None = None
    weekdays: str | list[str] | None = None


class OutputSpec(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is written beside the usual files."""

    shapefile: bool = False
    dropped: bool = False


class ModelSpec(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How it is fitted."""

    method: Literal["guarded", "classic"] = "guarded"
    horizon: int | str = "90 days"
    allow_later_factors: bool = False
    random_state: int = 0


class ValidationSpec(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is held out to test the forecast; see `validate`."""

    train: str | None = None
    test: str | None = None
    by: str = "time"
    column: str | None = None

    def file(self) -> str | None:
        """Return the file of areas, as written, if areas are left out."""
        return None if self.by in ("time", "blocks") else self.by


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

    def flagged_share(self) -> float:
        """Return the share of the area that panels and audits flag: that of the cut, if it is by area."""
        return DEFAULT_AREA_SHARE if self.area_share is None else self.area_share


class CorridorSpec(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which corridors are sought; see `find_corridors`."""

    k: int = 5
    objective: Literal["excess", "density", "total", "llr"] = "excess"
    max_turns: int = 0
    min_length: float | str = "500 m"
    max_length: float | str = "2500 m"
    ends: Literal["corner", "anywhere"] = "corner"
    one_name: float = 0.7
    max_detour: float = 2.0
    separation: float | str = "300 m"
    by: Literal["expected", "rrs", "empirical_bayes"] = "expected"
    replicates: int = 0
    resamples: int = 0

"""The report: one self-contained HTML file for the people who decide where to go first."""

import base64
import io
import platform
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import pandas as pd
import pyogrio
import pyproj
import shapely
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rtmkc import __version__
from rtmkc.errors import InputError
from rtmkc.inputs.layers import as_layer
from rtmkc.inputs.ledger import Ledger
from rtmkc.output.comparisons import change_rows, slice_rows
from rtmkc.output.formats import number, template
from rtmkc.output.plots import (
    corridors_size,
    layer_shapes,
    map_size,
    plot_corridors,
    plot_risk,
    plot_weights,
    weights_size,
)
from rtmkc.output.words import (
    CAUTIONS,
    FLAT,
    MOST,
    NO_PERIOD,
    corridor_name,
    curve_lines,
    ends_words,
    expected_words,
    interval_words,
    listed,
    marks_words,
    none_of,
    period_words,
    reach_words,
    times,
    weight_words,
)
from rtmkc.places.joins import label_column_of
from rtmkc.storage import created_at, write_text
from rtmkc.units import format_length

if TYPE_CHECKING:
    from rtmkc.model.terrain import RiskTerrain

SHOWN = 10
"""Rows of a table in the report; the files have all."""
DPI = 110
TOP_FACTORS = 3
CONTEMPORANEOUS = "contemporaneous"
FAMILIES = {"poisson": "Poisson", "nb1": "negative binomial (NB1: variance = mean x (1 + sigma))"}
METHODS = {
    "classic": (
        "classic: the published RTMDx procedure, an elastic-net screen by cross validation, then a stepwise "
        "search by BIC"
    )
}
MADE_BY_CHOICE = ("policing", "person", "unstated")
PRINCIPLE = "It scores places, never people."
TYPICAL_STREET = "the typical street"
DISCLAIMER = (
    "Derived from reported incidents and other records as published by their sources. It is not a "
    "publication of any police department or city, nor endorsed by one; the sources warrant neither accuracy "
    "nor completeness, records may be corrected later, and places are approximate, often to the block."
)


def write_report(
    path: str | Path,
    terrain: "RiskTerrain",
    *,
    hotspots: gpd.GeoDataFrame,
    title: str | None = None,
    areas: gpd.GeoDataFrame | None = None,
    corridors: gpd.GeoDataFrame | None = None,
    ledgers: Sequence[Ledger] = (),
    streets: Any = None,
    treated: Any = None,
    exposure_comparison: pd.DataFrame | None = None,
    joins: Sequence[str] = (),
    slices: pd.DataFrame | None = None,
    changes: pd.DataFrame | None = None,
    overwrite: bool = False,
) -> None:
    """Write the report: one HTML file without scripts or links, which prints well.

    Parameters
    ----------
    path : path
        The file, ``.html``.
    terrain : RiskTerrain
        The terrain.
    hotspots : GeoDataFrame
        Cells from `find_hotspots`.
    title : str, optional
        Instead of the name of the study area.
    areas : GeoDataFrame, optional
        Areas from `find_hotspots(areas=True)`; then the map numbers these instead of the cells.
    corridors : GeoDataFrame, optional
        From `find_corridors`.
    ledgers : sequence of Ledger
        What became of the rows of every layer.
    streets, treated : layer, optional
        Drawn on the maps.
    exposure_comparison : DataFrame, optional
        The weights fitted without exposure, beside which those of the terrain are shown.
    joins : sequence of str
        Columns of the tables that say in which beat or district a place lies.
    slices, changes : DataFrame, optional
        What a run found for hours and weekdays, and since an earlier run.
    overwrite : bool
        Whether a file that exists may be replaced.

    Raises
    ------
    OutputError
        If the file exists and `overwrite` is false, or it cannot be written.

    Notes
    -----
    The figures of the first page are what the model expects, not how well it forecasts: that takes incidents
    it has not seen.
    """
    # Read once: a file that is read again would warn again.
    treated = None if treated is None else as_layer(treated, name="treated")
    places = areas if areas is not None else hotspots
    pictures = {
        "risk": _picture(
            lambda ax: plot_risk(
                terrain,
                ax=ax,
                hotspots=places,
                streets=streets,
                corridors=None if corridors is None else corridors.iloc[:1],
                treated=treated,
                title=expected_words(terrain),
            ),
            map_size(terrain.grid, legend_lines=8),
        ),
        "weights": _picture(
            lambda ax: plot_weights(terrain, ax=ax, title="Relative risk values"), weights_size(terrain)
        ),
    }
    if corridors is not None:
        pictures["corridors"] = _picture(
            lambda ax: plot_corridors(
                terrain, corridors, ax=ax, streets=streets, treated=treated, title="Next corridors"
            ),
            corridors_size(terrain.grid, corridors),
        )
    facts = terrain.facts
    html = template("report.html.j2").render(
        title=title or f"Risk terrain of {terrain.grid.area.name}",
        created=created_at(),
        version=__version__,
        facts=facts,
        horizon=None if terrain.horizon_days is None else terrain.horizon,
        no_period=NO_PERIOD,
        total_expected=float(terrain.cells["expected"].sum()),
        period=period_words(facts["period"]),
        is_contemporaneous=facts["timing"].startswith(CONTEMPORANEOUS),
        concentration=concentration(terrain, hotspots),
        pictures=pictures,
        terrain_rows=_about(terrain),
        weights=_weights(terrain),
        top_factors=_weights(terrain)[:TOP_FACTORS],
        others=_not_in_model(terrain),
        none_of=none_of(terrain),
        runner_ups=_runner_ups(terrain),
        interval_why=_about_interval(facts["why"]["notes"]),
        interval_where=_about_interval(facts["where"]["notes"]),
        uses_curves=facts["where"]["uses_curves"],
        curves=_curves(terrain),
        tempering=facts["where"]["tempering"],
        caution=CAUTIONS.get(facts["why"]["method"], ""),
        cannot_know=[line for line in facts["cannot_know"] if line != PRINCIPLE],
        principle=PRINCIPLE,
        city_mean=terrain.city_mean,
        hotspots=_shown(hotspots),
        areas=_shown(areas),
        corridors=_shown_corridors(corridors),
        left_out=None if treated is None else left_out(terrain, treated, places),
        comparison=_comparison(terrain, exposure_comparison),
        joins=list(joins),
        slices=slice_rows(slices),
        changes=change_rows(changes),
        ledgers=[_ledger_row(ledger) for ledger in ledgers],
        layers=facts["factors"],
        doubtful=MADE_BY_CHOICE,
        notes=list(dict.fromkeys([*facts["why"]["notes"], *facts["where"]["notes"]])),
        versions=_versions(),
        disclaimer=DISCLAIMER,
    )
    write_text(path, html, overwrite=overwrite)


def concentration(terrain: "RiskTerrain", hotspots: gpd.GeoDataFrame) -> dict[str, float]:
    """Return how concentrated risk is: the hot spots' share of expected incidents, and of the area."""
    cells = hotspots["cell_id"].to_numpy()
    expected = terrain.cells["expected"].to_numpy()
    return {
        "n_cells": len(cells),
        "expected": float(expected[cells].sum() / expected.sum()) if expected.sum() > 0 else 0.0,
        "area": float(terrain.grid.share[cells].sum() / terrain.grid.share.sum()),
    }


def left_out(terrain: "RiskTerrain", treated: Any, places: gpd.GeoDataFrame) -> str:
    """Return what the corridors keep away from, and which of the first hot spots lie on it."""
    frame = as_layer(treated, name="treated").frame
    shapes = layer_shapes(treated, terrain.grid)
    if not len(shapes):
        return ""
    try:
        labels = frame[label_column_of(frame)]
    except InputError:
        labels = pd.Series(dtype="string")
    names = list(dict.fromkeys(label for label in labels if isinstance(label, str) and label))
    one = len(shapes) == 1
    words = f"{listed(names) if names else '1 place' if one else f'{len(shapes)} places'} (worked already)"
    first = places.iloc[:SHOWN]
    touching = first.geometry.to_crs(terrain.grid.crs).intersects(shapely.union_all(shapes)).to_numpy()
    if not touching.any():
        return words
    ranks = first.loc[touching, "rank"].tolist()
    kind = f"{'area' if 'n_cells' in places else 'cell'}{'s' if len(ranks) > 1 else ''}"
    verb = "lie" if len(ranks) > 1 else "lies"
    return f"{words}; hot-spot {kind} {listed(ranks)} {verb} on {'it' if one else 'them'}"


def _picture(draw: Callable[[Axes], Axes], size: tuple[float, float]) -> str:
    figure = Figure(figsize=size, layout="constrained")
    draw(figure.add_subplot())
    file = io.BytesIO()
    # Without the software tag, whose version would change the bytes.
    figure.savefig(
        file, format="png", dpi=DPI, bbox_inches="tight", pad_inches=0.05, metadata={"Software": None}
    )
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _shown(table: gpd.GeoDataFrame | None) -> dict[str, Any] | None:
    if table is None:
        return None
    plain = pd.DataFrame(table.drop(columns=table.geometry.name))
    rows = plain.iloc[:SHOWN].astype(object).where(plain.iloc[:SHOWN].notna(), None)
    return {
        "rows": rows.to_dict("records"),
        "total": len(table),
        "statement": table.attrs.get("statement", ""),
        "notes": list(table.attrs.get("notes", [])),
    }


def _shown_corridors(table: gpd.GeoDataFrame | None) -> dict[str, Any] | None:
    shown = _shown(table)
    if shown is None or table is None:
        return None
    for row in shown["rows"]:
        row |= {"name": corridor_name(row), "ends": ends_words(row)}
    multiple_of = table.attrs.get("multiple_of", TYPICAL_STREET)
    return shown | {"multiple_of": multiple_of, "of_streets": multiple_of == TYPICAL_STREET}


def _curves(terrain: "RiskTerrain") -> list[dict[str, str]]:
    """The curves that are worth a word, then the factors that have none."""
    lines = curve_lines(terrain)
    told = {line["factor"] for line in lines}
    flat = [factor["name"] for factor in terrain.facts["factors"] if factor["name"] not in told]
    return lines + [{"factor": name, "near": FLAT, "dense": FLAT} for name in flat] if lines else []


def _weights(terrain: "RiskTerrain") -> list[dict[str, Any]]:
    in_model = terrain.weights[terrain.weights["status"] == "in the model"]
    return [
        {
            "factor": weight["factor"],
            "kind": weight["kind"],
            "reach": reach_words(weight["influence_m"], terrain.grid.block_length),
            "rrv": times(weight["rrv"]),
            "interval": interval_words(weight["lower"], weight["upper"]),
            "cells": weight["n_cells"],
            "cell_share": weight["n_cells"] / terrain.grid.n_cells,
            "marks": marks_words(weight["n_cells"] / terrain.grid.n_cells),
            "marks_most": weight["n_cells"] / terrain.grid.n_cells > MOST,
            "incidents": weight["n_inside"],
            "meaning": weight_words(weight, terrain.grid.block_length),
        }
        for _, weight in in_model.iterrows()
    ]


def _not_in_model(terrain: "RiskTerrain") -> list[dict[str, Any]]:
    others = terrain.weights[terrain.weights["status"] != "in the model"]
    return [{"factor": other["factor"], "reason": other["reason"]} for _, other in others.iterrows()]


def _runner_ups(terrain: "RiskTerrain") -> list[str]:
    """The nearest rival of each factor's kind and distance: the choice is less certain than it looks."""
    best: dict[str, str] = {}
    for rival in terrain.facts["why"]["runner_ups"]["rows"]:
        reach = reach_words(rival["influence_m"], terrain.grid.block_length)
        above = f"BIC {rival['bic_above_chosen']:,.1f} above the chosen"
        best.setdefault(rival["factor"], f"{rival['factor']}: {rival['kind']} {reach}, {above}")
    return list(best.values())


def _about_interval(notes: Sequence[str]) -> str:
    return next((note for note in notes if "interval" in note), "")


def _comparison(terrain: "RiskTerrain", without: pd.DataFrame | None) -> list[dict[str, str]]:
    if without is None:
        return []
    other = without.set_index("factor")
    return [
        {
            "factor": weight["factor"],
            "with": _rrv_words(weight),
            "without": _rrv_words(other.loc[weight["factor"]]),
        }
        for _, weight in terrain.weights.iterrows()
        if weight["factor"] in other.index
    ]


def _rrv_words(weight: "pd.Series[Any]") -> str:
    if weight["status"] != "in the model":
        return "not in the model"
    return f"{times(weight['rrv'])} ({interval_words(weight['lower'], weight['upper'])})"


def _ledger_row(ledger: Ledger) -> dict[str, Any]:
    rest = [f"{rows:,} merged: {reason}" for reason, rows in ledger.merged.items()]
    rest += [f"{rows:,} left out: {reason}" for reason, rows in ledger.dropped.items()]
    return {"name": ledger.name, "read": ledger.read, "used": ledger.used, "rest": rest}


def _about(terrain: "RiskTerrain") -> list[tuple[str, str]]:
    facts, grid = terrain.facts, terrain.grid
    why, where = facts["why"], facts["where"]
    bic = "; ".join(
        f"{row['family']} {row['bic']:,.1f} with {row['n_factors']} factors, {row['null_bic']:,.1f} with none"
        for row in why["bic"]["rows"]
    )
    block = format_length(facts["block_length_m"]) if facts["block_length_m"] else "not given"
    cells = f"{facts['n_cells']:,} of {format_length(facts['cell_size_m'])}"
    tried = [
        f"{why['n_generated']:,} combinations of factor, kind and distance",
        f"{why['n_dropped']:,} dropped as constant, too rare or duplicate",
        f"{why['n_kept']:,} kept by the screen",
        f"{len(terrain.factors):,} in the model",
    ]
    family = FAMILIES.get(why["family"], why["family"])
    dispersion = "" if why["dispersion"] is None else f", sigma {why['dispersion']:.3g}"
    strengths = ", ".join(map(number, where["strengths"]))
    rows = [
        (
            "Study area",
            f"{grid.area.name}, {facts['area_km2']:,.1f} km2 ({facts['area_km2'] / 2.589988:,.1f} sq mi)",
        ),
        ("Incidents", f"{facts['n_incidents']:,}, {period_words(facts['period'])}"),
        ("Cells", f"{cells}; {facts['n_cells_with_incidents']:,} had an incident"),
        ("Block length", block),
        ("Coordinate system", f"{facts['crs_name']} ({facts['crs']})"),
        ("Time", facts["timing"]),
        ("Exposure", facts["exposure"]),
        ("Weights (why here)", METHODS.get(why["method"], why["method"])),
        ("Model of the weights", family + dispersion),
        ("Columns tried", "; ".join(tried)),
        ("BIC (n = cells)", bic),
        (
            "Forecast (where next)",
            "curves of the environment x area history x spot history"
            if where["uses_curves"]
            else "history alone: the curves do not beat a flat surface",
        ),
        (
            "Strength of history",
            f"tempering {number(where['tempering'])}, prior strengths {strengths} (coarse to fine)",
        ),
        (
            "Expected incidents are for",
            terrain.horizon if terrain.horizon_days else "no number of days: relative values only",
        ),
        ("Seeds", f"{why['seed']} (weights), {where['seed']} (forecast)"),
    ]
    return [(name, value) for name, value in rows if value]


def _versions() -> str:
    packages = ("numpy", "scipy", "pandas", "geopandas", "shapely", "scikit-learn", "numba")
    gdal = ".".join(map(str, pyogrio.__gdal_version__))
    libraries = [f"{name} {version(name)}" for name in packages]
    return ", ".join(
        [f"rtmkc {__version__}", f"Python {platform.python_version()}", *libraries, f"GDAL {gdal}",
         f"PROJ {pyproj.__proj_version__}"]
    )  # fmt: skip

"""The report: one self-contained HTML file for the people who decide where to go first."""

import platform
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import pandas as pd
import pyogrio
import pyproj
import shapely

from rtmkc import __version__
from rtmkc.errors import InputError
from rtmkc.inputs.layers import as_layer
from rtmkc.inputs.ledger import Ledger
from rtmkc.model.weights import NOT_IN_MODEL, UNDECIDED
from rtmkc.output.bias import bias_rows
from rtmkc.output.comparisons import change_rows, slice_rows
from rtmkc.output.diagnostics import check_rows
from rtmkc.output.formats import number, picture, template
from rtmkc.output.maps import layer_shapes, map_size
from rtmkc.output.plots import plot_risk, plot_weights, weights_size
from rtmkc.output.plots_corridors import corridors_size, plot_corridors
from rtmkc.output.weights import (
    comparison_rows,
    doubts,
    none_of,
    other_rows,
    patches_sentence,
    rival_words,
    undecided,
    undecided_words,
    weight_rows,
)
from rtmkc.output.words import (
    CAUTIONS,
    FLAT,
    NO_PERIOD,
    corridor_name,
    curve_lines,
    ends_words,
    expected_words,
    listed,
    period_words,
    via_words,
)
from rtmkc.places.joins import label_column_of
from rtmkc.storage import created_at, write_text
from rtmkc.units import format_length

if TYPE_CHECKING:
    from rtmkc.evidence.bias import BiasPanel
    from rtmkc.model.terrain import RiskTerrain

_INTERVALS = re.compile(r"\d+ % .*\bintervals\b")
SHOWN = 10
"""Rows of a table in the report; the files have all."""
TOP_FACTORS = 3
CONTEMPORANEOUS = "contemporaneous"
FAMILIES = {"poisson": "Poisson", "nb1": "negative binomial (NB1: variance = mean x (1 + sigma))"}
METHODS = {
    "guarded": (
        "guarded: every factor tested by random shifts of its map against what the others leave over, all factors "
        "together at 5 %; weights and intervals that allow for patches of risk no factor explains"
    ),
    "classic": (
        "classic: the published RTMDx procedure, an elastic-net screen by cross validation, then a stepwise "
        "search by BIC"
    ),
}
CHANCE = {
    "guarded": (
        "p of shifts: how often shifted maps fit the incidents as well as this one does where it is, all factors tried "
        "taken together; a factor enters the model at 0.05 or below."
    ),
    "classic": (
        "p of shifts: how often the factor's own map, moved elsewhere, fits the incidents as well; the published "
        "procedure does not ask."
    ),
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
    diagnostics: pd.DataFrame | None = None,
    bias: "BiasPanel | None" = None,
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
    diagnostics : DataFrame, optional
        From `diagnose`: what the weights rest on, and what could be wrong with them.
    bias : BiasPanel, optional
        From `bias_panel`: what falls on each district.
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
        "risk": picture(
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
        "weights": picture(
            lambda ax: plot_weights(terrain, ax=ax, title="Relative risk values"), weights_size(terrain)
        ),
    }
    if corridors is not None:
        pictures["corridors"] = picture(
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
        chance=CHANCE[facts["why"]["method"]],
        is_guarded=facts["why"]["method"] == "guarded",
        weights=weight_rows(terrain),
        n_tried=len(terrain.weights),
        n_shown=TOP_FACTORS,
        others=other_rows(terrain, NOT_IN_MODEL),
        undecided=other_rows(terrain, UNDECIDED),
        undecided_words=undecided_words(undecided(terrain)),
        none_of=none_of(terrain),
        patches=patches_sentence(facts),
        doubts=doubts(terrain),
        runner_ups=rival_words(terrain),
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
        comparison=comparison_rows(terrain, exposure_comparison),
        joins=list(joins),
        slices=slice_rows(slices),
        changes=change_rows(changes),
        gain=facts["where"].get("gain"),
        diagnostics=check_rows(diagnostics),
        bias=bias_rows(bias),
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
        bounds = row.get("lower"), row.get("upper")
        row |= {
            "name": corridor_name(row),
            "ends": ends_words(row),
            "along": via_words(row),
            "interval": "" if None in bounds else f"{bounds[0]:.0f} to {bounds[1]:.0f}",
        }
    multiple_of = table.attrs.get("multiple_of", TYPICAL_STREET)
    return shown | {
        "multiple_of": multiple_of,
        "of_streets": multiple_of == TYPICAL_STREET,
        "has_intervals": any(row["interval"] for row in shown["rows"]),
    }


def _curves(terrain: "RiskTerrain") -> list[dict[str, str]]:
    """The curves that are worth a word, then the factors that have none."""
    lines = curve_lines(terrain)
    told = {line["factor"] for line in lines}
    flat = [factor["name"] for factor in terrain.facts["factors"] if factor["name"] not in told]
    return lines + [{"factor": name, "near": FLAT, "dense": FLAT} for name in flat] if lines else []


def _about_interval(notes: Sequence[str]) -> str:
    return next((note for note in notes if _INTERVALS.match(note)), "")


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
    guarded = why["method"] == "guarded"
    widths = [f"at {format_length(width)}" if width else "of the cell itself" for width in where["widths_m"]]
    strengths = ", ".join(
        f"{number(value)} {width}" for value, width in zip(where["strengths"], widths, strict=True)
    )
    age = f"; an incident weighs exp(-age / {where['decay_days']:,.0f} days)" if where["decay_days"] else ""
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
        ("Model of the weights", _model_words(why)),
        ("Folds", f"blocks of {format_length(why['fold_block_m'])}" if why["fold_block_m"] else ""),
        ("Columns tried", "; ".join(tried)),
        (f"BIC {'of the working model ' if guarded else ''}(n = cells)", bic),
        (
            "Forecast (where next)",
            "curves of the environment x area history x spot history"
            if where["uses_curves"]
            else "history alone: the curves do not beat a flat surface",
        ),
        (
            "Strength of history",
            f"tempering {number(where['tempering'])}; the surface is worth so many incidents: {strengths}{age}",
        ),
        (
            "Expected incidents are for",
            terrain.horizon if terrain.horizon_days else "no number of days: relative values only",
        ),
        ("Seeds", f"{why['seed']} (weights), {where['seed']} (forecast)"),
    ]
    return [(name, value) for name, value in rows if value]


def _model_words(why: dict[str, Any]) -> str:
    """The family of counts, and of guarded weights the noise around them."""
    noise = why["noise"]
    if noise is not None:
        patches = (
            f"patches of log variance {noise['variance']:.3g} and range {format_length(noise['range_m'])}"
            if noise["variance"]
            else "no patches"
        )
        return f"log-linear means, correlated noise: {patches}, relative variance of single cells {noise['nugget']:.3g}"
    dispersion = "" if why["dispersion"] is None else f", sigma {why['dispersion']:.3g}"
    return str(FAMILIES.get(why["family"], why["family"])) + dispersion


def _versions() -> str:
    packages = ("numpy", "scipy", "pandas", "geopandas", "shapely", "scikit-learn", "numba")
    gdal = ".".join(map(str, pyogrio.__gdal_version__))
    libraries = [f"{name} {version(name)}" for name in packages]
    return ", ".join(
        [f"rtmkc {__version__}", f"Python {platform.python_version()}", *libraries, f"GDAL {gdal}",
         f"PROJ {pyproj.__proj_version__}"]
    )  # fmt: skip

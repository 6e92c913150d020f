"""Briefs: one printed page a corridor for those who will work it, each a self-contained HTML file."""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd

from rtmkc import __version__
from rtmkc.checks import check_columns
from rtmkc.errors import OutputError
from rtmkc.inputs.layers import as_layer
from rtmkc.output.formats import number, percent, picture, template, whole
from rtmkc.output.furniture import TEXT
from rtmkc.output.plots_close_up import corridor_of, draw_close_up
from rtmkc.output.plots_corridors import blocks_of, draw_strip, stops_of, typical_rate
from rtmkc.output.power_words import power_design_sentence, power_sentence, zone_sentence
from rtmkc.output.report import CONTEMPORANEOUS, DISCLAIMER, PRINCIPLE, TYPICAL_STREET
from rtmkc.output.weights import doubts, none_of, rrv_words, undecided, undecided_words
from rtmkc.output.words import (
    CAUTIONS,
    NO_PERIOD,
    attribution,
    corridor_name,
    cut,
    ends_words,
    factor_names,
    listed,
    period_words,
    times,
    via_words,
)
from rtmkc.places.corridors.explanation import CorridorExplanation, explain_corridor
from rtmkc.places.corridors.network.streets import StreetNetwork
from rtmkc.places.corridors.visits.departments import Departments, read_departments
from rtmkc.storage import created_at, write_text
from rtmkc.units import format_length

if TYPE_CHECKING:
    from rtmkc.model.terrain import RiskTerrain

STOPS, FACTORS = 10, 5
"""Rows of the page; the route sheet and the report have all."""
NAME, PLACE, SENTENCE = 64, 60, 210
"""Letters of a street's name, of a place and of a sentence, so that one page stays one page."""
DPI = 190
MAP_SIZE, STRIP_SIZE = (3.9, 3.9), (8.2, 2.6)
LEVEL = 0.05
"""Below this p-value something is called more than chance."""
STABLE = 0.8
"""A corridor that is chosen again in so many of redrawn cities is called sure."""


def write_brief(
    path: str | Path,
    terrain: "RiskTerrain",
    corridors: gpd.GeoDataFrame,
    rank: int = 1,
    *,
    blocks: gpd.GeoDataFrame | None = None,
    stops: gpd.GeoDataFrame | None = None,
    streets: Any = None,
    treated: Any = None,
    departments: str | Path | Departments | None = None,
    overwrite: bool = False,
) -> None:
    """Write the brief of one corridor: a page of HTML without scripts or links, for A4 or Letter.

    Parameters
    ----------
    path : path
        The file, ``.html``.
    terrain : RiskTerrain
        The terrain.
    corridors : GeoDataFrame
        From `find_corridors`.
    rank : int
        Which corridor.
    blocks : GeoDataFrame, optional
        From `corridor_blocks`: coloured on the map, and drawn one by one.
    stops : GeoDataFrame, optional
        From `plan_canvass` for this corridor, or of several with a column rank: the first ten are listed.
    streets : StreetRisk, StreetNetwork or layer, optional
        Lines around the corridor, named on its map.
    treated : layer, optional
        What is worked already: dashed on the map.
    departments : path or Departments, optional
        Which department sees to which factor, as in `plan_canvass`.
    overwrite : bool
        Whether a file that exists may be replaced.

    Raises
    ------
    InputError
        If there is no corridor, or there are no blocks, of this rank.
    OutputError
        If the file exists and `overwrite` is false, or it cannot be written.

    Notes
    -----
    Why here and where next are two answers and are never multiplied. No names of residents and no counts of calls by
    address are on the page.
    """
    corridor = corridor_of(corridors, rank)
    rows = None if blocks is None else blocks_of(blocks, rank)
    visits = stops_of(stops, rank)
    listed_departments = (
        departments if isinstance(departments, Departments) else read_departments(departments)
    )
    line = corridors.to_crs(terrain.grid.crs).geometry[corridors["rank"] == rank].iloc[0]
    found = explain_corridor(terrain, line)
    shown = [] if visits is None else [_stop_row(stop) for _, stop in visits.head(STOPS).iterrows()]
    facts = terrain.facts
    is_contemporaneous = facts["timing"].startswith(CONTEMPORANEOUS)
    multiple_of = corridors.attrs.get("multiple_of", TYPICAL_STREET)
    html = template("brief.html.j2").render(
        version=__version__,
        created=created_at(),
        is_full=is_contemporaneous or len(found.why) > 3,
        rank=rank,
        name=cut(corridor_name(corridor), NAME),
        ends=cut(ends_words(corridor), 2 * NAME),
        via=cut(via_words(corridor), 2 * NAME),
        length=float(corridor["length_m"]),
        n_blocks=int(corridor["blocks"]),
        unit="block" if multiple_of == TYPICAL_STREET else "cell",
        area=terrain.grid.area.name,
        is_contemporaneous=is_contemporaneous,
        tiles=_tiles(terrain, corridor, multiple_of, rows, visits),
        pictures=_pictures(terrain, corridors, rank, rows, visits, streets, treated),
        factors=_factor_rows(found),
        more_factors=_more_factors(found),
        unmarked=_unmarked(found),
        no_factors=f"{none_of(terrain)}: it is ranked by the curves of the forecast and by history.",
        undecided=undecided_words(undecided(terrain)),
        doubts=doubts(terrain),
        caution=CAUTIONS.get(facts["why"]["method"], ""),
        where=found.where,
        inside="" if found.inside > 0.995 else f"{percent(found.inside)} of it lies in the study area.",
        cell=format_length(terrain.grid.cell_size),
        horizon=None if terrain.horizon_days is None else terrain.horizon,
        no_period=NO_PERIOD,
        departments=_department_rows(found, visits, listed_departments),
        has_stops=visits is not None,
        has_teams=visits is not None and "team" in visits and len(set(visits["team"])) > 1,
        stops=shown,
        any_first=any(stop["is_first"] for stop in shown),
        n_more=0 if visits is None else max(0, len(visits) - STOPS),
        statement=str(corridors.attrs.get("statement", "")).partition(" Each later one")[0],
        beat=_beat(corridor),
        power=power_sentence(float(corridor["expected"]), terrain.horizon_days),
        power_zone=zone_sentence(float(corridor.get("buffer_expected", 0.0)), terrain.horizon_days),
        power_design="" if terrain.horizon_days is None else power_design_sentence(terrain.horizon_days),
        cannot_know=" ".join(line for line in facts["cannot_know"] if line != PRINCIPLE),
        principle=PRINCIPLE,
        facts=attribution(terrain),
        seeds=f"{facts['why']['seed']} (weights), {facts['where']['seed']} (forecast)",
        disclaimer=DISCLAIMER,
    )
    write_text(path, html, overwrite=overwrite)


def write_briefs(
    folder: str | Path,
    terrain: "RiskTerrain",
    corridors: gpd.GeoDataFrame,
    *,
    blocks: gpd.GeoDataFrame | None = None,
    stops: Mapping[int, gpd.GeoDataFrame] | gpd.GeoDataFrame | None = None,
    streets: Any = None,
    treated: Any = None,
    departments: str | Path | Departments | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write a brief of every corridor, and return the files: ``corridor-01-chestnut-avenue.html`` and so on.

    Parameters
    ----------
    folder : path
        Where to write; made if it does not exist.
    terrain, corridors, blocks, streets, treated, departments, overwrite
        As in `write_brief`.
    stops : mapping of int to GeoDataFrame, or GeoDataFrame, optional
        Rank -> stops of that corridor; or one table with a column rank.

    Raises
    ------
    InputError
        If a table of stops does not say of which corridor they are.
    OutputError
        If a file exists and `overwrite` is false, or the folder cannot be made or written.
    """
    folder = Path(folder)
    if stops is not None and not isinstance(stops, Mapping):
        check_columns(["rank"], stops.columns, "The table of stops")
    # Read once: a file that is read again would warn again.
    treated = None if treated is None else as_layer(treated, name="treated")
    known = departments if isinstance(departments, Departments) else read_departments(departments)
    if streets is not None and not hasattr(streets, "network") and not isinstance(streets, StreetNetwork):
        streets = StreetNetwork.around(terrain.grid, streets)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"Invalid output {str(folder)!r}. The folder cannot be made: {error.strerror}."
        ) from None
    written = []
    for _, corridor in corridors.iterrows():
        rank = int(corridor["rank"])
        path = folder / f"{corridor_file(corridor)}.html"
        write_brief(
            path, terrain, corridors, rank, blocks=blocks,
            stops=stops.get(rank) if isinstance(stops, Mapping) else stops, streets=streets, treated=treated,
            departments=known, overwrite=overwrite,
        )  # fmt: skip
        written.append(path)
    return written


def corridor_file(corridor: Any) -> str:
    """Return what files about a corridor are called, before their ending.

    Examples
    --------
    >>> corridor_file({"rank": 2, "name": "St. John Avenue"})
    'corridor-02-st-john-avenue'
    """
    slug = re.sub(r"[^a-z0-9]+", "-", corridor_name(corridor).lower()).strip("-")[:40].strip("-")
    return f"corridor-{int(corridor['rank']):02d}{'-' if slug else ''}{slug}"


def _pictures(
    terrain: "RiskTerrain",
    corridors: gpd.GeoDataFrame,
    rank: int,
    rows: gpd.GeoDataFrame | None,
    stops: pd.DataFrame | None,
    streets: Any,
    treated: Any,
) -> dict[str, str]:
    def draw_map(ax: Any) -> Any:
        handles = draw_close_up(
            ax, terrain, corridors, rank, blocks=rows, streets=streets, stops=stops, treated=treated
        )
        ax.legend(
            handles=handles, loc="upper left", bbox_to_anchor=(0.0, 0.0), ncols=2, frameon=False, fontsize=TEXT - 1,
            borderaxespad=0.0, labelspacing=0.3, columnspacing=1.0,
        )  # fmt: skip
        return ax

    def draw_blocks(ax: Any) -> Any:
        assert rows is not None
        draw_strip(ax, terrain, rows, stops)
        return ax

    pictures = {"map": picture(draw_map, MAP_SIZE, dpi=DPI), "strip": ""}
    if rows is not None:
        pictures["strip"] = picture(draw_blocks, STRIP_SIZE, dpi=DPI)
    return pictures


def _tiles(
    terrain: "RiskTerrain",
    corridor: Any,
    multiple_of: str,
    rows: gpd.GeoDataFrame | None,
    stops: pd.DataFrame | None,
) -> list[dict[str, Any]]:
    """Return the four figures of the page: a value, what it is, and lines on it."""
    expected, seen, rated = (
        float(corridor["expected"]),
        float(corridor["incidents"]),
        terrain.horizon_days is not None,
    )
    if rated:
        lower, upper = (float(corridor.get(name, np.nan)) for name in ("lower", "upper"))
        known = np.isfinite(lower) and np.isfinite(upper)
        interval = f"90 % interval: {lower:.0f} to {upper:.0f}" if known else "interval not known"
        first = {
            "value": number(expected),
            "what": f"incidents expected in {terrain.horizon}",
            "more": [interval],
        }
    else:
        share = expected / float(terrain.cells["expected"].sum())
        first = {"value": percent(share), "what": "of the incidents expected in the city", "more": []}
    typical = float("nan") if rows is None else typical_rate(rows)
    against = f" against {number(typical)}" if np.isfinite(typical) else ""
    per_km = f"{number(corridor['expected_per_km'])} per km{against}" if rated else ""
    days = terrain.facts["period_days"]
    past = (
        f"{number(seen * terrain.horizon_days / days)} in {terrain.horizon}"
        if terrain.horizon_days and days
        else ""
    )
    places: dict[str, Any] = {"value": "none", "what": "places listed", "more": ["no canvass was planned"]}
    if stops is not None:
        minutes = float(stops["minutes"].sum()) if "minutes" in stops else float("nan")
        hours = f"{minutes / 60:.1f} h at the doors, as planned" if np.isfinite(minutes) else ""
        places = {"value": whole(len(stops)), "what": "places to visit", "more": [hours]}
    return [
        first,
        {"value": times(float(corridor["city_multiple"])), "what": multiple_of, "more": [per_km]},
        {
            "value": whole(seen),
            "what": "incidents in the data",
            "more": [past, period_words(terrain.facts["period"])],
        },
        places,
    ]


def _factor_rows(found: CorridorExplanation) -> list[dict[str, str]]:
    return [
        {
            "name": cut(str(row["factor"]), 34),
            "rrv": rrv_words(row),
            "share": f"{100 * row['share']:.0f} %",
        }
        for _, row in found.why.assign(status="in the model").head(FACTORS).iterrows()
    ]


def _more_factors(found: CorridorExplanation) -> str:
    n_more = len(found.why) - FACTORS
    return f"{n_more} more factor{'s' if n_more > 1 else ''} in the model." if n_more > 0 else ""


def _unmarked(found: CorridorExplanation) -> str:
    if found.unmarked > 0.995:
        return "None of them reaches it: it is ranked by history, or by the curves of the forecast."
    return (
        f"No factor of the model reaches {percent(found.unmarked)} of it." if found.unmarked > 0.005 else ""
    )


def _department_rows(
    found: CorridorExplanation, stops: pd.DataFrame | None, departments: Departments
) -> list[dict[str, Any]]:
    """One row a factor that the stops have, most places first; without stops, that reaches the corridor."""
    if stops is None:
        counts = {str(row["factor"]): 0 for _, row in found.why.iterrows() if row["share"] > 0}
    else:
        names = Counter(name for words in stops["factors"] for name in dict.fromkeys(factor_names(words)))
        counts = dict(sorted(names.items(), key=lambda item: (-item[1], item[0])))
    return [
        {
            "factor": cut(name, 34),
            "department": cut(departments.of(name), 60),
            "places": places,
        }
        for name, places in list(counts.items())[:FACTORS]
    ]


def _stop_row(stop: Any) -> dict[str, Any]:
    priority = stop.get("priority")
    side = stop.get("compass")
    return {
        "team": stop.get("team", ""),
        "seq": stop.get("seq", ""),
        "side": str(side if isinstance(side, str) and side else stop.get("side", "")).removesuffix(" side"),
        "place": cut(str(stop["place"]), PLACE) if stop["place"] else "no address",
        "factors": cut(listed(factor_names(stop["factors"])) or "business", PLACE),
        "is_first": not pd.isna(priority) and int(priority) <= 3,
    }


def _beat(corridor: Any) -> list[str]:
    """What the corridor was compared with, why it ends where it does, and how sure its place is, in sentences."""
    lines = []
    for column, words in (("runner_up", "The next best: "), ("why_not_longer", "Why not longer: ")):
        text = corridor.get(column)
        if isinstance(text, str) and text:
            lines.append(cut(f"{words}{text}", SENTENCE).rstrip(".") + ".")
    gap, told = corridor.get("gap", np.nan), []
    if gap == 0:
        told.append("No better one of the kind searched was missed: every one was looked at.")
    elif gap > 0:
        told.append(f"That a better one was missed is not ruled out (gap {percent(float(gap))}).")
    return [*lines, " ".join([*told, *_chance_lines(corridor)])]


def _chance_lines(corridor: Any) -> list[str]:
    length, factors, stable = (
        float(corridor.get(name, np.nan)) for name in ("p_length", "p_factors", "rank_stability")
    )
    lines = []
    if np.isfinite(length):
        if length <= LEVEL:
            lines.append(
                f"Chance alone seldom brings so many incidents together on a stretch of street (p {length:.3f})."
            )
        else:
            lines.append(
                f"Chance alone brings as many incidents together on some stretch in {percent(length)} of cities."
            )
    if np.isfinite(factors):
        if factors <= LEVEL:
            lines.append(
                f"That is more than the measured factors explain (p {factors:.3f}): look for what no layer shows."
            )
        else:
            lines.append(
                f"That is no more than chance adds to what the measured factors explain (p {factors:.2f})."
            )
    if np.isfinite(stable):
        sure = "fairly sure" if stable >= STABLE else "likely" if stable >= 0.5 else "not sure"
        lines.append(
            f"Its place is {sure}: with other incidents of the same risk it is chosen again in {100 * stable:.0f} % of cases."
        )
    if not lines:
        lines.append("Whether its place could be chance was not tested.")
    return lines

"""Whose streets: what share of the hot spots falls on each district, and what that rests on."""

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from rtmkc.checks import check_number, check_share
from rtmkc.errors import InputError
from rtmkc.evidence.districts import CLEAR_OVERLAP, Districts, share_out
from rtmkc.evidence.stability import percent
from rtmkc.model.history.ages import Past
from rtmkc.model.history.fit import Learner, Scales
from rtmkc.model.terrain import RiskTerrain
from rtmkc.model.where import RiskForecast
from rtmkc.places.hotspots import flagged_cells
from rtmkc.raster.candidates import build_candidates, build_curves
from rtmkc.raster.factors import GUARDED_PROVENANCES
from rtmkc.raster.grid import Grid

REPORTING = (0.8, 0.6)
"""Shares of what others report that a district is supposed to report."""
FEW_INCIDENTS = 10
"""Ratios of districts with fewer incidents are not put into words."""


@dataclass(frozen=True, eq=False)
class BiasPanel:
    """What falls on each district.

    Attributes
    ----------
    table : DataFrame
        One row a district, most flagged first, and last one for what lies in none: district, area_share, residents and
        residents_share (if known), incidents, incidents_share; then for hot spots by expected incidents: flagged_share
        (of the flagged area), caught (incidents in flagged cells), caught_share (of the district's incidents),
        flagged_m2_per_10000 (residents), ratio (flagged_share / incidents_share), flagged_share_low and
        flagged_share_high (over all scenarios, those of other districts too); the same with ``_rrs`` for hot spots by
        relative risk score (missing without a factor in the model); and, if factors of policing or about persons are
        in use, flagged_share and ratio with ``_without`` them. Every share sums to 1 over its column.
    scenarios : DataFrame
        One row a district and reporting rate: district, reporting_rate, flagged_share (as reported),
        flagged_share_if (if the district reported only that share of what the others do), change.
    left_out : tuple of str
        The factors of policing or about persons, if any.
    sentences : tuple of str
        What a reader who is no analyst should know.
    """

    table: pd.DataFrame = field(repr=False)
    scenarios: pd.DataFrame = field(repr=False)
    left_out: tuple[str, ...]
    sentences: tuple[str, ...]

    @property
    def statement(self) -> str:
        """All sentences."""
        return " ".join(self.sentences)


def bias_panel(
    terrain: RiskTerrain,
    districts: Any,
    *,
    residents: Any = None,
    name: str | None = None,
    area_share: float = 0.02,
    reporting: Sequence[float] = REPORTING,
    progress: Callable[[str, int, int], None] | None = None,
) -> BiasPanel:
    """Return what share of hot spots, incidents and residents falls on each district, and how sure that is.

    Parameters
    ----------
    terrain : RiskTerrain
        Fitted; one that was loaded has no models.
    districts : layer
        Areas: council districts, police districts, neighbourhoods. Rows of one name are one district.
    residents : str, raster, or (layer, str), optional
        A numeric column of the districts; a raster of residents (a RasterLayer or its path); or a layer of areas, such
        as census blocks, and its numeric column. Where the study area covers a part of an area its residents are
        taken to live evenly in it.
    name : str, optional
        Column of the districts' names; found by its name if not given.
    area_share : float
        Share of the study area that is flagged.
    reporting : sequence of float
        Rates of the scenarios, greater than 0 and less than 1.
    progress : callable, optional
        Called with (step, done, total).

    Returns
    -------
    BiasPanel

    Raises
    ------
    InputError
        If fewer than two districts lie in the study area, a column is missing, about race, sex or age, or not of
        numbers of at least 0, or an argument is out of range.

    Notes
    -----
    Cells are shared out between districts by exact area, incidents by the polygon that covers them (in equal parts
    where several do); both conserve totals. A scenario divides the incidents of one district by the rate
    and applies history anew [1]_, with curves, tempering and strengths as fitted. A refit of all of it takes some fifty
    times as long; on burglaries in Chicago and violence in Kansas City (2017) it gave the district a share of the
    flagged area that was higher by at most 1 percentage point at 0.8 and 4 at 0.6: what is shown errs on the low side.
    That predictions inherit how crime is reported and recorded is shown in [2]_.

    References
    ----------
    .. [1] Clayton, D. and Kaldor, J. (1987). Empirical Bayes estimates of age-standardized relative risks for use in
       disease mapping. Biometrics 43, 671-681.
    .. [2] Akpinar, N.-J., De-Arteaga, M. and Chouldechova, A. (2021). The effect of differential victim crime reporting
       on predictive policing systems. FAccT '21, 838-849.

    Examples
    --------
    >>> import geopandas as gpd, shapely, rtmkc as rtm
    >>> city = rtm.simulate_city(n_rows=20, n_columns=20, n_factors=3, random_state=3)
    >>> terrain = rtm.assess(city.grid, city.risk_factors(), city.incidents, method="classic", allow_later_factors=True)
    >>> west, south, east, north = city.area.geometry.bounds
    >>> halves = [shapely.box(west, south, west + 500, north), shapely.box(west + 500, south, east, north)]
    >>> wards = gpd.GeoDataFrame({"ward": ["West", "East"]}, geometry=halves, crs=city.grid.crs)
    >>> panel = bias_panel(terrain, wards)
    >>> panel.table.set_index("district")["area_share"].to_dict()
    {'East': 0.75, 'West': 0.25, 'in no district': 0.0}
    """
    check_share("area_share", area_share)
    rates = [_check_rate(rate) for rate in reporting]
    incidents = terrain.models.why.observations_.incidents
    shared = share_out(
        terrain.grid, incidents.frame.geometry.to_numpy(), districts, name=name, residents=residents
    )
    flagged = {by: flagged_cells(terrain, area_share, by) for by in ("expected", "rrs")}
    table = _plain_columns(terrain.grid, shared)
    for by, ending in (("expected", ""), ("rrs", "_rrs")):
        for column, values in _columns(terrain, shared, table, flagged[by]).items():
            table[column + ending] = values

    left_out = _guarded_factors(terrain)
    other = _without(terrain, left_out) if left_out else None
    if other is not None:
        for by, ending in (("expected", "_without"), ("rrs", "_rrs_without")):
            columns = _columns(other, shared, table, flagged_cells(other, area_share, by))
            for column in ("flagged_share", "ratio"):
                table[column + ending] = columns[column]

    scenarios, lowest, highest = _scenarios(terrain, shared, table, area_share, rates, progress)
    table["flagged_share_low"], table["flagged_share_high"] = lowest, highest
    order = table.iloc[:-1].sort_values(["flagged_share", "district"], ascending=[False, True]).index
    table = table.loc[[*order, len(table) - 1]].reset_index(drop=True)
    sentences = (
        *_about_shares(table, area_share),
        *_about_policing(terrain, table, left_out, other is not None),
        *_about_reporting(terrain, table, scenarios),
        *shared.notes,
        *_about_limits(table),
    )
    return BiasPanel(table, scenarios, left_out, sentences)


def _check_rate(rate: Any) -> float:
    number = check_number("reporting", rate)
    if not 0 < number < 1:
        raise InputError(f"Invalid reporting rate {rate!r}. It must be greater than 0 and less than 1.")
    return number


def _flagged_shares(shared: Districts, flagged: np.ndarray) -> np.ndarray:
    held = shared.cells.T @ flagged.astype(float)
    return np.asarray(held / held.sum())


def _plain_columns(grid: Grid, shared: Districts) -> pd.DataFrame:
    table = pd.DataFrame(
        {"district": shared.names, "area_share": shared.cells.sum(axis=0) / grid.share.sum()}
    )
    if shared.residents is not None:
        table["residents"] = shared.residents
        table["residents_share"] = shared.residents / np.nansum(shared.residents)
    table["incidents"] = shared.incidents.sum(axis=0)
    table["incidents_share"] = table["incidents"] / table["incidents"].sum()
    return table


def _columns(
    terrain: RiskTerrain, shared: Districts, table: pd.DataFrame, flagged: np.ndarray | None
) -> dict[str, Any]:
    """The columns of a ranking, missing where there is none."""
    names = ["flagged_share", "caught", "caught_share", "ratio"]
    names += [] if shared.residents is None else ["flagged_m2_per_10000"]
    if flagged is None:
        return dict.fromkeys(names, np.nan)
    share = pd.Series(_flagged_shares(shared, flagged))
    caught = pd.Series(shared.incidents.T @ flagged[terrain.models.why.observations_.cells].astype(float))
    columns: dict[str, Any] = {
        "flagged_share": share,
        "caught": caught,
        "caught_share": caught / table["incidents"].where(table["incidents"] > 0),
        "ratio": share / table["incidents_share"].where(table["incidents"] > 0),
    }
    if shared.residents is not None:
        flagged_m2 = terrain.grid.cell_size**2 * terrain.grid.share[flagged].sum() * share
        columns["flagged_m2_per_10000"] = 1e4 * flagged_m2 / table["residents"].where(table["residents"] > 0)
    return columns


def _guarded_factors(terrain: RiskTerrain) -> tuple[str, ...]:
    features = terrain.models.why.candidates_.features
    return tuple(name for name, one in features.items() if one.layer.provenance in GUARDED_PROVENANCES)


def _without(terrain: RiskTerrain, left_out: Sequence[str]) -> RiskTerrain | None:
    """The terrain fitted without some factors; None if no factor would be left."""
    models = terrain.models
    known = models.why.candidates_
    kept = [
        replace(factor, layer=known.features[factor.name].layer)
        for factor in known.factors
        if factor.name not in left_out
    ]
    if not kept:
        return None
    fitted = [
        # Whether the factors may be later was decided when the terrain was made.
        clone(model).fit(
            terrain.grid, build(terrain.grid, kept), model.observations_, allow_later_factors=True
        )
        for model, build in ((models.why, build_candidates), (models.where, build_curves))
    ]
    return RiskTerrain(*fitted)


def _scenarios(
    terrain: RiskTerrain,
    shared: Districts,
    table: pd.DataFrame,
    area_share: float,
    rates: Sequence[float],
    progress: Callable[[str, int, int], None] | None,
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """What each district's share of the flagged area would be if it reported less than the others, and all ranges."""
    where, cells = terrain.models.where, terrain.models.why.observations_.cells
    reported = table["flagged_share"].to_numpy()
    lowest, highest = reported.copy(), reported.copy()
    counts = np.bincount(cells, minlength=terrain.grid.n_cells)
    rows = []
    for number, name in enumerate(shared.names[:-1]):
        if progress:
            progress("reporting rates", number, len(shared.names) - 1)
        mine = shared.incidents[:, [number]].toarray().ravel()
        for rate in rates:
            held = np.bincount(cells, weights=1 + mine * (1 / rate - 1), minlength=len(counts))
            expected = forecast_of(where, np.where(counts > 0, held / np.maximum(counts, 1), 1.0))
            supposed = copy(terrain)
            supposed.cells = terrain.cells.assign(expected=expected)
            flagged = flagged_cells(supposed, area_share, "expected")
            shares = _flagged_shares(shared, flagged)
            lowest, highest = np.minimum(lowest, shares), np.maximum(highest, shares)
            rows.append(
                {
                    "district": name,
                    "reporting_rate": rate,
                    "flagged_share": reported[number],
                    "flagged_share_if": shares[number],
                    "change": shares[number] - reported[number],
                }
            )
    if progress:
        progress("reporting rates", len(shared.names) - 1, len(shared.names) - 1)
    columns = ["district", "reporting_rate", "flagged_share", "flagged_share_if", "change"]
    return pd.DataFrame(rows, columns=columns), lowest, highest


def forecast_of(where: RiskForecast, multipliers: np.ndarray) -> np.ndarray:
    """Return the expected incidents if the counts of each cell were multiplied, with all parameters as fitted.

    Parameters
    ----------
    where : RiskForecast
        Fitted.
    multipliers : ndarray, shape (n_cells,)
        What the incidents of each cell are multiplied by.

    Returns
    -------
    ndarray of float, shape (n_cells,)
        Over the horizon, on the level of the forecast as fitted.
    """
    history, grid = where.history_, where.candidates_.grid
    # The base is tempered already, and the counts are weighted by age.
    parameters = replace(history.parameters, tempering=1.0, decay_days=np.inf)
    scales = Scales(grid, history.base, grid.share, history.widths_m)
    surfaces, _ = Learner(scales, Past.of_counts(history.counts * multipliers)).stages(parameters)
    surface = surfaces[-1]
    return np.asarray(surface * (where.expected_.sum() / surface.sum()))


def _about_shares(table: pd.DataFrame, area_share: float) -> Iterator[str]:
    own = table.iloc[:-1]
    half = int(np.searchsorted(own["flagged_share"].cumsum(), 0.5)) + 1
    if half <= len(own):
        yield (
            f"{100 * area_share:g} % of the study area is flagged as hot spot; half of that lies in {half} of {len(own)} "
            f"districts ({', '.join(own['district'].iloc[:half])})."
        )
    first = own.iloc[0]
    residents = f", {percent(first['residents_share'])} of the residents" if "residents" in own else ""
    yield (
        f"{_first(_called(first['district']))} has the largest part: {percent(first['flagged_share'])} of the flagged area, with "
        f"{percent(first['incidents_share'])} of the recorded incidents{residents} and {percent(first['area_share'])} of the "
        "land."
    )
    enough = own[own["incidents"] >= FEW_INCIDENTS].sort_values(["ratio", "district"])
    if len(enough) > 1:
        most, least = enough.iloc[-1], enough.iloc[0]
        yield (
            f"Measured by its recorded incidents, {_called(most['district'])} is flagged most ({most['ratio']:.1f} times its "
            f"share of them) and {_called(least['district'])} least ({least['ratio']:.1f} times); 1 would be in proportion. "
            "Incidents crowded into few places give more than 1, incidents spread thin less: it need not be unfair, but it "
            "needs a reason."
        )
    if own["flagged_share_rrs"].notna().all():
        gap = (own["flagged_share_rrs"] - own["flagged_share"]).abs()
        row = own.iloc[int(np.argmax(gap))]
        yield (
            f"Flagged by the environment alone (relative risk score), {_called(row['district'])} would have "
            f"{percent(row['flagged_share_rrs'])} of the flagged area instead of {percent(row['flagged_share'])}: the largest "
            "difference between the two rankings."
        )


def _about_policing(
    terrain: RiskTerrain, table: pd.DataFrame, left_out: Sequence[str], compared: bool
) -> Iterator[str]:
    features = terrain.models.why.candidates_.features
    unstated = [name for name, one in features.items() if one.layer.provenance == "unstated"]
    if not left_out:
        yield "No factor is stated to be made by policing or to be about persons, so none was left out for comparison."
    elif not compared:
        yield f"All factors ({', '.join(left_out)}) are made by policing or about persons: without them there is no model."
    else:
        own = table.iloc[:-1]
        row = own.iloc[int(np.argmax((own["flagged_share_without"] - own["flagged_share"]).abs()))]
        yield (
            f"Without what policing made or what is about persons ({', '.join(left_out)}), {_called(row['district'])} would "
            f"have {percent(row['flagged_share_without'])} of the flagged area instead of {percent(row['flagged_share'])}: "
            "the largest change."
        )
    if unstated:
        yield f"What made these factors is not stated, and may be police work: {', '.join(unstated)}."


def _about_reporting(terrain: RiskTerrain, table: pd.DataFrame, scenarios: pd.DataFrame) -> Iterator[str]:
    yield "The map knows only incidents that were reported and recorded: where people report less, places look safer."
    if scenarios.empty:
        return
    most = scenarios.iloc[int(np.argmax(scenarios["change"]))]
    yield (
        f"If people in {_called(most['district'])} reported only {100 * most['reporting_rate']:g} % of what people elsewhere "
        f"report, its share of the flagged area should be {percent(most['flagged_share_if'])}, not "
        f"{percent(most['flagged_share'])}."
    )
    own = table.iloc[:-1]
    span = own.iloc[int(np.argmax(own["flagged_share_high"] - own["flagged_share_low"]))]
    rates = ", ".join(
        f"{100 * rate:g} %" for rate in sorted(scenarios["reporting_rate"].unique(), reverse=True)
    )
    yield (
        f"Over all such cases (one district at a time, reporting {rates}) the share of {_called(span['district'])} runs from "
        f"{percent(span['flagged_share_low'])} to {percent(span['flagged_share_high'])}, the widest range of all; nobody "
        "knows the true rates from these data."
    )


def _about_limits(table: pd.DataFrame) -> Iterator[str]:
    nowhere = table.iloc[-1]
    if nowhere["area_share"] > CLEAR_OVERLAP or nowhere["incidents"] > 0:
        yield (
            f"{percent(nowhere['area_share'])} of the study area and {percent(nowhere['incidents_share'])} of the incidents "
            "lie in no district."
        )
    if "residents" not in table:
        yield "How many people live in each district was not given, so nothing is said per resident."
    yield (
        "Incidents caught are those that the map was made from: they show whom it covers, not how well it forecasts. Race, "
        "sex and age of people are not used."
    )


def _called(district: str) -> str:
    """A district in a sentence: a bare number needs the word."""
    return district if any(letter.isalpha() for letter in district) else f"district {district}"


def _first(words: str) -> str:
    """Words at the start of a sentence."""
    return words[0].upper() + words[1:]

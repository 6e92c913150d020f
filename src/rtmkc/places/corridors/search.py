"""Find the next corridors of a terrain."""

from collections.abc import Callable
from typing import Any, Literal

import geopandas as gpd

from rtmkc.places.corridors.choice.rules import CorridorRules
from rtmkc.places.corridors.on_cells import find_on_cells
from rtmkc.places.corridors.on_streets import find_on_streets
from rtmkc.places.corridors.risk import StreetRisk
from rtmkc.places.corridors.wishes import Limits, Wish


def find_corridors(
    terrain: Any,
    streets: Any = None,
    *,
    k: int = 5,
    objective: Literal["excess", "density", "total", "llr", "net"] = "excess",
    max_turns: int = 0,
    min_length: float | str = "500 m",
    max_length: float | str = "2500 m",
    ends: Literal["corner", "anywhere"] = "corner",
    one_name: float = 0.7,
    max_detour: float = 2.0,
    separation: float | str = "300 m",
    by: Literal["expected", "rrs", "empirical_bayes"] = "expected",
    exclude: Any = None,
    treated: Any = None,
    today: str | None = None,
    rules: CorridorRules | None = None,
    together: bool = False,
    incident_value: float | None = None,
    replicates: int = 0,
    resamples: int = 0,
    random_state: int = 0,
    name: str | None = None,
    road_class: str | None = None,
    areas: Any = None,
    area_name: str | None = None,
    addresses: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> gpd.GeoDataFrame:
    """Rank the stretches of street whose expected incidents most exceed what their length is worth.

    Parameters
    ----------
    terrain : RiskTerrain
        Used are its grid, its `cells`, `horizon_days` (the days that `expected` stands for) and facts.
    streets : StreetRisk, StreetNetwork, Layer, GeoDataFrame or path, optional
        Street centre lines, best with names. Without them corridors are seams: chains of neighbouring cells.
    k : int
        How many at most. Fewer come back where no more are worth their length; `attrs["notes"]` says so.
    objective : {"excess", "density", "total", "llr", "net"}
        What the best has most of: expected incidents above what its length would see at the rate of the street metre at
        the 80th percentile of the city's length; expected incidents a metre (comes out as short as allowed); expected
        incidents (as long as allowed); the log likelihood ratio against risk spread evenly over streets; or what its
        expected incidents are worth (`incident_value` each) less what it costs (`rules`).
    max_turns : int
        Most turns; 0 is along one street. A turn is a change of direction by more than 40 degrees, or by more than 20
        where the name changes; a street that goes on under its name may bend.
    min_length, max_length : length
        Bounds of a corridor, both included.
    ends : {"corner", "anywhere"}
        Whether both ends must be corners, or one may lie inside a block.
    one_name : float
        Least share of the length that has one street name; 0 for any. Without effect where no street has a name.
    max_detour : float
        Greatest length, in multiples of the straight line between the ends: corridors that turn back are left out.
    separation : length
        No two corridors are nearer to each other than this, nor to anything in `exclude`; 0 lets them touch.
    by : {"expected", "rrs", "empirical_bayes"}
        What is summed: the forecast; the factors' relative risk score alone; or that score corrected by the incidents
        of each block. The forecast has the incidents of each place in it already.
    exclude : Layer, GeoDataFrame, GeoSeries, geometry, path, or a list of these, optional
        Places to leave out, such as corridors at work. A bare geometry is in the grid's system.
    treated : Treated, Layer, GeoDataFrame or path, optional
        Corridors worked already, with dates: those that ended less than a year before `today` are left out as `exclude`
        is, and older ones count less for a while. `Treated.from_layer` has other terms.
    today : str, optional
        Day from which their age is counted, as "2024-12-31"; by default the last day of the incidents.
    rules : CorridorRules, optional
        Districts, places and money. Quotas and a budget choose the corridors together.
    together : bool
        Choose the `k` that are worth most together, by mixed-integer programming, and not each given those before it.
    incident_value : float, optional
        For objective "net": what one incident is worth, in the unit of the costs.
    replicates : int
        Cities drawn by chance for the scan tests `p_length` and `p_factors`; 0 leaves them out. 199 is usual.
    resamples : int
        Redrawn risks for `rank_stability` and `optimism`; 0 leaves them out. 100 is usual.
    random_state : int
        Seed of both.
    name, road_class : str, optional
        Columns with the street's name and class, where they do not speak for themselves.
    areas : Layer, GeoDataFrame or path, optional
        Polygons (neighbourhoods, say) that seams are named after.
    area_name : str, optional
        Column of `areas` with their names.
    addresses : HundredBlocks, Layer, DataFrame or path, optional
        Rows with addresses and places, that seams are named after too: "mostly 3400 to 3900 Independence Avenue". For
        corridors along them give ``streets=streets_from_addresses(...)``.
    progress : callable, optional
        Told (done, of) while cities are drawn.

    Returns
    -------
    GeoDataFrame
        In the grid's system, best first, with the columns

        - rank, corridor_id (from the corners or cells it runs through, so the same in every run),
        - name (the street it is longest on), from_street, to_street, via (all streets in order); turns, length_m, blocks
          (for seams: cells), value (what the objective says: ranks are by it),
        - expected (incidents in `horizon_days` days, allocated), lower, upper (90 % predictive interval of their
          number), expected_per_km, excess, llr, city_multiple (of the median metre of street; for seams, of the mean
          cell),
        - incidents (observed, allocated in the same way), top_factors (the factors flagged in most of its cells, with
          the share of its cells), buffer_expected (all cells with their centre within 100 m),
        - mde_percent: the smallest fall in `horizon_days` that could be told from chance, in per cent, rounded up
          (`minimum_detectable_reduction`); missing if not even a complete stop could,
        - p_length, p_factors: scan tests of its incidents; rank_stability, optimism: how sure its place is,
        - runner_up: the best one that shares no block with it; why_not_longer: what stopped it at each end; cost and
          district: what `rules` count of it,
        - gap: how far the best possible may lie above it (0: proved best given the earlier ones), and
        - geometry (LineString, from west to east or south to north; of streets made of addresses, as numbers rise).

        ``attrs["statement"]`` says in a sentence what the corridors are the best of, ``attrs["notes"]`` lists what was
        decided on the way, ``attrs["multiple_of"]`` names what city_multiple compares with, ``attrs["search"]`` holds
        the resolved values of the search.

    Raises
    ------
    InputError
        If a value is out of its range, a layer cannot be used, or nothing is left to search.

    Notes
    -----
    The search is exact: every simple path of the family is enumerated; later corridors are the best given the earlier
    ones. See `rtmkc.StreetRisk` for how cells become streets.
    """
    wish = Wish.of(
        k=k, objective=objective, max_turns=max_turns, min_length=min_length, max_length=max_length, ends=ends,
        one_name=one_name, max_detour=max_detour, separation=separation, incident_value=incident_value, replicates=replicates,
        resamples=resamples, random_state=random_state, by=by,
    )  # fmt: skip
    limits = Limits.of(terrain, exclude, treated, today, rules, together, by)
    if streets is None:
        return find_on_cells(
            terrain, wish, limits, by=by, areas=areas, area_name=area_name, addresses=addresses
        )
    cost = limits.rules.cost_column if limits.rules else None
    risk = StreetRisk.of(terrain, streets, name=name, road_class=road_class, cost=cost, by=by)
    return find_on_streets(risk, wish, limits, progress)

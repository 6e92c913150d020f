"""May the weights be believed? Every check of a fitted risk terrain model, as one table in plain words."""

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import shapely
from sklearn.utils.validation import check_is_fitted

from rtmkc.checks import check_count
from rtmkc.evidence.statistics.diagnostics import (
    collinearity,
    overdispersion_test,
    residual_tests,
)
from rtmkc.inputs.dominant import dominant_places
from rtmkc.model.diagnosis.boundary import depth_inside, expected_beyond, share_beyond
from rtmkc.model.diagnosis.refits import Refits
from rtmkc.model.guarded.noise import measure_noise
from rtmkc.model.guarded.plane import Plane
from rtmkc.model.observations import FEW_INCIDENTS
from rtmkc.model.selection import MIN_INCIDENTS, incidents_inside
from rtmkc.model.why import RiskTerrainModel
from rtmkc.raster.exposure import NO_EXPOSURE

Status = Literal["fine", "look", "alarm"]
SIGNIFICANT = 0.05
PER_FACTOR = (10, 20)
"""Incidents for every candidate factor: fewer than the first is an alarm, than the second worth a look."""
DESIGN_EFFECT = 1.5
INFLATION = 5.0
TIED = 2.0
"""BIC differences that do not tell two models apart."""
CHANGE = 0.1
"""An RRV that moves by more than this share depends on something it should not depend on."""
EXTREME = 2.0
"""Pearson's X2 over degrees of freedom that no interval survives."""
DOMINANT = 0.02
MISSING = (5.0, 0.1)
"""Features are missing beyond the boundary if at least so many are expected there, and at most this share is found."""


class _Check(NamedTuple):
    check: str
    value: str
    meaning: str
    advice: str
    status: Status


def diagnose(model: RiskTerrainModel, *, n_simulations: int = 199, random_state: int = 0) -> pd.DataFrame:
    """Check a fitted model: what its weights rest on, and what could be wrong with them.

    Parameters
    ----------
    model : RiskTerrainModel
        Fitted; it may have no factor.
    n_simulations : int
        Data sets simulated from the model, to which its residuals are compared; fewer than 19 could show nothing.
    random_state : int
        Seed of the simulations.

    Returns
    -------
    DataFrame
        One row a check, and a factor where it is about factors: check, value (with its unit), meaning, advice
        (empty where there is nothing to do) and status: "fine", "look" or "alarm".

    Raises
    ------
    InputError
        If `n_simulations` is not a whole number of at least 19.

    Notes
    -----
    "look" says that a number must be read with care, "alarm" that it should not be believed as it stands. See
    `rtmkc.evidence.statistics.diagnostics` for formulas and sources. Refits keep the columns and the family of the
    model. Least numbers of incidents are rules of thumb; a difference of BIC below 2 is "not worth more than a bare
    mention" [1]_.

    References
    ----------
    .. [1] Kass, R. E. and Raftery, A. E. (1995). Bayes factors. Journal of the American Statistical Association 90.

    Examples
    --------
    >>> from rtmkc.simulate import simulate_city
    >>> city = simulate_city(n_rows=30, n_columns=30, n_factors=2, active={0: ("proximity", 2, 4.0)})
    >>> model = RiskTerrainModel("classic").fit(city.grid, city.risk_factors(), city.incidents)
    >>> table = diagnose(model, n_simulations=19)
    >>> print(table[["check", "value", "status"]].head(2).to_string(index=False))
                   check             value status
               incidents 1,055 in the area   fine
    incidents per factor               528   fine
    """
    check_is_fitted(model)
    n_simulations = check_count("n_simulations", n_simulations, minimum=round(1 / SIGNIFICANT) - 1)
    fitted = Refits.of(model)
    checks = [
        *_incidents(fitted),
        *_family(fitted),
        *_residuals(fitted, n_simulations, random_state),
        *_price(fitted),
        *_columns(fitted),
        *_dominant(fitted),
        *_exposure(fitted),
        *_missing_outside(fitted),
        *_design_effects(fitted),
        *_overlap(fitted),
        *_rivals(fitted),
        *_edge(fitted),
    ]
    return pd.DataFrame(checks, columns=list(_Check._fields))


def _incidents(fitted: Refits) -> Iterator[_Check]:
    number, n_factors = fitted.n_incidents, len(fitted.candidates.factors)
    few = number < FEW_INCIDENTS
    yield _Check(
        "incidents",
        f"{number:,} in the area",
        f"Fewer than {FEW_INCIDENTS}: this is exploration only."
        if few
        else "Enough to estimate weights; how well, the rows below say.",
        "Use a longer period or a wider definition before you act on a weight." if few else "",
        "alarm" if few else "fine",
    )
    each = number / n_factors
    status: Status = "alarm" if each < PER_FACTOR[0] else "look" if each < PER_FACTOR[1] else "fine"
    yield _Check(
        "incidents per factor",
        f"{each:,.0f}",
        f"{number:,} incidents have to tell {n_factors} candidate factors apart"
        + ("." if status == "fine" else f"; below {PER_FACTOR[1]} each that is guesswork."),
        "" if status == "fine" else "Try fewer factors, chosen before you look at the incidents.",
        status,
    )


def _family(fitted: Refits) -> Iterator[_Check]:
    poisson, negative = fitted.fit("poisson"), fitted.fit("nb1")
    if poisson is None or negative is None:
        return
    ratio, p_value = overdispersion_test(negative.log_likelihood, poisson.log_likelihood)
    overdispersed, sigma = p_value <= SIGNIFICANT, fitted.model.dispersion_ or 0.0
    meaning = "Incidents pile up in some cells as much as chance gives."
    if overdispersed:
        meaning = "Incidents pile up in some cells more than chance gives, and the model " + (
            "allows for it in its intervals."
            if fitted.is_calibrated
            else f"allows for it (variance {1 + sigma:.2f} x mean)."
            if sigma
            else "does not allow for it."
        )
    unmodelled = overdispersed and not (fitted.is_calibrated or sigma)
    yield _Check(
        "uneven counts",
        f"{'NB1' if sigma else 'Poisson'}; LR {ratio:,.1f}, {_p(p_value)}",
        meaning,
        "Read the intervals as somewhat too narrow." if unmodelled else "",
        "look" if unmodelled else "fine",
    )


def _residuals(fitted: Refits, n_simulations: int, random_state: int) -> Iterator[_Check]:
    model, grid, means = fitted.model, fitted.grid, fitted.model.predict()
    sigma = model.dispersion_ or 0.0
    tests = residual_tests(
        fitted.counts,
        means,
        grid.inside,
        dispersion=sigma,
        n_parameters=1 + len(fitted.columns) + (sigma > 0),
        n_simulations=n_simulations,
        random_state=random_state,
    )
    spread = tests["dispersion"]
    wide = spread.p_value <= SIGNIFICANT
    bad = wide and not fitted.is_calibrated
    but = "; the intervals allow for it." if fitted.is_calibrated else "."
    yield _Check(
        "spread of residuals",
        f"X2/df {spread.value:.2f}, {_p(spread.p_value)}",
        f"Counts vary more than a {'Poisson' if not sigma else 'negative binomial'} model with these means says{but}"
        if wide
        else "Counts vary about as much as the model says.",
        "Look for a few extreme cells, or a factor that is missing." if bad else "",
        "alarm" if bad and spread.value > EXTREME else "look" if bad else "fine",
    )
    for name, neighbours in (("queen", "8 neighbours"), ("rook", "4 neighbours")):
        test = tests[name]
        alike = test.p_value <= SIGNIFICANT
        yield _Check(
            f"likeness of {neighbours}",
            f"Moran's I {test.value:.3f}, {_p(test.p_value)}",
            f"Neighbouring cells have too many together, or too few: they share something unmeasured{but}"
            if alike
            else "What the model leaves over is not shared by neighbouring cells.",
            "Do not read the model's intervals as proof." if alike and not fitted.is_calibrated else "",
            "look" if alike and not fitted.is_calibrated else "fine",
        )
    seen = min(tests[name].p_value for name in ("queen", "rook")) <= SIGNIFICANT
    yield _noise(fitted, means, seen)


def _noise(fitted: Refits, means: np.ndarray, seen: bool) -> _Check:
    """Say how far noise reaches; `seen` is whether neighbouring cells show it too."""
    plane = Plane(fitted.grid)
    # What is printed is what the intervals were made with, where there are such.
    noise = fitted.model.noise_ or measure_noise(plane, fitted.counts, means)
    if noise.variance == 0:
        return _Check("reach of noise", "none found", "No shared noise between places is seen.", "", "fine")
    metres = noise.range_cells * fitted.grid.cell_size
    beyond = noise.range_cells >= plane.short_side / 2 - 0.001
    value = f"{'at least ' if beyond else ''}{metres:,.0f} m (variance {noise.variance:.2f})"
    meaning = f"Places within {metres:,.0f} m share good or bad luck that no factor explains"
    blocks = f"Use blocks of {2 * metres:,.0f} to {3 * metres:,.0f} m for folds"
    if not fitted.is_calibrated:
        return _Check(
            "reach of noise",
            value,
            f"{meaning}, and the intervals do not allow for it.",
            f"{blocks}, and read the intervals as too narrow.",
            "alarm" if seen else "look",
        )
    used = fitted.model.fold_block_m_
    short = used is not None and used < 2 * metres
    meaning += "; the intervals allow for it" + (f", the folds of {used:,.0f} m hardly." if short else ".")
    return _Check(
        "reach of noise", value, meaning, f"{blocks}." if short else "", "look" if short else "fine"
    )


def _price(fitted: Refits) -> Iterator[_Check]:
    n_cells, number = fitted.grid.n_cells, fitted.n_incidents
    price, cheaper = math.log(n_cells), min(n_cells, number)
    meaning = (
        f"A factor enters if it improves twice the log likelihood by {price:.1f}; cells half as wide would ask for "
        f"{math.log(4):.1f} more of the same incidents"
    )
    changes = []
    if cheaper < n_cells:
        kept = fitted.screened()
        changes = _differences(fitted, fitted.search(kept), fitted.search(kept, n_for_bic=cheaper))
        ends = f"another model: {'; '.join(changes)}" if changes else "the same model"
        meaning += f". At the price of incidents, {math.log(cheaper):.1f}, the search ends at {ends}"
    yield _Check(
        "price of a factor",
        f"log({n_cells:,} cells) = {price:.1f}",
        f"{meaning}.",
        "Do not build on what the size of a cell decides." if changes else "",
        "look" if changes else "fine",
    )


def _differences(fitted: Refits, usual: set[int], other: set[int]) -> list[str]:
    """What another search chose and left out, compared with the usual one."""
    said = []
    for word, columns in (("with", other - usual), ("without", usual - other)):
        for row in (fitted.candidates.columns.iloc[column] for column in sorted(columns)):
            said.append(f"{word} {row['factor']} ({row['kind']}, {row['influence_m']:,.0f} m)")
    return said


def _columns(fitted: Refits) -> Iterator[_Check]:
    reasons = fitted.candidates.dropped["reason"].astype(str).str.split(":").str[0].value_counts()
    inside = incidents_inside(fitted.design, fitted.counts)
    outside = fitted.n_incidents - inside
    separated = int(((inside == 0) | (outside == 0)).sum())
    scarce = int((np.minimum(inside, outside) < MIN_INCIDENTS).sum()) - separated
    parts = [
        f"{number} {word}"
        for word, number in (
            ("merged as duplicates", int(reasons.get("duplicate", 0))),
            ("constant", int(reasons.get("constant", 0))),
            ("too rare", int(reasons.get("too rare", 0))),
            (f"with under {MIN_INCIDENTS} incidents", scarce),
            ("with no or all incidents", separated),
        )
        if number
    ]
    n_columns = fitted.candidates.n_generated
    meaning = "Every column tried can carry a weight."
    if parts:
        meaning = (
            "These columns cannot carry a weight of their own; candidates.dropped names those never tried."
        )
    yield _Check(
        "columns not used",
        f"{', '.join(parts) or 'none'} (of {n_columns:,})",
        meaning,
        "Where no or all incidents are inside, a larger distance may do." if separated else "",
        "look" if separated else "fine",
    )


def _dominant(fitted: Refits) -> Iterator[_Check]:
    observations = fitted.model.observations_
    places = dominant_places(observations.incidents, share=DOMINANT)
    if places.empty:
        meaning = f"No single address holds {100 * DOMINANT:.0f} % of the incidents."
        yield _Check("places that dominate", "none", meaning, "", "fine")
        return
    top = places.iloc[0]
    points = shapely.get_coordinates(observations.incidents.frame.geometry.to_numpy())
    _, place, at_place = np.unique(points, axis=0, return_inverse=True, return_counts=True)
    dominated = at_place[place.ravel()] >= places["points"].min()
    counts = fitted.counts - np.bincount(observations.cells[dominated], minlength=fitted.grid.n_cells)
    effects = ["nothing is left"]
    if counts.any():
        # The screen was shaped by these places; without them the search sees every column.
        every = np.arange(fitted.candidates.n_columns)
        usual = fitted.search(every) if fitted.is_calibrated else set(fitted.columns)
        chosen = _differences(fitted, usual, fitted.search(every, counts=counts))
        changes = fitted.changes(counts=counts)
        moved = [f"{name} {_to(*pair)}" for name, pair in changes.items() if _moves(*pair)]
        effects = [f"a search of all columns ends at another model: {'; '.join(chosen)}"] if chosen else []
        effects += [f"RRVs change: {'; '.join(moved)}"] if moved else []
        if fitted.columns and not changes:
            effects.append("the weights cannot be estimated")
    yield _Check(
        "places that dominate",
        f"{len(places)} with {100 * places['share'].sum():.0f} % of incidents",
        f"The first, {top['latitude']:.5f}, {top['longitude']:.5f}, holds {int(top['points']):,}. Without them "
        f"{', and '.join(effects) or 'the model and its RRVs hold'}.",
        "Find out what each stands for; leave out with exclude_places= what is only an address of record.",
        "alarm" if effects else "look",
    )


def _exposure(fitted: Refits) -> Iterator[_Check]:
    statement = fitted.model.observations_.exposure.statement
    none = statement == NO_EXPOSURE
    yield _Check(
        "exposure",
        NO_EXPOSURE if none else statement.split(" (")[0],
        "Factors and incidents both gather where people are: a weight may only say 'busy'."
        if none
        else "Weights compare places that are equally busy, as far as this measures it.",
        "Give exposure=, such as the density of parcels or of residents." if none else "",
        "look" if none else "fine",
    )


def _missing_outside(fitted: Refits) -> Iterator[_Check]:
    looked_at, n_missing = 0, 0
    for factor in fitted.candidates.factors:
        features = fitted.candidates.features[factor.name]
        if features.raster is not None:
            continue
        reach = factor.reach(fitted.grid)
        expected = expected_beyond(fitted.grid, features, reach)
        looked_at += 1
        if expected < MISSING[0] or features.n_beyond > MISSING[1] * expected:
            continue
        n_missing += 1
        yield _Check(
            f"{factor.name}: beyond the boundary",
            f"{features.n_beyond} found, some {expected:,.0f} expected",
            f"Its layer seems cut at the boundary: cells near it miss what lies within {reach:,.0f} m outside.",
            "Read a layer that reaches beyond the boundary.",
            "look",
        )
    if looked_at and not n_missing:
        meaning = "Features just outside the area are read as well, or few are to be expected there."
        yield _Check("beyond the boundary", "no layer seems cut", meaning, "", "fine")


def _design_effects(fitted: Refits) -> Iterator[_Check]:
    names = ["design_effect", "rrv", "poisson_rrv", "lower", "upper"]
    weights = fitted.model.weights_.set_index("factor")[names].astype(float)
    for name in fitted.factors:
        effect, rrv, plain, lower, upper = (float(value) for value in weights.loc[name].to_numpy())
        if not np.isfinite(effect):
            continue
        worth = fitted.n_incidents / max(effect, 1.0)
        high = effect > DESIGN_EFFECT
        yield _Check(
            f"{name}: noise of the map",
            f"design effect {effect:.1f}",
            f"For this factor {fitted.n_incidents:,} incidents say as much as {worth:,.0f} unrelated ones; its interval "
            "allows for it.",
            "Trust its interval, not the number of incidents." if high else "",
            "look" if high else "fine",
        )
        if plain < lower or plain > upper:
            yield _Check(
                f"{name}: two estimates",
                f"x{rrv:.2f}, and x{plain:.2f} if cells were independent",
                "Places with many incidents count for less in the first: what the factor does is not the same everywhere.",
                "Look at parts of the city, or slices of the week, on their own.",
                "look",
            )


def _overlap(fitted: Refits) -> Iterator[_Check]:
    if len(fitted.columns) < 2:
        return
    flags = fitted.model.flags_.to_numpy()
    inflation, correlation = collinearity(flags)
    for position, name in enumerate(fitted.factors):
        nearest = int(np.argmax(np.abs(correlation[position])))
        high = inflation[position] > INFLATION
        yield _Check(
            f"{name}: overlap",
            f"VIF {inflation[position]:.1f}, correlation {correlation[position, nearest]:.2f}",
            f"Most alike is {fitted.factors[nearest]}"
            + ("; the data hardly tell the two apart." if high else ", and the data tell them apart."),
            "Keep the one you can act on." if high else "",
            "look" if high else "fine",
        )


def _rivals(fitted: Refits) -> Iterator[_Check]:
    weights, rivals = fitted.model.weights_.set_index("factor"), fitted.model.runner_ups_
    for name in fitted.factors:
        if fitted.is_calibrated:
            shown = str(weights.loc[name, "extent_set"])
            tied = ", " in shown or "; " in shown
            value, meaning = "within the noise of the map", f"As good: {shown}."
        else:
            own = rivals[rivals["factor"] == name]
            close = own[own["bic_above_chosen"] < TIED]
            said = [f"{row['kind']} {row['influence_m']:,.0f} m" for _, row in close.iterrows()]
            tied = bool(said)
            value = f"{len(close)} of {len(own)} within {TIED:.0f} BIC"
            meaning = f"As good: {', '.join(said[:3])}{f' and {len(said) - 3} more' if said[3:] else ''}."
        yield _Check(
            f"{name}: rivals",
            value,
            meaning if tied else "No other distance or kind explains the incidents as well.",
            "Do not read its distance as exact." if tied else "",
            "look" if tied else "fine",
        )


def _edge(fitted: Refits) -> Iterator[_Check]:
    if not fitted.columns:
        return
    candidates = fitted.candidates
    extent = float(candidates.columns["influence_m"].iloc[list(fitted.columns)].max())
    inner = depth_inside(fitted.grid) > extent
    changes = fitted.changes(cells=inner)
    for name, column in zip(fitted.factors, fitted.columns, strict=True):
        features, share = candidates.features[name], ""
        if features.raster is None:
            beyond = share_beyond(fitted.grid, features, candidates.columns.iloc[column])
            share = f"{100 * beyond:.0f} % of its band outside; "
        if name not in changes:
            yield _Check(
                f"{name}: edge",
                f"{share}no RRV without the edge",
                f"Too few incidents are farther than {extent:,.0f} m from the boundary to tell.",
                "Study a larger area, or shorter distances.",
                "look",
            )
            continue
        moves = _moves(*changes[name])
        yield _Check(
            f"{name}: edge",
            f"{share}RRV {_to(*changes[name])}",
            f"Its weight {'changes' if moves else 'stays'} if cells within {extent:,.0f} m of the boundary are left out.",
            "See whether its layer, or the incidents, end at the boundary." if moves else "",
            "look" if moves else "fine",
        )


def _moves(before: float, after: float) -> bool:
    return abs(after / before - 1) > CHANGE


def _to(before: float, after: float) -> str:
    return f"{before:.2f} to {after:.2f} ({100 * (after / before - 1):+.0f} %)"


def _p(p_value: float) -> str:
    return "p < 0.001" if p_value < 0.001 else f"p {p_value:.3f}"

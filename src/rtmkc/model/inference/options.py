"""Other intervals for relative risk values, each with the question that it answers."""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from rtmkc.checks import check_choice, check_count
from rtmkc.errors import InputError
from rtmkc.model.guarded.plane import Plane
from rtmkc.model.guarded.recipe import WALD, poisson_means
from rtmkc.model.inference.resampled import (
    BlockTable,
    Errors,
    blocks_of,
    bootstrap_errors,
    check_blocks,
    checkerboard,
    conley_errors,
)
from rtmkc.model.inference.reselection import RANGES, Chosen, Material, Progress
from rtmkc.model.inference.thinning import Chains, check_eps, find_chains, toss
from rtmkc.model.why import RiskTerrainModel
from rtmkc.units import format_length, parse_length

How = Literal["thin", "split", "bootstrap", "conley"]
CITY = "this city and period"
GENERAL = "the general effect"
TARGETS: dict[str, str] = {"thin": CITY, "split": GENERAL, "bootstrap": GENERAL, "conley": GENERAL}
MIN_BANDWIDTH = 3.0
"""Cells; a shorter sandwich is that of independent cells."""
MIN_DRAWS = 200
MEASURED = {
    ("split", "guarded"): (96, 95, 94),
    ("bootstrap", "guarded"): (95, 88, 91),
    ("bootstrap", "classic"): (95, 80, 85),
    ("conley", "guarded"): (93, 81, 85),
    ("conley", "classic"): (94, 69, 72),
}
"""Per cent of intervals that held the general effect in simulated cities: docs/reference/inference-options.md."""
NO_FACTOR = "No factor is in the model: there is no weight to give an interval to."
COLUMNS = [
    "factor", "kind", "influence_m", "fitted_on", "coef", "se", "rrv", "lower", "upper", "inflation", "n_inside",
]  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False)
class Inference:
    """Intervals of relative risk values, and what they promise.

    Attributes
    ----------
    how : {"thin", "split", "bootstrap", "conley"}
        How they were made.
    target : {"this city and period", "the general effect"}
        What the 95 % intervals are for: what happened here and then, or what a factor does, in other periods and cities
        like this.
    table : DataFrame
        One row a weight: factor, kind, influence_m, fitted_on (which incidents measured it), coef, se, rrv, lower,
        upper, inflation (how many times wider than the naive interval of the same columns and all incidents), n_inside
        (incidents in flagged cells among those it was fitted on). Bounds are 0 and infinity where the data cannot tell.
    statement : str
        What is promised and what is not.
    frequencies : DataFrame or None
        Of thinning: factor, kind, influence_m, chosen (share of the thins); kind "any" stands for the factor.
    """

    how: str
    target: str
    table: pd.DataFrame = field(repr=False)
    statement: str
    frequencies: pd.DataFrame | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        lines = [f"Inference by {self.how!r}, for {self.target}; 95 % intervals of relative risk values"]
        width = max((len(name) for name in self.table["factor"]), default=0)
        lines += [
            f"  {row['factor']:<{width}}  x{row['rrv']:.2f} ({row['lower']:.2f} to {row['upper']:.2f})  {row['kind']} "
            f"{format_length(row['influence_m'])}, {row['fitted_on']}, {row['inflation']:.1f} times the naive interval"
            for row in self.table.to_dict("records")
        ]
        lines += [textwrap.fill(part, 110) for part in self.statement.splitlines()]
        return "\n".join(lines)


def infer(
    model: RiskTerrainModel,
    how: How,
    *,
    seed: int = 0,
    progress: Progress | None = None,
    **options: Any,
) -> Inference:
    """Give the weights of a fitted model intervals of another kind than its own.

    Parameters
    ----------
    model : RiskTerrainModel
        Fitted by any method.
    how : {"thin", "split", "bootstrap", "conley"}
        "thin": factors are chosen on one random half of the incidents and measured on the other. "split": the same with
        the squares of a checkerboard instead of random halves, both ways round. "bootstrap": blocks of the city are
        drawn again. "conley": a sandwich variance that allows for residuals alike up to some distance. The last two
        take the columns of the model as given.
    seed : int
        Of coins and draws.
    progress : callable, optional
        Called with (done, total).
    **options
        "thin": `eps`, the share of the incidents that choose (.5); `n_thins` (20); `repeat_days`, time within which
        incidents at one place share a coin ("14 days"); `event` and `address`, columns of the incidents, see
        `rtmkc.model.inference.thinning.find_chains`. "split" and "bootstrap": `block`, side of the blocks. "bootstrap": `n_draws`
        (400). "conley": `bandwidth`, a length. Blocks and bandwidth are 3 ranges of the residuals by default, blocks
        no shorter than those of the folds.

    Returns
    -------
    Inference
        With an empty table if the model has no factor.

    Raises
    ------
    InputError
        If the model is not a fitted `RiskTerrainModel`, an option is unknown or out of range, or the area too small.

    Notes
    -----
    All weights here are Poisson estimates. Those of the guarded method weigh cells by the noise around them, and differ
    where an effect is not the same everywhere; "bootstrap" and "conley" name such factors. Intervals are Wald (thin), or
    Student's t with one degree of freedom less than there are blocks (split, bootstrap). How well each covers is measured in the documentation.

    Examples
    --------
    >>> from rtmkc.simulate import simulate_city
    >>> city = simulate_city(n_rows=40, n_columns=40, n_factors=2, active={0: ("proximity", 2, 4.0)})
    >>> model = RiskTerrainModel("classic").fit(city.grid, city.risk_factors(), city.incidents)
    >>> found = infer(model, "conley")
    >>> found.target, found.table["factor"].tolist()
    ('the general effect', ['factor 0'])
    """
    check_choice("how", how, get_args(How))
    check_count("seed", seed, minimum=0)
    for name in options:
        if name not in _OPTIONS[how]:
            raise InputError(f"Invalid option {name!r} of how={how!r}. It has: {', '.join(_OPTIONS[how])}.")
    return _MAKERS[how](Material.of(model), seed, progress, **options)


def _thin(
    material: Material,
    seed: int,
    progress: Progress | None,
    *,
    eps: float = 0.5,
    n_thins: int = 20,
    repeat_days: int | str = 14,
    event: str | None = None,
    address: str | None = None,
) -> Inference:
    eps, n_thins = check_eps(eps), check_count("n_thins", n_thins)
    observations = material.model.observations_
    chains = find_chains(observations, repeat_days=repeat_days, event=event, address=address)
    first = toss(chains, eps, seed)
    if first.all() or not first.any():
        raise InputError(
            f"Invalid eps {eps:g}. With this seed one part has none of the {len(first):,} incidents, which make "
            f"{chains.n_chains:,} chains; use an eps nearer to .5, or more incidents."
        )
    if not material.columns:
        return _nothing("thin", NO_FACTOR)
    thins = []
    for thin in range(n_thins):
        thins.append(material.chosen_on(toss(chains, eps, seed, thin)))
        if progress:
            progress(thin + 1, n_thins)
    columns, frequencies = thins[0], material.frequencies(chosen=thins)
    statement = _thin_statement(material, chains, eps, n_thins)
    if not columns:
        none = "The incidents that choose found no factor, so that none was measured.\n"
        return replace(_nothing("thin", none + statement), frequencies=frequencies)
    counts = np.bincount(observations.cells[~first], minlength=observations.grid.n_cells).astype(float)
    fit = BlockTable.of(material.design, columns, replace(material.response, counts=counts)).fit()
    unknown = np.full(len(columns), np.nan)
    coef = unknown if fit is None else fit.coef[: len(columns)]
    errors = Errors(unknown if fit is None else fit.standard_errors[1 : 1 + len(columns)], WALD)
    table = _rows(material, columns, coef, errors, f"{100 * (1 - eps):.3g} % of the incidents", counts)
    return Inference("thin", CITY, table, statement, frequencies)


def _thin_statement(material: Material, chains: Chains, eps: float, n_thins: int) -> str:
    n_incidents, noise = material.model.observations_.n_incidents, material.noise
    patches = "none were found"
    if noise.variance > 0:
        patches = (
            f"a variance of {noise.variance:.2f} in log risk, a range of {format_length(material.reach)}"
        )
    return (
        f"Promised: {100 * eps:.3g} % of the incidents chose the factors and the others measured the weights, so that "
        "what made a factor stand out by chance did not make its weight. Intervals hold for what happened in this city "
        "and period, if chains of incidents come independently of each other.\n"
        "Not promised: that a factor raises risk elsewhere or later. Patches of risk that no factor explains are shared "
        f"by both parts, and look like an effect in both (here: {patches}).\n"
        f"Coins: {chains.n_chains:,} for {n_incidents:,} incidents, because {chains.rule} share one "
        f"({100 * chains.share_together:.3g} % of the incidents share theirs). The table is the first of {n_thins} thins; "
        "others may choose other factors, see frequencies."
    )


def _split(
    material: Material,
    seed: int,
    progress: Progress | None,
    *,
    block: float | str | None = None,
    n_draws: int = 400,
) -> Inference:
    n_draws, side = check_count("n_draws", n_draws, minimum=MIN_DRAWS), material.block_side(block)
    white, blocks = checkerboard(material.grid, side), blocks_of(material.grid, side)
    numbers = [len(np.unique(blocks[cells])) for cells in (white, ~white)]
    check_blocks(min(numbers), side)
    if not material.columns:
        return _nothing("split", NO_FACTOR)
    parts = []
    for done, (name, measuring) in enumerate({"white squares": white, "black squares": ~white}.items()):
        columns = material.chosen_in(~measuring)
        if progress:
            progress(done + 1, 2)
        if columns:
            table = BlockTable.of(material.design, columns, material.response, blocks, measuring)
            counts = material.response.counts * measuring
            parts.append(_block_rows(material, columns, table, name, counts, n_draws, seed))
    statement = (
        f"Promised: factors were chosen in the squares of one colour of a checkerboard, {format_length(side)} a side, and "
        f"measured in those of the other ({numbers[0]} white, {numbers[1]} black) by a bootstrap of squares, both ways "
        "round. Intervals are for what a factor does in general, if squares of different colours have little in common.\n"
        "Not promised: a factor that is there for one colour only should be doubted, and a factor that is not there may "
        f"be real: each step has half of the data. {_measured('split', material)}"
    )
    if not parts:
        return _nothing("split", f"Neither half of the city has, alone, a factor.\n{statement}")
    return Inference("split", GENERAL, pd.concat(parts, ignore_index=True), statement)


def _bootstrap(
    material: Material,
    seed: int,
    progress: Progress | None,
    *,
    block: float | str | None = None,
    n_draws: int = 400,
) -> Inference:
    n_draws, side = check_count("n_draws", n_draws, minimum=MIN_DRAWS), material.block_side(block)
    columns, response = material.columns, material.response
    table = BlockTable.of(material.design, columns, response, blocks_of(material.grid, side))
    check_blocks(table.n_blocks, side)
    if not columns:
        return _nothing("bootstrap", NO_FACTOR)
    rows = _block_rows(material, columns, table, "all incidents", response.counts, n_draws, seed)
    if progress:
        progress(1, 1)
    statement = (
        "Promised: intervals are for what a factor does in general, allowing for incidents that cluster within "
        f"{table.n_blocks} blocks of {format_length(side)}, in an area much larger than its patches of risk.\n"
        "Not promised: that the factors are the right ones. The same incidents chose them, which is not allowed for. "
        f"{_measured('bootstrap', material)}{_disagreement(material, rows)}"
    )
    return Inference("bootstrap", GENERAL, rows, statement)


def _conley(
    material: Material, seed: int, progress: Progress | None, *, bandwidth: float | str | None = None
) -> Inference:
    del seed  # nothing is drawn
    plane, cell = Plane(material.grid), material.grid.cell_size
    longest = plane.short_side / 2
    reach = min(max(RANGES * material.noise.range_cells, MIN_BANDWIDTH), longest)
    if bandwidth is not None:
        length = material.grid.block_length
        reach = parse_length(bandwidth, name="bandwidth", block_length=length) / cell
        if not 1 <= reach <= longest:
            raise InputError(
                f"Invalid bandwidth {bandwidth!r}. It must be between the side of a cell ({format_length(cell)}) and half "
                f"the shorter side of the area ({format_length(longest * cell)})."
            )
    columns, response = material.columns, material.response
    if not columns:
        return _nothing("conley", NO_FACTOR)
    fit, means = poisson_means(material.design, columns, response)
    matrix = np.column_stack([np.ones(len(means)), material.design.dense(columns), response.covariates])
    errors = conley_errors(plane, matrix, response.counts, means, reach)
    own = replace(errors, standard_errors=errors.standard_errors[1 : 1 + len(columns)])
    rows = _rows(material, columns, fit.coef, own, "all incidents", response.counts)
    if progress:
        progress(1, 1)
    statement = (
        "Promised: intervals are for what a factor does in general, allowing for residuals that are alike up to "
        f"{format_length(reach * cell)}, in an area much larger than that.\n"
        "Not promised: that the factors are the right ones. The same incidents chose them, which is not allowed for. "
        f"{_measured('conley', material)}{_disagreement(material, rows)}"
    )
    return Inference("conley", GENERAL, rows, statement)


def _block_rows(
    material: Material,
    columns: Chosen,
    table: BlockTable,
    fitted_on: str,
    counts: np.ndarray,
    n_draws: int,
    seed: int,
) -> pd.DataFrame:
    fit = table.fit()
    coef = np.full(len(columns), np.nan) if fit is None else fit.coef[: len(columns)]
    return _rows(material, columns, coef, bootstrap_errors(table, n_draws, seed), fitted_on, counts)


def _rows(
    material: Material,
    columns: Sequence[int],
    coef: np.ndarray,
    errors: Errors,
    fitted_on: str,
    counts: np.ndarray,
) -> pd.DataFrame:
    """Return the rows of a table; where the data cannot tell, the interval holds everything."""
    chosen = material.candidates.columns.iloc[list(columns)]
    naive = BlockTable.of(material.design, columns, material.response).fit()
    naive_errors = np.nan if naive is None else naive.standard_errors[1 : 1 + len(columns)]
    reach = errors.multiple * errors.standard_errors
    table = pd.DataFrame(
        {
            "factor": chosen["factor"].to_numpy(),
            "kind": chosen["kind"].to_numpy(),
            "influence_m": chosen["influence_m"].to_numpy(dtype=float),
            "fitted_on": fitted_on,
            "coef": coef,
            "se": errors.standard_errors,
            "rrv": np.exp(coef),
            "lower": np.nan_to_num(np.exp(coef - reach), nan=0.0),
            "upper": np.nan_to_num(np.exp(coef + reach), nan=np.inf),
            "inflation": reach / (WALD * naive_errors),
            "n_inside": [int(counts[material.candidates.column(column)].sum()) for column in columns],
        },
        columns=COLUMNS,
    )
    return table.sort_values("coef", ascending=False, key=abs, kind="stable", ignore_index=True)


def _measured(how: str, material: Material) -> str:
    """Say what intervals of a kind held where the truth was known."""
    if (how, material.model.method) not in MEASURED:
        return ""
    none, short, long = MEASURED[how, material.model.method]
    return (
        f"In simulated cities of 6 x 6 km with 1,000 incidents, 95 % intervals of this kind held the general effect in {none} % "
        f"of cases where there were no patches of risk, {short} % with patches of 400 m range, {long} % with 600 m."
    )


def _disagreement(material: Material, rows: pd.DataFrame) -> str:
    """Name the factors whose Poisson weight lies outside the interval that the model itself gives."""
    own = material.model.weights_.set_index("factor").loc[rows["factor"]].reset_index()
    apart = ~rows["rrv"].between(own["lower"], own["upper"])
    if not apart.any():
        return ""
    named = [
        f"{name} x{here:.2f} against x{there:.2f}"
        for name, here, there in zip(
            rows["factor"][apart], rows["rrv"][apart], own["rrv"][apart], strict=True
        )
    ]
    return (
        "\nPoisson weights differ from the model's own, which weigh cells by the noise around them: "
        f"{'; '.join(named)}. A factor for which they disagree acts differently in different places."
    )


def _nothing(how: str, statement: str) -> Inference:
    return Inference(how, TARGETS[how], pd.DataFrame(columns=COLUMNS), statement)


_MAKERS: dict[str, Callable[..., Inference]] = {
    "thin": _thin,
    "split": _split,
    "bootstrap": _bootstrap,
    "conley": _conley,
}
_OPTIONS = {
    "thin": ("eps", "n_thins", "repeat_days", "event", "address"),
    "split": ("block", "n_draws"),
    "bootstrap": ("block", "n_draws"),
    "conley": ("bandwidth",),
}

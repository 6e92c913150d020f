"""Does the forecast hold? Fit on one part of the incidents, score on another, beside everything it has to beat."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from rtmkc.checks import check_choice, check_count
from rtmkc.errors import InputError
from rtmkc.evidence.contestants import ORACLE, UNIFORM, WEIGHTS, Contest, Setting, pooled
from rtmkc.evidence.leaks import check_leaks, check_spread
from rtmkc.evidence.scores import HEADLINE_SHARE, Scores, score, verdict
from rtmkc.evidence.splits import DEFAULT_BLOCK, HoldOut, hold_out_half, hold_out_period, hold_out_places
from rtmkc.evidence.statistics.resampling import square_blocks
from rtmkc.model.observations import CONTEMPORANEOUS, Observations, observe
from rtmkc.model.why import Method
from rtmkc.raster.candidates import build_curves, check_factors
from rtmkc.raster.factors import RiskFactor
from rtmkc.raster.grid import Grid
from rtmkc.storage import created_at, new_folder, write_json
from rtmkc.units import Period, format_length, parse_length

TABLES = ("table", "rankings", "paired", "curves", "calibration")


@dataclass(frozen=True, eq=False, repr=False)
class Validation:
    """How good a forecast was on incidents that it had not seen, beside what it has to beat.

    Made by `validate`. "Nats" are the mean over test incidents of log(density / uniform density): a proper score, 0
    for the uniform. Intervals are 95 % of a block bootstrap; differences are paired, draw by draw.

    Attributes
    ----------
    heading : str
        What kind of test it was; "contemporaneous, not a forecast" where factors reach into the test.
    verdict : tuple of str
        Who wins. If a baseline does, the first line says so.
    statement : tuple of str
        Numbers of incidents and cells, periods, system, folds, seeds: what every output must say.
    table : DataFrame
        One row a contestant: contestant, competes, nats with nats_lower and nats_upper, hit_<%> and pai_<%> at six
        shares of the area, deviance_shape (pattern), deviance_level (level too), calibration_slope, expected (their
        sum), note (what was chosen).
    rankings : DataFrame
        One row a contestant and share of the area: hit_rate, pai with bootstrap interval (_lower, _upper) and with the
        worst and best order of equal scores (_lowest, _highest), pei.
    paired : DataFrame
        One row a pair: nats and hit rates of `contestant` minus those of `against`, with intervals.
    curves : DataFrame
        Hit rate by share of the area.
    calibration : DataFrame
        Ten bins of equal expectation: cells, expected, observed, their ratio with exact 95 % interval.
    surfaces : dict of str to ndarray, each (n_cells,)
        Expected incidents of every contestant.
    test : ndarray, shape (n_cells,)
        The incidents that came.
    seconds : dict of str to float
        Time that each contestant took.
    facts : dict
        What `statement` says, as values.

    Examples
    --------
    >>> Validation.__name__
    'Validation'
    """

    heading: str
    verdict: tuple[str, ...]
    statement: tuple[str, ...]
    table: pd.DataFrame
    rankings: pd.DataFrame
    paired: pd.DataFrame
    curves: pd.DataFrame
    calibration: pd.DataFrame
    surfaces: dict[str, np.ndarray] = field(repr=False)
    test: np.ndarray = field(repr=False)
    seconds: dict[str, float] = field(repr=False)
    facts: dict[str, Any] = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """Return `table` indexed by contestant, with heading, verdict and statement in ``attrs``."""
        table = self.table.set_index("contestant")
        table.attrs = {"heading": self.heading, "verdict": self.verdict, "statement": self.statement}
        return table

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the tables as CSV and everything that was said as JSON, whole or not at all.

        Parameters
        ----------
        folder : path
            table.csv, rankings.csv, paired.csv, curves.csv, calibration.csv, validation.json.
        overwrite : bool
            Whether a folder that exists may be replaced.

        Raises
        ------
        OutputError
            If the folder exists or cannot be written.
        """
        said = {
            "created": created_at(),
            "heading": self.heading,
            "verdict": list(self.verdict),
            "statement": list(self.statement),
            "facts": self.facts,
        }
        with new_folder(folder, overwrite=overwrite) as place:
            for name in TABLES:
                text = getattr(self, name).to_csv(index=False, lineterminator="\n")
                (place / f"{name}.csv").write_text(text, encoding="utf-8", newline="\n")
            write_json(place / "validation.json", said)

    def __repr__(self) -> str:
        lines = [self.heading, *self.verdict, ""]
        lines.append(f"{'':<38}{'nats':>7}{'95 % interval':>18}   hits in 1 %    2 %    5 %   10 %   PAI 5 %")
        for _, row in self.table.iterrows():
            if np.isnan(row["nats"]):
                lines.append(f"{row['contestant']:<38}{row['note']}")
                continue
            interval = f"[{row['nats_lower']:.3f}, {row['nats_upper']:.3f}]"
            hits = "".join(f"{100 * row[f'hit_{share}']:>7.1f}" for share in (1, 2, 5, 10))
            lines.append(
                f"{row['contestant']:<38}{row['nats']:>7.3f}{interval:>18}       {hits}{row['pai_5']:>10.2f}"
            )
        return "\n".join([*lines, "", *self.statement])

    def _repr_html_(self) -> str:
        from html import escape

        shown = [
            "nats",
            "nats_lower",
            "nats_upper",
            "hit_1",
            "hit_2",
            "hit_5",
            "hit_10",
            "pai_5",
            "deviance_shape",
        ]
        table = self.to_frame()[[*shown, "note"]].to_html(float_format="{:.3f}".format, na_rep="")
        said = "".join(f"<p>{escape(line)}</p>" for line in self.verdict)
        small = "<br>".join(escape(line) for line in self.statement)
        return f"<h4>{escape(self.heading)}</h4>{said}{table}<p><small>{small}</small></p>"


def validate(
    grid: Grid,
    factors: Sequence[RiskFactor],
    incidents: Any,
    *,
    train: str | Period | None = None,
    test: str | Period | None = None,
    by: Any = "time",
    exposure: Any = None,
    method: Method = "guarded",
    horizon: int | str = "90 days",
    baselines: bool = True,
    n_bootstrap: int = 1000,
    block: float | str = DEFAULT_BLOCK,
    allow_later_factors: bool = False,
    random_state: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> Validation:
    """Test the forecast on incidents it has not seen, beside uniform, past counts, kernel density and random forests.

    Everything is fitted again on the training incidents alone: cuts of densities, selection, penalties, bandwidths,
    strengths of history and sizes of leaves.

    Parameters
    ----------
    grid : Grid
        The grid.
    factors : sequence of RiskFactor
        What may matter; measured here, so that places left out do not shape their columns.
    incidents : Layer, path, GeoDataFrame, DataFrame or Observations
        Points, of the training and the test.
    train, test : period, optional
        Days to learn from and to score, such as "2021/2022" and "2023". One gives the other; with neither, the last
        days of the incidents (see `horizon`) are the test. Incidents without dates are divided into random halves.
    by : {"time", "blocks"}, areas or ndarray
        "time" asks whether the ranking foretells; "blocks" (squares of a side of `block`, in five folds), a layer of
        areas (one left out at a time; ``(areas, column)`` takes those of one label together) and a fold for every
        cell ask whether the factors carry over to places not seen, where nobody knows a past.
    exposure : Exposure or cell vector, optional
        Enters the weights as offset.
    method : {"guarded", "classic"}
        Recipe of the weights; the published one, "classic", always competes.
    horizon : duration
        Length of the test where neither `train` nor `test` is given.
    baselines : bool
        Let random forests compete; they take most of the time. Past counts and kernel density always do.
    n_bootstrap : int
        Draws of the block bootstrap, at least 100.
    block : length
        Side of the blocks, of the bootstrap and of `by`; at least twice the range over which residuals are alike.
    allow_later_factors : bool
        Test although data of factors reach into the test period; the result is then headed so.
    random_state : int
        Seed of everything random.
    progress : callable, optional
        Called with (what, done, total).

    Returns
    -------
    Validation

    Raises
    ------
    InputError
        If periods overlap, run backwards or hold no incidents; if a factor is later than the first day of the test, or
        made from the incidents; if all incidents lie on one place.

    Notes
    -----
    Ties count by expectation. All contestants share the total of the forecast (in places: the rate of the training
    cells), so that patterns are compared. Counts and kernel density have a uniform floor, chosen by five-fold
    log score. Random forests: 500 trees on the distances and densities of the same factors, leaf size and
    floor chosen on the training incidents; history multiplies their out-of-bag surface.

    Examples
    --------
    >>> from rtmkc import simulate_city
    >>> city = simulate_city(n_rows=30, n_columns=30, n_factors=2, active={0: ("proximity", 3, 4.0)})
    >>> found = validate(city.grid, city.risk_factors(), city.incidents, test="2023", baselines=False, n_bootstrap=100)
    >>> found.table["contestant"].tolist()[:4]
    ['uniform', 'past counts', 'kernel density', 'history alone']
    """
    check_choice("method", method, get_args(Method))
    seed = check_count("random_state", random_state, minimum=0)
    check_count("n_bootstrap", n_bootstrap, minimum=100)
    side = parse_length(block, name="block", block_length=grid.block_length)
    opened = tuple(factor.opened() for factor in check_factors(factors))
    observations = observe(grid, incidents, exposure=exposure)
    held = _hold_out(observations, train, test, by, block, horizon, seed)
    check_spread(held)
    measured = build_curves(grid, opened)
    timing = check_leaks(measured, observations, held, allow_later=allow_later_factors)
    setting = Setting(
        grid,
        opened,
        tuple(dict.fromkeys(("classic", method))),
        held.test_period.days if held.kind == "time" and held.test_period else horizon,
        held.kind != "places",
        baselines,
        seed,
    )
    surfaces, notes, seconds = _compete(setting, held, progress)
    counts = held.test
    level = surfaces[setting.forecast].sum()
    surfaces |= {UNIFORM: grid.share * (level / grid.share.sum()), ORACLE: counts.astype(float)}
    blocks = square_blocks(grid.rows, grid.columns, max(1, round(side / grid.cell_size)))
    scores = score(setting, surfaces, notes, counts, blocks, n_bootstrap)
    heading = _heading(held, timing)
    facts = _facts(setting, held, scores, observations, timing, side, n_bootstrap)
    return Validation(
        heading=heading,
        verdict=verdict(setting, scores, int(counts.sum())),
        statement=_statement(facts, held, observations, timing),
        table=scores.table,
        rankings=scores.rankings,
        paired=scores.paired,
        curves=scores.curves,
        calibration=scores.calibration,
        surfaces=surfaces,
        test=counts,
        seconds=seconds,
        facts=facts,
    )


def _hold_out(
    observations: Observations,
    train: str | Period | None,
    test: str | Period | None,
    by: Any,
    block: float | str,
    horizon: int | str,
    seed: int,
) -> HoldOut:
    if not (isinstance(by, str) and by == "time"):
        if train is not None or test is not None:
            raise InputError(
                f"Invalid train {str(train)!r} and test {str(test)!r}. Places are left out at all times; narrow the "
                "incidents to a period instead, or say by='time'."
            )
        return hold_out_places(observations, by, block, seed)
    if observations.incidents.dates is None and train is None and test is None:
        return hold_out_half(observations, seed)
    return hold_out_period(observations, train, test, horizon)


def _compete(
    setting: Setting, held: HoldOut, progress: Callable[[str, int, int], None] | None
) -> tuple[dict[str, np.ndarray], dict[str, str], dict[str, float]]:
    found: dict[str, list[np.ndarray]] = {name: [] for name in setting.competing}
    notes: dict[str, list[str]] = {name: [] for name in setting.competing}
    seconds = dict.fromkeys(setting.competing, 0.0)
    done, total = 0, len(held.splits) * len(setting.competing)
    for split in held.splits:
        for name, surface in Contest(setting, split).surfaces():
            found[name].append(surface.expected)
            notes[name].append(surface.note)
            seconds[name] += surface.seconds
            done += 1
            if progress is not None:
                progress(name, done, total)
    surfaces = {name: pooled(held.splits, each) for name, each in found.items()}
    return surfaces, {name: _one_note(each) for name, each in notes.items()}, seconds


def _one_note(notes: list[str]) -> str:
    return notes[0] if len(set(notes)) == 1 else f"first of {len(notes)} fits: {notes[0]}"


def _heading(held: HoldOut, timing: str) -> str:
    kinds = {
        "time": "Hold-out in time: does the ranking foretell?",
        "halves": "Random halves: are places told apart?",
        "places": "Places left out: do the factors carry over?",
    }
    mark = f"{CONTEMPORANEOUS[0].upper()}{CONTEMPORANEOUS[1:]}. " if timing == CONTEMPORANEOUS else ""
    return mark + kinds[held.kind]


def _facts(
    setting: Setting,
    held: HoldOut,
    scores: Scores,
    observations: Observations,
    timing: str,
    side: float,
    n_bootstrap: int,
) -> dict[str, Any]:
    grid = setting.grid
    both = [None if period is None else str(period) for period in (held.train_period, held.test_period)]
    return {
        "kind": held.kind,
        "n_splits": len(held.splits),
        "n_train": [split.train.n_incidents for split in held.splits],
        "n_test": int(held.test.sum()),
        "train_period": both[0],
        "test_period": both[1],
        "n_cells": grid.n_cells,
        "cell_size_m": grid.cell_size,
        "crs": grid.crs.to_string(),
        "factors": [factor.name for factor in setting.factors],
        "methods": list(setting.methods),
        "exposure": observations.exposure.statement,
        "timing": timing,
        "block_m": side,
        "n_blocks": scores.n_blocks,
        "n_bootstrap": n_bootstrap,
        "headline_area_share": HEADLINE_SHARE,
        "seed": setting.seed,
        "compared": setting.forecast,
        "weights": [WEIGHTS.format(method) for method in setting.methods],
    }


def _statement(
    facts: dict[str, Any], held: HoldOut, observations: Observations, timing: str
) -> tuple[str, ...]:
    where = f"{facts['n_cells']:,} cells of {format_length(facts['cell_size_m'])}, {facts['crs']}; seed {facts['seed']}"
    refitted = "Everything was fitted on training incidents only, cuts of densities on training cells"
    drawn = f"{facts['n_bootstrap']:,} draws of square blocks of {format_length(facts['block_m'])}"
    return (
        f"{held.statement[0].upper()}{held.statement[1:]}.",
        f"{where}; factors: {', '.join(facts['factors'])}.",
        f"{timing[0].upper()}{timing[1:]}.",
        f"Weights {observations.exposure.statement}. {refitted}.",
        f"95 % intervals: {drawn}, {facts['n_blocks']:,} of them with test incidents. Equal scores count by expectation.",
    )

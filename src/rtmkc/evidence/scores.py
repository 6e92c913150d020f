"""Surfaces against the incidents that came: the tables of a validation, and who wins in words."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from rtmkc.evidence.contestants import CURVES, FORECAST, HISTORY, NO_PAST, ORACLE, UNIFORM, Setting
from rtmkc.evidence.statistics.metrics import (
    AREA_SHARES,
    Ranking,
    calibration,
    calibration_slope,
    flagged_weights,
    hit_rate,
    hit_rate_curve,
    nats_terms,
    pai,
    pei,
    poisson_deviance,
    rank_cells,
)
from rtmkc.evidence.statistics.resampling import BootstrapDraws, Intervals, block_sums, bootstrap_ratios
from rtmkc.model.observations import FEW_INCIDENTS

CURVE_SHARES = np.round(np.concatenate([np.arange(0, 0.1, 0.0025), np.arange(0.1, 1.0001, 0.01)]), 4)
HEADLINE_SHARE = 0.05
FEW_BLOCKS = 20


@dataclass(frozen=True, eq=False)
class Scores:
    """The tables of a validation; see `rtmkc.Validation` for what is in them."""

    table: pd.DataFrame = field(repr=False)
    rankings: pd.DataFrame = field(repr=False)
    paired: pd.DataFrame = field(repr=False)
    curves: pd.DataFrame = field(repr=False)
    calibration: pd.DataFrame = field(repr=False)
    n_blocks: int


def score(
    setting: Setting,
    surfaces: Mapping[str, np.ndarray],
    notes: Mapping[str, str],
    counts: np.ndarray,
    blocks: np.ndarray,
    n_bootstrap: int,
) -> Scores:
    """Score all surfaces on the same incidents.

    Parameters
    ----------
    setting : Setting
        Who competes.
    surfaces : mapping of str to ndarray, each (n_cells,)
        Expected incidents of everyone that competes, the uniform and the oracle among them.
    notes : mapping of str to str
        What each has chosen.
    counts : ndarray, shape (n_cells,)
        Incidents that came.
    blocks : ndarray of int, shape (n_cells,)
        Blocks of the bootstrap.
    n_bootstrap : int
        Draws.
    """
    sizes = setting.grid.share
    names = list(surfaces)
    rankings = {name: rank_cells(surfaces[name] / sizes, sizes) for name in names}
    draws = _draws(setting, surfaces, rankings, counts, blocks, n_bootstrap)
    intervals = draws.intervals()
    n_shares = len(AREA_SHARES)
    rows: list[dict[str, Any]] = []
    at_shares: list[dict[str, Any]] = []
    curves, bins = [], []
    for name in setting.names:
        if name not in surfaces:
            rows.append({"contestant": name, "competes": False, "note": NO_PAST})
            continue
        expected, ranking = surfaces[name], rankings[name]
        first = names.index(name) * (n_shares + 1)
        deviance = poisson_deviance(expected, counts)
        slope = calibration_slope(expected, counts).value if expected.min() > 0 else np.nan
        row = {"contestant": name, "competes": name not in (UNIFORM, ORACLE)} | _ends(
            "nats", intervals, first
        )
        at_budgets = _at_budgets(name, ranking, counts, intervals, first + 1)
        for what, metric in (("hit", "hit_rate"), ("pai", "pai")):
            row |= {
                f"{what}_{100 * share:g}": one[metric]
                for share, one in zip(AREA_SHARES, at_budgets, strict=True)
            }
        row |= {
            "deviance_shape": deviance.shape,
            "deviance_level": deviance.level,
            "calibration_slope": slope,
            "expected": float(expected.sum()),
            "note": notes.get(name, ""),
        }
        rows.append(row)
        at_shares += at_budgets
        area, hits = hit_rate_curve(ranking, counts)
        curves.append(
            pd.DataFrame(
                {
                    "contestant": name,
                    "area_share": CURVE_SHARES,
                    "hit_rate": np.interp(CURVE_SHARES, area, hits),
                }
            )
        )
        if name not in (UNIFORM, ORACLE):
            found = calibration(expected, counts, sizes)._asdict()
            bins.append(
                pd.DataFrame({"contestant": name, "bin": np.arange(1, len(found["cells"]) + 1)} | found)
            )
    return Scores(
        pd.DataFrame(rows),
        pd.DataFrame(at_shares),
        _paired(setting, names, draws),
        pd.concat(curves, ignore_index=True),
        pd.concat(bins, ignore_index=True),
        draws.n_blocks,
    )


def _draws(
    setting: Setting,
    surfaces: Mapping[str, np.ndarray],
    rankings: Mapping[str, Ranking],
    counts: np.ndarray,
    blocks: np.ndarray,
    n_bootstrap: int,
) -> BootstrapDraws:
    """Nats and the hit rate at every budget, contestant by contestant, redrawn together."""
    sums = []
    for name, expected in surfaces.items():
        nats = nats_terms(expected, counts, setting.grid.share)
        hits = counts[:, None] * flagged_weights(rankings[name])
        sums.append(block_sums(blocks, np.column_stack([nats, hits])))
    return bootstrap_ratios(
        np.concatenate(sums, axis=1),
        block_sums(blocks, counts),
        n_draws=n_bootstrap,
        random_state=setting.seed,
    )


def _ends(what: str, intervals: Intervals, column: int, factor: float = 1.0) -> dict[str, float]:
    ends = zip(("", "_lower", "_upper"), intervals, strict=True)
    # Twelve decimals: what is 0 but for rounding is 0, and has no sign.
    return {what + end: float(np.round(values[column] * factor, 12)) + 0.0 for end, values in ends}


def _at_budgets(
    name: str, ranking: Ranking, counts: np.ndarray, intervals: Intervals, first: int
) -> list[dict[str, Any]]:
    rows = []
    for number, share in enumerate(AREA_SHARES):
        hits, efficiency = hit_rate(ranking, counts, share), pei(ranking, counts, share)
        rows.append(
            {"contestant": name, "area_share": share}
            | _ends("hit_rate", intervals, first + number)
            | {"hit_rate_lowest": hits.lowest, "hit_rate_highest": hits.highest}
            | _ends("pai", intervals, first + number, 1 / share)
            | {
                "pai_lowest": pai(ranking, counts, share).lowest,
                "pai_highest": pai(ranking, counts, share).highest,
            }
            | {"pei": efficiency.value, "pei_lowest": efficiency.lowest, "pei_highest": efficiency.highest}
        )
    return rows


def _paired(setting: Setting, names: list[str], draws: BootstrapDraws) -> pd.DataFrame:
    """The forecast minus every other, and what the parts of the model add to each other."""
    pairs = [(setting.forecast, other) for other in names if other not in (setting.forecast, ORACLE)]
    if setting.forecast != CURVES:
        weights = [name for name in names if name.endswith(" weights")]
        pairs += [(CURVES, name) for name in weights]
    step = len(AREA_SHARES) + 1
    rows = []
    for first, second in pairs:
        one, two = names.index(first) * step, names.index(second) * step
        row: dict[str, Any] = {"contestant": first, "against": second}
        row |= _ends("nats", draws.differences(one, two), 0)
        for number, share in enumerate(AREA_SHARES):
            hits = draws.differences(one + 1 + number, two + 1 + number)
            row |= _ends(f"hit_{100 * share:g}", hits, 0)
        rows.append(row)
    return pd.DataFrame(rows)


def verdict(setting: Setting, scores: Scores, n_test: int) -> tuple[str, ...]:
    """Say who wins; if a baseline does, the first line says so."""
    own = {setting.forecast, CURVES, HISTORY, UNIFORM}
    paired = scores.paired[scores.paired["contestant"] == setting.forecast].set_index("against")
    rivals = paired[[name not in own and not name.endswith(" weights") for name in paired.index]]
    lines = [_first_line(setting, rivals)] if len(rivals) else []
    subject = _subject(setting)
    if HISTORY in paired.index:
        lines.append(f"What the factors add to local history: {_nats(paired.loc[HISTORY])}.")
    curves = scores.paired[scores.paired["contestant"] == CURVES].set_index("against")
    for name in curves.index[[name.endswith(" weights") for name in curves.index]]:
        lines.append(f"Curves of the factors against {name}: {_nats(curves.loc[name])}.")
    best = scores.rankings[np.isclose(scores.rankings["area_share"], HEADLINE_SHARE)].set_index("contestant")
    own_hits = best.loc[setting.forecast]
    lines.append(
        f"{subject[0].upper()}{subject[1:]}: {100 * own_hits['hit_rate']:.1f} % of incidents in {100 * HEADLINE_SHARE:g} % "
        f"of the area [{100 * own_hits['hit_rate_lower']:.1f}, {100 * own_hits['hit_rate_upper']:.1f}], PAI "
        f"{own_hits['pai']:.2f}."
    )
    if n_test < FEW_INCIDENTS:
        lines[0] = f"Exploratory only, with {n_test} test incidents (below {FEW_INCIDENTS}): {lines[0]}"
    if scores.n_blocks < 2:
        lines.append(
            "All test incidents lie in one block: there are no intervals, and nothing can be concluded."
        )
    elif scores.n_blocks < FEW_BLOCKS:
        lines.append(f"Test incidents lie in {scores.n_blocks} blocks only: the intervals are too narrow.")
    return tuple(lines)


def _subject(setting: Setting) -> str:
    return f"the forecast ({FORECAST})" if setting.forecast == FORECAST else f"the model's {CURVES}"


def _first_line(setting: Setting, rivals: pd.DataFrame) -> str:
    subject = _subject(setting)
    winners = rivals[rivals["nats_upper"] < 0].sort_values("nats")
    if len(winners):
        said = "; ".join(f"{name} by {_nats(-row, turned=True)}" for name, row in winners[_ENDS].iterrows())
        names = " and ".join(winners.index)
        verb = "beat" if len(winners) > 1 or names.endswith("counts") else "beats"
        return f"{names[0].upper()}{names[1:]} {verb} {subject}: {said}."
    # What cannot be told apart is a tie, whoever is ahead.
    ties = rivals[~(rivals["nats_lower"] > 0)].sort_values("nats")
    if len(ties) == len(rivals):
        said = "; ".join(f"{name} {_nats(row)}" for name, row in ties.iterrows())
        return f"No winner: {subject} cannot be told from its baselines ({said})."
    beaten = rivals[rivals["nats_lower"] > 0].sort_values("nats")
    said = "; ".join(f"{name} by {_nats(row)}" for name, row in beaten.iterrows())
    tied = "; ".join(f"{name} ({_nats(row)})" for name, row in ties.iterrows())
    rest = f". Not to be told from {tied}" if tied else ""
    verb = "beats" if setting.forecast == FORECAST else "beat"
    return f"{subject[0].upper()}{subject[1:]} {verb} {said}{rest}."


_ENDS = ["nats", "nats_lower", "nats_upper"]


def _nats(row: Any, *, turned: bool = False) -> str:
    lower, upper = ("nats_upper", "nats_lower") if turned else ("nats_lower", "nats_upper")
    return f"{row['nats']:+.3f} nats [{row[lower]:+.3f}, {row[upper]:+.3f}]"

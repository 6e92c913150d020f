"""What changed since the last run: weights, ranks of hot spots, corridors."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from rtmkc.errors import InputError
from rtmkc.model.saving import load
from rtmkc.model.terrain import RiskTerrain
from rtmkc.model.weights import IN_MODEL
from rtmkc.raster.grid import Grid

COLUMNS = (
    "what", "name", "change", "status_before", "status_now", "rank_before", "rank_now", "value_before", "lower_before",
    "upper_before", "value_now", "lower_now", "upper_now",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Previous:
    """Results of an earlier run, to compare with.

    Attributes
    ----------
    folder : Path
        Where they are.
    terrain : RiskTerrain
        The terrain.
    hotspots, corridors : DataFrame
        The tables, as they were written.
    """

    folder: Path
    terrain: RiskTerrain = field(repr=False)
    hotspots: pd.DataFrame = field(repr=False)
    corridors: pd.DataFrame = field(repr=False)

    @classmethod
    def load(cls, folder: str | Path) -> "Previous":
        """Load the results of a run.

        Raises
        ------
        InputError
            If the folder does not hold the results of a run.
        """
        folder = Path(folder)
        terrain = load(folder)
        tables = []
        for name, columns in (
            ("hotspots.csv", {"rank", "cell_id", "expected"}),
            ("corridors.csv", {"rank", "corridor_id", "name", "expected"}),
        ):
            try:
                table = pd.read_csv(folder / name)
            except (OSError, ValueError):
                table = pd.DataFrame()
            if not columns <= set(table.columns):
                raise InputError(
                    f"Invalid since {str(folder)!r}. Its {name} is missing or not the one of a run; name a folder "
                    "that `rtmkc run` wrote."
                )
            tables.append(table)
        return cls(folder, terrain, *tables)

    def check_grid(self, grid: Grid) -> None:
        """Check that a grid is the one of these results.

        Raises
        ------
        InputError
            If it is another: cells of two grids cannot be compared.
        """
        old = self.terrain.grid
        if old == grid:
            return
        raise InputError(
            f"Invalid since {str(self.folder)!r}. Its grid is another one: {_grid_words(old)} there, "
            f"{_grid_words(grid)} now, so no cell can be compared. Run with the boundary and block length of then, or "
            "leave since out."
        )


def _grid_words(grid: Grid) -> str:
    return (
        f"{grid.n_cells:,} cells of {grid.cell_size:.6g} m from ({grid.west:.1f}, {grid.north:.1f}) in "
        f"{grid.crs.to_string()}"
    )


def compare(
    previous: Previous, terrain: RiskTerrain, hotspots: pd.DataFrame, corridors: pd.DataFrame
) -> pd.DataFrame:
    """Return what changed, one row a factor, hot spot or corridor.

    Returns
    -------
    DataFrame
        what ("factor", "hot spot", "corridor"), name, change ("entered", "left", "kept" for factors; "new",
        "gone", "moved", "kept" for places), status_before, status_now (of factors), rank_before, rank_now, value_before, lower_before, upper_before,
        value_now, lower_now, upper_now. The value of a factor is its relative risk value with its 95 % interval,
        that of a place its expected incidents, with the 90 % predictive interval of a cell.
        ``attrs["statement"]`` says it in a sentence, ``attrs["notes"]`` what else differs.
    """
    rows = _factors(previous.terrain.weights, terrain.weights)
    rows += _places("hot spot", "cell_id", _cells(previous.hotspots), _cells(hotspots))
    rows += _places("corridor", "corridor_id", previous.corridors, corridors)
    table = pd.DataFrame(rows, columns=COLUMNS)
    table.attrs["statement"] = _statement(table)
    table.attrs["notes"] = _notes(previous.terrain.facts, terrain.facts)
    return table


def _factors(old: pd.DataFrame, new: pd.DataFrame) -> list[dict[str, Any]]:
    sides = []
    for weights in (old, new):
        chosen = weights[weights["status"] == IN_MODEL].reset_index(drop=True)
        sides.append(
            {row["factor"]: (rank, row) for rank, row in enumerate(chosen.to_dict("records"), start=1)}
        )
    before, now = sides
    then, today = (dict(zip(weights["factor"], weights["status"], strict=True)) for weights in (old, new))
    rows = []
    for name in dict.fromkeys([*now, *before]):
        row: dict[str, Any] = {"what": "factor", "name": name}
        row["change"] = "kept" if name in before and name in now else "entered" if name in now else "left"
        row |= {"status_before": then.get(name), "status_now": today.get(name)}  # None: it was not tried
        for side, found in (("before", before), ("now", now)):
            if name in found:
                rank, weight = found[name]
                row |= {
                    f"rank_{side}": rank, f"value_{side}": weight["rrv"],
                    f"lower_{side}": weight["lower"], f"upper_{side}": weight["upper"],
                }  # fmt: skip
        rows.append(row)
    return rows


def _cells(hotspots: pd.DataFrame) -> pd.DataFrame:
    """Give cells a name that is the same in both runs."""
    places = [
        f"cell {cell}{f', {name}' if isinstance(name, str) and name else ''}"
        for cell, name in zip(
            hotspots["cell_id"], hotspots.get("name", pd.Series("", index=hotspots.index)), strict=True
        )
    ]
    return pd.DataFrame(hotspots).assign(name=places)


def _places(what: str, key: str, old: pd.DataFrame, new: pd.DataFrame) -> list[dict[str, Any]]:
    before, now = ({place[key]: place for place in table.to_dict("records")} for table in (old, new))
    rows = []
    for number in [*now, *(number for number in before if number not in now)]:
        row: dict[str, Any] = {"what": what, "name": (now.get(number) or before[number])["name"]}
        if number in before and number in now:
            row["change"] = "kept" if before[number]["rank"] == now[number]["rank"] else "moved"
        else:
            row["change"] = "new" if number in now else "gone"
        for side, found in (("before", before), ("now", now)):
            if number in found:
                place = found[number]
                row |= {
                    f"rank_{side}": place["rank"], f"value_{side}": place["expected"],
                    f"lower_{side}": place.get("lower"), f"upper_{side}": place.get("upper"),
                }  # fmt: skip
        rows.append(row)
    return rows


def _statement(table: pd.DataFrame) -> str:
    parts = []
    for what, plural, changes in (
        ("factor", "factors", ("entered", "left", "kept")),
        ("hot spot", "hot-spot cells", ("new", "gone", "moved", "kept")),
        ("corridor", "corridors", ("new", "gone", "moved", "kept")),
    ):
        own = table.loc[table["what"] == what, "change"].value_counts()
        counted = [f"{own[change]:,} {change}" for change in changes if change in own]
        parts.append(f"{plural}: {', '.join(counted) or 'none'}")
    return "; ".join(parts)


def _notes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    notes = []
    for name, words in (
        ("period", "the incidents are of"),
        ("n_incidents", "incidents:"),
        ("timing", "in time,"),
        ("exposure", "exposure:"),
    ):
        if old.get(name) != new.get(name):
            notes.append(f"{words} {old.get(name) or 'not known'} then, {new.get(name) or 'not known'} now")
    if old["why"]["method"] != new["why"]["method"]:
        notes.append(f"the method was {old['why']['method']} then and is {new['why']['method']} now")
    return notes

"""Write docs/reference/kansas-city-types.md: how the built-in map sorts the 311 types of Kansas City.

RTMKC_DATA=... python benchmarks/kc_types.py
"""

import os
import sys
from pathlib import Path

import pandas as pd
from page import made_by, table

import rtmkc as rtm
from rtmkc.inputs.kansas_city.factor_map import load_map
from rtmkc.storage import write_text

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "kansas-city-types.md"
COLUMNS = {"CATEGORY": "category", "TYPE": "type", "DETAIL": "detail", "REQUEST TYPE": "request_type"}
#: The day from which new requests have the names of the second vocabulary.
CHANGE = pd.Timestamp("2015-06-18")
TOGETHER = ("code and nuisance", "overgrown shrubs", "graffiti")
HEAD = """# Kansas City: request types and risk factors

What the built-in map ([factors.toml](../../src/rtmkc/inputs/kansas_city/factors.toml)) makes of every type of 311 request that is known by its
exact spelling. The shares are of rows. `rtm.kc_factors(layer)` prints the same for any file, and `map=` replaces the map.
"""
AFTER = """## One series across the change of names

The names of types changed on 18 June 2015. These are requests in 15 central neighbourhoods (rows with a neighbourhood), in the 12 months before and
after that day; a map of one vocabulary alone would give a ratio of infinity, or of 0. *Months* are those of the 24 in which there was none.
The range is what chance alone would do to the ratio (95 %, from the logarithm of two Poisson counts).
"""
REASONS = """
All requests together grew by the factor in the last row. What stands out:

- **overgrown shrubs**, **graffiti**: before, weeds on private land and most graffiti were filed as Property Violations, which do not say more.
  The three together go on as one series; apart, they compare only within one vocabulary. The layers say so in their notes.
- **illegal dumping** leaves out *Trash on Private Property*, which had been a property violation before: counted as dumping, it would lift the ratio
  to {dumping}. It is under code and nuisance.
- **vacant houses** fell in the files themselves: *Vacant Structure Open to Entry* was not replaced by several types, but by *Open To Entry* alone.
- **health violations** hold all rat treatments after the change, as before it, not those of vacant lots and homes alone.
"""


def main() -> None:
    """Sort both lists of types and the requests of the centre, and write the page."""
    data = os.environ.get("RTMKC_DATA")
    if not data:
        sys.exit("RTMKC_DATA is not set: name the folder of the data.")
    folder = Path(data) / "kc"
    lists = {
        "Central neighbourhoods, 2007 to 2020 (CATEGORY > TYPE > DETAIL | REQUEST TYPE)": sort_types(
            pd.read_csv(folder / "kc311_request_type_counts.csv", dtype={"n": int}).fillna("")
        ),
        "Whole city, 2006 to 2014 (REQUEST TYPE)": sort_types(
            pd.read_csv(folder / "kc311_request_types_citywide_2006_2014.csv", dtype={"n": int}).fillna("")
        ),
    }
    text = HEAD + "\n" + made_by("python benchmarks/kc_types.py") + "\n"
    for title, types in lists.items():
        text += f"\n## {title}\n\n{len(types):,} types, {types['n'].sum():,} rows.\n\n{shares(types)}\n"
    text += "\n" + AFTER + "\n" + series(folder / "kc311_central_2007_2020.parquet")
    for title, types in lists.items():
        missing = types[(types["factor"] == "") & (types["reason"] == "")].nlargest(50, "n")
        rows = [[cell(kind), f"{n:,}"] for kind, n in zip(missing["kind"], missing["n"], strict=True)]
        text += f"\n## Not in the map, the 50 most frequent: {title[0].lower()}{title[1:]}\n\n"
        text += table(["type", "rows"], rows) + "\n"
    write_text(PAGE, text, overwrite=True)
    print(PAGE)


def sort_types(types: pd.DataFrame) -> pd.DataFrame:
    """Return a list of types with the factor, or the reason why it is left out, of each."""
    known = load_map()
    names = {theirs: ours for theirs, ours in COLUMNS.items() if theirs in types}
    fates = [
        known.fate({ours: row[theirs] for theirs, ours in names.items()}) for row in types.to_dict("records")
    ]
    parts = [name for name in ("CATEGORY", "TYPE", "DETAIL") if name in types]
    kinds = (
        types[parts].agg(" > ".join, axis=1) + " | " + types["REQUEST TYPE"]
        if parts
        else types["REQUEST TYPE"]
    )
    return types.assign(kind=kinds, factor=[fate[0] for fate in fates], reason=[fate[1] for fate in fates])


def shares(types: pd.DataFrame) -> str:
    """Return the table of rows by factor and by reason."""
    total = types["n"].sum()
    label = types["factor"].where(types["factor"] != "", "*left out: " + types["reason"] + "*")
    label = label.mask((types["factor"] == "") & (types["reason"] == ""), "*not in the map*")
    sums = types.groupby(label)["n"].agg(["count", "sum"]).sort_index()
    order = sorted(sums.index, key=lambda name: (name.startswith("*"), name == "*not in the map*", name))
    rows = [
        [
            name,
            f"{int(sums.loc[name, 'count']):,}",
            f"{int(sums.loc[name, 'sum']):,}",
            f"{sums.loc[name, 'sum'] / total:.2%}",
        ]
        for name in order
    ]
    return table(["factor", "types", "rows", "share of rows"], rows)


def series(path: Path) -> str:
    """Return the table of the series across the change of names, and what stands out."""
    layer = rtm.read_kc_311(path)
    named = layer.frame["nbh_name"].fillna("").str.strip() != ""
    layer = layer.keep(named.to_numpy(dtype=bool), "no neighbourhood")
    opened = {name: part.frame["opened"] for name, part in rtm.kc_factors(layer).items()}
    opened[", ".join(TOGETHER)] = pd.concat([opened[name] for name in TOGETHER])
    opened["all requests"] = layer.frame["opened"]
    rows = []
    for name, times in opened.items():
        before, after = around(times)
        ratio = after / max(before, 1)
        factor = 2.718281828 ** (1.96 * (1 / max(before, 1) + 1 / max(after, 1)) ** 0.5)
        span = times[(times >= CHANGE - pd.DateOffset(years=1)) & (times < CHANGE + pd.DateOffset(years=1))]
        months = ((span.dt.year - 2014) * 12 + span.dt.month - 6 - (span.dt.day < 18)).nunique()
        rows.append(
            [
                name,
                f"{before:,}",
                f"{after:,}",
                f"{ratio:.2f}",
                f"{ratio / factor:.2f} - {ratio * factor:.2f}",
                f"{24 - months}",
            ]
        )
    trash = layer.frame[
        (layer.frame["category"] == "Trash / Recycling")
        & (layer.frame["detail"] == "Trash on Private Property")
    ]
    before, after = around(pd.concat([opened["illegal dumping"], trash["opened"]]))
    heads = [
        "factor",
        "12 months before",
        "12 months after",
        "ratio",
        "range of the ratio",
        "months without any",
    ]
    return table(heads, rows) + "\n" + REASONS.format(dumping=f"{after / before:.2f}")


def around(times: pd.Series) -> tuple[int, int]:
    """Return the requests of the 12 months before and after the change of names."""
    year = pd.DateOffset(years=1)
    before = (times >= CHANGE - year) & (times < CHANGE)
    after = (times >= CHANGE) & (times < CHANGE + year)
    return int(before.sum()), int(after.sum())


def cell(text: str) -> str:
    """Return a text that cannot end a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("*", "\\*")


if __name__ == "__main__":
    main()

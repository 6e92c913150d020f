"""The data dictionary of a plan: every column of the folder of `plan_corridors`, and none that it does not write."""

import csv
import re
import warnings
from pathlib import Path

import pyogrio
import pytest

import rtmkc as rtm
from rtmkc.errors import DataWarning
from rtmkc.workflow.study import Study

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "columns.md"
OF_SHEET = "Route sheets"
DEGREES = ("longitude", "latitude")


def columns_of(section):
    """Columns that a section of the page describes, in its order."""
    part = PAGE.read_text(encoding="utf-8").split(f"\n## {section}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `(.+?)` \|", part, flags=re.MULTILINE)


def header_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return next(csv.reader(file))


@pytest.fixture(scope="module")
def plan(sample_terrain, tmp_path_factory):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # rows without a place
        study = Study.from_file(rtm.sample_path("study.toml"))
        factors = study.risk_factors()
        return rtm.plan_corridors(
            sample_terrain,
            study.read("streets"),
            tmp_path_factory.mktemp("plan") / "plan",
            factors={factor.name: factor for factor in factors},
            quarters=1,
            start="2025-01-06",
            k=2,
            treated=study.read("treated"),
        )


def test_every_table_of_a_plan_is_described(plan):
    """The columns of the CSV files are those of the page, in the same order."""
    for name in ("corridors.csv", "corridor_blocks.csv", "rollout.csv"):
        assert header_of(plan.folder / name) == columns_of(name), name
    sheets = sorted((plan.folder / "routes").glob("*.csv"))
    assert sheets
    assert {tuple(header_of(sheet)) for sheet in sheets} == {tuple(columns_of(OF_SHEET))}


def test_every_layer_of_a_plan_is_described(plan):
    """Blocks, stops and zones of the GeoPackage have the columns of the page; blocks the line instead of degrees."""
    package = plan.folder / "corridors.gpkg"
    layers = {layer for layer, _ in pyogrio.list_layers(package)}
    wanted = {
        "corridor_blocks": {name for name in columns_of("corridor_blocks.csv") if not name.endswith(DEGREES)},
        "stops": {*columns_of(OF_SHEET), "rank"},
        "zones": set(columns_of("zones")),
    }
    assert set(wanted) <= layers
    for layer, columns in wanted.items():
        assert set(pyogrio.read_info(package, layer=layer)["fields"]) == columns, layer


def test_the_how_to_names_every_file_of_a_plan(plan):
    """Each file of the folder, but for the corridor in its name, is in the table of the page on the next corridor."""
    page = (PAGE.parent.parent / "how-to" / "next-corridor.md").read_text(encoding="utf-8")
    for path in plan.folder.rglob("*"):
        if path.is_file():
            name = re.sub(r"corridor-\d+-.+\.", "corridor-01-....", path.relative_to(plan.folder).as_posix())
            assert f"`{name}`" in page, name


def test_the_how_to_uses_options_that_there_are():
    """Every option on the page on the next corridor is one of the command."""
    from rtmkc.cli import main

    page = (PAGE.parent.parent / "how-to" / "next-corridor.md").read_text(encoding="utf-8")
    known = {option for parameter in main.commands["corridors"].params for option in parameter.opts}
    assert set(re.findall(r"(?<![-\w])--[a-z][a-z-]*", page)) <= known

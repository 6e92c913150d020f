"""`rtmkc corridors`: its options are the arguments of the functions, and its folder what a team takes along."""

import json

import geopandas as gpd
import pandas as pd
import pytest
import shapely
from click.testing import CliRunner

import rtmkc as rtm
from rtmkc.cli import main
from rtmkc.workflow.study import Study

STREETS = rtm.sample_path("streets.geojson")
TREATED = rtm.sample_path("treated.geojson")
STUDY = rtm.sample_path("study.toml")


@pytest.fixture(scope="module")
def model(sample_terrain, tmp_path_factory):
    """The folder of the terrain of the sample."""
    folder = tmp_path_factory.mktemp("model") / "model"
    sample_terrain.save(folder)
    return folder


@pytest.fixture(scope="module")
def few_streets(tmp_path_factory):
    """The streets of the sample in two of its neighbourhoods."""
    areas = gpd.read_file(rtm.sample_path("neighbourhoods.geojson"))
    areas = areas[areas["name"].isin(["Lykins", "Sheffield"])]
    path = tmp_path_factory.mktemp("streets") / "few.geojson"
    gpd.read_file(STREETS, mask=areas).to_file(path)
    return path


def call(*arguments):
    return CliRunner().invoke(main, ["corridors", *(str(argument) for argument in arguments)])


def rows_of(*arguments):
    done = call(*arguments, "--json", "-q")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)["corridors"]


@pytest.mark.parametrize(
    ("options", "search"),
    [
        (["--turns", 1, "--one-name", 0.5], {"max_turns": 1, "one_name": 0.5}),
        (["--objective", "density", "--ends", "anywhere"], {"objective": "density", "ends": "anywhere"}),
        (["--by", "rrs", "--max-detour", 1.2], {"by": "rrs", "max_detour": 1.2}),
        (["--treated", TREATED, "--together"], {"treated": TREATED, "together": True}),
        (["--exclude", TREATED, "--separation", "150 m"], {"exclude": TREATED, "separation": "150 m"}),
        (
            ["--replicates", 9, "--resamples", 5, "--seed", 3],
            {"replicates": 9, "resamples": 5, "random_state": 3},
        ),
    ],
)
def test_options_are_arguments(model, options, search):
    """Each option gives the corridors, and the figures, that the function gives with the argument."""
    found = rtm.find_corridors(rtm.load(model), STREETS, k=2, **search)
    rows = rows_of(model, "--streets", STREETS, "-k", 2, *options)
    assert [row["corridor_id"] for row in rows] == found["corridor_id"].tolist()
    for name in ("value", "expected", "p_length", "rank_stability"):
        given = [pd.NA if row[name] is None else row[name] for row in rows]
        assert pd.Series(given, dtype="Float64").equals(pd.Series(found[name].tolist(), dtype="Float64")), (
            name
        )


def test_rules_are_options(model, few_streets):
    """A number for every district, or one a district; a budget; places to go through."""
    terrain, districts = rtm.load(model), rtm.sample_path("neighbourhoods.geojson")
    rules = rtm.CorridorRules(
        districts=districts, at_most={"Lykins": 1}, at_least={"Sheffield": 1}, cost_per_km=10.0, budget=30.0
    )
    found = rtm.find_corridors(terrain, few_streets, k=3, rules=rules)
    options = ["--districts", f"{districts}:name", "--at-most", "Lykins=1", "--at-least", "Sheffield=1"]
    rows = rows_of(model, "--streets", few_streets, "-k", 3, *options, "--cost-per-km", 10, "--budget", 30)
    assert [row["corridor_id"] for row in rows] == found["corridor_id"].tolist()
    assert sum(row["length_m"] for row in rows) * 10 / 1000 <= 30
    assert [row["cost"] for row in rows] == pytest.approx([row["length_m"] / 100 for row in rows])
    assert [row["district"] for row in rows].count("Sheffield") >= 1
    one = rows_of(model, "--streets", few_streets, "-k", 3, "--districts", districts, "--at-most", 1)
    assert 1 <= len({row["district"] for row in one}) == len(one)


def test_a_study_gives_what_no_option_does(model):
    """Streets, treated corridors and the table [corridors] of a study are used; an option goes before them."""
    study = Study.from_file(STUDY)
    found = rtm.find_corridors(
        rtm.load(model), study.read("streets"), k=study.corridors.k, treated=study.read("treated")
    )
    assert [row["corridor_id"] for row in rows_of(model, "--study", STUDY)] == found["corridor_id"].tolist()
    assert len(rows_of(model, "--study", STUDY, "-k", 1)) == 1


def test_the_folder_holds_what_a_team_takes_along(model, tmp_path):
    """A brief and routes for each corridor, tables, a GeoPackage, a map, the roll-out, and hashes of all of them."""
    output = tmp_path / "plan"
    done = call(
        model, "--study", STUDY, "-k", 2, "--quarters", 2, "--start", "2025-01-06", "--businesses",
        rtm.sample_path("businesses.csv"), "-o", output, "-q",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert "2 corridors in order of excess" in done.stdout
    manifest = json.loads((output / "manifest.json").read_text())
    written = {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}
    assert set(manifest["outputs"]) == written - {"manifest.json"}
    assert {"study.toml", "businesses.csv", "streets.geojson", "model/model.json"} <= set(manifest["inputs"])
    resolved = {
        "by": "expected",
        "quarters": 2,
        "start": "2025-01-06",
        "random_state": 0,
        "max_turns": 0,
        "rules": None,
    }
    assert {name: manifest["parameters"][name] for name in resolved} == resolved
    assert len([name for name in written if name.startswith("briefs/")]) == 2
    assert len([name for name in written if name.endswith(".gpx")]) == 2
    assert pd.read_csv(output / "rollout.csv")["start"].tolist() == ["2025-01-06", "2025-04-06"]
    corridors = gpd.read_file(output / "corridors.geojson")
    blocks = pd.read_csv(output / "corridor_blocks.csv")
    assert blocks.groupby("rank")["expected"].sum().tolist() == pytest.approx(
        corridors["expected"].tolist(), rel=1e-4
    )
    again = call(model, "--study", STUDY, "-o", output)
    assert again.exit_code == 1
    assert "exists already" in again.stderr


def test_a_folder_without_streets_has_seams(model, tmp_path):
    """Without streets there are no blocks and no briefs; corridors are chains of cells."""
    done = call(model, "-k", 1, "-o", tmp_path / "plan", "-q")
    assert done.exit_code == 0, done.stderr
    assert {path.name for path in (tmp_path / "plan").iterdir()} == {
        "corridors.csv", "corridors.geojson", "corridors.gpkg", "corridors.png", "manifest.json",
    }  # fmt: skip


def test_streets_are_drawn_from_addresses(model, tmp_path):
    """With addresses and no streets corridors run along hundred blocks, in the system of the terrain."""
    terrain = rtm.load(model)
    middle = terrain.cells.loc[terrain.cells["expected"].idxmax(), ["easting", "northing"]]
    east = middle["easting"] + 100.0 * pd.Series(range(-8, 8))
    places = gpd.GeoSeries(shapely.points(east, middle["northing"]), crs=terrain.grid.crs).to_crs(4326)
    table = {
        "address": [f"{3000 + 100 * at} E 9 ST" for at in range(16)],
        "longitude": places.x,
        "latitude": places.y,
    }
    pd.DataFrame(table).to_csv(tmp_path / "calls.csv", index=False)
    [row] = rows_of(model, "--addresses", tmp_path / "calls.csv", "-k", 1, "--min-length", "300 m")
    assert row["from_street"].endswith(" block")
    assert row["name"] == "E 9th Street"


@pytest.mark.parametrize(
    ("options", "said", "status"),
    [
        (["--quarters", 2], "--quarters is for a folder", 2),
        (["--businesses", rtm.sample_path("businesses.csv")], "--businesses is for a folder", 2),
        (["--districts", rtm.sample_path("neighbourhoods.geojson"), "--at-most", "Lykins=few"], "DISTRICT=NUMBER", 2),
        (["--districts", rtm.sample_path("neighbourhoods.geojson"), "--at-most", "1", "--at-most", "Lykins=2"], "not both", 2),
        (["--streets", STREETS, "--at-least", "1"], "give districts=", 1),
        (["--streets", STREETS, "--objective", "net"], "It needs costs", 1),
        (["--streets", STREETS, "--max-detour", "0.5"], "it must be 1 or more", 1),
        (["--streets", STREETS, "--cost-column", "dollars"], "dollars", 1),
        (["--today", "soon", "--treated", TREATED], "Invalid today 'soon'", 1),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line(model, options, said, status):
    """Each is a sentence that names the option or value, on stderr, with its exit code."""
    done = call(model, *options)
    assert (done.exit_code, done.stdout) == (status, "")
    assert said in done.stderr.splitlines()[-1]

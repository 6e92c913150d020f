"""The command line: exit codes, what goes to which stream, and the options of each command."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import geopandas as gpd
import pandas as pd
import pytest
from click.testing import CliRunner

import rtmkc as rtm
from rtmkc.cli import main


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The saved terrain of a simulated city, whose factors have names that spreadsheets and terminals mind."""
    city = rtm.simulate_city(n_rows=30, n_columns=30, n_factors=3, random_state=5, n_incidents=600)
    terrain = rtm.assess(city.grid, city.risk_factors(), city.incidents, method="classic")
    folder = tmp_path_factory.mktemp("model") / "model"
    terrain.save(folder)
    return folder


@pytest.fixture
def shops(model, tmp_path):
    """Three shops in the city and one far away, as CSV."""
    cells = rtm.load(model).cells.iloc[[5, 450, 700]]
    points = gpd.GeoSeries.from_xy(cells["easting"], cells["northing"], crs="EPSG:26915").to_crs(4326)
    table = pd.DataFrame(
        {
            "shop": ["A", "=1+1", "two\nlines \x1b[31mred", "far"],
            "lat": [*points.y, 50.0],
            "lon": [*points.x, 10.0],
        }
    )
    table.to_csv(tmp_path / "shops.csv", index=False)
    return tmp_path / "shops.csv"


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize("name", ["", *main.commands])
def test_every_command_has_help(name):
    """--help says what each command does and explains every option."""
    done = call(*filter(None, [name]), "--help")
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) > 5
    command = main.commands[name] if name else main
    assert command.help
    for parameter in command.params:
        if parameter.param_type_name == "option":
            assert parameter.help or parameter.show_default, (name, parameter.name)


def test_the_commands_are_those_of_the_documentation():
    """No command is promised that is not there, and none is hidden."""
    assert set(main.commands) == {
        "demo",
        "init",
        "check",
        "run",
        "score",
        "corridors",
        "validate",
        "audit",
        "info",
    }
    assert call("--version").stdout == f"rtmkc, version {rtm.__version__}\n"


def test_both_ways_to_call_it_are_the_same_command():
    """`rtmkc` and `python -m rtmkc.cli` answer alike, and --help loads no numbers and no maps."""
    script = shutil.which("rtmkc", path=os.path.dirname(sys.executable))
    code = (
        "import sys, rtmkc.cli; print([name for name in ('numpy', 'pandas', 'click') if name in sys.modules])"
    )
    calls = [
        [script, "--version"],
        [sys.executable, "-m", "rtmkc.cli", "--version"],
        [sys.executable, "-c", code],
    ]
    said = [subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip() for call in calls]
    assert said == [f"rtmkc, version {rtm.__version__}"] * 2 + ["['click']"]


@pytest.mark.parametrize(
    "arguments",
    [["fly"], ["run"], ["run", "a.toml"], ["score", "model"], ["demo", "--colour"], ["info", "a", "b"]],
)
def test_wrong_usage_is_two(arguments):
    """An unknown command or option, or a missing argument, is exit code 2 with usage on standard error."""
    done = call(*arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert "Usage: " in done.stderr


def test_an_interrupt_is_130(tmp_path):
    """Ctrl-C ends a run with exit code 130, one word, and nothing left behind."""
    process = subprocess.Popen(
        [sys.executable, "-m", "rtmkc.cli", "demo", "-o", "out"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # A suite that runs in the background is deaf to interrupts, and its children would be too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stderr.readline() == "reading ...\n"
    time.sleep(0.2)
    os.kill(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert stderr.splitlines()[-1] == "rtmkc: interrupted"
    assert "Traceback" not in stderr
    assert list(tmp_path.iterdir()) == []
    assert stdout == ""


def test_unexpected_errors_are_one_line_and_a_traceback_only_when_asked(monkeypatch, model):
    """A fault of rtmkc is said to be one; -v shows where."""

    def fail(*_, **__):
        raise ZeroDivisionError("by\nzero")

    monkeypatch.setattr("rtmkc.model.saving.load", fail)
    plain, verbose = call("info", model), call("info", model, "-v")
    assert plain.exit_code == verbose.exit_code == 1
    (line,) = plain.stderr.splitlines()
    assert line.startswith("rtmkc: unexpected ZeroDivisionError: by zero. This is a fault of rtmkc")
    assert "Traceback" in verbose.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_output_that_nobody_can_take_is_one_line(model, shops):
    """When standard output is full the line says so, and does not call it a fault of rtmkc."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "rtmkc.cli", "score", model, shops],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "rtmkc: the output cannot be read or written: No space left on device.\n"


def test_scores_as_words_json_and_files(model, shops, tmp_path):
    """A table on stdout, JSON, CSV and GeoJSON hold the same scores; formulas and escape codes are harmless."""
    words = call("score", model, shops)
    assert words.exit_code == 0
    assert "\x1b" not in words.stdout
    assert len(words.stdout.splitlines()) == 2 + 4
    assert "outside the study area" in words.stdout
    rows = json.loads(call("score", model, shops, "--json").stdout)["places"]
    expected = rtm.load(model).score(shops)["expected"]
    assert [row["expected"] for row in rows[:3]] == expected[:3].tolist()
    assert rows[3]["expected"] is None
    done = call("score", model, shops, "-o", tmp_path / "scored.csv")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == f"4 places written to {tmp_path / 'scored.csv'}\n"
    table = pd.read_csv(tmp_path / "scored.csv")
    assert table["shop"][1] == "'=1+1"
    assert table["expected"][:3].tolist() == pytest.approx(expected[:3].tolist(), rel=1e-5)
    done = call("score", model, shops, "-o", tmp_path / "scored.geojson", "-q")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")
    assert gpd.read_file(tmp_path / "scored.geojson")["cell_id"].tolist() == [5, 450, 700, -1]
    assert "It exists already" in call("score", model, shops, "-o", tmp_path / "scored.csv").stderr
    assert call("score", model, shops, "-o", tmp_path / "scored.csv", "--overwrite").exit_code == 0


def test_corridors_without_streets_are_seams(model, tmp_path):
    """`rtmkc corridors` needs the folder alone; words, JSON and files agree with the function."""
    found = rtm.find_corridors(rtm.load(model), k=2, min_length="400 m")
    options = ["corridors", model, "-k", 2, "--min-length", "400 m"]
    rows = json.loads(call(*options, "--json").stdout)["corridors"]
    assert [row["corridor_id"] for row in rows] == found["corridor_id"].tolist()
    assert [row["excess"] for row in rows] == found["excess"].tolist()
    words = call(*options)
    assert found["name"][0] in words.stdout
    assert call(*options, "-o", tmp_path / "next.geojson").exit_code == 0
    assert gpd.read_file(tmp_path / "next.geojson")["name"].tolist() == found["name"].tolist()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-k", 0], "Invalid k 0"),
        (["--min-length", "-5 m"], "Invalid min_length '-5 m'"),
        (["--max-length", "400 m"], "must not be shorter than min_length"),
        (["--separation", "near"], "Invalid separation 'near'"),
        (["--streets", "none.geojson"], "There is no such file"),
        (["--min-length", "9 blocks"], "needs a block length"),
    ],
)
def test_wishes_for_corridors_out_of_range(model, options, said):
    """Each is one line and exit code 1."""
    done = call("corridors", model, *options)
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert said in line


@pytest.mark.parametrize("command", ["score", "corridors", "info"])
def test_a_folder_without_a_model_is_said(command, tmp_path):
    """A folder that is missing, empty, or holds something else, is one line that names what to give."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model.json").write_text("{", encoding="utf-8")
    for folder in ("none", "empty", "other"):
        done = call(command, tmp_path / folder, *(["places.csv"] if command == "score" else []))
        assert done.exit_code == 1
        (line,) = done.stderr.splitlines()
        assert "give the folder written by `rtmkc run` or save()" in line


def test_facts_are_shown(model):
    """`rtmkc info MODEL` says n, period, cell size, system, method and seed; without one, the versions."""
    words = call("info", model).stdout
    for fact in ("n_incidents", "period", "cell_size_m", "EPSG:26915", "classic", "seed"):
        assert fact in words
    facts = json.loads(call("info", model, "--json").stdout)
    assert facts == json.loads(json.dumps(rtm.load(model).facts))
    assert "numpy" in call("info").stdout
    assert json.loads(call("info", "--json").stdout)["rtmkc"] == rtm.__version__


def test_warnings_are_lines_and_do_not_outlive_the_command(model, tmp_path):
    """A data warning is one line on standard error, none with --quiet; Python's own machinery is as before."""
    import warnings

    before = warnings.showwarning, warnings.filters[:]
    pd.DataFrame({"lat": [39.09, None], "lon": [-94.59, -94.58]}).to_csv(tmp_path / "p.csv", index=False)
    loud, quiet = (
        call("score", model, tmp_path / "p.csv", "--json"),
        call("score", model, tmp_path / "p.csv", "-q"),
    )
    assert loud.exit_code == quiet.exit_code == 0
    (line,) = loud.stderr.splitlines()
    assert line == "warning: Layer 'places': 1 of 2 rows were dropped: 1 no coordinates."
    assert quiet.stderr == ""
    assert (warnings.showwarning, warnings.filters[:]) == before

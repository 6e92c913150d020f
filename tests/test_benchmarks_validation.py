"""The page of validations says what was found, and fails where what is asked does not hold."""

from pathlib import Path

import pytest

import rtmkc as rtm
from rtmkc.evidence.validation import validate

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def page():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import validation_page

        yield validation_page


@pytest.fixture(scope="module")
def found():
    city = rtm.simulate_city(n_rows=30, n_columns=30, n_factors=3, n_incidents=900, random_state=1)
    return validate(
        city.grid, city.risk_factors(), city.incidents, test="2023", method="classic", baselines=False, block="500 m",
        n_bootstrap=100,
    )  # fmt: skip


def test_a_case_has_its_figures(page, found):
    """Every contestant has its line, with the nats of the table; verdict, statement and acceptance are there."""
    page.FOREST_HISTORY, kept = "past counts", page.FOREST_HISTORY  # no forest has been grown here
    text = page.section("kansas-city", found, "12 s.")
    page.FOREST_HISTORY = kept
    lines = text.splitlines()
    for row in found.table.to_dict("records"):
        assert sum(line.startswith(f"| {row['contestant']} | {row['nats']:.3f} [") for line in lines) == 1
    for said in (
        found.heading,
        found.verdict[0],
        found.statement[1],
        "12 s.",
        "Calibration of curves x history",
    ):
        assert said in text
    tables = [line for line in lines if line.startswith("|")]
    assert len({line.count("|") for line in tables if line.startswith(("| past", "| uniform"))}) == 1


def test_what_is_asked_is_the_lower_end(page, found):
    """A criterion holds if the lower end of the paired interval is above its margin, and else fails."""
    changed = found.paired.copy()
    is_history = changed["against"] == "history alone"
    for lower, holds in ((0.001, True), (-0.001, False)):
        changed.loc[is_history, "nats_lower"] = lower
        object.__setattr__(found, "paired", changed)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(page, "FOREST_HISTORY", "past counts")
            said = dict(page.accepted(found))
        [own] = [what for what in said if "history alone above 0 nats" in what]
        assert said[own] is holds
        assert own.endswith(f"lower end {lower:+.3f}")


def test_a_section_replaces_itself_and_readings_stay_beside_it(page, tmp_path, monkeypatch):
    """Sections keep the order of the cases; a reading follows its section and is written anew each time."""
    path = tmp_path / "reference" / "validation.md"
    monkeypatch.setattr(page, "READINGS", {"kansas-city": "First\nreading."})
    page.write_cases({"burglary-halves": "## Halves"}, path)
    page.write_cases({"kansas-city": "## Kansas City"}, path)
    text = path.read_text(encoding="utf-8")
    assert text.index("## Kansas City") < text.index("*Reading.* First reading.") < text.index("## Halves")
    page.write_cases({}, path)
    assert path.read_text(encoding="utf-8") == text


def test_without_data_nothing_is_run(page, monkeypatch, capsys):
    """Without RTMKC_DATA the script says so and succeeds; an unknown case is an error."""
    import validation_real

    monkeypatch.delenv("RTMKC_DATA", raising=False)
    assert validation_real.main([]) == 0
    assert "RTMKC_DATA is not set" in capsys.readouterr().out
    monkeypatch.setenv("RTMKC_DATA", "/nowhere")
    assert validation_real.main(["moon"]) == 2
    assert "Invalid case 'moon'" in capsys.readouterr().err
    assert set(validation_real.CASES) == set(page.TITLES)

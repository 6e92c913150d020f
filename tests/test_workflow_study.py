"""Study files: what is read, what is filled in, and what is passed on to the readers."""

import re
from pathlib import Path

import msgspec
import pytest

import rtmkc as rtm
from rtmkc.errors import StudyError
from rtmkc.workflow import specs
from rtmkc.workflow.study import HotspotSpec, Study

TEXT = """
[study]
name = "City"
boundary = "area/boundary.shp"
cell_size = 50

[incidents]
file = ["a.csv", "b.csv"]
reader = "kcpd_crime"

[[factors]]
name = "bars"
file = "bars.csv"
max_influence = "150 m"
exclude_places = [[39, -94.5]]
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_the_study_of_the_sample_is_read():
    """The sample's study has five factors, its boundary, and paths that start at its folder."""
    study = rtm.Study.from_file(rtm.sample_path("study.toml"))
    assert [factor.name for factor in study.factors] == [
        "poor lighting", "vacant houses", "overgrown shrubs", "illegal dumping", "health violations",
    ]  # fmt: skip
    assert all(file.is_file() for file in study.files().values())
    assert study.grid().cell_size == pytest.approx(68.58)
    assert study.read("treated").name == "treated"
    assert study.read("exposure") is None


def test_defaults_are_filled_in(path):
    """What is left out has the documented default, so that the manifest says what was used."""
    study = Study.from_file(path)
    assert (study.model.method, study.model.horizon, study.model.random_state) == ("guarded", "90 days", 0)
    assert (study.validation.by, study.validation.train) == ("time", None)
    assert (study.factors[0].kind, study.factors[0].direction) == ("both", "aggravating")
    assert (study.corridors.k, study.corridors.min_length, study.corridors.max_length) == (
        5,
        "500 m",
        "2500 m",
    )
    assert (study.hotspots.area_share, study.hotspots.by) == (0.02, "expected")
    assert study.factors[0].exclude_places == [(39.0, -94.5)]


def test_a_cut_replaces_the_default_cut():
    """Another cut is not joined by the default share; the published cut ranks by rrs."""
    assert HotspotSpec(count=10) == HotspotSpec(count=10, by="expected")
    assert HotspotSpec(count=10).area_share is None
    assert HotspotSpec(standard_deviations=2.0).by == "rrs"


def test_files_are_named_as_in_the_study_with_those_beside_a_shapefile(path):
    """Every file once, as the study names it; a Shapefile brings its .dbf; folders of the machine do not show."""
    (path.parent / "area").mkdir()
    for name in ("area/boundary.shp", "area/boundary.dbf"):
        (path.parent / name).touch()
    text = TEXT.replace('"a.csv"', f'"{path.parent.as_posix()}/elsewhere/b.csv"')
    path.write_text(text, encoding="utf-8")
    files = Study.from_file(path).files()
    elsewhere = path.parent / "elsewhere" / "b.csv"
    assert files == {
        "area/boundary.shp": path.parent / "area" / "boundary.shp",
        "area/boundary.dbf": path.parent / "area" / "boundary.dbf",
        "b.csv": path.parent / "b.csv",
        "bars.csv": path.parent / "bars.csv",
        "elsewhere/b.csv": elsewhere,
    }


def test_data_may_lie_elsewhere(path, tmp_path):
    """With data= relative paths start there."""
    study = Study.from_file(path, data=tmp_path / "other")
    assert study.files()["bars.csv"] == tmp_path / "other" / "bars.csv"


def test_options_reach_only_the_readers_that_know_them(path):
    """What a reader does not take is refused with what it takes."""
    path.write_text(TEXT.replace('file = "bars.csv"', 'file = "bars.csv"\nfirearm = true'), encoding="utf-8")
    with pytest.raises(StudyError, match="Invalid firearm of 'bars'. Only reader = 'kcpd_crime' has it"):
        Study.from_file(path).risk_factors()
    path.write_text(TEXT.replace('"kcpd_crime"', '"kc_311"\nmerge = ["place"]'), encoding="utf-8")
    with pytest.raises(StudyError, match="Invalid merge of 'incidents'.*takes only: exclude_places, hours"):
        Study.from_file(path).read("incidents")


def test_a_byte_order_mark_is_no_fault(path):
    """Windows editors put one before the first letter."""
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    assert Study.from_file(path).study.name == "City"


def test_a_study_survives_the_manifest(path):
    """The parameters in a manifest make the same study again."""
    study = Study.from_file(path)
    assert msgspec.convert(msgspec.to_builtins(study), Study) == study


def test_every_key_is_documented_with_its_default():
    """The page of study.toml has every field of every table, and the defaults of those that have one."""
    page = (Path(__file__).parent.parent / "docs" / "reference" / "study-toml.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", page, flags=re.DOTALL | re.MULTILINE))
    shared = set(specs.LayerSpec.__struct_fields__)
    for name in shared:
        assert f"`{name}`" in sections["Keys of every layer"], name
    tables = {
        "[study]": specs.AreaSpec, "[[factors]]": specs.FactorSpec, "[exposure]": specs.ExposureSpec,
        "[streets]": specs.StreetSpec, "[districts]": specs.DistrictsSpec, "[names]": specs.NamesSpec, "[[joins]]": specs.JoinSpec,
        "[[slices]]": specs.SliceSpec, "[model]": specs.ModelSpec, "[hotspots]": specs.HotspotSpec,
        "[corridors]": specs.CorridorSpec, "[output]": specs.OutputSpec, "[validation]": specs.ValidationSpec,
    }  # fmt: skip
    assert {field for field in Study.__struct_fields__ if field != "folder"} == {
        heading.strip("[]") for heading in sections if heading.startswith("[")
    }
    for heading, table in tables.items():
        for field in msgspec.structs.fields(table):
            if field.name in shared and issubclass(table, specs.LayerSpec):
                continue
            rows = [line for line in sections[heading].splitlines() if line.startswith("|")]
            row = next((line for line in rows if f"`{field.name}`" in line.split("|")[1]), None)
            assert row, f"{heading} {field.name}"
            default = field.default
            if isinstance(default, str):
                assert f'"{default}"' in row, row
            elif isinstance(default, bool):
                assert str(default).lower() in row, row
            elif isinstance(default, int | float):
                assert str(default) in row, row
            elif default is msgspec.NODEFAULT:
                assert "needed" in row, row

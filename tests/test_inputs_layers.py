"""A layer holds what was wanted, says what was decided, and changes nothing it was given."""

import warnings
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from rtmkc.errors import DataWarning, InputError
from rtmkc.inputs.layers import PROVENANCES, Layer, as_layer, read_layer
from rtmkc.inputs.ledger import Ledger
from rtmkc.units import parse_period

# Downtown Kansas City in three systems, from published coordinates.
DOWNTOWN = (-94.5786, 39.0997)
DOWNTOWN_UTM = (363_494.7, 4_329_026.6)
DOWNTOWN_FEET = (2_766_402.4, 1_067_976.9)


def incidents() -> pd.DataFrame:
    """Seven rows: two repeat, one is at (0, 0), one has no latitude, one an unreadable date."""
    return pd.DataFrame(
        {
            "date": ["2021-01-01 20:00", "2021-01-01 20:00", "2021-02-05 02:30", "soon", "2022-06-04 12:00",
                     "2022-07-01 23:00", "2023-01-01 19:00"],
            "offence": ["robbery", "robbery", "assault", "robbery", "theft", "assault", "robbery"],
            "lat": [39.1, 39.1, 39.2, 39.3, 0.0, None, 39.4],
            "lon": [-94.5, -94.5, -94.5, -94.6, 0.0, -94.5, -94.7],
        },
        index=list("abcdefg"),
    )  # fmt: skip


def quietly(*args: object, **options: object) -> Layer:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return read_layer(*args, **options)


# Where places come from


def test_degrees_and_projected_columns_are_one_place() -> None:
    """Longitude and latitude, UTM metres and state plane feet of downtown agree to a metre."""
    table = pd.DataFrame({"name": ["downtown"]})
    degrees = read_layer(table.assign(Longitude=DOWNTOWN[0], Latitude=DOWNTOWN[1]))
    metres = read_layer(table.assign(easting=DOWNTOWN_UTM[0], northing=DOWNTOWN_UTM[1]), crs="EPSG:26915")
    feet = read_layer(
        table.assign(XC=DOWNTOWN_FEET[0], YC=DOWNTOWN_FEET[1]), crs="ESRI:102698", easting="XC", northing="YC"
    )
    places = [layer.to_crs("EPSG:26915").frame.geometry.iloc[0] for layer in (degrees, metres, feet)]
    assert degrees.crs == "EPSG:4326"
    assert places[0].distance(places[1]) < 1
    assert places[0].distance(places[2]) < 1


def test_web_mercator_is_as_good_as_any() -> None:
    """A layer may be in EPSG:3857; only a study may not."""
    frame = gpd.GeoDataFrame(geometry=gpd.points_from_xy([-10_528_440.0], [4_735_000.0]), crs="EPSG:3857")
    assert -95 < read_layer(frame).to_crs("EPSG:4326").frame.geometry.iloc[0].x < -94


def test_points_lines_and_areas_stay_together() -> None:
    """Mixed and multi types are kept, heights are cut off."""
    shapes = [shapely.Point(1, 2, 3), shapely.LineString([(0, 0), (1, 1)]), shapely.box(0, 0, 1, 1),
              shapely.MultiPoint([(0, 1), (1, 1)])]  # fmt: skip
    layer = read_layer(gpd.GeoDataFrame(geometry=shapes, crs="EPSG:26915"))
    assert list(layer.frame.geom_type) == ["Point", "LineString", "Polygon", "MultiPoint"]
    assert not layer.frame.has_z.any()
    assert repr(layer) == "<Layer 'layer': 4 points, lines and areas of 4 rows, EPSG:26915, unstated>"


def test_the_active_geometry_counts_whatever_its_name() -> None:
    """A frame's own geometry column becomes `geometry`; others are left out and named."""
    frame = gpd.GeoDataFrame(
        {"the_geom": gpd.points_from_xy([1], [2]), "n": [1]}, geometry="the_geom", crs=4326
    )
    frame["centre"] = gpd.GeoSeries([shapely.Point(5, 5)], crs=4326)
    layer = read_layer(frame)
    assert list(layer.frame.columns) == ["n", "geometry"]
    assert "other geometry columns are not kept: centre" in layer.notes


def test_a_series_of_geometries_will_do() -> None:
    """GeoSeries are frames with one column."""
    assert len(read_layer(gpd.GeoSeries([shapely.Point(1, 2)], crs=4326))) == 1


@pytest.mark.parametrize(
    ("table", "options", "sentence"),
    [
        ({"x": [1.0], "y": [2.0]}, {}, r"Columns 'x' and 'y' .* state it, as in crs='EPSG:26915'"),
        ({"the_geom": ["POINT (1 2)"]}, {}, r"holds well-known text.*state it, as in crs='EPSG:4326'"),
        ({"name": ["bar"]}, {}, "No columns of coordinates were found in: name"),
        ({"location": ["main street"]}, {}, "No columns of coordinates were found in: location"),
        ({"lat": [1.0], "lon": [2.0]}, {"crs": "EPSG:26915"}, "are degrees by their names"),
        ({"lat": [1.0], "lon": [2.0]}, {"latitude": "breite", "longitude": "lon"}, "no such column"),
        ({"lat": [1.0], "lon": [2.0]}, {"latitude": "lat"}, "Name both: longitude= and latitude="),
        ({"lat": [-94.58], "lon": [39.1]}, {}, "look swapped; exchange them"),
        (
            {"a": [-94.58], "b": [39.1]},
            {"latitude": "a", "longitude": "b"},
            "exchange them: longitude='a', latitude='b'",
        ),
        ({"lat": [4_329_026.6], "lon": [363_494.7]}, {}, "look projected"),
        ({"lat": [1.0], "lon": [2.0]}, {"crs": "lonlat"}, "Invalid crs 'lonlat'"),
        ({"lat": [1.0], "lon": [2.0]}, {"date": "when"}, "Invalid column 'when'"),
        ({"lat": [1.0], "lon": [2.0]}, {"hours": "19-3"}, "has no column of dates"),
        ({"lat": [1.0], "lon": [2.0], "date": ["later"]}, {"period": "2021"}, "No value of the column"),
        ({"lat": [1.0], "lon": [2.0], "date": ["later"]}, {"date": "date"}, "No value of the column"),
        ({"lat": [1.0], "lon": [2.0], "date": ["2021-01-01"]}, {"hours": "19-3"}, "are at midnight"),
        ({"lat": [1.0], "lon": [2.0]}, {"provenance": "police"}, "Invalid provenance 'police'"),
        ({"lat": [1.0], "lon": [2.0], "Race": ["W"]}, {"where": "Race == 'W'"}, "has no column 'Race'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_sentence(table: dict, options: dict, sentence: str) -> None:
    """Each message names the value and the fix, on one line."""
    with pytest.raises(InputError, match=sentence) as caught:
        read_layer(pd.DataFrame(table), **options)
    assert "\n" not in str(caught.value)


def test_a_frame_without_crs_is_refused_until_it_is_stated() -> None:
    """Nothing is guessed, and a statement that contradicts the file is refused."""
    frame = gpd.GeoDataFrame(geometry=gpd.points_from_xy([1], [2]))
    with pytest.raises(InputError, match=r"Invalid crs None.*crs='EPSG:4326'"):
        read_layer(frame)
    assert read_layer(frame, crs="EPSG:26915").crs == "EPSG:26915"
    with pytest.raises(InputError, match=r"Layer 'layer' says that it is in EPSG:4326"):
        read_layer(frame.set_crs(4326), crs="EPSG:26915")


def test_a_shapefile_without_its_prj_is_refused(tmp_path: Path) -> None:
    """The .prj is the part of a Shapefile that gets lost."""
    path = tmp_path / "lights.shp"
    gpd.GeoDataFrame({"n": [1]}, geometry=gpd.points_from_xy([1], [2]), crs=4326).to_file(path)
    (tmp_path / "lights.prj").unlink()
    with pytest.raises(InputError, match=r"Layer 'lights' does not say"):
        read_layer(path)
    assert len(read_layer(path, crs=4326)) == 1


def test_projected_columns_are_used_if_their_crs_is_stated() -> None:
    """A table with degrees and metres gives the metres to whoever states the system of the metres."""
    table = pd.DataFrame(
        {"lat": [DOWNTOWN[1]], "lon": [DOWNTOWN[0]], "X": [DOWNTOWN_UTM[0]], "Y": [DOWNTOWN_UTM[1]]}
    )
    assert read_layer(table, crs="EPSG:26915").frame.geometry.iloc[0].x == DOWNTOWN_UTM[0]
    assert read_layer(table).frame.geometry.iloc[0].x == DOWNTOWN[0]


def test_location_text_is_found_and_replaced() -> None:
    """(latitude, longitude) text needs no CRS, as its order is its system."""
    layer = read_layer(
        pd.DataFrame({"Location 1": ["400 W 58 ST\nKANSAS CITY 64113\n(39.022397, -94.59269)"]})
    )
    assert layer.frame.geometry.iloc[0].equals(shapely.Point(-94.59269, 39.022397))
    assert list(layer.frame.columns) == ["geometry"]


# What is kept


def test_the_ledger_counts_every_step() -> None:
    """Counted by hand: seven rows, by where, period, place and repeat; the index given stays."""
    with pytest.warns(
        DataWarning, match="2 of 7 rows were dropped: 1 date missing or unreadable, 1 no coordinates"
    ):
        layer = read_layer(
            incidents(),
            name="violence",
            where="offence in ('robbery', 'assault')",
            period="2021/2022",
            merge=["date", "offence", "place"],
        )
    assert layer.ledger == Ledger(
        "violence", 7, 2, {"same date, offence, place": 1},
        {"not chosen by where=": 1, "date missing or unreadable": 1,
         "outside the period 2021-01-01/2022-12-31": 1, "no coordinates": 1},
    )  # fmt: skip
    assert list(layer.frame.index) == ["a", "c"]
    assert layer.period == parse_period("2021/2022")
    assert str(layer.frame["date"].dtype).startswith("datetime64")


def test_hours_pass_midnight_and_weekdays_are_calendar_days() -> None:
    """20:00 and 02:30 are within 19-3, noon is not; 5 February 2021 was a Friday."""
    assert list(quietly(incidents(), hours="19-3").frame.index) == ["a", "b", "c", "g"]
    assert list(quietly(incidents(), weekdays="fri", hours="19-3").frame.index) == ["a", "b", "c"]


def test_hours_may_stand_in_a_column_of_their_own() -> None:
    """A table of dates at midnight with a column Hour has times of day."""
    table = pd.DataFrame({"Date": ["2021-01-01"] * 3, "Hour": [3, 19, 12], "lat": 39.1, "lon": -94.5})
    layer = read_layer(table, hours="19-3")
    assert list(layer.frame["Date"]) == [pd.Timestamp("2021-01-01 19:00")]
    assert "times of day from column 'Hour'" in layer.notes


def test_the_period_is_that_of_all_rows_unless_stated() -> None:
    """A rare offence was watched for as long as the common ones: the period is read before `where`."""
    layer = quietly(incidents(), where="offence == 'theft' or offence == 'assault'")
    assert str(layer.period) == "2021-01-01/2023-01-01"


def test_a_period_of_a_layer_without_dates_is_a_statement() -> None:
    """It filters nothing, and the notes say so."""
    table = incidents().drop(columns="date")
    layer = quietly(table, period="2021/2023")
    assert layer.period == parse_period("2021/2023")
    assert layer.date_column is None
    assert layer.dates is None
    assert any("is stated, not read from dates" in note for note in layer.notes)


def test_a_column_that_only_sounds_like_a_date_is_left_alone() -> None:
    """Text that is no date stays text when no period is asked."""
    layer = read_layer(pd.DataFrame({"date": ["to be set", "unknown"], "lat": 39.1, "lon": -94.5}))
    assert layer.date_column is None
    assert list(layer.frame["date"]) == ["to be set", "unknown"]


def test_named_places_are_left_out_by_name() -> None:
    """The ledger says which place took the rows; a place where nothing is, is said too."""
    with pytest.warns(DataWarning, match="no feature lies at the excluded place station"):
        layer = read_layer(
            incidents().iloc[:4], exclude_places={"hospital": (39.1, -94.5), "station": (38.0, -94.0)}
        )
    assert layer.ledger.dropped == {"place excluded by name: hospital": 2}
    projected = read_layer(layer.to_crs("EPSG:26915").frame, exclude_places=[(39.2, -94.5)])
    assert len(projected) == 1


def test_columns_about_persons_are_never_kept() -> None:
    """Race, sex and age are gone, and the notes say which; the given frame still has them."""
    table = incidents().iloc[:1].assign(**{"Victim Race": "W", "SEX": "F", "age_range": "20", "acreage": 2.0})
    with pytest.warns(DataWarning, match="looks like a record of persons"):
        layer = read_layer(table)
    assert set(layer.frame.columns) == {"date", "offence", "lat", "lon", "acreage", "geometry"}
    assert "columns about persons are not kept: Victim Race, SEX, age_range" in layer.notes
    assert "SEX" in table.columns


@pytest.mark.parametrize("name", ["parole offices", "gang territory", "Arrests 2021", "suspicious persons"])
def test_a_layer_that_looks_made_by_enforcement_is_questioned(name: str) -> None:
    """The warning goes away when the provenance is stated."""
    table = incidents().iloc[:1]
    with pytest.warns(DataWarning, match="its provenance is unstated"):
        read_layer(table, name=name)
    for provenance in PROVENANCES:
        assert read_layer(table, name=name, provenance=provenance).provenance == provenance


def test_one_warning_for_all_that_is_wrong_points_at_the_caller() -> None:
    """One sentence, counted, raised where the layer was read."""
    table = incidents().drop(columns="date").rename(columns={"offence": "arrest"})
    with pytest.warns(DataWarning) as caught:
        read_layer(table, name="lights")
    assert len(caught) == 1
    assert Path(caught[0].filename) == Path(__file__)
    assert str(caught[0].message).startswith(
        "Layer 'lights': 2 of 7 rows were dropped: 1 no coordinates, 1 coordinates (0, 0); its provenance"
    )
    with pytest.warns(DataWarning) as caught:
        as_layer(table, name="lights")
    assert Path(caught[0].filename) == Path(__file__)


def test_a_condition_that_chooses_nothing_says_what_there_is() -> None:
    """A number compared with text is the usual reason."""
    with pytest.warns(
        DataWarning, match="chose none of 2 rows: 'ibrs' holds numbers such as 120; nothing is left"
    ):
        layer = read_layer(
            pd.DataFrame({"ibrs": [120, 120], "lat": 39.1, "lon": -94.5}), where="ibrs == '120'"
        )
    assert len(layer) == 0
    assert layer.crs == "EPSG:4326"
    assert layer.ledger.read == 2


def test_an_empty_frame_is_an_empty_layer() -> None:
    """In memory nothing may be the answer of an earlier step; where it will not do, it is refused."""
    empty = gpd.GeoDataFrame(geometry=[], crs=4326)
    with pytest.warns(DataWarning, match="nothing is left of 0 rows"):
        layer = as_layer(empty, name="lights")
    assert len(layer) == 0
    assert repr(layer) == "<Layer 'lights': 0 features of 0 rows, EPSG:4326, unstated>"
    with pytest.raises(InputError, match="It has no features, of 0 rows read"):
        as_layer(layer, name="lights", allow_empty=False)


def test_two_columns_of_one_name_are_refused() -> None:
    """Nobody could say which of them is meant."""
    table = pd.DataFrame([[1.0, 2.0, 3]], columns=["lat", "lon", "lat"])
    with pytest.raises(InputError, match="Invalid columns 'lat'"):
        read_layer(table)


def test_a_source_of_another_kind_is_refused() -> None:
    """A list of pairs is not a layer."""
    with pytest.raises(InputError, match="Invalid source of type list"):
        read_layer([(1, 2)])


# What a layer can do


def test_keeping_some_features_counts_the_others() -> None:
    """`keep` returns a new layer; the old one stays."""
    layer = quietly(incidents().iloc[:4])
    inside = layer.keep(np.array([True, False, True, True]), "outside the study area")
    assert (len(layer), len(inside)) == (4, 3)
    assert inside.ledger.dropped == {"outside the study area": 1}
    with pytest.raises(InputError, match=r"Invalid mask of bool and shape \(2,\)"):
        layer.keep([True, False], "no reason")


def test_a_layer_that_is_narrowed_behind_its_ledger_is_refused() -> None:
    """The ledger and the frame can never tell two stories."""
    layer = quietly(incidents().iloc[:4])
    with pytest.raises(InputError, match="counts 4 rows used and the layer has 3"):
        Layer("x", layer.frame.iloc[:3], "unstated", layer.ledger)
    with pytest.raises(InputError, match="does not say its coordinate reference system"):
        Layer("x", layer.frame.set_crs(None, allow_override=True), "unstated", layer.ledger)


def test_as_layer_returns_a_layer_unchanged(tmp_path: Path) -> None:
    """What is a layer stays the same object; a path or a frame is read."""
    path = tmp_path / "incidents.csv"
    incidents().iloc[:3].to_csv(path, index=False)
    layer = as_layer(str(path), name="violence")
    assert layer.name == "violence"
    assert as_layer(layer, name="other") is layer


def test_moving_to_another_system_and_back_is_the_same_place() -> None:
    """Reprojection keeps the ledger and, to a millimetre, the place."""
    layer = quietly(incidents().iloc[:3])
    back = layer.to_crs("EPSG:26915").to_crs("EPSG:4326")
    assert back.ledger == layer.ledger
    apart = shapely.distance(back.frame.geometry.to_numpy(), layer.frame.geometry.to_numpy())
    assert apart.max() < 1e-8
    assert layer.to_crs(4326) is layer


def test_nothing_given_is_changed() -> None:
    """The frame, its index and its columns are as before, whatever was dropped or read as a date."""
    table, before = incidents(), incidents()
    quietly(table, where="offence == 'robbery'", period="2021", merge=["place"], hours="19-3")
    pd.testing.assert_frame_equal(table, before)
    frame = gpd.GeoDataFrame(table, geometry=gpd.points_from_xy(table["lon"], table["lat"]), crs=4326)
    copy = frame.copy()
    quietly(frame, where="offence == 'robbery'", period="2021")
    pd.testing.assert_frame_equal(frame, copy)


ROWS = st.lists(
    st.tuples(
        st.sampled_from([39.1, 39.2, 0.0, None, float("inf")]),
        st.sampled_from([-94.5, -94.6, 0.0, None]),
        st.sampled_from(["2021-05-01", "2022-05-01", "13/13/2021", None]),
        st.sampled_from(["robbery", "theft"]),
    ),
    min_size=1,
    max_size=15,
)


@settings(max_examples=60, deadline=None)
@given(
    rows=ROWS,
    period=st.sampled_from([None, "2021"]),
    merge=st.sampled_from([None, ["place"], ["kind", "place"]]),
)
def test_whatever_the_dirt_every_row_is_accounted_for(
    rows: list[tuple], period: str | None, merge: list[str] | None
) -> None:
    """Used rows are exactly those a plain loop over the rows would use, and the ledger adds up."""
    table = pd.DataFrame(rows, columns=["lat", "lon", "date", "kind"])
    if period and not table["date"].isin(["2021-05-01", "2022-05-01"]).any():
        return
    layer = quietly(table, where="kind == 'robbery'", period=period, merge=merge)
    seen, used = set(), []
    for number, (latitude, longitude, date, kind) in enumerate(rows):
        usable = (latitude in (39.1, 39.2) and longitude is not None) or (
            latitude == 0 and longitude in (-94.5, -94.6)
        )
        key = (latitude, longitude, kind if merge and "kind" in merge else "")
        if kind != "robbery" or (period and date != "2021-05-01") or not usable or (merge and key in seen):
            continue
        seen.add(key)
        used.append(number)
    assert list(layer.frame.index) == used
    assert layer.ledger.read == len(rows)


def test_a_stated_period_beside_a_column_that_looks_dated_is_warned_of() -> None:
    """A period that filters nothing although some column could be read as dates is said, with the fix."""
    table = incidents().drop(columns="date").assign(**{"When it happened": "05/06/2021"})
    with pytest.warns(
        DataWarning, match="column 'When it happened' looks like dates: date='When it happened'"
    ):
        layer = read_layer(table, name="incidents", period="2019", provenance="policing")
    assert not any("outside the period" in reason for reason in layer.ledger.dropped)


def test_dotted_dates_are_day_month_year() -> None:
    """31.12.2021 is the last day of 2021; the notes name the format."""
    table = incidents().assign(date="31.12.2021")
    layer = quietly(table, period="2021")
    assert layer.dates.dt.strftime("%Y-%m-%d").unique().tolist() == ["2021-12-31"]
    assert any("DD.MM.YYYY" in note for note in layer.notes)


def test_excels_hint_line_is_named(tmp_path: Path) -> None:
    """A first line sep=; is no header: the message says to delete it."""
    path = tmp_path / "excel.csv"
    path.write_text("sep=;\nlat;lon\n39.1;-94.5\n")
    with pytest.raises(InputError, match="Its first line is a hint for Excel .'sep=;'.*delete"):
        read_layer(path)

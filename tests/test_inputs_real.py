"""The published files of Kansas City and Chicago hold what their description says."""

import os
import warnings
from pathlib import Path

import geopandas as gpd
import pytest

from rtmkc.errors import InputError
from rtmkc.inputs.dominant import dominant_places
from rtmkc.inputs.kansas_city.crime import read_kcpd_crime
from rtmkc.inputs.kansas_city.requests_311 import read_kc_311
from rtmkc.inputs.layers import read_layer

DATA = os.environ.get("RTMKC_DATA")
pytestmark = pytest.mark.skipif(not DATA, reason="RTMKC_DATA is not set: real files are not at hand")
FOLDER = Path(DATA or ".")

VIOLENCE = [
    "Aggravated_Assault",
    "Agg_Assault_Domest",
    "Agg_Assault_Drive",
    "Armed_Robbery",
    "Strong_Arm_Robbery",
    "Homicide_Non_Negl",
]


def test_the_violence_of_kansas_city_in_2017_adds_up() -> None:
    """32,283 person rows are 28,246 incidents; 3,221 of the violent ones lie in the city."""
    path = FOLDER / "kc" / "kcpd_crime_2017_geocoded.parquet"
    merge = ["Date", "Hour", "Crime", "place"]
    everything = read_layer(path, merge=merge, provenance="policing")
    assert everything.ledger.merged == {"same Date, Hour, Crime, place": 4_037}
    assert len(everything) == 28_246
    violence = read_layer(path, where={"Crime": VIOLENCE}, merge=merge, period="2017", provenance="policing")
    outline = gpd.read_parquet(FOLDER / "kc" / "city_outline_from_neighborhoods.parquet").geometry.iloc[0]
    inside = violence.keep(violence.frame.intersects(outline).to_numpy(), "outside the city")
    assert (len(violence), len(inside)) == (3_271, 3_221)
    assert inside.ledger.read == 32_283
    assert dominant_places(inside).empty


@pytest.mark.parametrize(
    ("name", "rows"),
    [("abandonBuildings", 3_653), ("sanitation", 19_733), ("streetLightsOut", 14_587), ("liquorRetail", 937),
     ("burglaries17", 6_876), ("aggravated_assaults_2010_2017", 117_875), ("chicagoNhoods", 98)],
)  # fmt: skip
def test_every_row_of_chicago_is_read(name: str, rows: int) -> None:
    """Nothing is dropped of these files, and nothing is warned of."""
    layer = read_layer(FOLDER / "chicago" / f"{name}.parquet")
    assert (len(layer), layer.ledger.read) == (rows, rows)


def test_raw_requests_of_kansas_city_are_read() -> None:
    """Embedded newlines do not break rows: 500 rows of the raw sample, all with places and dates."""
    layer = read_layer(FOLDER / "kc" / "kc311_raw_format_sample_500.csv")
    assert len(layer) == 500
    assert layer.date_column == "CREATION DATE"


@pytest.mark.parametrize(
    ("name", "read", "sentence"),
    [
        ("kc311_potholes_raw_sample.csv", read_layer, "quoted cell that is never closed"),
        ("kc311_request_type_counts.csv", read_kc_311, "no type of request with an opening date"),
        ("kcpd_2020_no_coords_sample_500.csv", read_kcpd_crime, "no column of places"),
        ("kcpd_crime_2020_no_coords.parquet", read_kcpd_crime, "no column of places"),
        ("kcpd_crime_2017_geocoded.parquet", read_kcpd_crime, "no report number"),
        ("kc311_request_type_counts.csv", read_layer, "No columns of coordinates"),
        ("kc_schemas.json", read_layer, "cannot be read as json"),
    ],
)
def test_files_that_cannot_be_layers_say_why(name: str, read: object, sentence: str) -> None:
    """A file cut off, of an older layout, or without places is one sentence."""
    with pytest.raises(InputError, match=sentence) as caught:
        read(FOLDER / "kc" / name)
    assert "\n" not in str(caught.value)


def test_no_published_file_breaks_the_reader() -> None:
    """Every table and map is a layer whose ledger adds up, or one InputError."""
    paths = [*FOLDER.glob("*/*.parquet"), *FOLDER.glob("kc/*.csv")]
    assert len(paths) > 20
    for path in paths:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                layer = read_layer(path)
            except InputError:
                continue
        assert layer.ledger.used == len(layer) > 0

"""Whatever the options and whatever the dirt, every row of a source is used, merged or dropped, once."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from rtmkc.errors import InputError
from rtmkc.inputs import delimited
from rtmkc.inputs.layers import Layer, read_layer

LATITUDES = st.sampled_from(["39.0997", "39.2001", "0", "", "nan", "inf", "95.5", "north", "4329026.6"])
LONGITUDES = st.sampled_from(["-94.5786", "-94.6001", "0", "", "-inf", "200.25", "west"])
DATES = st.sampled_from(
    ["2021-05-01 20:15", "05/01/2022 01:00:00 AM", "1622836800000", "13/13/2021", "", "1900-01-01", "soon"]
)
KINDS = st.sampled_from(["robbery", "theft", "=cmd", "", "né"])
ROWS = st.lists(st.tuples(LATITUDES, LONGITUDES, DATES, KINDS), min_size=1, max_size=25)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "where": st.sampled_from(["kind == 'robbery'", {"kind": ["robbery", "theft"]}, "kind.isna()"]),
        "period": st.sampled_from(["2021", "2021/2022", "2030"]),
        "hours": st.sampled_from(["19-3", "0-12"]),
        "weekdays": st.sampled_from(["sat", "mon-fri"]),
        "merge": st.sampled_from([["place"], ["kind"], ["kind", "place"], ["date"]]),
        "exclude_places": st.just([(39.0997, -94.5786)]),
        "columns": st.sampled_from([[], ["kind"], ["lat"]]),
    },
)


# What options may ask of rows that do not have it.
EXPECTED = (
    "No value of the column",
    "are at midnight",
    "no degrees",
    "swapped",
    "DD/MM/YYYY",
    "Invalid where",
)


def read(source: Any, options: dict[str, Any]) -> Layer | None:
    """The layer, or None where the options ask for what the rows do not have."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return read_layer(source, provenance="environment", **options)
        except InputError as error:
            if not any(known in str(error) for known in EXPECTED):
                raise
            return None


def check(layer: Layer, n_rows: int) -> None:
    ledger, lost = layer.ledger, layer.dropped_rows()
    assert ledger.read == n_rows
    assert ledger.read == ledger.used + sum(ledger.merged.values()) + sum(ledger.dropped.values())
    # Every row is somewhere, once, and the reasons of the rows are those of the ledger.
    everywhere = sorted([*layer.frame.index, *lost["row"]])
    assert everywhere == list(range(n_rows))
    for fate in ("merged", "dropped"):
        counted = lost.loc[lost["fate"] == fate, "reason"].astype(str).value_counts().to_dict()
        assert counted == getattr(ledger, fate)


@settings(max_examples=120, deadline=None)
@given(rows=ROWS, options=OPTIONS, streamed=st.booleans())
def test_every_row_of_a_file_is_somewhere_once(
    tmp_path_factory: Any, rows: list[tuple[str, ...]], options: dict[str, Any], streamed: bool
) -> None:
    """Read at once or in a stream, with any options."""
    path = Path(tmp_path_factory.mktemp("rows")) / "rows.csv"
    pd.DataFrame(rows, columns=["lat", "lon", "date", "kind"]).to_csv(path, index=False)
    before = delimited.LARGE
    delimited.LARGE = 0 if streamed else before
    try:
        layer = read(path, options)
    finally:
        delimited.LARGE = before
    if layer is not None:
        check(layer, len(rows))


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, options=OPTIONS, seed=st.integers(0, 99))
def test_narrowing_a_layer_keeps_the_account(
    rows: list[tuple[str, ...]], options: dict[str, Any], seed: int
) -> None:
    """`keep`, twice and in another system, loses no row out of sight."""
    layer = read(delimited.sensible_types(frame_of(rows)), options)
    if layer is None:
        return
    random = np.random.default_rng(seed)
    for reason in ("outside the study area", "far away", "outside the study area"):
        layer = layer.to_crs("EPSG:26915").keep(random.random(len(layer)) < 0.7, reason)
        check(layer, len(rows))


def frame_of(rows: list[tuple[str, ...]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["lat", "lon", "date", "kind"], dtype=object)
    return frame.where(frame != "", None)


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, options=OPTIONS)
def test_a_file_and_its_frame_are_one_layer(
    tmp_path_factory: Any, rows: list[tuple[str, ...]], options: dict[str, Any]
) -> None:
    """The same rows from a file and from memory have the same ledger and the same places."""
    path = Path(tmp_path_factory.mktemp("rows")) / "layer.csv"
    pd.DataFrame(rows, columns=["lat", "lon", "date", "kind"]).to_csv(path, index=False)
    first = read(path, options)
    table = pd.read_csv(path, dtype=str)
    second = read(delimited.sensible_types(table), options)
    assert (first is None) == (second is None)
    if first is not None and second is not None:
        assert first.ledger == second.ledger
        assert first.frame.geometry.to_wkt().tolist() == second.frame.geometry.to_wkt().tolist()

"""Nameless segments take the name of the street they continue, whatever the order of the rows."""

import builtins

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from rtmkc.errors import InputError
from rtmkc.places.corridors.network.streets import StreetNetwork
from rtmkc.places.corridors.network.strokes import name_by_strokes


def network_of(rows, **options):
    frame = gpd.GeoDataFrame(
        {"name": [name for name, _ in rows]},
        geometry=shapely.from_wkt([f"LINESTRING ({line})" for _, line in rows]),
        crs=32615,
    )
    return StreetNetwork.from_layer(frame, **options)


GRID = [
    ("Oak", "0 0, 100 0"), (None, "100 0, 200 0"), ("Oak", "200 0, 300 0"),  # a gap in Oak
    ("Elm", "300 0, 340 0"),  # Oak's stroke goes on as Elm, for less
    (None, "100 -100, 100 0"), (None, "100 0, 100 90"),  # a nameless street across
    (None, "200 0, 200 80"),  # and another
]  # fmt: skip


def test_a_gap_takes_the_longest_name_of_its_stroke_and_streets_without_get_a_number():
    """The gap in Oak is Oak; both nameless cross streets are numbered from west to east; names stay; it is said."""
    network = network_of(GRID, missing_names="strokes")
    assert network.segments["name"].tolist() == [
        "Oak", "Oak", "Oak", "Elm", "unnamed street 1", "unnamed street 1", "unnamed street 2",
    ]  # fmt: skip
    assert (
        "1 nameless segments took the name of the street they continue; 3 others make 2 unnamed streets."
        in network.notes
    )
    left = network_of(GRID)
    assert left.segments["name"].isna().sum() == 4
    assert any(note.startswith("4 of 7 segments") for note in left.notes)


def test_the_longest_name_wins():
    """Between 40 m of Ash and 100 m of Elm, a nameless piece in line with both is Elm."""
    rows = [("Ash", "0 0, 40 0"), (None, "40 0, 80 0"), ("Elm", "80 0, 180 0")]
    assert network_of(rows, missing_names="strokes").segments["name"].tolist() == ["Ash", "Elm", "Elm"]


def test_a_winding_line_stays_whole():
    """A line that turns square within itself is one segment of one street, not several strokes."""
    rows = [("Oak", "0 0, 100 0"), (None, "100 0, 160 0, 160 60, 220 60"), ("Elm", "100 0, 100 90")]
    assert network_of(rows, missing_names="strokes").segments["name"].tolist() == ["Oak", "Oak", "Elm"]


@pytest.mark.parametrize("seed", range(6))
def test_names_do_not_depend_on_the_rows(seed):
    """On a crooked grid with half the names gone, shuffled and turned rows give every line the same name."""
    random = np.random.default_rng(seed)
    place = random.uniform(-15, 15, (6, 6, 2)) + 100 * np.stack(np.mgrid[:6, :6], axis=-1)
    rows = [(f"Row {i}", place[i, [j, j + 1]]) for i in range(6) for j in range(5)]
    rows += [(f"Column {j}", place[[i, i + 1], j]) for i in range(5) for j in range(6)]
    names = np.array([name if random.random() < 0.3 else None for name, _ in rows], dtype=object)
    lines = shapely.linestrings([ends for _, ends in rows])
    expected = name_by_strokes(lines, names)
    assert expected.n_continued > 5
    assert expected.n_continued + expected.n_unnamed_lines == pd.isna(names).sum()
    for _ in range(3):
        order = random.permutation(len(lines))
        turned = np.where(random.random(len(lines)) < 0.5, lines[order], shapely.reverse(lines[order]))
        assert name_by_strokes(turned, names[order]).names.tolist() == expected.names[order].tolist()


def test_a_half_named_boulevard_is_merged_and_unnamed_streets_are_not():
    """Names come first, so a carriageway with a nameless half is merged; lines without names never are."""
    rows = [
        ("Blvd", "0 0, 300 0"), (None, "300 0, 600 0"), ("Blvd", "0 20, 600 20"),
        (None, "0 500, 600 500"), (None, "0 520, 600 520"),
    ]  # fmt: skip
    network = network_of(rows, missing_names="strokes")
    assert sorted(network.segments["name"]) == ["Blvd", "Blvd", "unnamed street 1", "unnamed street 2"]
    assert any("0.6 km of carriageway" in note for note in network.notes)


@pytest.mark.parametrize(
    "line",
    [
        "0 0, 100 0, 40 0, 40 50",  # runs back on itself
        "0 0, 100 0, 0 0, 0 50",  # to its own beginning
        "0 0, 100 100, 100 0, 0 100",  # crosses itself
        "0 0, 50 0, 50 50, 0 50, 0 0",  # a ring
    ],
)
def test_lines_that_meet_themselves_are_no_trouble(line):
    """Lines that overlap or cross themselves get a name like any other, without a warning."""
    network = network_of([(None, line), (None, line), ("Elm", "0 0, -90 0")], missing_names="strokes")
    assert network.segments["name"].notna().all()


def test_without_momepy_the_sentence_says_how_to_get_it(monkeypatch):
    """Strokes need momepy: without it, a clear error; all names present, it is not needed at all."""
    plain_import = builtins.__import__

    def no_momepy(name, *more, **others):
        if name == "momepy":
            raise ImportError(name)
        return plain_import(name, *more, **others)

    monkeypatch.setattr(builtins, "__import__", no_momepy)
    with pytest.raises(InputError, match=r"momepy, which is not installed: pip install 'rtmkc\[streets\]'"):
        network_of(GRID, missing_names="strokes")
    assert network_of([("Oak", "0 0, 9 0")], missing_names="strokes").n_segments == 1
    with pytest.raises(
        InputError, match="Invalid missing_names 'guess'. It must be one of: 'leave', 'strokes'"
    ):
        network_of(GRID, missing_names="guess")

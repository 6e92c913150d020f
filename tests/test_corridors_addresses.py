"""Addresses: every spelling of a street is one street, and every row is a block, an intersection or has a reason."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtmkc import parse_addresses
from rtmkc.places.corridors.network.addresses import block_label, parse_address

# As exports of Kansas City have them, spaces, broken lines and units included.
BLOCKS = {
    "3500 INDEPENDENCE AV": (3500, "Independence Avenue"),
    "4800  INDEPENDENCE AV": (4800, "Independence Avenue"),
    "5347 Independence Ave": (5347, "Independence Avenue"),
    "400 W 58 ST": (400, "W 58th Street"),
    "400 W 58 ST\nKANSAS CITY 64113\n(39.022397, -94.59269)": (400, "W 58th Street"),
    "13100 HOLMES RD\nKANSAS CITY 64145\n(38.889239, -94.586045)": (13100, "Holmes Road"),
    "3500 PROSPECT AV\nKANSAS CITY 64127\n": (3500, "Prospect Avenue"),
    "3500 BLOCK OF PROSPECT AVE": (3500, "Prospect Avenue"),
    "3500 Blk Prospect Ave": (3500, "Prospect Avenue"),
    "938 Mulberry St": (938, "Mulberry Street"),
    "938 Mulberry St64101": (938, "Mulberry Street"),
    "938 Mulberry St64101\n(39.102738, -94.600134)": (938, "Mulberry Street"),
    "1315 E 28TH ST 64109": (1315, "E 28th Street"),
    "3500 Prospect Ave, Kansas City, MO 64127-1234": (3500, "Prospect Avenue"),
    "3500-3598 PROSPECT AV": (3500, "Prospect Avenue"),
    "3500 - 3598 PROSPECT AV": (3500, "Prospect Avenue"),
    "035XX S PRAIRIE AVE": (3500, "S Prairie Avenue"),
    "00 E 39 ST": (0, "E 39th Street"),
    "12 1/2 MAIN ST": (12, "Main Street"),
    "938A MULBERRY ST": (938, "Mulberry Street"),
    "2309 A Indiana Ave": (2309, "Indiana Avenue"),
    "4325 PASEO 2S": (4325, "Paseo"),
    "4333 OAK ST 3": (4333, "Oak Street"),
    "1307 BRUSH CREEK BLVD 1G": (1307, "Brush Creek Boulevard"),
    "1600 BROOKLYN AVE BLD 30": (1600, "Brooklyn Avenue"),
    "1600 E 17th Ter FF": (1600, "E 17th Terrace"),
    "1500  E 77 TE": (1500, "E 77th Terrace"),
    "4000  N OAK TF": (4000, "N Oak Trafficway"),
    "5605 E 63rd Trfy": (5605, "E 63rd Trafficway"),
    "8100  BLUE RIDGE BL": (8100, "Blue Ridge Boulevard"),
    "5200  ST JOHN AV": (5200, "St John Avenue"),
    "1638 St Louis Ave": (1638, "St Louis Avenue"),
    "100 SAINT LOUIS AVE": (100, "St Louis Avenue"),
    "4500  SOUTH BENTON AV": (4500, "S Benton Avenue"),
    "2980 Mcgee Trfy": (2980, "McGee Trafficway"),
    "1200 MC GEE ST": (1200, "McGee Street"),
    "610 Emanuel Cleaver II Blvd": (610, "Emanuel Cleaver II Boulevard"),
    "4545 NE Worlds Of Fun Ave": (4545, "NE Worlds of Fun Avenue"),
    "100 MARTIN LUTHER KING JR BLVD": (100, "Martin Luther King Jr Boulevard"),
    "100 Dr. Martin Luther King Blvd": (100, "Martin Luther King Jr Boulevard"),
    "100 N W 5 ST": (100, "NW 5th Street"),
    "100 N NW 5 ST": (100, "NW 5th Street"),
    "700 NORTH AV": (700, "North Avenue"),
    "200 E ST": (200, "E Street"),
    "12 AVENUE A": (12, "Avenue A"),
    "1200 Park Place Dr": (1200, "Park Place Drive"),
    "3700 Lee's Summit Rd": (3700, "Lees Summit Road"),
    "1600 Pennsylvania Ave NW": (1600, "Pennsylvania Avenue NW"),
    "250 E 500 S": (250, "E 500 S"),
    "3500 US 71 HWY": (3500, "US 71 Highway"),
    "3500 U.S. Highway 71": (3500, "US 71 Highway"),
    "14500  S US 71 HWY WEST FRONTAGE RD": (14500, "S US 71 West Frontage Road"),
    "3500 HWY 40": (3500, "40 Highway"),
    "3500 40 HWY": (3500, "40 Highway"),
    "3500 MO-9 HWY": (3500, "9 Highway"),
    "1000 I-70": (1000, "I-70"),
    "1000 INTERSTATE 70": (1000, "I-70"),
    "123 County Road 9": (123, "County Road 9"),
    "1600  BROADWAY": (1600, "Broadway"),
}
REASONS = {
    "99999": "withheld (99999)",
    "99999\n": "withheld (99999)",
    "99999(0.0, 0.0)": "withheld (99999)",
    "N NW GREEN HILLS RD\nKANSAS CITY 64152\n": "a street without a house number",
    "BROADWAY KANSAS CITY64131\r\n(38.9767, -94.5767)": "a street without a house number",
    "10TH KANSAS CITY64106\r\n(39.1019, -94.571)": "a street without a house number",
    "18 ST": "a street without a house number",
    "0 PROSPECT AV": "a street without a house number",
    "11600 E US\nHW KANSAS CITY 64133\n": "no street name",
    "3500": "no street name",
    "POINT (-94.58546458 39.103614672)": "not an address",
    "PO BOX 123": "not an address",
    "Unknown": "not an address",
    "": "no address",
    "  \n": "no address",
    None: "no address",
    np.nan: "no address",
    3500: "not an address",
}
INTERSECTIONS = {
    "18 ST and PROSPECT AV\nKANSAS CITY 64127\n": ("18th Street", "Prospect Avenue"),
    "E 46 TE and CLEVELAND AV": ("E 46th Terrace", "Cleveland Avenue"),
    "INDEPENDENCE AV & SPRUCE AV": ("Independence Avenue", "Spruce Avenue"),
    "E 39TH ST / TROOST AVE": ("E 39th Street", "Troost Avenue"),
    "E 39 ST AT TROOST AV": ("E 39th Street", "Troost Avenue"),
}


@pytest.mark.parametrize("text", BLOCKS, ids=repr)
def test_addresses_as_files_have_them(text):
    """House number and street of addresses copied from exports, and of forms that other cities use."""
    block = parse_address(text)
    assert (block.number, block.street) == BLOCKS[text]
    assert block.hundred_block == block.number - block.number % 100


@pytest.mark.parametrize("text", REASONS, ids=repr)
def test_what_is_no_block_says_why(text):
    """Withheld, empty, without a number: each has its reason, and nothing is made of it."""
    [row] = parse_addresses(pd.Series([text], dtype=object)).to_dict("records")
    assert row["reason"] == REASONS[text]
    assert row["kind"] is None
    assert pd.isna(row["hundred_block"])
    assert parse_address(text) is None


@pytest.mark.parametrize("text", INTERSECTIONS, ids=repr)
def test_intersections_are_two_streets(text):
    """An intersection gives its two streets and no number, though the first is a number itself."""
    [row] = parse_addresses([text]).to_dict("records")
    assert (row["kind"], row["street"], row["cross_street"]) == ("intersection", *INTERSECTIONS[text])
    assert pd.isna(row["number"])
    assert row["reason"] is None
    assert parse_address(text) is None


TYPES = {
    "Avenue": ["AV", "AVE", "Avenue", "ave."],
    "Street": ["ST", "St", "STREET", "st."],
    "Boulevard": ["BL", "BLVD", "Boulevard"],
    "Terrace": ["TE", "TER", "Terr", "terrace"],
    "Trafficway": ["TF", "Trfy", "TRAFFICWAY"],
    "Road": ["RD", "Rd.", "road"],
    "Parkway": ["PKWY", "Pkwy", "PARKWAY"],
    "Highway": ["HW", "HWY"],
}
DIRECTIONS = {"": [""], "N": ["N", "North", "n."], "E": ["E", "EAST"], "NW": ["NW", "N W", "Northwest"]}
NAMES = {
    "Prospect": ["PROSPECT", "Prospect", "prospect"],
    "12th": ["12", "12TH", "12th", "12 TH"],
    "53rd": ["53", "53RD", "53rd"],
    "111th": ["111", "111th"],
    "St John": ["ST JOHN", "St. John", "Saint John"],
    "Blue Ridge": ["BLUE RIDGE", "Blue  Ridge"],
}
BEHIND = [
    "",
    " ",
    " Apt 4",
    " #4",
    ", Kansas City",
    " KANSAS CITY MO 64127",
    "\nKANSAS CITY 64127\n(39.1, -94.5)",
    "64127",
]


@given(
    number=st.integers(1, 19999),
    direction=st.sampled_from(sorted(DIRECTIONS)),
    name=st.sampled_from(sorted(NAMES)),
    kind=st.sampled_from(sorted(set(TYPES) - {"Highway"})),
    behind=st.sampled_from(BEHIND),
    chance=st.randoms(use_true_random=False),
)
@settings(max_examples=400, deadline=None)
def test_every_spelling_is_one_street(number, direction, name, kind, behind, chance):
    """An address put together from any spelling of its parts gives back the parts it was made of."""
    written = [chance.choice(spellings) for spellings in (DIRECTIONS[direction], NAMES[name], TYPES[kind])]
    block = parse_address(f"{number} {' '.join(filter(None, written))}{behind}")
    assert (block.number, block.direction, block.name, block.suffix) == (number, direction, name, kind)


@given(st.lists(st.text(max_size=30) | st.sampled_from([*BLOCKS, *INTERSECTIONS, None])))
@settings(max_examples=300, deadline=None)
def test_nothing_is_lost(texts):
    """Whatever the text, a row is a block, an intersection or has a reason, and agrees with the single address."""
    table = parse_addresses(pd.Series(texts, dtype=object))
    assert len(table) == len(texts)
    is_block = table["kind"] == "block"
    assert (table["kind"].isna() == table["reason"].notna()).all()
    assert (is_block == table["hundred_block"].notna()).all()
    for text, (_, row) in zip(texts, table.iterrows(), strict=True):
        block = parse_address(text)
        assert (block is not None) == (row["kind"] == "block")
        if block is not None:
            assert (block.number, block.street) == (row["number"], row["street"])
            assert block.hundred_block == row["hundred_block"] == 100 * (block.number // 100)
            assert row["street"] == " ".join(filter(None, [row["direction"], row["name"], row["suffix"]]))


def test_a_name_read_again_is_itself():
    """The one spelling of a street is a fixed point: parsed again it does not change."""
    for text in BLOCKS:
        block = parse_address(text)
        assert parse_address(f"{block.number or '00'} {block.street}") == block


def test_the_table_keeps_the_index_and_repeats():
    """Rows come in the order of the column, under its labels, repeated labels and repeated addresses included."""
    column = pd.Series(["3500 PROSPECT AV", None, "3500 PROSPECT AV"], index=[7, 3, 7])
    table = parse_addresses(column)
    assert table.index.tolist() == [7, 3, 7]
    assert table["hundred_block"].tolist() == [3500, pd.NA, 3500]
    assert parse_addresses([]).shape == (0, 9)
    assert parse_addresses(column.astype("category"))["street"].tolist() == table["street"].tolist()


def test_a_hundred_block_in_words():
    """Blocks are called by their hundred; the first one has no other usual name than 00."""
    assert [block_label(number) for number in (0, 100, 3500)] == ["00 block", "100 block", "3500 block"]
    assert parse_address("48 Janssen Pl").label == "00 block"

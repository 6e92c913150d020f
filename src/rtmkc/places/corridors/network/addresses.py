"""Addresses as people and police write them: house number, hundred block, and one spelling of the street."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import pandas as pd


def _spellings(table: dict[str, str]) -> dict[str, str]:
    return {word: meaning for meaning, words in table.items() for word in words.split()}


_DIRECTIONS = _spellings(
    {
        "N": "N NORTH", "S": "S SOUTH", "E": "E EAST", "W": "W WEST",
        "NE": "NE NORTHEAST", "NW": "NW NORTHWEST", "SE": "SE SOUTHEAST", "SW": "SW SOUTHWEST",
    }
)  # fmt: skip
_TYPES = _spellings(
    {
        "Alley": "ALLEY ALLY ALY AL",
        "Avenue": "AVENUE AVE AV AVEN AVENU AVN",
        "Boulevard": "BOULEVARD BLVD BLV BL BOUL",
        "Bridge": "BRIDGE BRG",
        "Circle": "CIRCLE CIR CIRC CRCL CI",
        "Court": "COURT CT CRT",
        "Cove": "COVE CV",
        "Crescent": "CRESCENT CRES",
        "Cutoff": "CUTOFF CTOF CTF",
        "Drive": "DRIVE DR DRV DV",
        "Expressway": "EXPRESSWAY EXPY EXPWY EXPWAY",
        "Extension": "EXTENSION EXT EXTN",
        "Freeway": "FREEWAY FWY FRWY",
        "Highway": "HIGHWAY HWY HW HY HIWAY HIWY",
        "Lane": "LANE LN",
        "Loop": "LOOP LP",
        "Parkway": "PARKWAY PKWY PKY PKWAY PWY PW",
        "Place": "PLACE PL",
        "Plaza": "PLAZA PLZ PLZA PZ",
        "Road": "ROAD RD",
        "Row": "ROW",
        "Square": "SQUARE SQ SQR",
        "Street": "STREET ST STR STRT",
        "Terrace": "TERRACE TERR TER TE",
        "Trafficway": "TRAFFICWAY TRFY TRFWY TRFWAY TRFCWY TFWY TF",
        "Trail": "TRAIL TRL TR",
        "Turnpike": "TURNPIKE TPKE TNPK",
        "Viaduct": "VIADUCT VIA",
        "Walk": "WALK",
        "Way": "WAY WY",
    }
)
_UNIT = re.compile(r"APT|APTS|UNIT|STE|SUITE|BLDG|BLD|RM|ROOM|FLR|FLOOR|LOT|TRLR|SPC|#")
_UNIT_NUMBER = re.compile(r"\d+[A-Z]?|[A-Z]\d+")

_COORDINATES = re.compile(r"\(\s*[-+]?\d+(?:\.\d+)?\s*,\s*[-+]?\d+(?:\.\d+)?\s*\)\s*$")
_ZIP_CODE = re.compile(r"(?<=[A-Z.,\s])\d{5}(?:-\d{4})?\s*$")
_CITY = re.compile(r"(?<=\S)\s+KANSAS\s+CITY(?:\W+(?:MO|KS|MISSOURI|KANSAS))?\s*$")
_NO_ADDRESS = re.compile(r"POINT\s*\(|[{\[]|P\W*O\W*BOX\b|(?:UNKNOWN|NONE|NULL|NAN|N/A)\s*$")
_BETWEEN = re.compile(r"\s(?:AND|AT)\s|\s*[&@/\\]\s*")
_NUMBER = re.compile(
    r"(?:(?P<number>\d{1,6})(?:\s*-\s*\d{1,6})?[A-Z]?|(?P<masked>\d{0,4})XX)(?:\s+\d/\d)?"
    r"(?:\s+(?:HUNDRED\s+)?(?:BLOCK|BLK)(?:\s+OF)?)?\s+(?=\S)"
)
_FRACTION = re.compile(r"\b\d/\d\b")
_ORDINAL = re.compile(r"(\d+)(?:ST|ND|RD|TH)?")
_SPLIT_ORDINAL = re.compile(r"\b(\d+) (TH|ND)\b")
_HIGHWAY_WORD = r"(?:HIGHWAY|HWY|HW|HY|ROUTE|RTE|RT)"
_HIGHWAYS = (
    (re.compile(rf"U ?S (?:{_HIGHWAY_WORD} )?(\d+)\b(?: {_HIGHWAY_WORD}\b)? ?"), "US {}", "Highway"),
    (re.compile(r"(?:I|IH|INTERSTATE) ?(?:HWY )?(\d+)\b(?: HWY\b)? ?"), "I-{}", ""),
    (re.compile(r"(?:COUNTY|CO|CR) (?:ROAD|RD|HWY) (\w+)\b ?"), "County Road {}", ""),
    (
        re.compile(rf"(?:(?:STATE|MO|KS|M|K) )?{_HIGHWAY_WORD} (\d+|[A-Z]{{1,2}})\b ?"),
        "{}",
        "Highway",
    ),
    (re.compile(rf"(?:(?:STATE|MO|KS|M|K) )?(\d+) {_HIGHWAY_WORD}\b ?"), "{}", "Highway"),
)
_KING = re.compile(r"(?:(?:THE )?(?:REV )?(?:DR )?)(?:MARTIN LUTHER KING|M L KING|ML KING|MLK)(?: JR)?")
_SPELLED = {"II": "II", "III": "III", "IV": "IV", "US": "US", "OF": "of"}

_COLUMNS = [
    "number", "hundred_block", "direction", "name", "suffix", "street", "cross_street", "kind", "reason",
]  # fmt: skip

WITHHELD = "withheld (99999)"
NO_TEXT = "no address"
NOT_AN_ADDRESS = "not an address"
NO_STREET = "no street name"
NO_NUMBER = "a street without a house number"


class _Street(NamedTuple):
    direction: str
    name: str
    suffix: str

    @property
    def label(self) -> str:
        return " ".join(filter(None, self))


@dataclass(frozen=True)
class HundredBlock:
    """An address taken apart.

    Attributes
    ----------
    number : int
        House number, the lower of a range.
    direction : str
        N, S, E, W, NE, NW, SE, SW, or empty.
    name : str
        The street's name without direction and type: "Independence", "12th", "US 71".
    suffix : str
        Type of the street in full, "Avenue", with a direction behind it if it has one; or empty.

    Examples
    --------
    >>> block = parse_address("3914 INDEPENDENCE AV")
    >>> block.street, block.hundred_block, block.label
    ('Independence Avenue', 3900, '3900 block')
    """

    number: int
    direction: str
    name: str
    suffix: str

    @property
    def hundred_block(self) -> int:
        """House number rounded down to the hundred."""
        return self.number // 100 * 100

    @property
    def street(self) -> str:
        """The street's name in one spelling, "E 12th Street"."""
        return _Street(self.direction, self.name, self.suffix).label

    @property
    def label(self) -> str:
        """The hundred block in words."""
        return block_label(self.hundred_block)


def block_label(hundred_block: int) -> str:
    """Return the words for a hundred block, "3500 block"; the first of a street is the "00 block".

    Examples
    --------
    >>> block_label(3500), block_label(0)
    ('3500 block', '00 block')
    """
    return f"{hundred_block or '00'} block"


def parse_address(text: Any) -> HundredBlock | None:
    """Return the house number and the street of an address, or None if it has not both.

    Parameters
    ----------
    text : str
        As files have it: "3500 INDEPENDENCE AV", "3500 BLOCK OF PROSPECT AVE", "400 W 58 ST", with or without
        unit, city, ZIP code and coordinates behind it.

    Returns
    -------
    HundredBlock or None
        None for intersections, streets without a house number, and what is not an address; `parse_addresses`
        says which.

    Examples
    --------
    >>> parse_address("400 W 58 ST, KANSAS CITY 64113")
    HundredBlock(number=400, direction='W', name='58th', suffix='Street')
    >>> parse_address("12TH ST and PROSPECT AV") is None
    True
    """
    parsed = _parse(text)
    if parsed.kind != "block" or parsed.street is None or parsed.number is None:
        return None
    return HundredBlock(parsed.number, *parsed.street)


def parse_addresses(addresses: Iterable[Any]) -> pd.DataFrame:
    """Take a column of addresses apart; every row says what it is or why it is nothing.

    Parameters
    ----------
    addresses : Series or iterable of str, shape (n,)
        Addresses as in `parse_address`.

    Returns
    -------
    DataFrame, shape (n, 9)
        With the index of the column: number and hundred_block (missing where there is none), direction, name,
        suffix, street (the three in one), cross_street (of an intersection), kind ("block", "intersection" or
        missing) and reason (why it is neither; missing otherwise).

    Notes
    -----
    Types of streets are those of the US Postal Service and of Kansas City's files (TE terrace, TF trafficway); an
    ordinal is one with or without its ending, "12" and "12TH". Numbers above a hundred block may be masked,
    "35XX". What stands behind the type of the street (unit, city) is not read.

    Examples
    --------
    >>> table = parse_addresses(["3500 INDEPENDENCE AV", "3598 Independence Ave Apt 4", "E 12TH ST", "99999"])
    >>> table[["hundred_block", "street", "reason"]].astype(object).fillna("").values.tolist()
    [[3500, 'Independence Avenue', ''], [3500, 'Independence Avenue', ''], \
['', 'E 12th Street', 'a street without a house number'], ['', '', 'withheld (99999)']]
    """
    texts = addresses if isinstance(addresses, pd.Series) else pd.Series(list(addresses), dtype=object)
    codes, unique = pd.factorize(texts, use_na_sentinel=True)
    parsed = [_parse(text) for text in unique] + [_parse(None)]  # code -1, missing, is the last
    table = pd.DataFrame([one.row() for one in parsed], columns=_COLUMNS, dtype=object)
    table = table.astype({"number": "Int64", "hundred_block": "Int64"})
    return table.iloc[codes].set_axis(texts.index)


class _Parsed(NamedTuple):
    kind: str | None = None
    number: int | None = None
    street: _Street | None = None
    cross: _Street | None = None
    reason: str | None = None

    def row(self) -> tuple[Any, ...]:
        """The row of the table, in the order of its columns."""
        block = None if self.number is None else self.number // 100 * 100
        words = (*self.street, self.street.label) if self.street else (None,) * 4
        return self.number, block, *words, self.cross.label if self.cross else None, self.kind, self.reason


def _parse(text: Any) -> _Parsed:
    if not isinstance(text, str):
        return _Parsed(reason=NO_TEXT if pd.isna(text) else NOT_AN_ADDRESS)
    plain = _address_part(text.upper())
    if not plain:
        return _Parsed(reason=NO_TEXT if not text.strip() else NOT_AN_ADDRESS)
    if plain == "99999" or plain.startswith("99999 "):
        return _Parsed(reason=WITHHELD)
    if _NO_ADDRESS.match(plain):
        return _Parsed(reason=NOT_AN_ADDRESS)
    if not any(map(str.isalpha, plain)):
        return _Parsed(reason=NO_STREET if any(map(str.isdigit, plain)) else NOT_AN_ADDRESS)
    found = _NUMBER.match(plain)
    first, *others = _streets_named(plain[found.end() :] if found else plain)
    number = _number(found) if found else None
    if found and first in _TYPES:  # "18 ST": the number is the name
        number, first = None, f"{found['number']} {first}"
    street = _street(first)
    if street is None:
        return _Parsed(reason=NO_STREET)
    if number is not None:
        return _Parsed("block", number, street)
    cross = _street(others[0]) if others else None
    if cross is not None:
        return _Parsed("intersection", None, street, cross)
    return _Parsed(street=street, reason=NO_NUMBER)


def _address_part(text: str) -> str:
    """The address itself: no coordinates, ZIP code, city line, or what stands behind a comma."""
    text = text.strip()
    if text.startswith(("POINT", "{")):
        return text
    if text.endswith(")"):
        text = _COORDINATES.sub("", text).rstrip()
    if text[-1:].isdigit():
        text = _ZIP_CODE.sub("", text).rstrip(" ,")
    if "KANSAS" in text:
        text = _CITY.sub("", text).rstrip()
    lines = [line.split(",")[0].strip() for line in text.splitlines()]
    first = lines[0] if lines else ""
    if len(lines) > 1 and first:  # a long name is broken before its type
        follows, last = lines[1].split()[:1], first.split()[-1]
        if follows and follows[0] in _TYPES and last not in _TYPES:
            first = f"{first} {follows[0]}"
    return _SPLIT_ORDINAL.sub(r"\1\2", " ".join(first.replace("#", " # ").split()))


def _number(found: re.Match[str]) -> int | None:
    if found["masked"] is not None:
        return int(found["masked"] or 0) * 100
    return None if found["number"] == "0" else int(found["number"])  # lots without a number have a lone 0


def _words(text: str) -> str:
    return " ".join(re.sub(r"[^\w#]+", " ", re.sub(r"[.'’`]", "", text)).split())


@lru_cache(maxsize=100_000)
def _streets_named(text: str) -> tuple[str, ...]:
    """Streets of an address or intersection in plain capital words; at least one, perhaps empty."""
    parts = _BETWEEN.split(_FRACTION.sub(" ", text))
    return tuple(_words(part) for part in parts if part.strip()) or ("",)


@lru_cache(maxsize=100_000)
def _street(words: str) -> _Street | None:
    """Direction, name and type of a street given in plain capital words, or None without a name."""
    tokens = words.split()
    unit = next((place for place, token in enumerate(tokens) if place and _UNIT.fullmatch(token)), None)
    tokens = tokens[:unit]
    if len(tokens) > 2 and tokens[0] in set("ABCDFGH") and tokens[1] not in _TYPES:  # 2309 A Indiana Ave
        tokens = tokens[1:]
    direction = ""
    while len(tokens) > 1 and tokens[0] in _DIRECTIONS and not (len(tokens) == 2 and tokens[1] in _TYPES):
        further = _DIRECTIONS[tokens[0]]
        direction = direction + further if direction + further in _DIRECTIONS else further
        tokens = tokens[1:]
    return _highway(direction, tokens) or _plain_street(direction, tokens)


def _highway(direction: str, tokens: list[str]) -> _Street | None:
    text = " ".join(tokens)
    for pattern, name, suffix in _HIGHWAYS:
        found = pattern.match(text)
        if found is None:
            continue
        *along, last = text[found.end() :].split() or [""]
        if last in _TYPES and along:  # a frontage road is another street than its highway
            return _Street(direction, name.format(found[1]) + " " + _title(along), _TYPES[last])
        return _Street(direction, name.format(found[1]), suffix)
    return None


def _plain_street(direction: str, tokens: list[str]) -> _Street | None:
    place = next((at for at in range(len(tokens) - 1, 0, -1) if tokens[at] in _TYPES), None)
    name = tokens[:place]
    behind = tokens[place + 1] if place and place + 1 < len(tokens) else ""
    suffix = [_TYPES[tokens[place]]] if place else []
    if place is None and len(name) > 1:
        if name[-1] in _DIRECTIONS and name[-2].isdigit():  # 250 E 500 S
            behind, name = name[-1], name[:-1]
        elif _UNIT_NUMBER.fullmatch(name[-1]):
            name = name[:-1]
    if behind in _DIRECTIONS:
        suffix.append(_DIRECTIONS[behind])
    if not any(map(str.isalnum, "".join(name))) or (" ".join(name).isdigit() and not suffix):
        return None
    if name == ["US"] and suffix == ["Highway"]:  # its number was cut off
        return None
    return _Street(direction, _name(name, bool(place)), " ".join(suffix))


def _name(words: list[str], has_type: bool) -> str:
    text = " ".join(words)
    if _KING.fullmatch(text):
        return "Martin Luther King Jr"
    ordinal = _ORDINAL.fullmatch(text)
    if ordinal and (has_type or not text.isdigit()):
        return _with_ending(int(ordinal[1]))
    if len(words) > 1 and words[0] == "THE":
        words = words[1:]
    if len(words) > 1 and words[0] == "SAINT":
        words = ["ST", *words[1:]]
    if len(words) > 1 and words[0] == "MC":
        words = ["MC" + words[1], *words[2:]]
    return _title(words)


def _with_ending(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if number % 100 in (11, 12, 13) else ending}"


def _title(words: list[str]) -> str:
    return " ".join(
        _SPELLED.get(word)
        or (f"Mc{word[2:].capitalize()}" if word.startswith("MC") and len(word) > 4 else word.capitalize())
        for word in words
    )

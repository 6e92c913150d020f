"""What names say: the word rules by which a folder is looked at, all of them here, none of them certain."""

import re
from collections.abc import Iterable

from rtmkc.inputs.columns import enforcement_word, loose
from rtmkc.units import Period, parse_period

#: The five factors that task forces work on; others that a map finds are offered as comments.
CORE_FACTORS = (
    "poor lighting", "vacant houses", "overgrown shrubs", "illegal dumping", "health violations",
)  # fmt: skip
#: Words in the name of a file or in a type, and the factor they speak of; the first that fits counts.
_FACTOR_WORDS = (
    ("poor lighting", r"(street )?lights? (all )?out|lights? problem|light malfunction|poor light\w*|unlit"),
    ("vacant houses", r"(vacant|abandon\w*|boarded|derelict) (\w+ )?(build\w*|hous\w*|propert\w*|struct\w*|home\w*)"),
    ("abandoned vehicles", r"abandon\w* (vehicles?|cars?|auto\w*)|junk vehicle"),
    ("overgrown shrubs", r"weeds?|overgrown|shrubs?|mowing|tall grass|vegetation"),
    ("illegal dumping", r"dump(ing|ed)|fly ?tipping"),
    ("health violations", r"(health|food|restaurant) (\w+ )?(violation|inspection|complaint)\w*|rodents?|rats?"),
    ("graffiti", r"graffiti"),
)  # fmt: skip
#: Words in codes of land use, and the factor they speak of.
_LAND_USES = (
    ("vacant land", r"vacant"),
    ("hotels and motels", r"hotels?|motels?"),
    ("apartments", r"multi ?family 5|apartments?"),
    ("parking lots", r"parking"),
    ("gas stations", r"(gas|service|filling) stations?"),
)
_NOT_LAND = re.compile(r"common area|permanent open space")
_INCIDENTS = re.compile(
    r"\b(crimes?|incidents?|offen[sc]es?|(\w+ )?assaults?|burglar\w*|robber\w*|homicides?|murders?|shootings?|"
    r"thefts?|larcen\w*|frauds?|kcpd|violence|violent)\b"
)
_INCIDENT_COLUMNS = (
    "offense", "offence", "offensetype", "offensecode", "offensedescription", "offensecategory", "ibrs",
    "nibrs", "nibrscode", "ibrscode", "iucr", "ucr", "ucrcode", "fbicode", "primarytype", "crime", "crimetype",
    "crimetypes", "crimecode",
)  # fmt: skip
#: Columns that say what kind of incident or request a row is, the most telling first.
TYPE_COLUMNS = (
    "crime", "crimetype", "offensetype", "offensedescription", "offense", "offence", "primarytype",
    "offensecategory", "srtype", "requesttype", "servicename", "issuetype", "complainttype", "type",
    "category", "typedescription", "description",
)  # fmt: skip
LAND_USE_COLUMNS = ("landusecode", "landuse", "usecode", "usedescription", "lucode", "propertyclass")
_REQUESTS = re.compile(r"\b(311|requests?|complaints?|service calls)\b")
_PARTS = re.compile(r"\b(samples?|example|test|excerpt)\b")

_BOUNDARY = re.compile(r"\b(boundar\w*|outline|city ?limits?|border|perimeter|study area|jurisdiction)\b")
_TREATED = re.compile(r"\b(treated|worked|interventions?|target areas?|corridors?)\b")
_STREETS = re.compile(r"\b(streets?|roads?|cent(er|re) ?lines?|highways?|osm)\b")
STREET_COLUMNS = ("roadclass", "highway", "fclass", "streetname", "fullname", "roadname", "mtfcc")
_PLACES = re.compile(r"\b(business(es)?|places|sites|landmarks|addresses)\b")
_EXPOSURE = re.compile(r"\b(parcels?|address points?|building footprints?|population|households?)\b")
#: What areas are, in the words of their file, and how the column of a join is called.
_AREAS = (
    ("neighbourhood", r"n?ei?ghbou?rhoods?|nhoods?|nbh\w*|communit\w*|neighborhoods?"),
    ("beat", r"beats?"),
    ("council district", r"council\w*|wards?"),
    ("police district", r"police (districts?|divisions?)|precincts?|divisions?"),
    ("sector", r"sectors?"),
    ("zip code", r"zip\w*|postal\w*|postcodes?"),
    ("census tract", r"tracts?|block ?groups?|census"),
    ("district", r"districts?"),
)  # fmt: skip
_BUILT = (
    r"liquor|retail|licen[cs]es?|stations?|stops?|schools?|parks?|hotels?|motels?|parcels?|land bank|"
    r"foreclosures?|bars?|stores?|shops?|restaurants?|poles?|hospitals?|rail|bus|transit|vacant land|parking|"
    r"apartments?"
)
_PROVENANCES = (
    ("inspection", r"violations?|inspections?|dangerous|condemned|code enforcement"),
    (
        "community-reported",
        r"311|requests?|complaints?|reports?|lights? out|sanitation|abandon\w*|potholes?|dumping",
    ),
    ("environment", _BUILT),
)
_VIOLENT = re.compile(
    r"\b(homicides?|murders?|manslaughter|robber(y|ies)|shootings?|(agg|aggravated|felonious)\b.*\bassaults?|"
    r"assaults?\b.*\b(agg|aggravated|felonious))\b"
)
_NOT_VIOLENT = re.compile(
    r"\bnon (agg|aggravated)\b|\bnonagg\w*|\b(simple|attempted suicide|justifiable|suicide)\b|"
    r"(?<!non )(?<!non)\bnegl(igent)?\b"
)


def words(name: str) -> str:
    """Return a name as words in lower case: camelCase, digits and signs taken apart.

    Examples
    --------
    >>> words("streetLightsOut"), words("kcpd_crime_2017"), words("burglaries17")
    ('street lights out', 'kcpd crime 2017', 'burglaries 17')
    """
    parts = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    parts = re.sub(r"([A-Za-z]{3,})(\d)", r"\1 \2", parts)
    return re.sub(r"[^a-z0-9]+", " ", parts.lower()).strip()


def plain_name(stem: str) -> str:
    """Return the name of a layer: its words without years and without words about the file.

    Examples
    --------
    >>> plain_name("land_bank_2012_2015"), plain_name("cta_rail_stations")
    ('land bank', 'cta rail stations')
    """
    rest = re.sub(r"\b((19|20)\d\d|sample|data|export|final|points?|layer)\b", " ", words(stem))
    return " ".join(rest.split()) or words(stem) or "layer"


def factor_of(text: str) -> str | None:
    """Return the factor that a file or type speaks of, or None.

    Examples
    --------
    >>> factor_of("abandonBuildings"), factor_of("Street Light Out"), factor_of("A Pothole")
    ('vacant houses', 'poor lighting', None)
    """
    plain = words(text)
    return next((name for name, rule in _FACTOR_WORDS if re.search(rf"\b({rule})\b", plain)), None)


def land_use_of(text: str) -> str | None:
    """Return the factor that a code of land use speaks of, or None."""
    plain = words(text)
    if _NOT_LAND.search(plain):
        return None
    return next((name for name, rule in _LAND_USES if re.search(rf"\b({rule})\b", plain)), None)


def provenance_of(stem: str, columns: Iterable[str]) -> str | None:
    """Return what may have made a layer, by its name and its columns; None if neither says."""
    found = enforcement_word([words(stem), *columns])
    if found is not None:
        return found[1]
    plain = words(stem)
    return next((name for name, rule in _PROVENANCES if re.search(rf"\b({rule})\b", plain)), None)


def looks_like_incidents(stem: str, columns: Iterable[str]) -> str | None:
    """Return why a layer of points may be incidents, or None."""
    plain = words(stem)
    if _REQUESTS.search(plain):
        return None
    found = _INCIDENTS.search(plain)
    if found:
        return f"the file is called {found.group(0)!r}"
    typed = next((name for name in columns if loose(name) in _INCIDENT_COLUMNS), None)
    return None if typed is None else f"it has a column {typed!r}"


def looks_like_requests(stem: str) -> bool:
    """Return whether a file is called like requests to a city."""
    return bool(_REQUESTS.search(words(stem)))


def is_part(stem: str) -> bool:
    """Return whether a file is called a sample of something."""
    return bool(_PARTS.search(words(stem)))


def looks_like(what: str, stem: str) -> bool:
    """Return whether a file is called like a boundary, streets, treated, places or exposure."""
    rules = {
        "boundary": _BOUNDARY, "streets": _STREETS, "treated": _TREATED, "places": _PLACES, "exposure": _EXPOSURE,
    }  # fmt: skip
    return bool(rules[what].search(words(stem)))


def kind_of_areas(stem: str) -> str:
    """Return what areas are called in a join: neighbourhood, beat, council district ...; else the file's name.

    Examples
    --------
    >>> kind_of_areas("chicagoNhoods"), kind_of_areas("policeBeats"), kind_of_areas("zip_codes_50")
    ('neighbourhood', 'beat', 'zip code')
    """
    plain = words(stem)
    return next((name for name, rule in _AREAS if re.search(rf"\b({rule})\b", plain)), plain_name(stem))


def violent_values(values: Iterable[str]) -> list[str]:
    """Return the values that name homicide, robbery, shooting or aggravated assault, whole and exact.

    Examples
    --------
    >>> violent_values(["Agg_Assault_Domest", "Non_Agg_Assault_Dome", "Homicide_Non_Negl", "Simple Assault"])
    ['Agg_Assault_Domest', 'Homicide_Non_Negl']
    """
    return [
        value for value in values if _VIOLENT.search(words(value)) and not _NOT_VIOLENT.search(words(value))
    ]


def years_in(stem: str) -> Period | None:
    """Return the years that a file is named after, as a period.

    Examples
    --------
    >>> str(years_in("land_bank_2012_2015")), years_in("parcels")
    ('2012-01-01/2015-12-31', None)
    """
    years = [int(year) for year in re.findall(r"(?<!\d)((?:19[89]|20[0-3])\d)(?!\d)", stem)]
    return parse_period(f"{min(years)}/{max(years)}") if years else None

"""What a column is, judged by its name: matched loosely, never kept if it is about persons."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_PERSONAL = _set(
    "race races racial sex sexes gender genders ethnicity ethnicities ethnic hispanic latino age ages aged "
    "dob birth birthdate birthday birthyear"
)
# "building age" and "race track" are not about persons.
_THINGS = _set(
    "building buildings structure house housing tree pole lamp light roof pipe sewer pavement road street "
    "sidewalk track case request ticket days parcel property vehicle car horse equipment asset"
)
_OF_THINGS = _set("race races age ages aged")
_PERSONAL_RUN_TOGETHER = re.compile(
    r"(?:vic|vict|victims?|sus|susp|suspects?|off|offenders?|arr|arrestees?|subj|subjects?|persons?|perp"
    r"|perpetrator|defendant|complainant|owner|party|inv|involved)?"
    r"(?:race|sex|gender|ethnicity|age|dob|dateofbirth|birthdate)"
    r"(?:range|group|grp|bracket|band|code|cd|desc|description|category|cat|type|years|yrs|yr)?\d*"
)

_PERSON_WORDS = _set(
    "parole paroled parolee parolees probation probationer probationers offender offenders gang gangs inmate "
    "inmates felon felons suspect suspects suspicious homeless encampment registrant registrants"
)
_POLICING_WORDS = _set("arrest arrests arrested arrestee arrestees warrant warrants frisk frisks")
_POLICING_PHRASES = ("field interview", "field contact", "traffic stop", "pedestrian stop", "drug abatement")


def loose(name: Any) -> str:
    """Return a column name in lower case without anything but letters and digits.

    Examples
    --------
    >>> loose("Fire Arm Used Flag "), loose("firearmused_flag")
    ('firearmusedflag', 'firearmusedflag')
    """
    return re.sub(r"[^a-z0-9]", "", str(name).lower())


def find_column(columns: Iterable[Any], names: Sequence[str]) -> str | None:
    """Return the column whose loose name comes first in `names`, or None."""
    by_name: dict[str, str] = {}
    for column in columns:
        by_name.setdefault(loose(column), str(column))
    return next((by_name[name] for name in names if name in by_name), None)


def _words(name: Any) -> list[str]:
    return [word.lower() for word in _WORD.findall(str(name))]


def is_personal(name: Any) -> bool:
    """Return whether a column name is about race, sex or age of persons.

    Examples
    --------
    >>> [is_personal(name) for name in ("Victim_Race", "agerange", "Age", "DOB")]
    [True, True, True, True]
    >>> [is_personal(name) for name in ("acreage", "Building Age", "language", "storage")]
    [False, False, False, False]
    """
    words = set(_words(name))
    found = words & _PERSONAL
    if found and not (found <= _OF_THINGS and words & _THINGS):
        return True
    return _PERSONAL_RUN_TOGETHER.fullmatch(loose(name)) is not None


def enforcement_word(names: Iterable[Any]) -> tuple[str, str] | None:
    """Return the first name that tells of persons or of police work, and the provenance it suggests."""
    for name in names:
        words = _words(name)
        if _PERSON_WORDS.intersection(words):
            return str(name), "person"
        phrase = " ".join(words)
        if _POLICING_WORDS.intersection(words) or any(known in phrase for known in _POLICING_PHRASES):
            return str(name), "policing"
    return None

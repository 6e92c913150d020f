"""Which department sees to a factor, by words in the factor's name; the list is a TOML file people can change."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from rtmkc.errors import InputError
from rtmkc.inputs.kansas_city.factor_map import plain

UNASSIGNED = "to be assigned"
"""Said where no word of the list fits."""


@dataclass(frozen=True)
class Departments:
    """Departments and the words that make a factor theirs; the first that fits takes it.

    Attributes
    ----------
    name : str
        Where the list is from: a file, or "built-in list of departments".
    words : dict of str to tuple of str
        Department -> words, narrow ones first.
    """

    name: str
    words: dict[str, tuple[str, ...]]

    def of(self, factor: str) -> str:
        """Return the department of a factor, `UNASSIGNED` if no word fits.

        Examples
        --------
        >>> read_departments().of("Street lights out"), read_departments().of("billboards")
        ('Public Works (street lighting)', 'to be assigned')
        """
        text = plain(factor)
        fitting = (
            department
            for department, words in self.words.items()
            if any(form in text for word in words for form in _forms(word))
        )
        return next(fitting, UNASSIGNED)


def read_departments(path: str | Path | None = None) -> Departments:
    """Return the list of departments of a TOML file, or the built-in one.

    Parameters
    ----------
    path : path, optional
        A file with a table ``[departments]`` of lines such as ``"Public Works" = ["light", "pothole"]``. A word
        fits whole words of the factor's name and their plural, whatever the case; with ``*`` at its end it fits
        words that start with it.

    Returns
    -------
    Departments

    Raises
    ------
    InputError
        If the file cannot be read, or is not such a table.

    Examples
    --------
    >>> list(read_departments().words)[-1]
    'Parks'
    """
    if path is None:
        text = (
            resources.files("rtmkc.places.corridors.visits").joinpath("departments.toml").read_text("utf-8")
        )
        return _parse(text, "built-in list of departments")
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"Invalid departments {str(path)!r}. It cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InputError(f"Invalid departments {str(path)!r}. It is not a text file in UTF-8.") from None
    return _parse(text, str(path))


def departments_of(factors: Iterable[str], departments: Departments | None = None) -> tuple[str, ...]:
    """Return the departments of factors, each once, in the order of the factors.

    Examples
    --------
    >>> departments_of(["vacant houses", "poor lighting", "dangerous buildings"])
    ('Dangerous Buildings (vacant and unsafe buildings)', 'Public Works (street lighting)')
    """
    chosen = read_departments() if departments is None else departments
    return tuple(dict.fromkeys(chosen.of(factor) for factor in factors))


def _forms(word: str) -> tuple[str, ...]:
    """Return what must be in the plain text of a name: "light" is in "street lights", and not in "blight"."""
    stem = plain(word)
    return (stem[:-1],) if word.rstrip().endswith("*") else (stem, f"{stem[:-1]}s ", f"{stem[:-1]}es ")


def _parse(text: str, name: str) -> Departments:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"Invalid departments {name!r}. Its TOML is wrong: {error}.") from None
    table = document.get("departments")
    if set(document) != {"departments"} or not isinstance(table, dict) or not table:
        raise InputError(
            f"Invalid departments {name!r}. It must hold one table [departments]; it holds "
            f"{', '.join(document) or 'nothing'}."
        )
    words: dict[str, tuple[str, ...]] = {}
    for department, listed in table.items():
        entries = [listed] if isinstance(listed, str) else listed
        if not isinstance(entries, list) or not entries or not all(isinstance(one, str) for one in entries):
            raise InputError(
                f"Invalid departments {name!r}. {department!r} must be followed by a text or a list of texts, "
                'as in "Public Works" = ["light", "pothole"]; a name with blanks or full stops needs quotes.'
            )
        empty = [one for one in entries if not plain(one).strip()]
        if empty or not department.strip():
            raise InputError(
                f"Invalid departments {name!r}. {department!r} has the word {(empty or [''])[0]!r}, which would "
                "fit every factor; a department and its words need letters or digits."
            )
        words[" ".join(department.split())] = tuple(entries)
    return Departments(name, words)

"""The embedded sample: a synthetic Kansas City north-east with known truth."""

from importlib.resources import files
from pathlib import Path

from rtmkc.errors import InputError

CHECKOUT = Path(__file__).parents[2] / "data" / "sample"


def sample_path(name: str | None = None) -> Path:
    """Return the folder of the sample, or one of its files.

    Parameters
    ----------
    name : str, optional
        A file of `sample_files`, such as "boundary.geojson".

    Raises
    ------
    InputError
        If the sample has no such file, or this installation came without the sample.

    Notes
    -----
    An installed wheel holds the sample inside the package, a checkout beside it in ``data/sample``.

    Examples
    --------
    >>> sample_path("boundary.geojson").name
    'boundary.geojson'
    """
    # A wheel is unpacked on installation, so its resources are files with a path.
    packaged = Path(str(files("rtmkc"))) / "sample_data"
    folder = next((place for place in (packaged, CHECKOUT) if (place / "truth.json").is_file()), None)
    if folder is None:
        raise InputError(
            f"Invalid installation. The sample is neither at {packaged} nor at {CHECKOUT}; "
            "install rtmkc again from a wheel, or work in a full checkout."
        )
    if name is None:
        return folder
    if name not in _listed(folder):
        raise InputError(f"Invalid sample file {name!r}. The sample has: {', '.join(_listed(folder))}.")
    return folder / name


def sample_files() -> list[str]:
    """Return the names of the sample's files, sorted.

    Examples
    --------
    >>> "streets.geojson" in sample_files()
    True
    """
    return _listed(sample_path())


def _listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))

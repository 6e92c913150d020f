"""What compiling takes, or loading what is compiled: the first path and search of a process, on a few cells."""

from typing import Any

from bic_search import seconds_of_few
from city import City
from paths import path_seconds_of_few


def seconds(city: str) -> dict[str, Any]:
    """Measure the first path, with and without folds, and the first search in each family."""
    data = City(city)
    path = path_seconds_of_few(data) + path_seconds_of_few(data, cv=False)
    search = sum(seconds_of_few(data, family) for family in ("poisson", "nb1"))
    return {"seconds": path + search, "path": path, "search": search}

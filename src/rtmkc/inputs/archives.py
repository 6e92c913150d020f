"""Zip archives: what of them can be read, unpacked into a folder that goes away."""

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from rtmkc.errors import InputError
from rtmkc.inputs.vectors import choose_layer

#: Bytes that an archive may hold unpacked: more is no city's download.
MAX_BYTES = 50 * 2**30


@contextmanager
def unpacked(
    path: Path, layer: str | None, notes: list[str], *, shown: str, readable: tuple[str, ...]
) -> Iterator[tuple[Path, str | None]]:
    """Give the readable member of an archive, unpacked, and the layer to be read of it.

    Parameters
    ----------
    path : Path
        A zip archive: a Shapefile, a geodatabase, or one or several other files.
    layer : str or None
        Names a member if there are several, or the layer of the only one.
    notes : list of str
        What was decided is added to it.
    shown : str
        Name of the file in messages.
    readable : tuple of str
        Endings of the members that can be read.

    Raises
    ------
    InputError
        If nothing in it can be read, or a member has to be named.
    """
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if _counts(name)]
        members = _members(names, readable)
        if not members:
            inside = ", ".join(names[:8]) or "nothing"
            raise InputError(
                f"Invalid file {shown!r}. The archive holds no file that is read ({inside}); unpack it and "
                f"name one of: {', '.join(readable)}."
            )
        if len(members) > 1:
            member = choose_layer(layer, list(members), shown, notes, "archive")
            inner = None
        else:
            (member,) = members
            notes.append(f"{members[member]} of the archive")
            inner = None if layer == member else layer
        chosen = _beside(members[member], names)
        if sum(archive.getinfo(name).file_size for name in chosen) > MAX_BYTES:
            raise InputError(
                f"Invalid file {shown!r}. Unpacked it would be larger than {MAX_BYTES / 2**30:.0f} GB; unpack "
                "it and name a file inside."
            )
        with tempfile.TemporaryDirectory(prefix="rtmkc-") as folder:
            for name in chosen:
                archive.extract(name, folder)
            yield Path(folder) / members[member], inner


def _counts(name: str) -> bool:
    parts = PurePosixPath(name).parts
    safe = not name.startswith("/") and ".." not in parts and "\\" not in name
    return safe and not name.endswith("/") and "__MACOSX" not in parts and not parts[-1].startswith(".")


def _members(names: list[str], readable: tuple[str, ...]) -> dict[str, str]:
    """Return what can be read, by the name it goes by: a folder of a geodatabase counts once."""
    found: list[str] = []
    for name in names:
        parents = [str(parent) for parent in PurePosixPath(name).parents if parent.suffix.lower() == ".gdb"]
        if parents:
            found.append(parents[-1])
        elif PurePosixPath(name).suffix.lower() in readable:
            found.append(name)
    found = sorted(dict.fromkeys(found))
    stems = [PurePosixPath(name).stem for name in found]
    if len(set(stems)) < len(stems):
        return {name: name for name in found}
    return dict(zip(stems, found, strict=True))


def _beside(member: str, names: list[str]) -> list[str]:
    """Return the names of all files that belong to a member: the parts of a Shapefile or a geodatabase."""
    path = PurePosixPath(member)
    if path.suffix.lower() == ".gdb":
        return [name for name in names if name.startswith(f"{member}/")]
    if path.suffix.lower() == ".shp":
        start = str(path.with_suffix("")).lower() + "."
        return [name for name in names if name.lower().startswith(start)]
    return [member]

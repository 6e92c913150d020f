"""Files are written whole or not at all: beside the target first, then renamed onto it."""

import datetime
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rtmkc.errors import OutputError


def created_at() -> str:
    """Return the time stamped into files, in UTC; SOURCE_DATE_EPOCH fixes it for reproducible output."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    moment = (
        datetime.datetime.fromtimestamp(int(epoch), datetime.UTC)
        if epoch
        else datetime.datetime.now(datetime.UTC)
    )
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file as hexadecimal text."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_free(target: Path, overwrite: bool) -> None:
    if target.exists() and not overwrite:
        raise OutputError(
            f"Invalid output {str(target)!r}. It exists already; choose another name or say --overwrite "
            "(overwrite=True)."
        )


def _reason(target: Path, error: OSError) -> OutputError:
    return OutputError(
        f"Invalid output {str(target)!r}. It cannot be written: {error.strerror or error}. "
        "Nothing was left behind; choose another place or free some space."
    )


@contextmanager
def write_atomically(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it onto `path` when the block ends well.

    Raises
    ------
    OutputError
        If `path` exists and `overwrite` is false, or the folder cannot be written.
    """
    target = Path(path)
    _check_free(target, overwrite)
    staging: Path | None = None
    try:
        # A folder of its own, so that side files which drivers write (-wal, .aux.xml) go with it.
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        temporary = staging / target.name
        yield temporary
        os.replace(temporary, target)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise _reason(target, error) from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)


def write_text(path: str | Path, text: str, *, overwrite: bool = False) -> None:
    """Write a UTF-8 text file, whole or not at all."""
    with write_atomically(path, overwrite=overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | Path, value: Any, *, overwrite: bool = False) -> None:
    """Write a JSON file with sorted keys; NaN and infinity are refused, as JSON has neither."""
    text = json.dumps(value, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)
    write_text(path, text + "\n", overwrite=overwrite)


@contextmanager
def new_folder(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a staging folder beside `path`; rename it to `path` when the block ends well.

    A folder that exists is replaced only with `overwrite`, and only after the new one is complete.

    Raises
    ------
    OutputError
        If `path` exists and `overwrite` is false, or the place cannot be written.
    """
    target = Path(path)
    _check_free(target, overwrite)
    staging: Path | None = None
    made = [parent for parent in target.parents if not parent.exists()]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        staging.chmod(0o755)
        yield staging
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent))
            os.replace(target, old / target.name)
            os.replace(staging, target)
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(staging, target)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise _reason(target, error) from error
    finally:
        if staging is not None and staging.exists():
            shutil.rmtree(staging, ignore_errors=True)
        for parent in made:  # innermost first; one that holds the target stays
            with suppress(OSError):
                parent.rmdir()

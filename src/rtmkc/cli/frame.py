"""What all commands share: errors as one line, what goes to which stream, options, and files by their ending."""

import json
import logging
import signal
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from rtmkc.errors import OutputError, RtmkcError, RtmkcWarning
from rtmkc.output.terminal import one_line, plain_value

QUIET, VERBOSE = "rtmkc.quiet", "rtmkc.verbose"


class Commands(click.Group):
    """Turns errors into one line and an exit code, and warnings into one line, for every command alike."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with warnings.catch_warnings(), _ended_by_signal():
                warnings.simplefilter("always", RtmkcWarning)
                warnings.showwarning = _show_warning  # restored when the block ends
                return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("rtmkc: interrupted", err=True)
            ctx.exit(130)
        except _Terminated:
            click.echo("rtmkc: terminated", err=True)
            ctx.exit(143)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            if ctx.meta.get(VERBOSE):
                traceback.print_exc()
            if isinstance(error, OSError) and not isinstance(error, RtmkcError) and error.strerror:
                place = error.filename or "the output"
                click.echo(f"rtmkc: {one_line(place)} cannot be read or written: {error.strerror}.", err=True)
            elif isinstance(error, RtmkcError):
                click.echo(f"rtmkc: {one_line(error)}", err=True)
            else:
                click.echo(
                    f"rtmkc: unexpected {type(error).__name__}: {one_line(error)}. This is a fault of rtmkc; run "
                    "again with -v and report what it prints.",
                    err=True,
                )
            ctx.exit(1)


class _Terminated(BaseException):
    """The process was asked to end, as schedulers of clusters and containers do."""


@contextmanager
def _ended_by_signal() -> Iterator[None]:
    """Turn the signal to terminate into an exception, so that what is half written is taken away."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: Any) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def is_quiet() -> bool:
    """Whether the command was called with --quiet."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(QUIET))


def say(message: str) -> None:
    """A message on stderr, in one line."""
    if not is_quiet():
        click.echo(one_line(message), err=True)


def _show_warning(message: Any, category: type, *_: Any, **__: Any) -> None:
    if issubclass(category, RtmkcWarning):
        say(f"warning: {message}")


def _flag(key: str, *names: str, help: str) -> Any:
    """An option that the command itself need not know."""

    def remember(context: click.Context, _: click.Parameter, value: bool) -> None:
        context.meta[key] = value

    return click.option(*names, is_flag=True, expose_value=False, callback=remember, help=help)


@contextmanager
def workers_of(scheduler: str | None) -> Iterator[Any]:
    """Give an executor on the workers of a Dask scheduler, or None without one."""
    if scheduler is None:
        yield None
        return
    from rtmkc.model.cluster import workers_at

    # What Dask logs of its connections is said by the error itself, in one line.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with workers_at(scheduler) as executor:
        yield executor


def writer_of(output: str) -> Any:
    """Return what writes a table to a file of this name."""
    from rtmkc.output.files import write_geojson, write_table

    if output.lower().endswith((".geojson", ".json")):
        return write_geojson
    if output.lower().endswith(".csv"):
        return write_table
    raise OutputError(
        f"Invalid output {output!r}. Its name must end in .csv or .geojson, the two that are written."
    )


def print_json(value: Any) -> None:
    """Results on stdout as JSON, without NaN."""
    click.echo(json.dumps(plain_value(value), allow_nan=False, ensure_ascii=False, indent=1))


def shared_options(command: Any) -> Any:
    """Options of every command: results as JSON, no messages, tracebacks."""
    for option in (
        _flag(VERBOSE, "-v", "--verbose", help="Show the traceback of an error."),
        _flag(QUIET, "-q", "--quiet", help="No progress and no warnings."),
        click.option("--json", "as_json", is_flag=True, help="Print the results as JSON on stdout."),
    ):
        command = option(command)
    return command


data_option = click.option(
    "--data", help="Where relative paths of the study start; default the folder of the study file."
)
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace the output if it exists.")

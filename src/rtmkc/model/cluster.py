"""The workers of a Dask cluster as an executor that says what is wrong with them instead of waiting for ever."""

import asyncio
import importlib
import importlib.metadata
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rtmkc.errors import CapacityError, InputError

CONNECT_SECONDS = 20.0
PATIENCE_SECONDS = 120.0
"""How long a cluster may be without any worker in the middle of a fit."""
POLL_SECONDS = 5.0
SAME_VERSION = ("rtmkc", "numpy", "numba")


def check_executor(executor: Any) -> None:
    """Raise `InputError` if something has no `map` that gives results, as an executor has."""
    if executor is None:
        return
    if hasattr(executor, "get_executor"):
        raise InputError(
            f"Invalid executor of type {type(executor).__name__}. It is a client; give client.get_executor()."
        )
    if not callable(getattr(executor, "map", None)) or isinstance(executor, str):
        raise InputError(
            f"Invalid executor {executor!r}. Give one of concurrent.futures, or client.get_executor() of Dask."
        )


def watched(executor: Any) -> Any:
    """Return an executor of Dask as one whose failures are said in one line; others as they are."""
    client = getattr(executor, "_client", None)
    if client is None or not hasattr(client, "scheduler_info"):
        return executor
    return ClusterExecutor(client, getattr(executor, "_kwargs", {}))


class ClusterExecutor:
    """Runs functions on the workers of a Dask client.

    Parameters
    ----------
    client : distributed.Client
    options : dict, optional
        Given to ``client.map``, such as ``workers=``.

    Raises
    ------
    InputError
        If workers lack this library, or have another version of it.
    """

    def __init__(self, client: Any, options: dict[str, Any] | None = None) -> None:
        self._client, self._options = client, options or {}
        check_workers(client)

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Give what the function gives for every item, in their order.

        Raises
        ------
        CapacityError
            If the scheduler is lost, all workers are gone, or workers die on the same item again and again.
        """
        futures = self._client.map(function, list(items), pure=False, **self._options)
        for future in futures:
            yield self._result(future)

    def _result(self, future: Any) -> Any:
        from distributed import CancelledError, KilledWorker
        from distributed.comm.core import CommClosedError

        without_workers = None
        while True:
            try:
                return future.result(timeout=POLL_SECONDS)
            except TimeoutError:
                if self._client.scheduler_info()["workers"]:
                    without_workers = None
                    continue
                without_workers = without_workers or time.monotonic()
                if time.monotonic() - without_workers > PATIENCE_SECONDS:
                    raise CapacityError(
                        f"Invalid cluster at {self._address}. It has been without workers for {PATIENCE_SECONDS:.0f} s; start "
                        "some and run again."
                    ) from None
            except KilledWorker as error:
                raise CapacityError(
                    f"Invalid cluster at {self._address}. Workers died again and again on the same blocks: {error}. They may "
                    "lack memory; their logs say more."
                ) from error
            except (CancelledError, CommClosedError) as error:
                raise CapacityError(
                    f"Invalid cluster at {self._address}. Its scheduler was lost in the middle of a fit; start it and run again."
                ) from error

    @property
    def _address(self) -> str:
        scheduler = self._client.scheduler
        return str(scheduler.address if scheduler is not None else "unknown")


def check_workers(client: Any) -> None:
    """Raise `InputError` if a worker cannot import this library as it is here."""
    found = client.run(importlib.import_module, __name__, on_error="return")
    broken = {worker: said for worker, said in found.items() if isinstance(said, BaseException)}
    if broken:
        worker, said = next(iter(broken.items()))
        raise InputError(
            f"Invalid cluster with {len(found)} workers. {len(broken)} of them cannot import rtmkc, such as {worker}: {said}. "
            "Install the same version there, with pip install 'rtmkc[dask]'."
        )
    for name in SAME_VERSION:
        here = importlib.metadata.version(name)
        there = client.run(importlib.metadata.version, name)
        other = {worker: version for worker, version in there.items() if version != here}
        if other:
            worker, version = next(iter(other.items()))
            raise InputError(
                f"Invalid cluster with {len(there)} workers. {worker} has {name} {version} and this machine {here}; results "
                "would differ. Install the same versions."
            )


@contextmanager
def workers_at(address: str) -> Iterator[ClusterExecutor]:
    """Give an executor on the workers of a Dask scheduler, such as ``tcp://10.0.0.5:8786``.

    Raises
    ------
    InputError
        If Dask is not installed, nothing or something else answers at the address, or its workers cannot be used.
    """
    try:
        from distributed import Client
        from distributed.core import rpc
    except ImportError:
        raise InputError(
            f"Invalid scheduler {address!r}. Dask is not installed here; install it with: pip install 'rtmkc[dask]'."
        ) from None

    async def identify() -> Any:
        async with rpc(address) as scheduler:
            return await scheduler.identity()

    try:
        # A client would wait without end for the greeting of something that is no scheduler.
        asyncio.run(asyncio.wait_for(identify(), CONNECT_SECONDS))
        client = Client(address, timeout=CONNECT_SECONDS)
    except Exception as error:
        raise InputError(
            f"Invalid scheduler {address!r}. No Dask scheduler answers there: {error or type(error).__name__}. Start one with "
            "`dask scheduler` and give the address that it prints."
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except TimeoutError as error:
            raise InputError(
                f"Invalid scheduler {address!r}. It has no workers; start some with `dask worker {address}`."
            ) from error
        yield ClusterExecutor(client)

"""What a fit will take, before it is begun: cells, candidates, memory, files, time; and whether it fits."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rtmkc.checks import check_choice, check_positive
from rtmkc.errors import CapacityError, InputError
from rtmkc.inputs.rasters import is_raster
from rtmkc.raster.candidates import (
    CURVE_BANDWIDTHS,
    CURVE_DISTANCES,
    CURVE_QUANTILES,
    TOP_SHARES,
    check_factors,
)
from rtmkc.raster.factors import RiskFactor
from rtmkc.raster.grid import MAX_CELLS, least_cell, round_up
from rtmkc.raster.tiles import Frame

Work = Literal["weights", "assess", "run"]
WORK = ("weights", "assess", "run")
USABLE = 0.8
"""Share of the memory that is free which a fit may take: other programs want some of it too."""
MAX_STEPS = 1000
"""Distances of one factor: more are a slip of the unit, and would take longer to list than to refuse."""


@dataclass(frozen=True)
class _Prices:
    """What a kind of work takes, measured by ``python benchmarks/engine/cost.py``.

    Attributes
    ----------
    base : float
        Bytes of the program itself.
    per_cell, per_variable : float
        Bytes a cell, and a cell and coded variable, that are in memory whatever is kept in files.
    kept : float
        Bytes a cell and variable of codes and blocks, which a store takes out of memory.
    seconds_base, seconds_per_cell, seconds_per_column : float
        Processor seconds of one core: of the work whatever the cells, of a cell, and of a cell and candidate column.
    """

    base: float
    per_cell: float
    per_variable: float
    kept: float
    seconds_base: float
    seconds_per_cell: float
    seconds_per_column: float


PRICES: dict[tuple[str, Work], _Prices] = {
    ("classic", "weights"): _Prices(3.69e8, 168, 0.304, 1.37, 0.0825, 1.28e-6, 1.33e-8),
    ("guarded", "weights"): _Prices(3.88e8, 787, 30.7, 2.24, 0.0916, 8.51e-6, 7.53e-8),
    ("classic", "assess"): _Prices(3.73e8, 1060, 3.85, 1.42, 2.15, 3.20e-5, 2.12e-8),
    ("guarded", "assess"): _Prices(3.85e8, 856, 7.14, 1.42, 2.39, 3.49e-5, 1.89e-8),
    ("classic", "run"): _Prices(5.72e8, 1080, 0.554, 1.42, 3.39, 5.96e-5, 1.19e-8),
    ("guarded", "run"): _Prices(5.73e8, 1060, 0.842, 1.42, 3.29, 6.46e-5, 1.00e-8),
}


@dataclass(frozen=True)
class Cost:
    """What a fit will take.

    Attributes
    ----------
    n_cells, n_candidates : int
        Cells of the grid (of its bounding box, where only the frame is known), and candidate columns of the weights.
    memory : float
        Peak bytes with codes and blocks in memory.
    memory_with_store : float
        Peak bytes with codes and blocks in files.
    files : float
        Bytes of those files.
    seconds : float
        Processor seconds of one core of a server of 2024; two cores take between half and all of it.
    available : float or None
        Bytes of memory that are free now; None where the system does not say.
    cell_size : float
        Metres.
    base : float
        Bytes of the program itself, whatever the cells.
    n_raster : int
        Cells of the bounding box: a `Grid` has at most `rtmkc.raster.grid.MAX_CELLS`.
    least_cell : float
        Metres; the smallest cell of which a grid over the same area can be made.
    disk_free : float or None
        Bytes that are free where the files will be; None if no place was given, or it does not say.
    """

    n_cells: int
    n_candidates: int
    memory: float
    memory_with_store: float
    files: float
    seconds: float
    available: float | None
    cell_size: float
    base: float
    n_raster: int
    least_cell: float
    disk_free: float | None = None

    @property
    def place(self) -> Literal["memory", "files", "nowhere"]:
        """Where codes and blocks are to be kept: memory if it is enough, else files; nowhere if neither is enough.

        Above the most cells of a grid it is nowhere, whatever the memory.
        """
        if self.n_raster > MAX_CELLS:
            return "nowhere"
        limit = np.inf if self.available is None else USABLE * self.available
        return "memory" if self.memory <= limit else "files" if self.memory_with_store <= limit else "nowhere"

    @property
    def statement(self) -> str:
        """What it will take, in words."""
        kept = "" if self.place == "memory" else f", with {_gigabytes(self.files)} of files"
        if kept and self.disk_free is not None:
            kept += f" ({_gigabytes(self.disk_free)} of the disk are free)"
        memory = self.memory if self.place == "memory" else self.memory_with_store
        return (
            f"{self.n_cells:,} cells x {self.n_candidates:,} candidates: about {_gigabytes(memory)} of memory{kept} and "
            f"{_duration(self.seconds)} of one core"
        )

    def record(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self) | {"place": self.place, "statement": self.statement}

    def check(self) -> None:
        """Raise if it does not fit.

        Raises
        ------
        CapacityError
            With the size of cell that would fit, or how much room the files want.
        """
        if self.place == "nowhere":
            self._refuse()
        if self.place == "files" and self.disk_free is not None and self.files > self.disk_free:
            raise CapacityError(
                f"Invalid store. {self.statement}: that is more than there is room for; choose a store on a disk "
                f"with {_gigabytes(self.files)} free, larger cells, or a machine with more memory."
            )

    def _refuse(self) -> None:
        room = np.inf if self.available is None else USABLE * self.available - self.base
        least = self.memory_with_store - self.base
        # A hundredth more: the last row and column of a grid reach beyond the area.
        larger = 1.01 * self.cell_size * float(np.sqrt(least / room)) if room > 0 else np.inf
        if self.n_raster > MAX_CELLS:
            more = "" if np.isfinite(larger) else " and a machine with more memory"
            size = max(larger, self.least_cell) if np.isfinite(larger) else self.least_cell
            raise CapacityError(
                f"Invalid cell_size {self.cell_size:,.4g} m. It makes {self.n_raster:,} cells over the bounding box, and a "
                f"grid that is fitted has at most {MAX_CELLS:,}; choose cells of at least {round_up(size)} m{more}, or fit a "
                "part of the area and score all of it by strips with write_relative_risk."
            )
        advice = "use a machine with more memory"
        if np.isfinite(larger):
            advice = f"choose cells of at least {round_up(larger)} m, a smaller study area, or a machine with more memory"
        raise CapacityError(
            f"Invalid cell_size {self.cell_size:,.4g} m. A fit takes {self.statement}, and "
            f"{_gigabytes(self.available or 0.0)} are free; {advice}."
        )


def estimate_cost(
    frame: Frame,
    factors: Sequence[RiskFactor],
    *,
    method: str = "guarded",
    work: Work = "assess",
    fits: float = 1,
    store: str | Path | None = None,
) -> Cost:
    """Estimate what a fit will take; nothing is read or measured.

    Parameters
    ----------
    frame : Grid or Frame
        Where.
    factors : sequence of RiskFactor
        What will be measured.
    method : {"guarded", "classic"}
        Recipe of the weights.
    work : {"weights", "assess", "run"}
        `RiskTerrainModel.fit`; `assess`, with the forecast; or a whole run with all its files.
    fits : float
        How many times the work is done, one after the other: more time, no more memory.
    store : path, optional
        Where codes and blocks would be kept: its disk is asked for room. It need not exist.

    Returns
    -------
    Cost

    Raises
    ------
    InputError
        If an argument is none of these, or a factor has more than 1,000 distances.

    Notes
    -----
    Linear in cells and coded variables, with prices measured on benchmark cities of 45,000 to 540,000 cells. Expect the
    memory within a quarter and the time within a factor of two; many incidents and lines or polygons take longer. Time is
    that of one core; what two cores share takes between half and all of it.

    Examples
    --------
    >>> import shapely
    >>> import rtmkc as rtm
    >>> area = rtm.StudyArea.from_geometry(shapely.box(0, 0, 60_000, 60_000), crs="EPSG:26915")
    >>> factors = [rtm.RiskFactor(f"layer {number}", "points.csv") for number in range(20)]
    >>> cost = rtm.estimate_cost(rtm.Frame.cover(area, block_length=120), factors, method="classic", work="weights")
    >>> cost.n_cells, cost.n_candidates
    (1000000, 240)
    """
    check_choice("work", work, WORK)
    check_choice("method", method, ("guarded", "classic"))
    check_positive("fits", fits)
    if not isinstance(frame, Frame):
        raise InputError(
            f"Invalid frame of type {type(frame).__name__}. Lay cells over the area: Frame.cover(area, block_length=...)."
        )
    factors = check_factors(factors)
    n_cells = int(getattr(frame, "n_cells", frame.n_rows * frame.n_columns))
    variables = columns = n_candidates = 0
    for factor in factors:
        of_steps, of_curves = _variables_of(factor, frame)
        parts = of_steps if work == "weights" else of_steps + of_curves
        variables += len(parts)
        columns += sum(parts)
        n_candidates += sum(of_steps)
    price = PRICES[method, work]  # type: ignore[index]
    always = price.base + n_cells * (price.per_cell + price.per_variable * variables)
    files = n_cells * price.kept * variables
    seconds = price.seconds_base + fits * n_cells * (
        price.seconds_per_cell + price.seconds_per_column * columns
    )
    return Cost(
        n_cells,
        n_candidates,
        always + files,
        always,
        files,
        seconds,
        available_memory(),
        frame.cell_size,
        price.base,
        frame.n_rows * frame.n_columns,
        least_cell(frame.area),
        None if store is None else _disk_free(Path(store)),
    )


def _variables_of(factor: RiskFactor, frame: Frame) -> tuple[list[int], list[int]]:
    """The number of columns of every variable, of candidates and of curves."""
    if is_raster(factor.layer):
        return [len(TOP_SHARES)], [CURVE_QUANTILES.size]
    step = frame.block_length / 2 if frame.block_length else frame.cell_size
    if factor.reach(frame) / step > MAX_STEPS * (1 if factor.increment == "half" else 2):
        raise InputError(
            f"Invalid max_influence of factor {factor.name!r} {factor.max_influence!r}. It is more than {MAX_STEPS:,} steps "
            "of the distances tried; check its unit, or choose a smaller one."
        )
    n_steps = len(factor.influences(frame))
    near = factor.kind != "density"
    dense = factor.kind != "proximity"
    steps = [n_steps] * (near + dense)
    curves = [CURVE_DISTANCES] * near + [CURVE_QUANTILES.size + 1] * (dense * len(CURVE_BANDWIDTHS))
    return steps, curves


def available_memory() -> float | None:
    """Return the bytes of memory that are free, or None where the system does not say.

    In a container its own limit counts.
    """
    free = None
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        try:
            free = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
        except (AttributeError, ValueError, OSError):
            return None
    limit = group_memory()
    return free if limit is None else min(free, limit)


def group_memory(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float | None:
    """Return the bytes that the limits of a container leave, or None if there is no limit.

    Parameters
    ----------
    root : path
        Where control groups are mounted; those of version 1 have a folder for each resource.
    own : path
        The groups of this process.

    Notes
    -----
    The limits of the own group and of all above it hold. Files that were read and could be dropped
    (inactive_file) are no use of memory.
    """
    try:
        lines = [line.split(":", 2) for line in own.read_text(encoding="utf-8").splitlines()]
    except OSError:
        lines = []
    rooms = []
    for mount, resource, limit, used in (
        (root, "", "memory.max", "memory.current"),
        (root / "memory", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        inside = [line[2].strip("/") for line in lines if len(line) == 3 and resource in line[1].split(",")]
        # Inside a container the path is often that of the host, which is not to be seen here: the root is.
        groups = {mount, *(mount / path for path in inside if ".." not in path)}
        groups |= {above for group in groups for above in group.parents if above.is_relative_to(mount)}
        rooms += [_room(group, limit, used) for group in groups]
    known = [room for room in rooms if room is not None]
    return min(known) if known else None


def _room(group: Path, limit: str, used: str) -> float | None:
    """The bytes that the limit of one control group leaves."""
    try:
        most = float((group / limit).read_text(encoding="ascii").strip().replace("max", "inf"))
        taken = float((group / used).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    try:
        lines = [line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines()]
        counts = {line[0]: float(line[1]) for line in lines}
    except (OSError, ValueError, IndexError):
        counts = {}
    # In version 1 the total has the groups below, as the usage has.
    taken -= counts.get("total_inactive_file", counts.get("inactive_file", 0.0))
    return max(0.0, most - max(0.0, taken)) if np.isfinite(most) else None


def _disk_free(store: Path) -> float | None:
    """The bytes that are free where a folder is, or would be made."""
    near = next((path for path in (store.absolute(), *store.absolute().parents) if path.exists()), None)
    try:
        return None if near is None else float(shutil.disk_usage(near).free)
    except OSError:
        return None


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:,.2g} GB" if size < 10e9 else f"{size / 1e9:,.0f} GB"


def _duration(seconds: float) -> str:
    minutes, hours, days = seconds / 60, seconds / 3600, seconds / 86400
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if minutes < 90:
        return f"{minutes:.0f} minutes"
    if hours < 48:
        return f"{hours:.1f} hours"
    return f"{days:.0f} days" if days <= 365 else "more than a year"

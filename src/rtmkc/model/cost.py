"""What a fit will take, before it is begun: cells, candidates, memory, files, time; and whether it fits."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rtmkc.checks import check_choice
from rtmkc.errors import CapacityError
from rtmkc.inputs.rasters import is_raster
from rtmkc.raster.candidates import CURVE_BANDWIDTHS, CURVE_DISTANCES, CURVE_QUANTILES, TOP_SHARES
from rtmkc.raster.factors import RiskFactor
from rtmkc.raster.tiles import Frame

Work = Literal["weights", "assess", "run"]
WORK = ("weights", "assess", "run")
USABLE = 0.8
"""Share of the memory that is free which a fit may take: other programs want some of it too."""


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
    seconds_per_cell, seconds_per_column : float
        Of two cores: a cell, and a cell and candidate column.
    """

    base: float
    per_cell: float
    per_variable: float
    kept: float
    seconds_per_cell: float
    seconds_per_column: float


PRICES: dict[tuple[str, Work], _Prices] = {
    ("classic", "weights"): _Prices(0.35e9, 120.0, 0.0, 2.0, 1e-6, 2e-8),
    ("guarded", "weights"): _Prices(0.35e9, 500.0, 0.0, 2.0, 1e-5, 2e-8),
    ("classic", "assess"): _Prices(0.35e9, 600.0, 0.0, 2.0, 1e-5, 2e-8),
    ("guarded", "assess"): _Prices(0.35e9, 800.0, 0.0, 2.0, 2e-5, 2e-8),
    ("classic", "run"): _Prices(0.4e9, 1000.0, 0.0, 2.0, 4e-5, 2e-8),
    ("guarded", "run"): _Prices(0.4e9, 1200.0, 0.0, 2.0, 6e-5, 2e-8),
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
        On two cores of a server of 2024; a laptop may take twice as long.
    available : float or None
        Bytes of memory that are free now; None where the system does not say.
    cell_size : float
        Metres.
    base : float
        Bytes of the program itself, whatever the cells.
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

    @property
    def place(self) -> Literal["memory", "files", "nowhere"]:
        """Where codes and blocks are to be kept: memory if it is enough, else files; nowhere if neither is enough."""
        limit = np.inf if self.available is None else USABLE * self.available
        return "memory" if self.memory <= limit else "files" if self.memory_with_store <= limit else "nowhere"

    @property
    def statement(self) -> str:
        """What it will take, in words."""
        kept = "" if self.place == "memory" else f", with {_gigabytes(self.files)} of files"
        memory = self.memory if self.place == "memory" else self.memory_with_store
        return (
            f"{self.n_cells:,} cells x {self.n_candidates:,} candidates: about {_gigabytes(memory)} of memory{kept} and "
            f"{_duration(self.seconds)}"
        )

    def record(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self) | {"place": self.place, "statement": self.statement}

    def check(self) -> None:
        """Raise if it does not fit.

        Raises
        ------
        CapacityError
            With the size of cell that would fit.
        """
        if self.place != "nowhere":
            return
        assert self.available is not None
        room, least = USABLE * self.available - self.base, self.memory_with_store - self.base
        advice = "use a machine with more memory"
        if room > 0:
            # A hundredth more: the last row and column of a grid reach beyond the area.
            larger = 1.01 * self.cell_size * float(np.sqrt(least / room))
            advice = f"choose cells of at least {_round_up(larger):,} m, a smaller study area, or a machine with more memory"
        raise CapacityError(
            f"Invalid cell_size {self.cell_size:,.4g} m. A fit takes {self.statement}, and {_gigabytes(self.available)} are free; "
            f"{advice}."
        )


def estimate_cost(
    frame: Frame,
    factors: Sequence[RiskFactor],
    *,
    method: str = "guarded",
    work: Work = "assess",
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

    Returns
    -------
    Cost

    Notes
    -----
    Linear in cells and coded variables, with prices measured on benchmark cities of 45,000 to 1,800,000 cells. Expect the
    memory within a quarter and the time within a factor of two; many incidents and lines or polygons take longer.

    Examples
    --------
    >>> import shapely
    >>> import rtmkc as rtm
    >>> area = rtm.StudyArea.from_geometry(shapely.box(0, 0, 60_000, 60_000), crs="EPSG:26915")
    >>> points = rtm.RiskFactor("bars", "bars.csv")
    >>> cost = estimate_cost(rtm.Frame.cover(area, block_length=120), [points] * 20, method="classic", work="weights")
    >>> cost.n_cells, cost.n_candidates
    (1000000, 240)
    """
    check_choice("work", work, WORK)
    check_choice("method", method, ("guarded", "classic"))
    n_cells = int(getattr(frame, "n_cells", frame.n_rows * frame.n_columns))
    variables = columns = 0
    for factor in factors:
        of_steps, of_curves = _variables_of(factor, frame)
        parts = of_steps if work == "weights" else of_steps + of_curves
        variables += len(parts)
        columns += sum(parts)
    n_candidates = sum(sum(_variables_of(factor, frame)[0]) for factor in factors)
    price = PRICES[method, work]  # type: ignore[index]
    always = price.base + n_cells * (price.per_cell + price.per_variable * variables)
    files = n_cells * price.kept * variables
    seconds = n_cells * (price.seconds_per_cell + price.seconds_per_column * columns)
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
    )


def _variables_of(factor: RiskFactor, frame: Frame) -> tuple[list[int], list[int]]:
    """The number of columns of every variable, of candidates and of curves."""
    if is_raster(factor.layer):
        return [len(TOP_SHARES)], [CURVE_QUANTILES.size]
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
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        used = float((group / "memory.current").read_text(encoding="ascii"))
        if limit != "max":
            free = min(free, float(limit) - used)
    except (OSError, ValueError):
        pass
    return free


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:,.2g} GB" if size < 10e9 else f"{size / 1e9:,.0f} GB"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = seconds / 60
    return f"{minutes:.0f} minutes" if minutes < 90 else f"{minutes / 60:.1f} hours"


def _round_up(metres: float) -> int:
    return int(np.ceil(metres))

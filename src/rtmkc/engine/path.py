"""Elastic-net Poisson path with cross validation: all folds and the full fit move in lockstep."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rtmkc import checks
from rtmkc.engine import kernels
from rtmkc.engine.blocks import BlockSource, MemoryBlocks
from rtmkc.engine.design import Design, Floats, Integers
from rtmkc.engine.sweeps import PoissonSweep, SweepSums
from rtmkc.engine.workers import Executor, Workers
from rtmkc.errors import InputError, ModelWarning

MAX_ITERATIONS = 200
REFRESH_AFTER = 6
POLISHED = 1e-13


@dataclass(frozen=True, eq=False)
class PathFit:
    """An elastic-net path and, with folds, its cross validation.

    Attributes
    ----------
    lambdas : (n_lambdas,)
        Penalties, falling.
    coefs, intercepts : (n_lambdas, n_columns), (n_lambdas,)
        The fit to all cells.
    objective : (n_lambdas,)
        Penalised objective per unit of weight, without the terms that hold no coefficient.
    kkt : (n_lambdas,)
        Largest violation of the optimality conditions over columns and lanes, per cell.
    cv_deviance : (n_folds, n_lambdas)
        Poisson deviance of the cells left out, summed.
    fold_sizes : (n_folds,)
        Weight of the cells of each fold.
    cv_mean, cv_se : (n_lambdas,)
        Held-out deviance per cell and its standard error over folds; empty without folds.
    best, one_se : int or None
        The penalty with the least held-out deviance, and the largest one within one standard error of it;
        None without folds. At both points the fit to all cells is exact to rounding.
    n_sweeps, n_hessians : int
        Passes over the cells that were needed.
    """

    lambdas: Floats
    coefs: Floats
    intercepts: Floats
    objective: Floats
    kkt: Floats
    cv_deviance: Floats
    fold_sizes: Floats
    cv_mean: Floats
    cv_se: Floats
    best: int | None
    one_se: int | None
    n_sweeps: int
    n_hessians: int

    def __repr__(self) -> str:
        kept = int(np.count_nonzero(self.coefs[-1]))
        return f"PathFit({self.lambdas.size} penalties, {kept} of {self.coefs.shape[1]} columns at the last)"


def fit_path(
    design: Design,
    counts: ArrayLike,
    *,
    offset: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    folds: ArrayLike | None = None,
    l1_ratio: float = 0.5,
    n_lambdas: int = 100,
    lambda_ratio: float = 1e-3,
    lambdas: ArrayLike | None = None,
    lower: ArrayLike | float = -np.inf,
    upper: ArrayLike | float = np.inf,
    tolerance: float = 1e-8,
    patience: int | None = 10,
    n_threads: int = 1,
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PathFit:
    """Fit an elastic-net Poisson path, and cross-validate it.

    Parameters
    ----------
    design : Design
        Columns, as codes and tables. They are used as they are, not standardised.
    counts : (n_cells,)
        Incidents in each cell.
    offset : (n_cells,), optional
        Log exposure; minus infinity where there is none.
    weights : (n_cells,), optional
        Non-negative weights.
    folds : (n_cells,) of int, optional
        Fold of each cell, 0 to n_folds - 1, or -1 for a cell that is never left out.
    l1_ratio : float
        Share of the absolute penalty, greater than 0 and at most 1.
    n_lambdas, lambda_ratio : int, float
        Number of penalties, evenly spaced in the logarithm from the smallest that keeps every coefficient of
        the full fit at zero down to `lambda_ratio` times that.
    lambdas : (n_lambdas,), optional
        Penalties to use instead, positive; they are sorted, largest first.
    lower, upper : (n_columns,) or float
        Bounds of the coefficients; 0 must lie within them.
    tolerance : float
        Largest violation of the optimality conditions per cell.
    patience : int or None
        With folds, and penalties that are not given: the path ends when held-out deviance, after it has fallen
        below that of no column, has risen at this many penalties in a row, as what follows is overfitted; it
        then has fewer than `n_lambdas`. None: never.
    n_threads : int
        Threads over blocks of cells. The result has the same bits for any number.
    executor : Executor, optional
        That of `concurrent.futures`, or ``client.get_executor()`` of Dask, instead of threads.
    progress : callable, optional
        Called with (penalties done, penalties in all); at the end of the path all are done.

    Raises
    ------
    InputError
        If an argument cannot be used, there are no incidents, or the cells outside a fold hold none.

    Warns
    -----
    ModelWarning
        If a penalty stopped above the tolerance; `PathFit.kkt` says where.

    Notes
    -----
    Minimises ``sum(w (mu - y eta)) / N + lambda (l1_ratio |b|_1 + (1 - l1_ratio) / 2 |b|_2^2)`` with
    ``eta = offset + intercept + X b``, ``mu = exp(eta)``, ``N = sum(w)``; the intercept is free.

    Each step minimises a quadratic model by coordinate descent. Its Hessian is that of the full fit on the
    active and the strong-rule columns [1]_, scaled for the folds, kept for the following penalties and
    corrected in every lane by the exact change of the gradient (BFGS). As a sweep gives the exact gradient
    of all columns, no column that belongs in the model can stay out.

    .. [1] Tibshirani et al. (2012), Strong rules for discarding predictors in lasso-type problems,
       J. R. Statist. Soc. B 74(2):245-266.

    Examples
    --------
    >>> import numpy as np
    >>> near = np.array([0, 0, 0, 0, 1, 1], dtype=np.uint8)
    >>> design = Design((near,), (np.array([[0.0], [1.0]]),))
    >>> path = fit_path(design, [0, 1, 0, 1, 3, 5], l1_ratio=1.0, n_lambdas=3, lambda_ratio=1e-4)
    >>> path.coefs[:, 0].round(3)
    array([0.   , 2.051, 2.079])
    """
    source = MemoryBlocks.build(
        design, counts, offset=offset, weights=weights, folds=folds, n_threads=n_threads
    )
    return fit_path_on(
        source,
        design.tables,
        l1_ratio=l1_ratio,
        n_lambdas=n_lambdas,
        lambda_ratio=lambda_ratio,
        lambdas=lambdas,
        lower=lower,
        upper=upper,
        tolerance=tolerance,
        patience=patience,
        workers=Workers(n_threads, executor),
        progress=progress,
    )


def fit_path_on(
    source: BlockSource,
    tables: Sequence[Floats],
    *,
    l1_ratio: float = 0.5,
    n_lambdas: int = 100,
    lambda_ratio: float = 1e-3,
    lambdas: ArrayLike | None = None,
    lower: ArrayLike | float = -np.inf,
    upper: ArrayLike | float = np.inf,
    tolerance: float = 1e-8,
    patience: int | None = 10,
    workers: Workers | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PathFit:
    """Fit a path as `fit_path` does, to blocks that are there already: in files, or on other machines.

    Parameters
    ----------
    source : BlockSource
        Where the blocks are.
    tables : sequence of (n_levels, n_columns_of_variable)
        `Design.tables` of the design that the blocks were made of.
    workers : Workers, optional
        Who adds up over the blocks: this thread by default. All give the same bits.

    Raises
    ------
    InputError
        If an argument cannot be used, or the cells outside a fold hold no incidents.
    """
    l1_ratio = checks.check_share("l1_ratio", l1_ratio)
    tolerance = checks.check_positive("tolerance", tolerance)
    low, high = check_bounds(lower, upper, sum(table.shape[1] for table in tables))
    with (workers or Workers()).at_work() as team:
        sweep = PoissonSweep(tables, source, workers=team)
        solver = _Lockstep(sweep, l1_ratio, low, high, tolerance)
        if lambdas is None:
            n_lambdas = checks.check_count("n_lambdas", n_lambdas)
            lambda_ratio = checks.check_share("lambda_ratio", lambda_ratio)
            penalties = solver.lambda_max() * np.geomspace(1.0, lambda_ratio, n_lambdas)
        else:
            penalties = np.sort(np.atleast_1d(np.asarray(lambdas, dtype=np.float64)))[::-1]
            if penalties.ndim != 1 or penalties.size == 0 or not (penalties > 0).all():
                raise InputError(f"Invalid lambdas {lambdas!r}. They must be positive numbers.")
            patience = None
        if patience is not None:
            patience = checks.check_count("patience", patience)
        return _walk(solver, penalties, patience, progress)


def check_bounds(lower: ArrayLike | float, upper: ArrayLike | float, n_columns: int) -> tuple[Floats, Floats]:
    """Return bounds as arrays ``(n_columns,)`` that hold 0 between them."""
    low = np.broadcast_to(np.asarray(lower, dtype=np.float64), (n_columns,)).copy()
    high = np.broadcast_to(np.asarray(upper, dtype=np.float64), (n_columns,)).copy()
    if not ((low <= 0) & (high >= 0)).all():
        raise InputError("Invalid lower or upper. Zero must lie between the bounds of every column.")
    return low, high


def _walk(
    solver: "_Lockstep", penalties: Floats, patience: int | None, progress: Callable[[int, int], None] | None
) -> PathFit:
    sweep, n_lambdas = solver.sweep, penalties.size
    coefs = np.zeros((n_lambdas, sweep.n_columns))
    intercepts, objective, kkt = np.zeros((3, n_lambdas))
    cv_deviance = np.zeros((sweep.n_folds, n_lambdas))
    previous = max(solver.lambda_max(), float(penalties[0]))
    n_rises = 0
    for number, penalty in enumerate(penalties):
        kkt[number] = solver.move_to(float(penalty), previous)
        coefs[number], intercepts[number] = solver.coefs[-1], solver.intercepts[-1]
        objective[number] = solver.objective()[-1]
        cv_deviance[:, number] = solver.sums.held_out_deviance
        previous = float(penalty)
        held_out = cv_deviance[:, : number + 1].sum(axis=0)
        n_rises = n_rises + 1 if number > 0 and held_out[-1] > held_out[-2] else 0
        # Before anything has helped, a rise says little: one place that dominates a fold hides what comes later.
        has_helped = int(np.argmin(held_out)) > 0
        last = number + 1 == n_lambdas or (patience is not None and n_rises >= patience and has_helped)
        if progress is not None:
            progress(n_lambdas if last else number + 1, n_lambdas)
        if last:
            n_lambdas = number + 1
            break
    penalties, objective, kkt = penalties[:n_lambdas], objective[:n_lambdas], kkt[:n_lambdas]
    coefs, intercepts, cv_deviance = coefs[:n_lambdas], intercepts[:n_lambdas], cv_deviance[:, :n_lambdas]
    sizes = sweep.total_weight[-1] - sweep.total_weight[:-1]
    best = one_se = None
    cv_mean = cv_se = np.empty(0)
    missed = int((kkt > solver.tolerance).sum())
    if missed:
        warnings.warn(
            f"{missed} of {n_lambdas} penalties stopped at a violation of up to {kkt.max():.1e} per cell, above "
            f"the tolerance {solver.tolerance:.1e}. Rescale columns with large values or raise lambda_ratio.",
            ModelWarning,
            stacklevel=3,
        )
    if sweep.n_folds:
        cv_mean, cv_se, best, one_se = _summarise(cv_deviance, sizes)
        for number in {best, one_se}:
            solver.polish(coefs[number], intercepts[number], float(penalties[number]))
            coefs[number], intercepts[number] = solver.coefs[-1], solver.intercepts[-1]
            objective[number] = solver.objective()[-1]
    return PathFit(
        lambdas=penalties,
        coefs=coefs,
        intercepts=intercepts,
        objective=objective,
        kkt=kkt,
        cv_deviance=cv_deviance,
        fold_sizes=sizes,
        cv_mean=cv_mean,
        cv_se=cv_se,
        best=best,
        one_se=one_se,
        n_sweeps=sweep.n_sweeps,
        n_hessians=solver.n_hessians,
    )


def _summarise(cv_deviance: Floats, sizes: Floats) -> tuple[Floats, Floats, int, int]:
    share = (sizes / sizes.sum())[:, np.newaxis]
    per_cell = cv_deviance / sizes[:, np.newaxis]
    mean = (share * per_cell).sum(axis=0)
    spread = (share * (per_cell - mean) ** 2).sum(axis=0)
    error = np.sqrt(spread / (sizes.size - 1))
    best = int(np.argmin(mean))
    one_se = int(np.flatnonzero(mean <= mean[best] + error[best])[0])
    return mean, error, best, one_se


class _Lockstep:
    """The state of all lanes, and how it moves to the next penalty."""

    def __init__(
        self, sweep: PoissonSweep, l1_ratio: float, lower: Floats, upper: Floats, tolerance: float
    ) -> None:
        self.sweep = sweep
        self.l1_ratio = l1_ratio
        self.lower, self.upper = lower, upper
        self.tolerance = tolerance
        self.n_hessians = 0
        if (sweep.total_count <= 0).any():
            fold = int(np.flatnonzero(sweep.total_count <= 0)[0])
            raise InputError(
                f"Invalid folds: the cells outside fold {fold} hold no incidents. Use fewer or other folds."
            )
        self.coefs = np.zeros((sweep.n_lanes, sweep.n_columns))
        self.intercepts = np.zeros(sweep.n_lanes)
        exposure = sweep(self.coefs, self.intercepts).mean_sum
        self.intercepts = np.log(sweep.total_count / exposure)
        self.sums = sweep(self.coefs, self.intercepts)
        self._null_gradient = self.sums.gradient[-1]
        self._working: Integers = np.empty(0, dtype=np.int64)
        self._hessians: Floats = np.empty((0, 0, 0))
        self._penalty = 0.0

    def lambda_max(self) -> float:
        """Return the smallest penalty that keeps every coefficient of the full fit at zero."""
        need = self._pull(self._null_gradient[np.newaxis]).max(initial=0.0) / self.l1_ratio
        # Without any column that may move, every penalty gives the null; any positive scale will do.
        # A hair more, so that rounding does not decide whether the first column is in at the first penalty.
        return float(need) + 10 * POLISHED if need > 1e-14 else 1.0

    def _pull(self, gradient: Floats) -> Floats:
        """Return how strongly each column at zero is pulled into a direction its bounds allow."""
        up = np.where(self.upper > 0, -gradient, 0.0)
        down = np.where(self.lower < 0, gradient, 0.0)
        return np.maximum(np.maximum(up, down), 0.0)

    def objective(self, coefs: Floats | None = None, sums: SweepSums | None = None) -> Floats:
        """Return the penalised objective of every lane."""
        coefs = self.coefs if coefs is None else coefs
        sums = self.sums if sums is None else sums
        absolute, squares = np.abs(coefs).sum(axis=1), (coefs**2).sum(axis=1)
        penalty = self._penalty * (self.l1_ratio * absolute + (1 - self.l1_ratio) / 2 * squares)
        return np.asarray(sums.objective + penalty)

    def violations(self) -> Floats:
        """Return the violation of the optimality conditions, ``(n_lanes, 1 + n_columns)``, per cell."""
        l1, l2 = self._penalty * self.l1_ratio, self._penalty * (1 - self.l1_ratio)
        coefs = self.coefs
        slope = self.sums.gradient + l2 * coefs
        up = slope + np.where(coefs >= 0, l1, -l1)
        down = -slope + np.where(coefs <= 0, l1, -l1)
        up = np.where(coefs < self.upper, np.maximum(-up, 0.0), 0.0)
        down = np.where(coefs > self.lower, np.maximum(-down, 0.0), 0.0)
        return np.column_stack([np.abs(self.sums.intercept_gradient), np.maximum(up, down)])

    def move_to(self, penalty: float, previous: float) -> float:
        """Move all lanes to their optimum at `penalty`; return the largest violation."""
        self._penalty = penalty
        strong = 2 * penalty - previous
        self._widen(self.l1_ratio * strong, self.l1_ratio * min(strong, 0.6 * penalty))
        for iteration in range(MAX_ITERATIONS):
            violations = self.violations()
            worst = float(violations.max())
            if worst <= self.tolerance:
                break
            outside = violations[:, 1:].max(axis=0) > self.tolerance
            outside[self._working] = False
            stalled = iteration > 0 and iteration % REFRESH_AFTER == 0
            if outside.any() or stalled:
                self._take_hessian(self._active() | outside | self._strong(0.6 * self.l1_ratio * penalty))
            if stalled:
                self._take_own_hessians(violations)
            if not self._step(violations):
                break
        return worst

    def polish(self, coef: Floats, intercept: float, penalty: float) -> None:
        """Put every lane at one point of the path and make it exact for the full fit."""
        self.coefs = np.repeat(coef[np.newaxis], self.sweep.n_lanes, axis=0)
        self.intercepts = np.full(self.sweep.n_lanes, intercept)
        self.sums = self.sweep(self.coefs, self.intercepts)
        self._penalty = penalty
        self._take_hessian(self._active() | self._strong(0.9 * self.l1_ratio * penalty))
        best = np.inf
        for _ in range(20):
            violations = self.violations()
            worst = float(violations[-1].max())
            if worst <= POLISHED or worst > 0.5 * best:
                break
            best = worst
            violations[:-1] = 0.0
            if not self._step(violations):
                break

    def _active(self) -> Integers:
        return np.asarray((self.coefs != 0).any(axis=0))

    def _strong(self, threshold: float) -> Integers:
        pulled = self._pull(self.sums.gradient) >= max(threshold, 0.0)
        return np.asarray(pulled.any(axis=0) & (self.lower < self.upper))

    def _widen(self, threshold: float, generous: float) -> None:
        needed = self._active() | self._strong(threshold)
        needed[self._working] = False
        if needed.any() or not self._hessians.size:
            self._take_hessian(self._active() | self._strong(generous))

    def _take_hessian(self, mask: Integers) -> None:
        self.n_hessians += 1
        self._working = np.flatnonzero(mask)
        full = self.sweep.hessian(self._working, self.coefs[-1], float(self.intercepts[-1]))
        level = self.sums.mean_sum / self.sweep.total_weight
        self._hessians = (level / level[-1])[:, np.newaxis, np.newaxis] * full

    def _take_own_hessians(self, violations: Floats) -> None:
        """Give every lane that still violates its own Hessian: that of the full fit is far from it."""
        for lane in np.flatnonzero(violations[:-1].max(axis=1) > self.tolerance):
            self.n_hessians += 1
            self._hessians[lane] = self.sweep.hessian(
                self._working, self.coefs[lane], float(self.intercepts[lane]), lane=int(lane)
            )

    def _step(self, violations: Floats) -> bool:
        """Take one quasi-Newton step in every lane that still violates; False if none could improve."""
        working = self._working
        chosen = np.concatenate([[0], working + 1])
        lower = np.concatenate([[-np.inf], self.lower[working]])
        upper = np.concatenate([[np.inf], self.upper[working]])
        l1, l2 = self._penalty * self.l1_ratio, self._penalty * (1 - self.l1_ratio)
        old_points = self._points()
        old_gradients = self._gradients()
        proposal = old_points.copy()
        lanes = np.flatnonzero(violations.max(axis=1) > 0.0)
        for lane in lanes:
            part = old_points[lane, chosen]
            proposal[lane, chosen] = kernels.descend(
                self._hessians[lane], old_gradients[lane, chosen], part, l1, l2, lower, upper,
                0.02 * float(violations[lane].max()), 1000,
            )  # fmt: skip
        moving = np.zeros(self.sweep.n_lanes, dtype=bool)
        moving[lanes] = True
        before, worst_before = self.objective(), violations.max(axis=1)
        state = self.coefs, self.intercepts, self.sums
        share = np.ones(self.sweep.n_lanes)
        for _ in range(30):
            points = old_points + share[:, np.newaxis] * (proposal - old_points)
            points = np.where(share[:, np.newaxis] == 1.0, proposal, points)
            self.coefs, self.intercepts = points[:, 1:], points[:, 0]
            self.sums = self.sweep(self.coefs, self.intercepts)
            after, worst_after = self.objective(), self.violations().max(axis=1)
            good = ~moving | (after <= before) | (worst_after < worst_before)
            if good.all():
                break
            share[~good] = np.where(share[~good] > 1e-3, share[~good] / 2, 0.0)
        else:
            self.coefs, self.intercepts, self.sums = state
            return False
        self._correct(chosen, self._points() - old_points, self._gradients() - old_gradients)
        return bool((share[lanes] > 0).any())

    def _points(self) -> Floats:
        return np.column_stack([self.intercepts, self.coefs])

    def _gradients(self) -> Floats:
        return np.column_stack([self.sums.intercept_gradient, self.sums.gradient])

    def _correct(self, chosen: Integers, steps: Floats, changes: Floats) -> None:
        """Make every lane's Hessian agree with the change of the gradient just seen (BFGS)."""
        for lane in range(self.sweep.n_lanes):
            kernels.correct(self._hessians[lane], steps[lane, chosen], changes[lane, chosen])

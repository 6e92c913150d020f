"""Poisson, NB1 and NB2 agree with statsmodels, with calculus, and with the published Leeds report."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.discrete.discrete_model import NegativeBinomial

from rtmkc.engine.rows.families import FAMILIES, GlmFit, fit_glm, rows_of_cells
from rtmkc.errors import InputError

LEEDS = {"intercept": -3.3565, "coef": (2.1578, 3.0617), "log_sigma": 1.69852}


def draw_leeds(seed, n_cells=9199):
    """Counts of the published Leeds model: NB1 with its coefficients and dispersion."""
    random = np.random.RandomState(seed)
    matrix = np.column_stack([random.rand(n_cells) < 0.2, random.rand(n_cells) < 0.7]).astype(float)
    mean = np.exp(LEEDS["intercept"] + matrix @ LEEDS["coef"])
    sigma = np.exp(LEEDS["log_sigma"])
    return matrix, random.negative_binomial(mean / sigma, 1 / (1 + sigma))


@pytest.fixture(scope="module")
def mixed():
    """Columns of mixed kind, offsets, weights and overdispersed counts."""
    random = np.random.RandomState(11)
    matrix = np.column_stack([random.rand(900) < 0.3, random.rand(900), random.normal(size=900)])
    offset = np.log(random.uniform(0.2, 1.0, 900))
    weights = random.randint(1, 4, 900).astype(float)
    mean = np.exp(offset - 0.5 + matrix @ [0.8, -0.4, 0.3])
    return matrix, random.negative_binomial(1.5, 1 / (1 + mean / 1.5)), offset, weights


def repeated(mixed):
    matrix, counts, offset, weights = mixed
    times = weights.astype(int)
    return np.repeat(matrix, times, axis=0), np.repeat(counts, times), np.repeat(offset, times)


def test_poisson_equals_statsmodels(mixed):
    """A Poisson fit with offsets and weights has statsmodels' coefficients, errors and log likelihood."""
    matrix, counts, offset, weights = mixed
    ours = fit_glm(matrix, counts, offset=offset, weights=weights)
    theirs = sm.GLM(
        counts, sm.add_constant(matrix), family=sm.families.Poisson(), offset=offset, freq_weights=weights
    ).fit(tol=1e-14, maxiter=100)
    np.testing.assert_allclose([ours.intercept, *ours.coef], theirs.params, rtol=1e-8)
    np.testing.assert_allclose(ours.standard_errors, theirs.bse, rtol=1e-7)
    assert ours.log_likelihood == pytest.approx(theirs.llf, rel=1e-9)
    assert ours.bic(900) == pytest.approx(-2 * theirs.llf + 4 * np.log(900), rel=1e-9)


@pytest.mark.parametrize("family", ["nb1", "nb2"])
def test_negative_binomials_equal_statsmodels(mixed, family):
    """NB1 and NB2 with offsets have statsmodels' coefficients, errors and log likelihood."""
    matrix, counts, offset, _ = mixed
    ours = fit_glm(matrix, counts, family=family, offset=offset)
    model = NegativeBinomial(counts, sm.add_constant(matrix), loglike_method=family, offset=offset)
    theirs = model.fit(method="bfgs", disp=0, maxiter=500, gtol=1e-8)
    theirs = model.fit(start_params=theirs.params, method="newton", disp=0, tol=1e-13, maxiter=50)
    found = [ours.intercept, *ours.coef, np.exp(ours.log_dispersion)]
    np.testing.assert_allclose(found, theirs.params, rtol=1e-8)
    np.testing.assert_allclose(ours.standard_errors[:-1], theirs.bse[:-1], rtol=1e-7)
    assert ours.log_likelihood == pytest.approx(theirs.llf, rel=1e-9)
    assert ours.n_parameters == 5


@pytest.mark.parametrize("family", ["nb1", "nb2"])
def test_negative_binomial_likelihood_is_scipys(family):
    """The sums over k < y are the negative binomial distribution, also where the dispersion is tiny."""
    counts = np.array([0, 1, 2, 5, 40])
    mean = np.exp(0.3)
    for log_dispersion in (-3.0, 0.0, 2.0):
        rows = rows_of_cells(np.empty((5, 0)), counts, family=family)
        value, _, _ = FAMILIES[family].evaluate(rows, [0.3, log_dispersion])
        spread = np.exp(log_dispersion)
        size = mean / spread if family == "nb1" else 1 / spread
        expected = stats.nbinom.logpmf(counts, size, size / (size + mean)).sum()
        assert value == pytest.approx(expected, rel=1e-11)
    rows = rows_of_cells(np.empty((5, 0)), counts, family=family)
    nearly_poisson, _, _ = FAMILIES[family].evaluate(rows, [0.3, -11.9])
    assert nearly_poisson == pytest.approx(stats.poisson.logpmf(counts, mean).sum(), rel=5e-5)


@pytest.mark.parametrize("family", ["poisson", "nb1", "nb2"])
def test_score_and_information_are_derivatives(mixed, family):
    """Score and information are the first and second differences of the log likelihood."""
    matrix, counts, offset, weights = mixed
    rows = rows_of_cells(matrix, counts, family=family, offset=offset, weights=weights)
    kind = FAMILIES[family]
    point = np.array([-0.4, 0.6, -0.3, 0.2, 0.4])[: 4 + kind.has_dispersion]
    _, score, information = kind.evaluate(rows, point)
    step = 1e-5
    for parameter in range(point.size):
        up, down = point.copy(), point.copy()
        up[parameter] += step
        down[parameter] -= step
        above, below = kind.evaluate(rows, up), kind.evaluate(rows, down)
        assert (above[0] - below[0]) / (2 * step) == pytest.approx(score[parameter], rel=1e-6, abs=1e-4)
        second = (below[1] - above[1]) / (2 * step)
        np.testing.assert_allclose(second, information[parameter], rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("family", ["poisson", "nb1", "nb2"])
def test_weights_are_repetitions_and_scores_vanish(mixed, family):
    """A weight of three is the row three times, and the fit is where the score is zero."""
    matrix, counts, offset, weights = mixed
    weighted = fit_glm(matrix, counts, family=family, offset=offset, weights=weights)
    rows, row_counts, row_offset = repeated(mixed)
    plain = fit_glm(rows, row_counts, family=family, offset=row_offset)
    np.testing.assert_allclose(weighted.coef, plain.coef, rtol=1e-10)
    np.testing.assert_allclose(weighted.covariance, plain.covariance, rtol=1e-8)
    assert weighted.log_likelihood == pytest.approx(plain.log_likelihood, rel=1e-12)
    point = [plain.intercept, *plain.coef]
    if plain.log_dispersion is not None:
        point.append(plain.log_dispersion)
    cells = rows_of_cells(rows, row_counts, family=family, offset=row_offset)
    _, score, _ = FAMILIES[family].evaluate(cells, point)
    assert np.abs(score).max() < 1e-8


def test_family_variances():
    """NB1 is gamlss's NBII: mean 2.3 and sigma 1.7 give variance 6.21, where NB2 gives 11.29."""
    assert FAMILIES["nb1"].variance(2.3, np.log(1.7)) == pytest.approx(6.21)
    assert FAMILIES["nb2"].variance(2.3, np.log(1.7)) == pytest.approx(11.293)
    assert FAMILIES["poisson"].variance(2.3) == 2.3


def test_leeds_information_criteria():
    """Deviance 18288.17, two factors, sigma, 9,199 cells: AIC 18296.17 and BIC 18324.68, as published."""
    fit = GlmFit(
        coef=np.array(LEEDS["coef"]),
        intercept=LEEDS["intercept"],
        log_dispersion=LEEDS["log_sigma"],
        covariance=np.eye(4),
        log_likelihood=-18288.17 / 2,
        n_iterations=1,
        converged=True,
        family="nb1",
        at_boundary=False,
        separated=(),
        notes=(),
    )
    assert fit.n_parameters == 4
    assert round(fit.bic(9199), 2) == 18324.68
    assert round(fit.aic(), 2) == 18296.17


def test_leeds_parameters_are_recovered():
    """NB1 finds the Leeds parameters in data drawn from them, with errors near 0.04; NB2 fits worse."""
    fits = [fit_glm(*draw_leeds(seed), family="nb1") for seed in range(6)]
    coefs = np.array([fit.coef for fit in fits])
    errors = np.array([fit.standard_errors for fit in fits])
    assert 0.03 < errors[:, 1].mean() < 0.05
    assert 0.03 < errors[:, 3].mean() < 0.05
    distance = (coefs - LEEDS["coef"]) / errors[:, 1:3]
    assert np.abs(distance).max() < 3.5
    assert np.abs([fit.log_dispersion - LEEDS["log_sigma"] for fit in fits]).max() < 0.15
    other = fit_glm(*draw_leeds(0), family="nb2")
    assert other.bic(9199) > fits[0].bic(9199) + 500


@pytest.mark.parametrize("family", ["nb1", "nb2"])
def test_counts_without_overdispersion_give_the_poisson_fit(family):
    """Counts that vary less than Poisson give the Poisson fit, say so, and pay for the dispersion."""
    matrix = np.repeat([[0.0], [1.0]], 200, axis=0)
    counts = np.concatenate([np.tile([0, 1], 100), np.tile([2, 3], 100)])
    fit = fit_glm(matrix, counts, family=family)
    poisson = fit_glm(matrix, counts)
    assert fit.at_boundary
    assert fit.log_dispersion is None
    assert "not overdispersed" in fit.notes[0]
    np.testing.assert_allclose(fit.coef, poisson.coef, rtol=1e-12)
    assert fit.bic(400) == pytest.approx(poisson.bic(400) + np.log(400), rel=1e-12)


@pytest.mark.parametrize("family", ["poisson", "nb1", "nb2"])
def test_separation_is_capped_and_said(family):
    """A column without incidents stops at -10, is named, and nothing is NaN."""
    random = np.random.RandomState(2)
    matrix = (random.rand(500, 2) < [0.2, 0.5]).astype(float)
    counts = np.where(matrix[:, 0] > 0, 0, random.negative_binomial(1, 0.4, 500))
    fit = fit_glm(matrix, counts, family=family)
    assert fit.coef[0] == -10.0
    assert fit.separated == (0,)
    assert "separate" in " ".join(fit.notes)
    assert np.isfinite(fit.covariance).all()
    alone = fit_glm(matrix[matrix[:, 0] == 0][:, 1:], counts[matrix[:, 0] == 0], family=family)
    np.testing.assert_allclose(fit.coef[1], alone.coef[0], atol=1e-3)


def test_dependent_columns_are_said():
    """Equal columns share a coefficient's effect; the fit stands and says that they are not determined."""
    matrix, counts = draw_leeds(3, 800)
    fit = fit_glm(np.column_stack([matrix, matrix[:, 0], np.zeros(800)]), counts, family="nb1")
    alone = fit_glm(matrix, counts, family="nb1")
    assert fit.coef[0] + fit.coef[2] == pytest.approx(alone.coef[0], rel=1e-6)
    assert fit.log_likelihood == pytest.approx(alone.log_likelihood, rel=1e-10)
    assert "combinations" in " ".join(fit.notes)
    assert np.isfinite(fit.standard_errors).all()


def test_without_columns_the_mean_is_the_rate():
    """A model of nothing but the intercept has the mean count, over the exposure."""
    fit = fit_glm(np.empty((4, 0)), [0, 1, 2, 5], offset=np.log([1, 2, 3, 4]))
    assert np.exp(fit.intercept) == pytest.approx(0.8)
    no_exposure = fit_glm(np.empty((5, 0)), [0, 1, 2, 5, 0], offset=[*np.log([1, 2, 3, 4]), -np.inf])
    assert no_exposure.log_likelihood == pytest.approx(fit.log_likelihood, rel=1e-12)


def test_start_does_not_move_the_end(mixed):
    """A fit ends at the same point wherever it starts."""
    matrix, counts, offset, _ = mixed
    usual = fit_glm(matrix, counts, family="nb1", offset=offset)
    other = fit_glm(matrix, counts, family="nb1", offset=offset, start=[1.0, -1.0, 1.0, 0.0, 3.0])
    np.testing.assert_allclose(other.coef, usual.coef, rtol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"counts": [0, 0, 0]}, "Invalid counts: no incidents"),
        ({"counts": [0, 1]}, r"Invalid counts \(2,\)"),
        ({"counts": [0, 1, -1]}, "empty or negative"),
        ({"counts": [0, 1, np.nan]}, "Invalid counts"),
        ({"counts": [0, 1, 1.5], "family": "nb1"}, "not whole numbers"),
        ({"family": "gamma"}, "Invalid family 'gamma'"),
        ({"offset": [0, -np.inf, 0]}, "Invalid offset"),
        ({"weights": [1, 1]}, r"Invalid weights \(2,\)"),
        ({"start": [0.0]}, "Invalid start"),
        ({"matrix": [[0.0], [np.nan], [1.0]]}, "Invalid matrix"),
    ],
)
def test_what_cannot_be_fitted_is_said(arguments, message):
    """Arguments that have no likelihood raise, and the message names them."""
    given = {"matrix": [[0.0], [1.0], [1.0]], "counts": [0, 1, 2]} | arguments
    with pytest.raises(InputError, match=message):
        fit_glm(given.pop("matrix"), given.pop("counts"), **given)

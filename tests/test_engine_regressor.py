"""The array-level estimator keeps scikit-learn's rules and the solver's precision."""

import numpy as np
import pytest
from sklearn.model_selection import KFold, ShuffleSplit
from sklearn.utils.estimator_checks import parametrize_with_checks

from rtmkc.engine.regressor import RiskRegressor
from rtmkc.errors import InputError


@parametrize_with_checks([RiskRegressor(), RiskRegressor(selection="one_se", positive=True)])
def test_scikit_learn_checks(estimator, check):
    """The estimator passes scikit-learn's own checks without an exception."""
    check(estimator)


@pytest.fixture(scope="module")
def rows():
    """A matrix of binary and continuous columns, and counts with an exposure."""
    random = np.random.RandomState(0)
    matrix = np.column_stack([random.rand(600) < 0.3, random.rand(600) < 0.5, random.normal(size=600)])
    exposure = random.uniform(0.5, 2.0, 600)
    counts = random.poisson(exposure * np.exp(0.2 + matrix @ [0.9, 0.0, -0.4]))
    return matrix, counts, exposure


def test_it_is_the_path_of_the_solver(rows):
    """Coefficients are those of the chosen point of the path, and predictions its means."""
    matrix, counts, exposure = rows
    model = RiskRegressor().fit(matrix, counts, offset=np.log(exposure))
    path = model.path_
    np.testing.assert_array_equal(model.coef_, path.coefs[path.best])
    assert model.lambda_ == path.lambdas[path.best]
    expected = exposure * np.exp(model.intercept_ + matrix @ model.coef_)
    np.testing.assert_allclose(model.predict(matrix, offset=np.log(exposure)), expected, rtol=1e-12)
    np.testing.assert_allclose(model.coef_, [0.9, 0.0, -0.4], atol=0.15)


def test_one_se_is_sparser_and_positive_binds(rows):
    """The one-standard-error rule takes a larger penalty; `positive` forbids negative coefficients."""
    matrix, counts, _ = rows
    least = RiskRegressor().fit(matrix, counts)
    sparse = RiskRegressor(selection="one_se").fit(matrix, counts)
    assert sparse.lambda_ > least.lambda_
    assert np.abs(sparse.coef_).sum() < np.abs(least.coef_).sum()
    positive = RiskRegressor(positive=True).fit(matrix, counts)
    assert positive.coef_[2] == 0
    assert (positive.coef_ >= 0).all()


def test_folds_may_be_given_in_every_form(rows):
    """Fold numbers, a splitter and a list of splits of the same folds give the same fit; seeds repeat."""
    matrix, counts, _ = rows
    splitter = KFold(4, shuffle=True, random_state=3)
    splits = list(splitter.split(matrix))
    numbers = np.zeros(len(counts), dtype=int)
    for number, (_, test) in enumerate(splits):
        numbers[test] = number
    fits = [RiskRegressor(cv=cv).fit(matrix, counts) for cv in (splitter, splits, numbers)]
    fits.append(RiskRegressor(cv=4, random_state=3).fit(matrix, counts))
    for fit in fits[1:]:
        np.testing.assert_array_equal(fit.path_.cv_deviance, fits[0].path_.cv_deviance)
    other = RiskRegressor(cv=4, random_state=4).fit(matrix, counts)
    assert (other.path_.cv_deviance[:, 0] != fits[0].path_.cv_deviance[:, 0]).any()


def test_score_is_the_deviance_explained(rows):
    """A model scores between nothing and everything, and a constant scores 0."""
    matrix, counts, exposure = rows
    score = RiskRegressor().fit(matrix, counts).score(matrix, counts)
    assert 0.05 < score < 1
    offset = np.log(exposure)
    assert RiskRegressor().fit(matrix, counts, offset=offset).score(matrix, counts, offset=offset) > score
    constant = RiskRegressor().fit(np.zeros_like(matrix), counts)
    assert constant.score(np.zeros_like(matrix), counts) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"selection": "best"}, "Invalid selection 'best'"),
        ({"l1_ratio": 0}, "Invalid l1_ratio 0"),
        ({"cv": ShuffleSplit(3)}, "A row may be left out once only"),
    ],
)
def test_parameters_that_cannot_be_used_are_said(rows, parameters, message):
    """A wrong parameter raises when fitted, not when stored, and the message names it."""
    model = RiskRegressor(**parameters)
    with pytest.raises(InputError, match=message):
        model.fit(rows[0], rows[1])


def test_no_incidents_is_an_error(rows):
    """Counts of zero everywhere have no model."""
    with pytest.raises(InputError, match="Invalid counts: no incidents"):
        RiskRegressor().fit(rows[0], np.zeros(600))

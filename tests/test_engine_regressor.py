"""The array-level estimator keeps scikit-learn's rules and the solver's precision."""

import numpy as np
import pytest
from sklearn.model_selection import KFold
from sklearn.utils.estimator_checks import parametrize_with_checks

from rtmkc.engine.regressor import RiskRegressor
from rtmkc.errors import InputError


@parametrize_with_checks([RiskRegressor(), RiskRegressor(selection="one_se", positive=True)])
def test_scikit_learn_checks(estimator, check):
    """The estimator passes scikit-learn's own checks without an exception."""
    check(estimator)

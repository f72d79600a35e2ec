import math

import pytest
from scipy import special, stats

from heedful.evaluate.quantiles import (
    beta_cdf,
    beta_quantile,
    log_lower_gamma,
    t_quantile,
)

SHAPES = [(0.5, 0.5), (1.0, 1.0), (2.5, 7.0), (125.0, 501.0), (0.5, 5e4), (3e3, 4e3)]


@pytest.mark.parametrize(("a", "b"), SHAPES)
@pytest.mark.parametrize("p", [1e-6, 0.025, 0.5, 0.975, 1 - 1e-6])
def test_beta_as_scipy_has_it(a, b, p):
    x = beta_quantile(p, a, b)
    assert x == pytest.approx(stats.beta.ppf(p, a, b), rel=1e-8)
    assert beta_cdf(x, a, b) == pytest.approx(p, rel=1e-8)


@pytest.mark.parametrize("freedom", [1, 2, 7, 30, 1000, 10**6])
@pytest.mark.parametrize("p", [1e-6, 0.025, 0.3, 0.5, 0.95, 0.975])
def test_t_as_scipy_has_it(p, freedom):
    expected = stats.t.ppf(p, freedom)
    assert t_quantile(p, freedom) == pytest.approx(expected, rel=1e-8, abs=1e-7)


@pytest.mark.parametrize("a", [0.5, 1.0, 7.3, 400.0, 1e5])
@pytest.mark.parametrize("share", [0.9, 1.0, 1.01, 1.5])
def test_the_lower_gamma_as_scipy_has_it(a, share):
    x = share * a + 1.5
    expected = math.log(special.gammainc(a, x)) + special.gammaln(a)
    assert log_lower_gamma(a, x) == pytest.approx(expected, rel=1e-11, abs=1e-11)


def test_the_lower_gamma_refuses():
    for a, x in ((0.0, 1.0), (1.0, 0.0), (math.nan, 1.0)):
        with pytest.raises(ValueError, match="expected numbers above 0"):
            log_lower_gamma(a, x)


def test_the_ends():
    assert beta_quantile(0.0, 2, 3) == pytest.approx(0.0, abs=1e-300)
    assert beta_quantile(1.0, 2, 3) == pytest.approx(1.0)
    assert beta_cdf(-1.0, 2, 3) == 0.0
    assert beta_cdf(2.0, 2, 3) == 1.0


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_impossible_probabilities_are_refused(p):
    with pytest.raises(ValueError, match="expected 0 <= p"):
        beta_quantile(p, 1, 1)
    with pytest.raises(ValueError, match="expected 0 < p"):
        t_quantile(p, 1)

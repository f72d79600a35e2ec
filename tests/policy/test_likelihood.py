"""The chunked likelihood is the plain one, its gradient too."""

import pytest
import torch

from heedful.policy import likelihood
from heedful.policy.likelihood import log_likelihood


def case(n=7, width=3, size=11, dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    known = torch.randn(n, width, generator=generator, dtype=dtype, requires_grad=True)
    weight = torch.randn(size, width, generator=generator, dtype=dtype, requires_grad=True)
    bias = torch.randn(size, generator=generator, dtype=dtype, requires_grad=True)
    return known, weight, bias, torch.randint(size, (n,), generator=generator)


def plain(known, weight, bias, units):
    logits = torch.nn.functional.linear(known, weight, bias)
    return torch.log_softmax(logits, dim=1).gather(1, units[:, None])[:, 0]


@pytest.mark.parametrize("chunk", [1, 22, 33, 1 << 19])
def test_values_and_gradients_are_those_of_the_full_table(monkeypatch, chunk):
    monkeypatch.setattr(likelihood, "CHUNK", chunk)
    inputs = case()
    scale = torch.linspace(-1, 2, 7, dtype=torch.float64)
    expected, found = plain(*inputs), log_likelihood(*inputs)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    wanted = torch.autograd.grad((expected * scale).sum(), inputs[:3])
    given = torch.autograd.grad((found * scale).sum(), inputs[:3])
    for one, other in zip(given, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_numerical_gradient():
    known, weight, bias, units = case(n=4, size=5)
    assert torch.autograd.gradcheck(lambda *x: log_likelihood(*x, units), (known, weight, bias))


def test_a_unit_taken_out_of_the_softmax_has_no_mass_and_no_gradient():
    known, weight, bias, _ = case()
    units = torch.tensor([0, 1, 2, 3, 4, 5, 6])
    without = bias.detach().clone()
    without[10] = -torch.inf
    found = log_likelihood(known, weight, without, units)
    torch.testing.assert_close(found, plain(known, weight[:10], bias[:10], units))
    (gradient,) = torch.autograd.grad(found.sum(), weight)
    assert not gradient[10].any()
    assert torch.isfinite(gradient).all()


def test_no_rows():
    known, weight, bias, units = case(n=0)
    found = log_likelihood(known, weight, bias, units)
    assert found.shape == (0,)
    found.sum().backward()
    assert not weight.grad.any()

"""Links: the range each is defined on, the identities between them, and what a Link carries."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import losscope as ls
from losscope import links

KERNELS = ["auto", *ls.kernels.KERNELS]
Z = torch.tensor([[-3.0, 0.0, 2.0], [100.0, -100.0, 0.5]], dtype=torch.float64)


@pytest.fixture(params=KERNELS, autouse=True)
def _kernel(request):
    if request.param == "auto":
        yield
    else:
        with ls.kernels.use(request.param):
            yield


def test_probabilities_are_probabilities():
    for dim in (0, 1, -1):
        p = ls.softmax(Z, dim)
        assert bool(((p >= 0) & (p <= 1)).all())
        assert_close(p.sum(dim), torch.ones_like(p.sum(dim)))
    assert bool(((ls.sigmoid(Z) >= 0) & (ls.sigmoid(Z) <= 1)).all())


def test_the_logarithms_are_those_of_the_probabilities():
    assert_close(ls.log_softmax(Z, 1).exp(), ls.softmax(Z, 1))
    assert_close(ls.log_sigmoid(Z).exp(), ls.sigmoid(Z))
    assert_close(ls.log_softmax(Z, 1), Z - ls.logsumexp(Z, 1, keepdim=True))


def test_identities():
    assert_close(ls.sigmoid(-Z), 1 - ls.sigmoid(Z))
    assert_close(ls.log_sigmoid(Z) - ls.log_sigmoid(-Z), Z)
    assert_close(ls.logsumexp(Z + 7, 1), ls.logsumexp(Z, 1) + 7)
    assert_close(ls.logsumexp(Z, (0, 1)), ls.logsumexp(Z.flatten(), 0))
    assert_close(ls.logsumexp(ls.log_softmax(Z, 1), 1), torch.zeros(2).double())


def test_no_dimension_named_is_every_one():
    """Torch's rule, which torch itself keeps only with keepdim."""
    assert_close(ls.logsumexp(Z, ()), Z.exp().sum().log())
    assert_close(ls.logsumexp(Z, (), keepdim=True), torch.logsumexp(Z, (), keepdim=True))
    assert_close(ls.logsumexp(Z[0, 0], ()), Z[0, 0])


def test_a_dimension_is_whatever_torch_takes_for_one():
    for one in (np.int64(0), torch.tensor(0)):
        assert_close(ls.softmax(Z, one), ls.softmax(Z, 0))
        assert_close(ls.logsumexp(Z, one), ls.logsumexp(Z, 0))
    assert_close(ls.logsumexp(Z, [0, 1]), ls.logsumexp(Z, (0, 1)))


def test_the_last_dimension_is_the_default():
    assert_close(ls.softmax(Z), ls.softmax(Z, 1))
    assert_close(ls.log_softmax(Z), ls.log_softmax(Z, 1))
    assert_close(ls.logsumexp(Z), ls.logsumexp(Z, 1))


def test_a_mask_has_no_probability_and_no_gradient():
    z = torch.tensor([0.0, -torch.inf, 1.0], requires_grad=True)
    p = ls.softmax(z)
    assert p[1] == 0
    assert_close(p[[0, 2]], torch.softmax(torch.tensor([0.0, 1.0]), 0))
    for value in (p[0], ls.log_softmax(z)[0], ls.logsumexp(z)):
        (grad,) = torch.autograd.grad(value, z)
        assert grad[1] == 0
        assert bool(grad.isfinite().all())


def test_the_ends_of_the_range():
    z = torch.tensor([-torch.inf, torch.inf])
    assert ls.sigmoid(z).tolist() == [0, 1]
    assert ls.log_sigmoid(z).tolist() == [-torch.inf, 0]
    assert ls.logsumexp(torch.full((2,), -torch.inf)) == -torch.inf
    assert ls.logsumexp(z) == torch.inf


def test_a_dtype_is_computed_in_and_returned():
    z = Z.bfloat16()
    assert_close(ls.softmax(z, 1, dtype=torch.float32), torch.softmax(z.float(), 1))
    assert_close(ls.log_softmax(z, 1, dtype=torch.float64), torch.log_softmax(z.double(), 1))
    assert_close(ls.softmax(torch.tensor([0, 5]), dtype=torch.float32), torch.softmax(torch.tensor([0.0, 5.0]), 0))


ALL = [links.SOFTMAX, links.EXP_CATEGORICAL, links.SIGMOID, links.IDENTITY_BINARY, links.IDENTITY, links.EXP]


@pytest.mark.parametrize("link", ALL, ids=lambda link: f"{link.name}-{link.space}")
def test_a_decision_is_that_of_the_estimate(link):
    """Taken from the raw outputs, and the same as the one taken from what they stand for."""
    z = {"logit": Z, "log-probability": Z.log_softmax(1), "probability": Z.sigmoid(), "value": Z, "log-value": Z / 50}
    estimate, decision = link.activation(z[link.space]), link.decide(z[link.space])
    if link.space in ("value", "log-value"):
        assert torch.equal(decision, estimate)
    elif link.name in ("softmax", "exp"):
        assert torch.equal(decision, estimate.argmax(1))
    else:
        assert torch.equal(decision, estimate > 0.5)


def test_a_link_is_a_constant():
    with pytest.raises(AttributeError):
        links.SOFTMAX.name = "another"


def test_integers_are_taken_beside_a_dtype():
    for ours, torchs in ((ls.softmax, torch.softmax), (ls.log_softmax, torch.log_softmax)):
        assert_close(ours(torch.tensor([0, 5]), dtype=torch.float32), torchs(torch.tensor([0.0, 5.0]), 0))

"""Every number the tutorial prints, each way it is computed there, and where its first formulas break."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

import losscope as ls
from losscope.kernels import naive, reference

Z = torch.tensor([0.0, 5.0])
ZZ = torch.tensor([[1.0, 10.0], [2.0, -2.0], [2.0, 2.0], [0.0, 2.0], [4.5, 5.0], [0.0, 0.0]])
Y = torch.tensor([1, 1, 1, 0, 1, 0])
PROBABILITIES = torch.tensor(
    [[1.2339e-04, 9.9988e-01], [0.98201, 0.017986], [0.5, 0.5], [0.1192, 0.8808], [0.37754, 0.62246], [0.5, 0.5]]
)
S = torch.tensor(
    [
        [-2.1895, -1.1382],
        [-1.5560, -4.0288],
        [-1.4380, -1.8596],
        [-1.7396, -1.1178],
        [-4.1428, -3.8919],
        [-0.0845, -2.6688],
    ]
)
HUGE = torch.tensor([[1.0, 1000.0], [-1000.0, -1001.0]])


def printed(value, expected):
    """Equal in the digits that are printed: four decimals, or five significant digits."""
    assert_close(value, torch.as_tensor(expected), rtol=5e-5, atol=5e-5)


@pytest.fixture(params=ls.kernels.KERNELS)
def _kernel(request):
    with ls.kernels.use(request.param):
        yield


every_kernel = pytest.mark.usefixtures("_kernel")


# --------------------------------------------------------------------------------------------------- links


@every_kernel
def test_sigmoid_and_softmax_of_one_sample():
    printed(ls.sigmoid(Z), [0.5, 0.9933])
    printed(ls.softmax(Z), [0.0067, 0.9933])


@every_kernel
def test_softmax_rows():
    printed(ls.softmax(ZZ, 1), PROBABILITIES)
    assert_close(ls.softmax(ZZ, 1)[0, 0], torch.tensor(1.2339e-04), rtol=5e-5, atol=0)
    assert_close(ls.softmax(ZZ, 1).sum(1), torch.ones(6))


@every_kernel
def test_sigmoid_is_the_softmax_of_zero_and_z():
    z = torch.linspace(-200, 200, 401)
    assert_close(ls.softmax(torch.stack((torch.zeros_like(z), z), 1), 1)[:, 1], ls.sigmoid(z))
    assert_close(reference.softmax_of_zero_and(z), ls.sigmoid(z))


@pytest.mark.parametrize(
    "form", [naive.log_softmax_of_softmax, naive.log_softmax_of_sum, reference.log_softmax], ids=lambda f: f.__name__
)
def test_the_three_forms_of_log_softmax_agree_where_nothing_overflows(form):
    assert_close(form(ZZ, 1), torch.log_softmax(ZZ, 1), rtol=1e-5, atol=1e-5)


def test_only_the_third_form_survives_large_logits():
    expected = torch.tensor([[-999.0, 0.0], [-0.3132617, -1.3132617]])
    assert naive.softmax(HUGE, 1).isnan().any()
    assert not naive.log_softmax_of_softmax(HUGE, 1).isfinite().all(1).any()
    assert not naive.log_softmax_of_sum(HUGE, 1).isfinite().all(1).any()
    assert_close(reference.log_softmax(HUGE, 1), expected)
    assert_close(ls.log_softmax(HUGE, 1), expected)


def test_the_second_form_survives_an_underflow_that_breaks_the_first():
    z = torch.tensor([[-110.0, 0.0]])
    assert naive.log_softmax_of_softmax(z, 1).isinf().any()
    assert_close(naive.log_softmax_of_sum(z, 1), torch.tensor([[-110.0, 0.0]]))


@every_kernel
def test_logsumexp_takes_the_maximum_out():
    assert naive.logsumexp(HUGE, 1).isinf().all()
    assert_close(ls.logsumexp(HUGE, 1), torch.tensor([1000.0, -999.6867383]))
    assert_close(ls.logsumexp(ZZ, 1), naive.logsumexp(ZZ, 1))


@every_kernel
def test_sigmoid_and_log_sigmoid_do_not_overflow():
    z = torch.tensor([-200.0, 200.0])
    assert naive.sigmoid(z).isnan().any()
    assert_close(ls.sigmoid(z), torch.tensor([0.0, 1.0]))
    assert_close(ls.log_sigmoid(z), torch.tensor([-200.0, 0.0]))


# ------------------------------------------------------------------------------------- one of H is true


@every_kernel
def test_nll():
    printed(ls.nll_loss(S, Y), 2.1238)
    printed(-S[torch.arange(6), Y].mean(), 2.1238)
    printed(-(ls.one_hot(Y, 2) * S).sum(1).mean(), 2.1238)


@every_kernel
def test_cross_entropy_is_the_nll_of_log_softmax():
    printed(ls.cross_entropy(ZZ, Y), 1.3343)
    printed(ls.nll_loss(ls.log_softmax(ZZ, 1), Y), 1.3343)
    printed(-naive.log_softmax_of_softmax(ZZ, 1)[torch.arange(6), Y].mean(), 1.3343)
    printed(ls.CrossEntropyLoss()(ZZ, Y), 1.3343)


@every_kernel
def test_one_hot_is_the_index():
    printed(ls.cross_entropy(ZZ, ls.one_hot(Y, 2)), 1.3343)
    assert_close(ls.to_index(ls.one_hot(Y, 2)), Y)


# --------------------------------------------------------------------------- each label is true on its own


def multi_hot_targets():
    m = ls.one_hot(Y, 2)
    m[0] = 1
    return m


@every_kernel
def test_binary_cross_entropy_three_ways():
    m = multi_hot_targets()
    printed(ls.binary_cross_entropy_with_logits(ZZ, m), 1.2954)
    printed(ls.binary_cross_entropy(ls.sigmoid(ZZ), m), 1.2954)
    binary_ones = [ls.binary_cross_entropy_with_logits(ZZ[:, h], m[:, h], reduction="sum") for h in range(2)]
    printed(sum(binary_ones) / m.numel(), 1.2954)


@every_kernel
def test_binary_cross_entropy_is_the_cross_entropy_of_zero_and_z():
    m = multi_hot_targets()
    pairs = torch.stack((torch.zeros_like(ZZ), ZZ), 1)
    assert_close(ls.cross_entropy(pairs, m.long()), ls.binary_cross_entropy_with_logits(ZZ, m))


@every_kernel
def test_the_binary_formula_on_paper_breaks_where_the_probability_rounds_to_one():
    z, m = torch.tensor([30.0, -120.0]), torch.tensor([0.0, 1.0])
    assert naive.binary_cross_entropy(ls.sigmoid(z), m).isinf().any()
    assert_close(ls.binary_cross_entropy_with_logits(z, m, reduction="none"), torch.tensor([30.0, 120.0]))
    held = ls.binary_cross_entropy(ls.sigmoid(z), m, reduction="none")  # what rounding left: −ln held at 100
    assert_close(held, torch.tensor([100.0, 100.0]))


@every_kernel
def test_they_are_the_numbers_of_torch_too():
    assert_close(ls.cross_entropy(ZZ, Y), F.cross_entropy(ZZ, Y))
    assert_close(ls.nll_loss(S, Y), F.nll_loss(S, Y))
    assert_close(
        ls.binary_cross_entropy_with_logits(ZZ, multi_hot_targets()),
        F.binary_cross_entropy_with_logits(ZZ, multi_hot_targets()),
    )

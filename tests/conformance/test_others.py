"""What other libraries' tests and documents expect of the same losses; where a definition differs, how.

The expected numbers are those that the named source prints, its definition computed here, or the library itself
where it is a development dependency (scikit-learn).
"""

import math

import numpy as np
import pytest
import sklearn.metrics
import torch
from torch.testing import assert_close

import losscope as ls

KERNELS = ["auto", *ls.kernels.KERNELS]


@pytest.fixture(params=KERNELS, autouse=True)
def _kernel(request):
    if request.param == "auto":
        yield
    else:
        with ls.kernels.use(request.param):
            yield


def randn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# ------------------------------------------------------------------------------------------- scikit-learn


def test_log_loss_of_scikit_learn():
    z, y = randn(50, 4), torch.arange(50) % 4
    p = ls.softmax(z, 1)
    assert_close(ls.cross_entropy(z, y).item(), sklearn.metrics.log_loss(y, p))
    assert_close(ls.nll_loss(ls.log_softmax(z, 1), y, reduction="sum").item(),
                 sklearn.metrics.log_loss(y, p, normalize=False))  # fmt: skip
    w = torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)
    assert_close(ls.cross_entropy(z, y, w).item(), sklearn.metrics.log_loss(y, p, sample_weight=w[y]))


def test_log_loss_of_scikit_learn_for_two_classes():
    z = randn(50)
    m = (randn(50, seed=1) > 0).double()
    assert_close(ls.binary_cross_entropy_with_logits(z, m).item(), sklearn.metrics.log_loss(m, ls.sigmoid(z)))


def test_mean_squared_error_of_scikit_learn():
    z, y, w = randn(20), randn(20, seed=1), randn(20, seed=2).abs()
    assert_close(ls.mse_loss(z, y, w).item(), float(sklearn.metrics.mean_squared_error(y, z, sample_weight=w)))


def test_mean_squared_log_error_of_scikit_learn_differs():
    """It compares ln(1 + y) of values; ours ln y, of an output that is already the logarithm."""
    y, estimate = torch.tensor([0.5, 3.0]).double(), torch.tensor([0.75, 2.0]).double()
    theirs = float(sklearn.metrics.mean_squared_log_error(y, estimate))
    assert_close(ls.mean_squared_log_error((1 + estimate).log(), 1 + y).item(), theirs)
    assert abs(ls.mean_squared_log_error(estimate.log(), y).item() - theirs) > 0.01


# -------------------------------------------------------------------------------------------------- optax

# Inputs and expected values of optax/losses/_classification_test.py.
OPTAX_Z = torch.tensor([[10.0, 1.0, -2.0], [1.0, 4.0, 0.2]], dtype=torch.float64)
OPTAX_Q = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64)


def test_softmax_cross_entropy_of_optax():
    """Its losses are per sample: SoftmaxCrossEntropyTest."""
    expected = torch.tensor([9.00013, 3.0696733]).double()
    assert_close(ls.cross_entropy(OPTAX_Z, OPTAX_Q, reduction="none"), expected, rtol=1e-6, atol=1e-5)
    assert_close(ls.cross_entropy(OPTAX_Z, OPTAX_Q.argmax(1), reduction="none"), expected, rtol=1e-6, atol=1e-5)


def test_safe_softmax_cross_entropy_of_optax():
    """SafeSoftmaxCrossEntropyTest: −inf is a mask; a masked class that the target wants costs inf."""
    inf = torch.inf
    z = torch.tensor([[-inf, 0.0, 0.0], [-inf, 0.0, 0.0], [-inf, 0.0, -inf]])
    q = torch.tensor([[0.0, 0.5, 0.5], [0.4, 0.3, 0.3], [0.0, 1.0, 0.0]])
    assert_close(ls.cross_entropy(z, q, reduction="none"), torch.tensor([0.693147, inf, 0.0]))


@pytest.mark.parametrize(
    ("z", "m", "expected"),
    [
        ([-1e9, -1e-9], [1.0, 0.0], 5e8),
        ([-1e9, -1e-9], [0.0, 1.0], 0.3465736),
        ([1e9, 1e-9], [1.0, 0.0], 0.3465736),
        ([1e9, 1e-9], [0.0, 1.0], 5e8),
        ([1e9, -1e-9], [1.0, 0.0], 0.3465736),
        ([0.0, 0.0], [0.0, 1.0], 0.6931472),
    ],
)
def test_sigmoid_binary_cross_entropy_of_optax(z, m, expected):
    """SigmoidCrossEntropyTest."""
    loss = ls.binary_cross_entropy_with_logits(torch.tensor(z).double(), torch.tensor(m).double())
    assert loss.item() == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_poly_loss_of_optax_is_another_loss_but_for_epsilon_zero():
    """PolyLossTest at ε = 0, with soft labels; for other ε it adds ε (1 − Σ q ŷ), which ours has not."""
    z, q = torch.tensor([[4.0, 2.0, 1.0], [0.0, 5.0, 1.0]]), torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.8, 0.2]])
    loss = ls.cross_entropy(z, q, reduction="none")
    assert_close(loss, torch.tensor([0.1698, 0.8247]), rtol=0, atol=1e-4)
    assert_close(loss + 2 * (1 - (q * ls.softmax(z, 1)).sum(1)), torch.tensor([0.4823, 1.2567]), rtol=0, atol=1e-4)
    z, q = torch.tensor([0.14, 1.456, 2.356, -0.124, -2.47]), torch.tensor([0.1, 0.15, 0.2, 0.25, 0.3])
    assert ls.cross_entropy(z, q).item() == pytest.approx(2.8990, abs=1e-4)


def test_smooth_labels_of_optax():
    """(1 − α) labels + α / H."""
    q = 0.9 * OPTAX_Q + 0.1 / 3
    assert_close(ls.cross_entropy(OPTAX_Z, OPTAX_Q, label_smoothing=0.1), ls.cross_entropy(OPTAX_Z, q))


def test_l2_loss_of_optax_is_half_the_squared_error():
    z, y = randn(5), randn(5, seed=1)
    assert_close(0.5 * ls.mse_loss(z, y, reduction="none"), 0.5 * (z - y) ** 2)


def test_sigmoid_focal_loss_of_optax():
    """Torchvision's definition, without a reduction and, as its default, without α."""
    z, m = torch.tensor([0.0, 2.0, -3.0]).double(), torch.tensor([1.0, 0.0, 1.0]).double()
    focal = ls.binary_cross_entropy_with_logits(z, m, focal_gamma=2.0, reduction="none")
    assert_close(focal, sigmoid_focal_loss(z, m, alpha=-1, gamma=2))


# -------------------------------------------------------------------------------------------- torchvision


def sigmoid_focal_loss(z, m, alpha, gamma):
    """Torchvision's definition (torchvision.ops.sigmoid_focal_loss, after fvcore): α of −1 is none."""
    p = 1 / (1 + torch.exp(-z))
    p_t = p * m + (1 - p) * (1 - m)
    loss = -torch.log(p_t) * (1 - p_t) ** gamma
    return loss if alpha < 0 else (alpha * m + (1 - alpha) * (1 - m)) * loss


@pytest.mark.parametrize("alpha", [-1, 0.25, 0.58])
@pytest.mark.parametrize("gamma", [0, 0.5, 2])
def test_sigmoid_focal_loss_of_torchvision(alpha, gamma):
    """α is ``weight=1−α`` with ``pos_weight=α/(1−α)``; the reductions are the same: the mean is over the count."""
    z, m = randn(5, 6), (randn(5, 6, seed=1) > 0).double()
    kwargs = {}
    if alpha >= 0:
        kwargs = {"weight": torch.tensor(1 - alpha).double(), "pos_weight": torch.tensor(alpha / (1 - alpha)).double()}
    for reduction, reduce in (("none", lambda x: x), ("sum", torch.sum), ("mean", torch.mean)):
        ours = ls.binary_cross_entropy_with_logits(z, m, focal_gamma=gamma, reduction=reduction, **kwargs)
        assert_close(ours, reduce(sigmoid_focal_loss(z, m, alpha, gamma)))


def test_sigmoid_focal_loss_of_torchvision_with_soft_labels_differs():
    """Torchvision mixes p_t for a soft label; no agreed meaning, so an error here."""
    with pytest.raises(ls.InputError, match="0 or 1 beside focal_gamma"):
        ls.binary_cross_entropy_with_logits(randn(3), torch.full((3,), 0.5).double(), focal_gamma=2.0)


def test_the_focal_paper():
    """Lin et al. 2017, section 3.2: with γ = 2 a sample of p_t = 0.9 has a loss 100 times lower than the cross-entropy,
    and one of p_t ≈ 0.968 1000 times."""
    z = torch.tensor([[0.0, math.log(9)], [0.0, math.log(0.968 / 0.032)]], dtype=torch.float64)
    y = torch.tensor([1, 1])
    ratio = ls.cross_entropy(z, y, reduction="none") / ls.cross_entropy(z, y, reduction="none", focal_gamma=2.0)
    assert ratio.tolist() == pytest.approx([100, 1 / 0.032**2])
    assert ratio[1] == pytest.approx(1000, rel=0.03)


# ---------------------------------------------------------------------------------- smoothing elsewhere


def test_binary_smoothing_of_keras():
    """keras.losses.BinaryCrossentropy(label_smoothing=ε): y (1 − ε) + 0.5 ε, the same."""
    z, m = randn(4, 3), (randn(4, 3, seed=1) > 0).double()
    assert_close(ls.binary_cross_entropy_with_logits(z, m, label_smoothing=0.2),
                 ls.binary_cross_entropy_with_logits(z, 0.8 * m + 0.1))  # fmt: skip


def test_the_example_of_keras():
    """Of keras.losses.BinaryCrossentropy (raw outputs) and keras.losses.binary_crossentropy (a mean for each row)."""
    z, m = torch.tensor([-18.6, 0.51, 2.94, -12.8]), torch.tensor([0.0, 1.0, 0.0, 0.0])
    assert ls.binary_cross_entropy_with_logits(z, m).item() == pytest.approx(0.865, abs=5e-4)
    p, m = torch.tensor([[0.6, 0.4], [0.4, 0.6]]), torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    rows = ls.binary_cross_entropy(p, m, reduction="none").mean(1)
    assert rows.tolist() == pytest.approx([0.916, 0.714], abs=5e-4)


def test_categorical_examples_of_keras():
    """keras.losses.CategoricalCrossentropy and its sparse form: 1.177 for these probabilities (labels 1 and 2)."""
    s = torch.tensor([[0.05, 0.95, 1e-7], [0.1, 0.8, 0.1]]).log()
    assert ls.nll_loss(s, torch.tensor([1, 2])).item() == pytest.approx(1.177, abs=5e-4)
    each = ls.nll_loss(s, torch.tensor([1, 2]), reduction="none")
    assert each.tolist() == pytest.approx([0.0513, 2.303], abs=5e-4)
    weighted = (each * torch.tensor([0.3, 0.7])).sum() / 2
    assert weighted.item() == pytest.approx(0.814, abs=5e-4)  # by its sample_weight: divides by N, not by Σ w


def test_a_weighted_mean_of_keras_differs():
    """keras (SUM_OVER_BATCH_SIZE) divides by N; torch and so ours by Σ w. ``normalizer=N`` is keras'."""
    z, y, w = randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([1.0, 2, 3]).double()
    each = ls.cross_entropy(z, y, reduction="none")
    assert_close(ls.cross_entropy(z, y, w, normalizer=6), (w[y] * each).mean())
    assert_close(ls.cross_entropy(z, y, w), (w[y] * each).sum() / w[y].sum())


def test_smoothing_over_the_other_classes_differs():
    """Some (timm's binary targets, older fairseq) give the true class 1 − ε and share ε over the H − 1 others: that is
    ours with ε' = ε H / (H − 1)."""
    z, y, epsilon = randn(6, 4), torch.tensor([0, 1, 2, 3, 1, 2]), 0.12
    q = torch.full_like(z, epsilon / 3).scatter(1, y[:, None], 1 - epsilon)
    assert_close(ls.cross_entropy(z, y, label_smoothing=epsilon * 4 / 3), ls.cross_entropy(z, q))


# -------------------------------------------------------------------------------------- language models


def test_softcap_of_gemma():
    """Gemma 2 (section 2): logits ← cap · tanh(logits / cap), with cap = 30 for the last layer."""
    z, y = 40 * randn(5, 7), torch.arange(5)
    assert_close(ls.cross_entropy(z, y, softcap=30.0), ls.cross_entropy(30 * torch.tanh(z / 30), y))


def test_z_loss_of_palm():
    """PaLM (section 5): the auxiliary loss 10⁻⁴ · log² Z, Z the normaliser of the softmax."""
    z, y = 4 * randn(5, 7), torch.arange(5)
    log_z = np.log(np.exp(z.numpy()).sum(1))
    expected = ls.cross_entropy(z, y).item() + 1e-4 * (log_z**2).mean()
    assert_close(ls.cross_entropy(z, y, z_loss=1e-4).item(), float(expected))


def test_z_loss_of_t5x():
    """t5x.losses.cross_entropy_with_logits: the same with one-hot targets, and its gradient
    (1 + 2 λ log Z) softmax − target."""
    z, y = randn(5, 7).requires_grad_(), torch.arange(5)
    (grad,) = torch.autograd.grad(ls.cross_entropy(z, y, z_loss=0.01, reduction="sum"), z)
    log_z = torch.logsumexp(z, 1, keepdim=True)
    assert_close(grad, ((1 + 0.02 * log_z) * z.softmax(1) - ls.one_hot(y, 7)).detach())

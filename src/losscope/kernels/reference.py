"""The formulas of the notation in plain torch: any dtype, differentiable any number of times.

Every other kernel is tested against these. They read like the tutorial's steps: logsumexp with the maximum
taken out, log-softmax in its third form, the negative log-likelihood as a pick, cross-entropy as the
negative log-likelihood of a log-softmax, and a multi-label loss as binary ones.

float16 and bfloat16 are computed in float32 and rounded once, at the end.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from losscope.kernels.options import ALL_AT_ONCE, BinaryOptions, CategoricalOptions, LinearOptions, Stats

_LOW_PRECISION = (torch.float16, torch.bfloat16)


# --------------------------------------------------------------------------------------------------- links


def logsumexp(z: Tensor, dim: int | tuple[int, ...], keepdim: bool = False) -> Tensor:
    """M + ln Σ_h e^{z_h − m} with m = max_h z_h: the largest term of the sum is 1, so it cannot overflow.

    m cancels, so it carries no gradient. An infinite m would give inf − inf, so 0 is taken out instead.
    """
    x = upcast(z)
    m = maximum(x, dim)
    m = m.masked_fill(m.isinf(), 0)
    total = (x - m).exp().sum(dim, keepdim=True).log() + m
    return (total if keepdim else total.squeeze(dim)).to(z.dtype)


def maximum(z: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """Max_h z_h, kept as a dimension and without gradient, since it cancels; −inf where there is no class at all."""
    return z.detach().amax(dim, keepdim=True) if z.numel() else z.detach().sum(dim, keepdim=True) - torch.inf


def log_softmax(z: Tensor, dim: int) -> Tensor:
    """s_h = (z_h − m) − ln Σ_k e^{z_k − m}: the third form, exact at any size of z."""
    x = upcast(z)
    x = x - maximum(x, dim)
    return (x - x.exp().sum(dim, keepdim=True).log()).to(z.dtype)


def softmax(z: Tensor, dim: int) -> Tensor:
    """ŷ_h = e^{z_h − m} / Σ_k e^{z_k − m}."""
    x = upcast(z)
    e = (x - maximum(x, dim)).exp()
    return (e / e.sum(dim, keepdim=True)).to(z.dtype)


def log_sigmoid(z: Tensor) -> Tensor:
    """Ln ŷ = −ln(1 + e^{−z}), and where z < 0 the same as z − ln(1 + e^z), so that no exponential overflows.

    Each branch is smooth at 0, unlike min(z, 0) and |z|, so every derivative is right there too.
    """
    x = upcast(z)
    positive = x >= 0
    linear = x.masked_fill(positive, 0)
    return (linear - torch.where(positive, -x, x).exp().log1p()).to(z.dtype)


def sigmoid(z: Tensor) -> Tensor:
    """ŷ = 1 / (1 + e^{−z}), and where z < 0 the same as e^z / (1 + e^z)."""
    x = upcast(z)
    positive = x >= 0
    e = torch.where(positive, -x, x).exp()
    return (torch.where(positive, torch.ones_like(e), e) / (1 + e)).to(z.dtype)


def softmax_of_zero_and(z: Tensor) -> Tensor:
    """The sigmoid as the second entry of softmax(0, z): a binary problem is H = 2 with outputs (0, z)."""
    return softmax(torch.stack((torch.zeros_like(z), z), dim=-1), -1)[..., 1]


# --------------------------------------------------------------------------------------- one of H is true


def nll_loss(s: Tensor, y: Tensor, weight: Tensor | None, options: CategoricalOptions) -> Tensor:
    """ℓ_i = −w_{y_i} s_{i,y_i}: a pick."""
    dim, ignored = class_dim(s), y == options.ignore_index
    x, y = hide(upcast(s), ignored.unsqueeze(dim)), hide(y, ignored)
    loss, w = _index_terms(x, y, weight, dim, 0.0)
    return reduce(hide(loss, ignored), hide(w, ignored), options.reduction).to(s.dtype)


def cross_entropy(
    z: Tensor,
    target: Tensor,
    weight: Tensor | None,
    options: CategoricalOptions,
    log_softmax: Callable[[Tensor, int], Tensor] = log_softmax,
) -> Tensor | tuple[Tensor, Stats]:
    """The negative log-likelihood of log_softmax(z), for index and for soft targets, with every option.

    ℓ_i = Σ_h w_h q_h f_h,  f_h = (1 − ŷ_h)^γ (−s_h) + λ lse²,  and q mixed with the uniform by smoothing.
    """
    dim, is_index = class_dim(z), not target.is_floating_point()
    ignored = target == options.ignore_index if is_index else None
    x = hide(upcast(z), None if ignored is None else ignored.unsqueeze(dim))
    y = hide(upcast(target), ignored)
    x = softcap(x, options.softcap)
    s = log_softmax(x, dim)

    terms = _index_terms(s, y, weight, dim, options.focal_gamma) if is_index else _soft_terms(s, y, weight, dim)
    if options.label_smoothing:
        uniform = _soft_terms(s, _uniform(x, dim), weight, dim)
        terms = _mix(terms[0], uniform[0], options.label_smoothing), _mix(terms[1], uniform[1], options.label_smoothing)
    loss, weights = terms
    if options.z_loss:
        loss = loss + options.z_loss * weights * logsumexp(x, dim).square()

    dtype = z.dtype if is_index else torch.promote_types(z.dtype, target.dtype)
    each = divisor(target, weight, options, loss.dtype)
    result = reduce(hide(loss, ignored), each, options.reduction, options.normalizer).to(dtype)
    return (result, statistics(x, s, y, ignored)) if options.return_stats else result


def _index_terms(s: Tensor, y: Tensor, weight: Tensor | None, dim: int, gamma: float) -> tuple[Tensor, Tensor]:
    """(w_y f_y, w_y): the negative log-likelihood is a pick."""
    w = _weight_of(y, weight, s.dtype)
    return w * focal(pick(s, y, dim), gamma), w


def _soft_terms(s: Tensor, q: Tensor, weight: Tensor | None, dim: int) -> tuple[Tensor, Tensor]:
    """(Σ_h w_h q_h (−s_h), Σ_h w_h q_h): the same pick, in expectation over q."""
    weighted = q if weight is None else q * weight.to(s.dtype).view(-1, *[1] * (s.ndim - dim - 1))
    return -expectation(weighted, s).sum(dim), weighted.sum(dim)


def softcap(z: Tensor, cap: float | None) -> Tensor:
    """Z ← cap·tanh(z / cap). A −inf logit is a mask and stays one."""
    if cap is None:
        return z
    masked = z.isneginf()
    return (cap * (z.masked_fill(masked, 0) / cap).tanh()).masked_fill(masked, -torch.inf)


def pick(s: Tensor, y: Tensor, dim: int) -> Tensor:
    """s_{i,y_i}: what a one-hot target leaves of Σ_h t_ih s_ih."""
    return s.gather(dim, y.unsqueeze(dim)).squeeze(dim)


def focal(s: Tensor, gamma: float) -> Tensor:
    """(1 − ŷ)^γ (−ln ŷ): the cross-entropy when γ = 0 (Lin et al. 2017, eq. 4).

    1 − ŷ is kept off 0, where the derivative of its power is infinite and the loss is 0 anyway.
    """
    if not gamma:
        return -s
    return (-s.expm1()).clamp(min=torch.finfo(s.dtype).tiny).pow(gamma) * -s


def expectation(q: Tensor, s: Tensor) -> Tensor:
    """q_h s_h, with 0·(−inf) = 0: what has no probability in the target adds nothing."""
    return q * s.masked_fill((q == 0) & s.isneginf(), 0)


def divisor(target: Tensor, weight: Tensor | None, options: CategoricalOptions, dtype: torch.dtype) -> Tensor:
    """What each sample adds to the divisor of the mean: v_i w_{y_i}, and 1 with a soft target."""
    if target.is_floating_point():
        dim = class_dim(target)
        return torch.ones(target.shape[:dim] + target.shape[dim + 1 :], dtype=dtype, device=target.device)
    y = as_index(target)
    ignored = y == options.ignore_index
    return hide(_weight_of(hide(y, ignored), weight, dtype), ignored)


def as_index(y: Tensor) -> Tensor:
    """Indices as int64, anything else as it is: in eight bits −100 would be 156, and select by a mask."""
    is_whole = not (y.is_floating_point() or y.is_complex() or y.dtype == torch.bool)
    return y.long() if is_whole else y


def statistics(z: Tensor, s: Tensor, target: Tensor, ignored: Tensor | None) -> Stats:
    """What the same logits also tell of each sample, without gradient; 0 where it is ignored."""
    dim = class_dim(z)
    z, s = z.detach(), s.detach()
    probability = s.exp()
    truth = target.argmax(dim) if target.is_floating_point() else target
    correct = z.argmax(dim) == truth
    return Stats(
        counted=torch.ones_like(correct) if ignored is None else ~ignored,
        correct=correct if ignored is None else correct & ~ignored,
        entropy=hide(-expectation(probability, s).sum(dim), ignored),
        max_probability=hide(probability.amax(dim), ignored),
        logsumexp=hide(logsumexp(z, dim), ignored),
    )


def linear_cross_entropy(
    x: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    linear_bias: Tensor | None,
    weight: Tensor | None,
    options: CategoricalOptions,
    linear: LinearOptions = ALL_AT_ONCE,
) -> Tensor | tuple[Tensor, Stats]:
    """Cross-entropy of z = W x + b, with the logits held in memory; of its gradient nothing is left out."""
    return cross_entropy(autocast(linear_logits(x, linear_weight, linear_bias)), target, weight, options)


def linear_logits(x: Tensor, linear_weight: Tensor, linear_bias: Tensor | None) -> Tensor:
    """Z = W x + b for W of shape (H, D), and (N, H, d_1, …) for W of shape (H, d_1, …, D)."""
    rows = linear_weight.flatten(0, -2)
    z = F.linear(x, rows, None if linear_bias is None else linear_bias.flatten())
    return z.reshape(*z.shape[:-1], *linear_weight.shape[:-1])


# -------------------------------------------------------------------------- each label is true on its own


def binary_cross_entropy_with_logits(
    z: Tensor,
    target: Tensor,
    weight: Tensor | None,
    pos_weight: Tensor | None,
    options: BinaryOptions,
    log_sigmoid: Callable[[Tensor], Tensor] = log_sigmoid,
) -> Tensor:
    """ℓ_ih = −p m_ih ln σ(z_ih) − (1 − m_ih) ln σ(−z_ih), since 1 − σ(z) = σ(−z)."""
    ignored = None if options.ignore_index is None else target == options.ignore_index
    x, t = hide(upcast(z), ignored), hide(upcast(target), ignored)
    q, not_q = _mix(t, 0.5, options.label_smoothing), _mix(1 - t, 0.5, options.label_smoothing)
    is_true, is_false = log_sigmoid(x), log_sigmoid(-x)
    positive = -expectation(q, is_true) * modulation(is_false, options.focal_gamma)
    negative = -expectation(not_q, is_false) * modulation(is_true, options.focal_gamma)
    loss = (positive if pos_weight is None else pos_weight * positive) + negative
    loss = hide(loss if weight is None else loss * weight, ignored)
    counted = torch.ones_like(loss) if ignored is None else (~ignored).to(loss.dtype)
    return reduce(loss, counted, options.reduction).to(torch.promote_types(z.dtype, target.dtype))


def modulation(log_of_the_other: Tensor, gamma: float) -> Tensor | float:
    """(1 − p)^γ from ln(1 − p), p the probability of the truth (Lin et al. 2017, eq. 4)."""
    return (gamma * log_of_the_other).exp() if gamma else 1.0


def binary_cross_entropy(probability: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """ℓ_ih = −m_ih ln ŷ_ih − (1 − m_ih) ln(1 − ŷ_ih), each logarithm held at −100 as torch does."""
    p, t = upcast(probability), upcast(target)
    loss = -t * held(torch.log, p, p) - (1 - t) * held(torch.log1p, -p, 1 - p)
    loss = loss if weight is None else loss * weight
    return reduce(loss, torch.ones_like(loss), reduction).to(probability.dtype)


def held(log: Callable[[Tensor], Tensor], x: Tensor, p: Tensor) -> Tensor:
    """Ln p = log(x), not below −100, with the slope 1/p not above 1e12: torch's rule, and finite where p is 0."""
    near = p >= 1e-12
    far = log(x.detach()).clamp(min=-100) + 1e12 * (p - p.detach())
    return torch.where(near, log(x.masked_fill(~near, 1)), far)


# ---------------------------------------------------------------------------------------------- regression


def mse_loss(z: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """ℓ = w (z − y)²; the mean divides by Σ w, as torch's does."""
    dtype = torch.promote_types(z.dtype, target.dtype)
    x, y = upcast(z), upcast(target)
    loss = (x - y.to(torch.promote_types(x.dtype, y.dtype))).square()  # of truth values there is no difference
    weights = torch.ones_like(loss) if weight is None else weight.to(loss.dtype)
    return reduce(loss * weights, weights, reduction).to(dtype)


def mean_squared_log_error(z: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """ℓ = w (z − ln y)²: the squared error of the logarithm, so it weighs relative errors alike."""
    return mse_loss(z, upcast(target).log(), weight, reduction).to(torch.promote_types(z.dtype, target.dtype))


# ------------------------------------------------------------------------------------------ shared pieces


def class_dim(z: Tensor) -> int:
    """Torch's rule: dimension 1, and 0 for one unbatched sample."""
    return 1 if z.ndim > 1 else 0


def upcast(x: Tensor) -> Tensor:
    """float32 for the low precisions, anything else as it is."""
    return x.float() if x.dtype in _LOW_PRECISION else x


def as_stored(value: float, dtype: torch.dtype) -> float:
    """What a number becomes in that dtype: −999 is −1000 in bfloat16, and so torch compares it with a tensor."""
    return float(torch.tensor(value, dtype=dtype, device="cpu"))


def autocast(z: Tensor) -> Tensor:
    """float32 under autocast: losses are on its float32 list."""
    return z.float() if in_autocast(z) and z.dtype != torch.float64 else z


def in_autocast(x: Tensor) -> bool:
    """Whether it is on for the device of x; there are some, such as meta, that have none."""
    kind = x.device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


def hide(x: Tensor, hidden: Tensor | None) -> Tensor:
    """0 where hidden, whatever stood there: neither value nor gradient comes from it."""
    return x if hidden is None else x.masked_fill(hidden, 0)


def reduce(loss: Tensor, divisor: Tensor, reduction: str, normalizer: float | Tensor | str | None = None) -> Tensor:
    """none: ℓ_i. sum: Σ ℓ_i. mean: Σ ℓ_i / Σ divisor_i, or / normalizer."""
    if reduction == "none":
        return loss
    if reduction == "sum":
        return loss.sum()
    assert not isinstance(normalizer, str), "the losses count a global normalizer out"
    if normalizer is None:
        return mean(loss.sum(), divisor.sum())
    return loss.sum() / (normalizer.reshape(()) if isinstance(normalizer, Tensor) else normalizer)


def mean(total: Tensor, divisor: Tensor) -> Tensor:
    """Total / divisor; NaN with gradient 0 when nothing counts."""
    nothing = divisor == 0
    return (total / divisor.masked_fill(nothing, 1)).masked_fill(nothing, torch.nan)


def _mix(a: Tensor, b: Tensor | float, epsilon: float) -> Tensor:
    return (1 - epsilon) * a + epsilon * b if epsilon else a


def _uniform(z: Tensor, dim: int) -> Tensor:
    """u_h = 1/K on the K classes that are not masked."""
    open_ = (~z.isneginf()).to(z.dtype)
    return open_ / open_.sum(dim, keepdim=True)


def _weight_of(y: Tensor, weight: Tensor | None, dtype: torch.dtype) -> Tensor:
    return torch.ones_like(y, dtype=dtype) if weight is None else weight.to(dtype)[y]

"""Fused CPU kernels, compiled by numba: one visit to each logit.

Every function has the signature of its twin in :mod:`losscope.kernels.reference` and hands on to
:mod:`losscope.kernels.eager` what it doesn't serve.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from losscope.kernels import chunked, eager, reference
from losscope.kernels.cpu import autograd, classes, links, memory, picked, serves, values
from losscope.kernels.cpu.compiled import NotCompiled
from losscope.kernels.options import BinaryOptions, CategoricalOptions, LinearOptions, Stats

sigmoid = eager.sigmoid
log_sigmoid = eager.log_sigmoid
logsumexp = eager.logsumexp
binary_cross_entropy = eager.binary_cross_entropy


def softmax(z: Tensor, dim: int) -> Tensor:
    """Torch's, where there is much of it in memory that is used again."""
    return links.along(links.SOFTMAX, z, dim) if serves.links(z) else eager.softmax(z, dim)


def log_softmax(z: Tensor, dim: int) -> Tensor:
    """The same."""
    return links.along(links.LOG_SOFTMAX, z, dim) if serves.links(z) else eager.log_softmax(z, dim)


def nll_loss(s: Tensor, y: Tensor, weight: Tensor | None, options: CategoricalOptions) -> Tensor:
    """Torch's pick where no gradient is wanted; where one is, its memory is what takes the time."""
    serve = picked.nll_loss if serves.picks(s, y, weight) else eager.nll_loss
    return serve(s, y, weight, options)


def cross_entropy(
    z: Tensor, target: Tensor, weight: Tensor | None, options: CategoricalOptions
) -> Tensor | tuple[Tensor, Stats]:
    """Loss and gradient in one walk over the logits."""
    return cross_entropy_looking(z, target, weight, options, lambda: None)


def cross_entropy_looking(
    z: Tensor,
    target: Tensor,
    weight: Tensor | None,
    options: CategoricalOptions,
    check: Callable[[], None],
) -> Tensor | tuple[Tensor, Stats]:
    """The same, where the walk itself sees whether a soft target may be out of range, and has it checked only then."""
    if not serves.categorical(z, target, weight, options):
        check()
        return eager.cross_entropy(z, target, weight, options)
    plain = options._replace(return_stats=False)
    job = autograd.Job(
        lambda z, gradient, upstream: classes.compute(
            z, target, weight, options if upstream is None else plain, gradient=gradient, upstream=upstream, check=check
        ),
        lambda z: reference.cross_entropy(z, target, weight, plain),
        gradient_in_forward=options.reduction != "none",
        constants=(target, weight, options.normalizer if isinstance(options.normalizer, Tensor) else None),
    )
    try:
        loss, *stats = autograd.apply(z, job)
    except NotCompiled:
        check()
        return eager.cross_entropy(z, target, weight, options)
    return (loss, Stats(*stats)) if options.return_stats else loss


def linear_cross_entropy(
    x: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    linear_bias: Tensor | None,
    weight: Tensor | None,
    options: CategoricalOptions,
    linear: LinearOptions,
) -> Tensor | tuple[Tensor, Stats]:
    """A chunk of the logits at a time, each one turned into its gradient where it lies."""
    if not chunked.serves(x, linear_weight, target, weight, options):
        z = reference.autocast(reference.linear_logits(x, linear_weight, linear_bias))
        return cross_entropy(z, target, weight, options)
    layer = chunked.Layer(x, linear_weight, linear_bias)
    return chunked.linear_cross_entropy(layer, target, weight, options, "cpu", linear)


def rows(
    z: Tensor, target: Tensor, weight: Tensor | None, options: CategoricalOptions, upstream: Tensor | None
) -> chunked.Chunk:
    """A chunk of logits, whose memory the gradient takes."""
    q = target.to(z.dtype) if target.is_floating_point() else target
    try:
        result = classes.compute(
            z, q, weight, options, gradient=upstream is not None, upstream=upstream, into=z, wide=True
        )
    except NotCompiled:
        in_torch = eager.rows if reference.upcast(z) is z else eager.apart
        return in_torch(z, target, weight, options, upstream)
    return chunked.Chunk(result.loss, result.stats, result.gradient)


def takes_narrow(target: Tensor) -> bool:
    """Whether the rows may have 16 bits; soft targets are in the dtype of the logits, and would lose digits."""
    return not target.is_floating_point()


def apart(
    z: Tensor, target: Tensor, weight: Tensor | None, options: CategoricalOptions, upstream: Tensor | None
) -> chunked.Chunk:
    """The same with memory of its own for the gradient."""
    try:
        result = classes.compute(
            z, target, weight, options, gradient=upstream is not None, upstream=upstream, wide=True
        )
    except NotCompiled:
        return eager.apart(z, target, weight, options, upstream)
    return chunked.Chunk(result.loss, result.stats, result.gradient)


def binary_cross_entropy_with_logits(
    z: Tensor, target: Tensor, weight: Tensor | None, pos_weight: Tensor | None, options: BinaryOptions
) -> Tensor:
    """Loss and gradient in one walk over the logits."""
    return binary_cross_entropy_with_logits_looking(z, target, weight, pos_weight, options, lambda: None)


def binary_cross_entropy_with_logits_looking(
    z: Tensor,
    target: Tensor,
    weight: Tensor | None,
    pos_weight: Tensor | None,
    options: BinaryOptions,
    check: Callable[[], None],
) -> Tensor:
    """The same, where the walk itself sees whether a target may be out of range, and has it checked only then."""
    if not serves.elementwise(z, target, weight, pos_weight):
        check()
        return eager.binary_cross_entropy_with_logits(z, target, weight, pos_weight, options)
    if not values.is_plain(weight, pos_weight, options):
        check()
    job = autograd.Job(
        lambda z, gradient, upstream: values.binary_cross_entropy_with_logits(
            z, target, weight, pos_weight, options, gradient=gradient, upstream=upstream, check=check
        ),
        lambda z: reference.binary_cross_entropy_with_logits(z, target, weight, pos_weight, options),
        gradient_in_forward=options.reduction != "none",
        constants=(target, weight, pos_weight),
    )
    try:
        return autograd.apply(z, job)[0]
    except NotCompiled:
        check()
        return eager.binary_cross_entropy_with_logits(z, target, weight, pos_weight, options)


def labels_apart(
    z: Tensor,
    target: Tensor,
    weight: Tensor | None,
    pos_weight: Tensor | None,
    options: BinaryOptions,
    wanted: bool,
    upstream: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    """(the loss, its gradient times the upstream where it is wanted), outside autograd."""
    try:
        result = values.binary_cross_entropy_with_logits(
            z, target, weight, pos_weight, options, gradient=wanted, upstream=upstream, check=lambda: None
        )
    except NotCompiled:
        return eager.labels_apart(z, target, weight, pos_weight, options, wanted, upstream)
    return result.loss, result.gradient


def squares_apart(
    z: Tensor, target: Tensor, weight: Tensor | None, reduction: str, wanted: bool, upstream: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """The same of the squared error."""
    try:
        result = values.mse_loss(z, target, weight, reduction, gradient=wanted, upstream=upstream)
    except NotCompiled:
        return eager.squares_apart(z, target, weight, reduction, wanted, upstream)
    return result.loss, result.gradient


def mse_loss(z: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """Loss and gradient in one walk over the values."""
    if not serves.elementwise(z, target, weight):
        return eager.mse_loss(z, target, weight, reduction)
    job = autograd.Job(
        lambda z, gradient, upstream: values.mse_loss(
            z, target, weight, reduction, gradient=gradient, upstream=upstream
        ),
        lambda z: reference.mse_loss(z, target, weight, reduction),
        gradient_in_forward=reduction != "none",
        constants=(target, weight),
    )
    try:
        return autograd.apply(z, job)[0]
    except NotCompiled:
        return eager.mse_loss(z, target, weight, reduction)


def mean_squared_log_error(z: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """The squared error of the logarithm."""
    # The logarithm in float32: rounded to the low precisions it would be far from the target.
    dtype, wide = torch.promote_types(z.dtype, target.dtype), reference.upcast(target)
    constant = wide.is_contiguous() and serves.fits(wide, wide)
    logs = torch.log(wide, out=memory.empty(tuple(wide.shape), wide.dtype)) if constant else wide.log()
    return mse_loss(z, logs, weight, reduction).to(dtype)

"""Fused kernels for GPUs, written in Triton: one visit to each logit, the gradient written once.

They are compiled for sm_80, sm_90 and sm_100 and run in Triton's interpreter by the tests; an H100 has timed them
(benchmarks/results/gpu_losses.txt).

Every function has the signature of its twin in :mod:`losscope.kernels.reference` and hands on to
:mod:`losscope.kernels.eager` what it doesn't serve: tensors of the CPU, unless ``TRITON_INTERPRET=1`` was set before
triton was imported, then those run in its interpreter.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from losscope.kernels import chunked, eager, reference
from losscope.kernels.layout import gradient_like, layout
from losscope.kernels.options import BinaryOptions, CategoricalOptions, LinearOptions, Stats
from losscope.kernels.triton import autograd, classes, picks, plain, reduction, serves, values
from losscope.kernels.triton.autograd import Forward, Job
from losscope.kernels.triton.launch import real

sigmoid = eager.sigmoid
log_sigmoid = eager.log_sigmoid
softmax = eager.softmax
log_softmax = eager.log_softmax
logsumexp = eager.logsumexp
binary_cross_entropy = eager.binary_cross_entropy
mse_loss = eager.mse_loss
mean_squared_log_error = eager.mean_squared_log_error


def nll_loss(s: Tensor, y: Tensor, weight: Tensor | None, options: CategoricalOptions) -> Tensor:
    """A pick forward; backward one write, that reads nothing of s."""
    if not serves.fits(s, y, weight):
        return eager.nll_loss(s, y, weight, options)
    by = reduction.of_samples(y, weight, options, y.numel(), s.new_empty(0, dtype=real(s)))

    def forward(s: Tensor, _: bool) -> Forward:
        losses = picks.measure(s, y, weight, options.ignore_index)
        return Forward(reduction.reduced(losses, options.reduction, by.divisor, s.dtype))

    def backward(s: Tensor, upstream: Tensor, _: Tensor | None, __: Any) -> Tensor:
        return picks.gradient_of(s, y, weight, options.ignore_index, by.scale, upstream)

    job = Job(
        forward, backward, lambda s: reference.nll_loss(s, y, weight, options), early=False, constants=(y, weight)
    )
    return autograd.apply(s, job)[0]


def cross_entropy(
    z: Tensor, target: Tensor, weight: Tensor | None, options: CategoricalOptions
) -> Tensor | tuple[Tensor, Stats]:
    """One read of the logits, and the gradient written once, in the forward where the reduction allows."""
    return _cross_entropy(z, target, weight, options, overwrites=False)


def cross_entropy_inplace(
    z: Tensor, target: Tensor, weight: Tensor | None, options: CategoricalOptions
) -> Tensor | tuple[Tensor, Stats]:
    """One read of the logits forward; backward reads them once more and writes the gradient where they lie."""
    overwrites = layout(z) is not None and torch._debug_has_internal_overlap(z) != 1
    return _cross_entropy(z, target, weight, options, overwrites=overwrites)


def _cross_entropy(
    z: Tensor, target: Tensor, weight: Tensor | None, options: CategoricalOptions, *, overwrites: bool
) -> Tensor | tuple[Tensor, Stats]:
    normalizer = options.normalizer if isinstance(options.normalizer, Tensor) else None
    learned = normalizer is not None and normalizer.requires_grad and torch.is_grad_enabled()
    if learned or not serves.fits(z, target, weight):
        return eager.cross_entropy(z, target, weight, options)
    call = classes.Call(target, weight, options)
    dtype = torch.promote_types(z.dtype, target.dtype) if target.is_floating_point() else z.dtype
    number = z.new_empty(0, dtype=real(z, target))
    by = reduction.of_samples(target, weight, options, classes.sample_shape(z).numel(), number)

    def forward(z: Tensor, wanted: bool) -> Forward:
        made = classes.measure(z, call, by.scale if wanted else None)
        loss = reduction.reduced(made.losses, options.reduction, by.divisor, dtype)
        return Forward(loss, made.gradient, made.stats, made.numbers)

    def backward(z: Tensor, upstream: Tensor, gradient: Tensor | None, numbers: Any) -> Tensor:
        into = gradient if gradient is not None else z.detach() if overwrites else gradient_like(z)
        return classes.gradient_of(z, call, by.scale, upstream, numbers, into, unless_one=gradient is not None)

    alone = options._replace(return_stats=False)
    early = options.reduction != "none" and not overwrites
    constants = target, weight, by.scale if isinstance(by.scale, Tensor) else None
    job = Job(
        forward, backward, lambda z: reference.cross_entropy(z, target, weight, alone), early, overwrites, constants
    )
    loss, *stats = autograd.apply(z, job)
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
    """A chunk of the logits at a time, each one turned into its gradient where it lies, in the layer's dtype."""
    if not serves.fits(x, target, weight):
        return eager.linear_cross_entropy(x, linear_weight, target, linear_bias, weight, options, linear)
    if not chunked.serves(x, linear_weight, target, weight, options):
        z = reference.autocast(reference.linear_logits(x, linear_weight, linear_bias))
        return cross_entropy(z, target, weight, options)
    layer = chunked.Layer(x, linear_weight, linear_bias)
    return chunked.linear_cross_entropy(layer, target, weight, options, "triton", linear)


def takes_narrow(target: Tensor) -> bool:
    """Whether the rows may have 16 bits."""
    return True


planned = plain

multiply_unless_one = reduction.multiplied_unless_one


def rows(
    z: Tensor, target: Tensor, weight: Tensor | None, options: CategoricalOptions, upstream: Tensor | None
) -> chunked.Chunk:
    """A chunk of logits, whose memory the gradient takes."""
    target = target.to(reference.upcast(z).dtype) if target.is_floating_point() else target
    made = classes.measure(z, classes.Call(target, weight, options), upstream, into=z)
    return chunked.Chunk(made.losses, made.stats, made.gradient, made.numbers)


def again(
    z: Tensor,
    first: int,
    target: Tensor,
    weight: Tensor | None,
    options: CategoricalOptions,
    upstream: Tensor,
    numbers: Tensor,
) -> Tensor:
    """The gradient of the classes from ``first`` on, by the numbers of each row, in the memory of their logits."""
    some = slice(first, first + z.shape[1])
    if target.is_floating_point():
        target = target[:, some].to(reference.upcast(z).dtype)
    call = classes.Call(target, None if weight is None else weight[some], options)
    return classes.gradient_of(z, call, 1.0, upstream, numbers, z, unless_one=False, before=first)


def binary_cross_entropy_with_logits(
    z: Tensor, target: Tensor, weight: Tensor | None, pos_weight: Tensor | None, options: BinaryOptions
) -> Tensor:
    """Loss and gradient in one walk over the logits."""
    if not serves.fits(z, target, weight, pos_weight):
        return eager.binary_cross_entropy_with_logits(z, target, weight, pos_weight, options)
    call = values.Call(target, weight, pos_weight, options)
    by = values.reduction_of(z, call)
    dtype = torch.promote_types(z.dtype, target.dtype)

    def forward(z: Tensor, wanted: bool) -> Forward:
        losses, gradient = values.binary_cross_entropy(z, call, by.scale if wanted else None)
        return Forward(reduction.reduced(losses, options.reduction, by.divisor, dtype), gradient)

    def backward(z: Tensor, upstream: Tensor, gradient: Tensor | None, _: Any) -> Tensor:
        if gradient is not None:
            return values.multiplied(z, call, by.scale, upstream, gradient)
        made = values.binary_cross_entropy(z, call, upstream.to(real(z, target)) * by.scale)[1]
        assert made is not None
        return made

    def in_torch(z: Tensor) -> Tensor:
        return reference.binary_cross_entropy_with_logits(z, target, weight, pos_weight, options)

    constants = target, weight, pos_weight
    job = Job(forward, backward, in_torch, early=options.reduction != "none", constants=constants)
    return autograd.apply(z, job)[0]

"""Fused CPU kernels, compiled by numba: one visit to each logit.

Every function has the signature of its twin in :mod:`losscope.kernels.reference` and hands on to
:mod:`losscope.kernels.eager` what it doesn't serve.
"""

from __future__ import annotations

from torch import Tensor

from losscope.kernels import eager, reference
from losscope.kernels.cpu import autograd, serves
from losscope.kernels.cpu import cross_entropy as fused
from losscope.kernels.options import BinaryOptions, CategoricalOptions, Stats

sigmoid = eager.sigmoid
log_sigmoid = eager.log_sigmoid
softmax = eager.softmax
log_softmax = eager.log_softmax
logsumexp = eager.logsumexp
nll_loss = eager.nll_loss
binary_cross_entropy = eager.binary_cross_entropy
mse_loss = eager.mse_loss
mean_squared_log_error = eager.mean_squared_log_error
linear_cross_entropy = eager.linear_cross_entropy
binary_cross_entropy_with_logits = eager.binary_cross_entropy_with_logits


def cross_entropy(
    z: Tensor, target: Tensor, weight: Tensor | None, options: CategoricalOptions
) -> Tensor | tuple[Tensor, Stats]:
    """Loss and gradient in one walk over the logits."""
    if not serves.categorical(z, target, weight, options):
        return eager.cross_entropy(z, target, weight, options)
    plain = options._replace(return_stats=False)
    job = autograd.Job(
        lambda z, gradient, upstream: fused.compute(
            z, target, weight, options if upstream is None else plain, gradient=gradient, upstream=upstream
        ),
        lambda z: reference.cross_entropy(z, target, weight, plain),
        gradient_in_forward=options.reduction != "none",
    )
    loss, *stats = autograd.apply(z, job)
    return (loss, Stats(*stats)) if options.return_stats else loss

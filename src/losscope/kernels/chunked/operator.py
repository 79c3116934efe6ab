"""The sweep as one operator of torch, ``losscope::linear_cross_entropy``: a single node for autograd and for a graph.

The operator gives ℓ_i, and its backward sweeps the rows again; or, with an upstream that is known beforehand (1 for a
sum, 1/divisor for a mean), Σ_i upstream_i ℓ_i, and in the same sweep the gradients of the layer. The divisor and the
dtypes of autocast are left to torch, outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from importlib import import_module
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import forward_ad

from losscope.kernels import indices, reference
from losscope.kernels.chunked import sweep as once
from losscope.kernels.chunked import twice
from losscope.kernels.chunked.sweep import Layer, Walker, laid_out_for
from losscope.kernels.options import CategoricalOptions, LinearOptions, Stats
from losscope.kernels.readable import is_batch, is_plain, nothing_watches, readable

Outputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
"""The loss, the gradients of the layer, the five statistics; what is not wanted has no elements."""


def serves(
    x: Tensor, linear_weight: Tensor, target: Tensor, weight: Tensor | None, options: CategoricalOptions
) -> bool:
    """The logits are more than a few, and nothing but the layer may want a gradient, which is taken backwards."""
    return (
        is_plain(x)
        and is_plain(target)
        and torch._C._get_tracing_state() is None
        and (x.is_cpu or x.is_cuda)
        and forward_ad._current_level < 0
        and x.ndim == 2
        and not once.is_small(Layer(x, linear_weight, None))
        and not (target.dtype == torch.float64 and x.dtype != torch.float64)  # they are of the layer's precision
        and not wants_gradient(target, weight, options.normalizer)
    )


def wants_gradient(*constants: object) -> bool:
    """Whether one of these wants the gradient that no kernel has."""
    return torch.is_grad_enabled() and any(isinstance(c, Tensor) and c.requires_grad for c in constants)


def linear_cross_entropy(
    layer: Layer,
    target: Tensor,
    weight: Tensor | None,
    options: CategoricalOptions,
    kernel: str,
    linear: LinearOptions,
) -> Tensor | tuple[Tensor, Stats]:
    """The loss of the layer's logits; the kernel of this name has the ``rows`` that make a chunk's."""
    dtype, layer = layer.x.dtype, _autocast(layer)
    wanted = [torch.is_grad_enabled() and t is not None and t.requires_grad for t in layer]
    upstream = upstream_of(target, weight, options, reference.upcast(layer.x[:0]).dtype)
    known = None if any(wanted) and is_for_scaling(layer.x) else upstream
    loss, *rest = _call(layer, target, weight, known, wanted, options, kernel, linear)
    if upstream is not None and known is None:
        loss = (upstream * loss).sum()
    if options.reduction == "mean" and upstream is not None:
        loss = loss.masked_fill(upstream == 0, torch.nan)
    loss = loss.to(torch.float32 if torch.is_autocast_enabled(loss.device.type) and dtype != torch.float64 else dtype)
    return (loss, Stats(*rest[3:])) if options.return_stats else loss


def is_for_scaling(x: Tensor) -> bool:
    """Whether a gradient of this dtype has to wait for its upstream.

    1 / N is among the last numbers of float16, and losses are scaled up before they go backwards so that gradients
    are not: one that is rounded beforehand has lost its digits.
    """
    return x.dtype == torch.float16


def _autocast(layer: Layer) -> Layer:
    """The layer in autocast's dtype, as its own rule for ``linear`` would have it."""
    device = layer.x.device.type
    if not torch.is_autocast_enabled(device) or layer.x.dtype == torch.float64:
        return layer
    dtype = torch.get_autocast_dtype(device)
    return Layer(layer.x.to(dtype), layer.weight.to(dtype), None if layer.bias is None else layer.bias.to(dtype))


def upstream_of(
    target: Tensor, weight: Tensor | None, options: CategoricalOptions, dtype: torch.dtype
) -> Tensor | None:
    """The derivative of the reduced loss by each ℓ_i: 1, or 1/divisor, or 0 when nothing counts; of none it is open."""
    if options.reduction == "none":
        return None
    if options.reduction == "sum":
        return torch.ones((), dtype=dtype, device=target.device)
    if options.normalizer is None:
        total = reference.divisor(target, weight, options, dtype).sum()
    elif isinstance(options.normalizer, Tensor):
        total = options.normalizer.to(target.device, dtype).reshape(())
    else:
        assert not isinstance(options.normalizer, str), "the losses count a global normalizer out"
        total = torch.full((), options.normalizer, dtype=dtype, device=target.device)
    nothing = total == 0
    return (1 / total.masked_fill(nothing, 1)).masked_fill(nothing, 0)


def _call(
    layer: Layer,
    target: Tensor,
    weight: Tensor | None,
    upstream: Tensor | None,
    wanted: Sequence[bool],
    options: CategoricalOptions,
    kernel: str,
    linear: LinearOptions,
) -> Outputs:
    """The options as an operator's schema can hold them; where no graph is made, the operator is not called for it."""
    plain = is_plain(layer.x) and not torch.compiler.is_compiling() and nothing_watches()
    call = cast("Callable[..., Outputs]", _Sweep.apply if plain else _linear_cross_entropy)
    return call(
        *layer,
        target,
        weight,
        upstream,
        wanted,
        options.ignore_index,
        options.label_smoothing,
        options.focal_gamma,
        options.z_loss,
        options.softcap,
        options.return_stats,
        *linear,
        kernel,
    )


def _sweep(
    x: Tensor,
    linear_weight: Tensor,
    linear_bias: Tensor | None,
    target: Tensor,
    weight: Tensor | None,
    upstream: Tensor | None,
    wanted: Sequence[bool],
    ignore_index: int,
    label_smoothing: float,
    focal_gamma: float,
    z_loss: float,
    softcap: float | None,
    return_stats: bool,
    filter_eps: float | None,
    recompute: bool,
    kernel: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """ℓ_i without an upstream, Σ_i upstream_i ℓ_i and its gradients with one."""
    options = CategoricalOptions(
        ignore_index, "none", label_smoothing, focal_gamma, z_loss, softcap, None, return_stats
    )
    layer, now = Layer(x, linear_weight, linear_bias), _now(wanted, upstream)
    up, module = upstream if any(now) else None, kernel_module(kernel, x.device)
    if recompute and not hasattr(module, "again"):
        module = kernel_module("eager", x.device)
    narrow = hasattr(module, "takes_narrow") and module.takes_narrow(target)
    walker = Walker(module.rows, getattr(module, "again", None), narrow)
    swept = (twice if recompute else once).sweep(
        layer, target, weight, options, walker, up, now, LinearOptions(filter_eps, recompute)
    )
    loss = swept.losses if upstream is None else (upstream * swept.losses).sum()
    optional = (*swept.gradients, *(swept.stats or [None] * 5))
    return cast(Outputs, (loss, *(x.new_empty(0) if t is None else t for t in optional)))


@wraps(_sweep)
def _looking(*arguments: Any) -> Outputs:
    """The sweep of targets that nobody could look at before: those of a graph have no values while it is made."""
    _, linear_weight, _, target, _, _, _, ignore_index, *_ = arguments
    indices.check("linear_cross_entropy", target, len(linear_weight), ignore_index)
    return _sweep(*arguments)


_linear_cross_entropy = torch.library.custom_op("losscope::linear_cross_entropy", _looking, mutates_args=())


def _now(wanted: Sequence[bool], upstream: Tensor | None) -> list[bool]:
    """The gradients to take in this sweep: none of what follows is known without an upstream."""
    return [w and upstream is not None for w in wanted]


FUSED = "fused"
"""The kernel that there is for the device, when the operator runs: a graph that is compiled may run elsewhere."""


def kernel_module(kernel: str, device: torch.device) -> Any:
    """The kernel, or the one of this device; eager where it has to be compiled and cannot be here."""
    if kernel == FUSED:
        kernel = "triton" if device.type == "cuda" else "cpu"
    try:
        module = import_module(f"losscope.kernels.{kernel}")
    except ImportError:
        return import_module("losscope.kernels.eager")
    return module if kernel != "triton" or module.serves.runs(device) else import_module("losscope.kernels.eager")


def _times(x: Tensor, factor: Tensor) -> Tensor:
    """X times a number, in place: by the kernel that leaves it alone where the number is 1, if there is one."""
    multiply = getattr(kernel_module(FUSED, x.device), "multiply_unless_one", None)
    return x.mul_(factor) if multiply is None else cast(Tensor, multiply(x, factor))


@_linear_cross_entropy.register_fake
def _shapes(  # type: ignore[no-untyped-def]
    x, linear_weight, linear_bias, target, weight, upstream, wanted, *options
) -> Outputs:
    *_, return_stats, _, _, _ = options
    dtype = reference.upcast(x.new_empty(0)).dtype
    losses = torch.empty_like(target.select(1, 0) if target.is_floating_point() else target, dtype=dtype)
    loss = losses if upstream is None else losses.new_empty(())
    layer = zip((x, linear_weight, linear_bias), _now(wanted, upstream), strict=True)
    gradients = [torch.empty_like(t, memory_format=laid_out_for(t)) if w else x.new_empty(0) for t, w in layer]
    kinds = (torch.bool, torch.bool, dtype, dtype, dtype)
    stats = [torch.empty_like(losses, dtype=kind) if return_stats else x.new_empty(0) for kind in kinds]
    return cast(Outputs, (loss, *gradients, *stats))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Outputs) -> None:
    """What the backward needs: the gradients themselves where the forward took them, and what they came from."""
    x, linear_weight, linear_bias, target, weight, upstream, wanted, *options, filter_eps, recompute, kernel = inputs
    ctx.save_for_backward(x, linear_weight, linear_bias, target, weight, upstream)
    ctx.wanted, ctx.linear, ctx.kernel = wanted, LinearOptions(filter_eps, recompute), kernel
    ignore_index, *numbers, _ = options
    ctx.options = CategoricalOptions(ignore_index, "none", *numbers)
    ctx.gradients = None if upstream is None else output[1:4]
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)  # else zeros would be made for all of those


def _backward(ctx: Any, grad: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
    """The first hands over the gradients that the forward took; a further one sweeps again."""
    if grad is None:
        return (None,) * 16
    x, linear_weight, linear_bias, target, weight, upstream = ctx.saved_tensors
    layer, rest = Layer(x, linear_weight, linear_bias), (None,) * 13
    if (differentiable := torch.is_grad_enabled()) or is_batch(grad):
        args = layer, target, weight, upstream, ctx.wanted, ctx.options, grad
        return *_by_reference(*args, create_graph=differentiable), *rest
    held: Sequence[Tensor]
    if ctx.gradients is None:
        up = grad if upstream is None else grad * upstream
        held = _call(layer, target, weight, up, ctx.wanted, ctx.options, ctx.kernel, ctx.linear)[1:4]
    elif torch.compiler.is_compiling() or not is_plain(grad):  # a graph is being made
        held = [g * grad.to(g.dtype) for g in ctx.gradients]
    else:
        held, ctx.gradients = ctx.gradients, None
        if not readable(grad):  # a GPU is not waited for
            held = [_times(g, grad) for g in held]
        elif grad.item() != 1:
            held = [g.mul_(grad) for g in held]
    return *(g if w else None for g, w in zip(held, ctx.wanted, strict=True)), *rest


_linear_cross_entropy.register_autograd(_backward, setup_context=_keep)


class _Sweep(torch.autograd.Function):
    """The operator for autograd alone: torch takes a third of a millisecond to call one that is made in Python."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Any:
        """As the operator."""
        outputs = _sweep(*inputs)
        _keep(ctx, inputs, outputs)
        return outputs

    backward = staticmethod(_backward)


def _by_reference(
    layer: Layer,
    target: Tensor,
    weight: Tensor | None,
    upstream: Tensor | None,
    wanted: Sequence[bool],
    options: CategoricalOptions,
    grad: Tensor,
    *,
    create_graph: bool,
) -> Iterator[Tensor | None]:
    """The gradients by the reference, with the logits in memory: for a second derivative, and for many at once."""
    with torch.enable_grad():
        losses = reference.linear_cross_entropy(layer.x, layer.weight, target, layer.bias, weight, options)
        assert isinstance(losses, Tensor)
        loss = losses if upstream is None else (upstream * losses).sum()
    inputs = [t for t, w in zip(layer, wanted, strict=True) if w and t is not None]
    gradients = iter(torch.autograd.grad(loss, inputs, grad.to(loss.dtype), create_graph=create_graph))
    return (next(gradients) if w else None for w in wanted)

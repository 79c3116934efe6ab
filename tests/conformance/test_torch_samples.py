"""Every sample input that torch ships for these functions and modules: the same value and the same gradients.

The samples are those of ``torch.testing._internal`` (``op_db`` and ``module_db``), the ones torch tests itself with,
reference inputs included. They run on every kernel and on the automatic choice.

Left out of them, and why:

- ``options=`` of linear_cross_entropy (the chunked variants) is a hint on how to compute, not on what: it is dropped.
- ``size_average`` and ``reduce`` are deprecated in torch and not taken here.
- integer, boolean and complex inputs of the links are an InputError here (tests/test_errors.py).
"""

import contextlib

import pytest
import torch
import torch.nn.functional as F
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_modules import module_db

import losscope as ls

OURS = {
    "sigmoid": ls.sigmoid,
    "nn.functional.logsigmoid": ls.log_sigmoid,
    "softmax": ls.softmax,
    "log_softmax": ls.log_softmax,
    "logsumexp": ls.logsumexp,
    "nn.functional.nll_loss": ls.nll_loss,
    "nn.functional.cross_entropy": ls.cross_entropy,
    "nn.functional.linear_cross_entropy": ls.linear_cross_entropy,
    "nn.functional.binary_cross_entropy": ls.binary_cross_entropy,
    "nn.functional.binary_cross_entropy_with_logits": ls.binary_cross_entropy_with_logits,
    "nn.functional.mse_loss": ls.mse_loss,
}
MODULES = ["NLLLoss", "BCELoss", "BCEWithLogitsLoss", "MSELoss", "CrossEntropyLoss", "LinearCrossEntropyLoss"]
KERNELS = ["auto", *ls.kernels.KERNELS]
LOW = (torch.float16, torch.bfloat16)

OPS = [op for op in op_db if op.name in OURS]
OP_CASES = [
    pytest.param(op, dtype, id=f"{op.formatted_name}-{str(dtype).removeprefix('torch.')}")
    for op in OPS
    for dtype in (torch.float32, torch.float64, *LOW)
    if dtype in op.supported_dtypes("cpu")
]
MODULE_INFOS = {info.name.removeprefix("nn."): info for info in module_db}


@pytest.fixture(params=KERNELS)
def kernel(request):
    with contextlib.nullcontext() if request.param == "auto" else ls.kernels.use(request.param):
        yield request.param


def test_every_function_and_module_has_samples():
    assert {op.name for op in OPS} == set(OURS)
    assert {op.variant_test_name for op in OPS} == {"", "with_dtype", "chunked", "chunked_none"}
    assert set(MODULES) <= set(MODULE_INFOS)


@pytest.mark.parametrize(("op", "dtype"), OP_CASES)
def test_op_samples(kernel, op, dtype):
    torch.manual_seed(0)
    samples = [*op.sample_inputs("cpu", dtype, requires_grad=True)]
    if op.reference_inputs_func is not None and op.name not in ("sigmoid", "nn.functional.logsigmoid"):
        samples += op.reference_inputs("cpu", dtype, requires_grad=True)
    compared = [compare(op, sample, dtype) for sample in samples if is_ours(op, sample)]
    assert len(compared) > 0


def is_ours(op, sample):
    """Not a call by torch's deprecated arguments, and not one that torch itself broadcasts or warns about."""
    if {"size_average", "reduce"} & sample.kwargs.keys():
        return False
    return op.name != "nn.functional.mse_loss" or sample.args[0].shape == sample.input.shape


def compare(op, sample, dtype):
    kwargs = {name: value for name, value in sample.kwargs.items() if name != "options"}
    args = (sample.input, *sample.args)
    ours, theirs = value_and_grads(OURS[op.name], args, kwargs), value_and_grads(op.op, args, kwargs)
    assert ours[0].dtype == theirs[0].dtype
    if dtype in LOW and kwargs.get("dtype") is None:
        exact = value_and_grads(op.op, *in_double(args, kwargs))
        no_worse(ours, theirs, exact, roundings=8 if "linear" in op.name else 1)  # the logits are rounded too
    else:
        close(ours, theirs, dtype)


def value_and_grads(function, args, kwargs):
    """The result, and the gradients of a weighted sum of it, so that no upstream gradient is 1."""
    result = function(*args, **kwargs)
    leaves = [x for x in (*args, *kwargs.values()) if isinstance(x, torch.Tensor) and x.requires_grad]
    if not leaves:
        return [result]
    upstream = torch.linspace(0.5, 1.5, max(result.numel(), 1))[: result.numel()].view(result.shape).to(result.dtype)
    grads = torch.autograd.grad(result, leaves, upstream, allow_unused=True)
    return [result.detach(), *(torch.zeros_like(x) if g is None else g for x, g in zip(leaves, grads, strict=True))]


def in_double(args, kwargs):
    def double(x):
        is_floating = isinstance(x, torch.Tensor) and x.is_floating_point()
        return x.detach().double().requires_grad_(x.requires_grad) if is_floating else x

    return tuple(double(x) for x in args), {name: double(x) for name, x in kwargs.items()}


def close(ours, theirs, dtype):
    """Within roundings of each value, or of the largest: what nearly cancels has the error of what it is made of."""
    tolerance = 1e-12 if dtype == torch.float64 else 5e-6
    for x, expected in zip(ours, theirs, strict=True):
        largest = expected.detach().nan_to_num(0, 0, 0).abs().amax().item() if expected.numel() else 0
        torch.testing.assert_close(x, expected, rtol=tolerance, atol=tolerance * max(1, largest / 8), equal_nan=True)


def no_worse(ours, theirs, exact, roundings=1):
    """In the low precisions: as near to float64 as torch is, or within so many roundings of the largest value."""
    for x, y, reference in zip(ours, theirs, exact, strict=True):
        finite = reference.isfinite()
        assert torch.equal(x.double()[~finite], reference[~finite])
        x, y, reference = x.double()[finite], y.double()[finite], reference[finite]
        if reference.numel():
            rounding = roundings * torch.finfo(ours[0].dtype).eps * reference.abs().amax()
            assert (x - reference).abs().amax() <= torch.maximum((y - reference).abs().amax(), rounding)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", MODULES)
def test_module_samples(kernel, name, dtype):
    torch.manual_seed(0)
    info = MODULE_INFOS[name]
    samples = info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=True, training=True)
    compared = [compare_module(name, sample, dtype) for sample in samples]
    assert len(compared) > 0


def compare_module(name, sample, dtype):
    theirs, ours = both_modules(name, sample.constructor_input)
    args = sample.forward_input.args
    close(value_and_grads(ours, args, {}), value_and_grads(theirs, args, {}), dtype)


def both_modules(name, constructor):
    """Torch's module and ours from the same arguments and with the same state."""
    args, kwargs = constructor.args, {k: v for k, v in constructor.kwargs.items() if k != "options"}
    theirs, ours = getattr(torch.nn, name)(*args, **kwargs), getattr(ls, name)(*args, **kwargs)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def test_the_comparison_can_fail():
    x, y = torch.randn(3, 4, requires_grad=True), torch.tensor([0, 1, 2])
    ours, theirs = (
        value_and_grads(ls.cross_entropy, (x, y), {}),
        value_and_grads(F.cross_entropy, (x + 1e-4 * x, y), {}),
    )
    with pytest.raises(AssertionError):
        close(ours, theirs, torch.float32)
    with pytest.raises(AssertionError):
        no_worse([ours[0].bfloat16() * 1.02], [theirs[0].bfloat16()], [theirs[0].double()])

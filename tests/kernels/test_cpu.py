"""The fused CPU kernels against float64 and torch, where the property tests do not reach."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest
import torch
import torch.nn.functional as F

import losscope as ls
from losscope.kernels import cpu, reference
from losscope.kernels.cpu import memory
from losscope.kernels.options import BinaryOptions, CategoricalOptions

LOW = (torch.float16, torch.bfloat16)
DTYPES = [torch.float32, torch.float64, *LOW]
NOT_WORSE = 1.1  # two roundings of the same number may differ by their last bit


@pytest.fixture(autouse=True)
def _fused():
    torch.manual_seed(0)
    with ls.kernels.use("cpu"):
        yield


def loss_and_gradient(function, z, *args, **kwargs):
    z = z.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    loss = function(z, *args, **kwargs)
    loss.backward()
    return loss.detach(), z.grad


def exact(z, target, weight=None, **kwargs):
    """The reference's formulas in float64."""
    double = [None if t is None else t.double() for t in (z, weight)]
    target = target.double() if target.is_floating_point() else target
    options = CategoricalOptions(**kwargs)
    return loss_and_gradient(lambda z: reference.cross_entropy(z, target, double[1], options), double[0])


def distance(ours, theirs):
    """Relative error of a tensor as a whole."""
    return float((ours.double() - theirs).norm() / theirs.norm())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(512, 10), (64, 100), (16, 4097), (4, 100, 80)])
def test_errors_are_no_larger_than_torchs(dtype, shape):
    z, y = (torch.randn(shape) * 3).to(dtype), torch.randint(0, shape[1], shape[:1] + shape[2:])
    true_loss, true_gradient = exact(z, y)
    loss, gradient = loss_and_gradient(ls.cross_entropy, z, y)
    torchs_loss, torchs_gradient = loss_and_gradient(F.cross_entropy, z, y)
    rounding = torch.finfo(dtype).eps * (1 if dtype in LOW else 2)
    assert distance(loss, true_loss) <= max(NOT_WORSE * distance(torchs_loss, true_loss), rounding)
    last_place = 0.6 * torch.finfo(dtype).eps if dtype not in LOW else 0
    assert distance(gradient, true_gradient) <= max(NOT_WORSE * distance(torchs_gradient, true_gradient), last_place)


@pytest.mark.parametrize("dtype", DTYPES)
def test_binary_errors_are_no_larger_than_torchs(dtype):
    z, t = (torch.randn(300, 40) * 4).to(dtype), torch.randint(0, 2, (300, 40)).to(dtype)
    function = F.binary_cross_entropy_with_logits
    true_loss, true_gradient = loss_and_gradient(function, z.double(), t.double())
    loss, gradient = loss_and_gradient(ls.binary_cross_entropy_with_logits, z, t)
    _, torchs_gradient = loss_and_gradient(function, z, t)
    assert distance(loss, true_loss) <= torch.finfo(dtype).eps * (1 if dtype in LOW else 4)
    assert distance(gradient, true_gradient) <= max(NOT_WORSE * distance(torchs_gradient, true_gradient), 4e-16)


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"softcap": 8.0, "z_loss": 1e-3}])
def test_a_vocabulary_that_fills_no_whole_vector(options):
    z, y = torch.randn(3, 200_003) * 3, torch.tensor([0, 200_002, 77_777])
    loss, gradient = loss_and_gradient(ls.cross_entropy, z, y, **options)
    true_loss, true_gradient = exact(z, y, **options)
    assert distance(loss, true_loss) < 1e-6
    assert distance(gradient, true_gradient) < 1e-6


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"label_smoothing": 0.2, "z_loss": 1e-3}])
@pytest.mark.parametrize("kind", ["soft", "index"])
def test_every_class_has_a_share_in_the_target(kind, options, dtype):
    """Over several blocks of classes, with a mask in each row; a class without probability may be one of them."""
    z, w = (torch.randn(5, 5003) * 3).to(dtype), torch.rand(5003).to(dtype) + 0.5
    z[:, 17::1000] = -torch.inf
    y = torch.tensor([0, 2047, 2048, 4999, 5002])
    q = torch.rand(5, 5003).square() * z.isfinite()
    target = y if kind == "index" else (q / q.sum(1, keepdim=True)).to(dtype)
    for weight in (None, w):
        loss, gradient = loss_and_gradient(ls.cross_entropy, z, target, weight, **options)
        true_loss, true_gradient = exact(z, target, weight, **options)
        rounding = max(torch.finfo(dtype).eps, 1e-15)
        assert distance(loss, true_loss) < 4 * rounding
        assert distance(gradient, true_gradient) < 4 * rounding


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_links_of_many_logits(name, dim, monkeypatch):
    """As torch's in every bit, also twice in a row, and a result that is kept is never written again."""
    monkeypatch.setattr("losscope.kernels.cpu.serves.LARGE_LINK", 0)
    ours, torchs, grad = getattr(ls, name), getattr(torch, name), torch.randn(600, 701)
    kept = []
    for _ in range(3):
        z = torch.randn(600, 701, requires_grad=True)
        assert torch.equal(ours(z.detach(), dim), torchs(z.detach(), dim))
        for function in (ours, torchs):
            result = function(z, dim)
            kept.append((result.detach(), *torch.autograd.grad(result, z, grad)))
    for mine, theirs in zip(kept[::2], kept[1::2], strict=True):
        assert all(map(torch.equal, mine, theirs))
    z = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda z: ours(z, dim), z)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_a_pick_and_its_gradient(reduction, dtype):
    """Also of a mask, of an ignored row of infinities, and for an upstream that differs from sample to sample."""
    s, y = torch.randn(50, 9).log_softmax(1), torch.randint(0, 9, (50,))
    y[3], s[3], s[4, (y[4] + 1) % 9] = -100, torch.inf, -torch.inf
    w = torch.rand(9) + 0.5
    results = []
    for function, kind in ((ls.nll_loss, dtype), (F.nll_loss, torch.float64)):
        x = s.detach().to(dtype).to(kind, copy=True).requires_grad_()
        loss = function(x, y, w.to(kind), reduction=reduction)
        loss.backward(torch.linspace(0.5, 2, loss.numel()).view(loss.shape).to(kind))
        results.append((loss.detach().to(dtype), x.grad.to(dtype)))
    torch.testing.assert_close(results[0], results[1])


@pytest.mark.parametrize("classes", [5, 40])
def test_the_entropy_of_large_logits(classes):
    z = torch.full((70, classes), 1e8, dtype=torch.float64)
    _, stats = ls.cross_entropy(z, torch.zeros(70, dtype=torch.int64), return_stats=True)
    torch.testing.assert_close(stats.entropy, torch.full((70,), float(classes), dtype=torch.float64).log())


def test_a_gradient_too_large_for_the_caches_is_the_same():
    z, y = torch.randn(600, 32_001), torch.randint(0, 32_001, (600,))  # streamed: 77 MB, and no row is aligned
    y[3] = -100
    loss, gradient = loss_and_gradient(ls.cross_entropy, z, y)
    torchs_loss, torchs_gradient = loss_and_gradient(F.cross_entropy, z, y)
    torch.testing.assert_close(loss, torchs_loss)
    torch.testing.assert_close(gradient, torchs_gradient, rtol=1e-5, atol=1e-10)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("classes", [5, 40, 5000])
def test_nan_and_inf_reach_their_own_row_only(value, classes):
    z, y = torch.randn(70, classes), torch.randint(1, classes, (70,))
    z[33, 0] = value
    ours = loss_and_gradient(lambda z: ls.cross_entropy(z, y, reduction="none").sum(), z)[1]
    torchs = loss_and_gradient(lambda z: F.cross_entropy(z, y, reduction="none").sum(), z)[1]
    torch.testing.assert_close(ours, torchs, equal_nan=True, rtol=1e-5, atol=1e-6)
    assert ours[33].isnan().all()


@pytest.mark.parametrize("payload", [0x7FC00001, 0x7F800001, -1])
@pytest.mark.parametrize("classes", [5, 40])
def test_every_nan_is_one(payload, classes):
    z = torch.randn(64, classes)
    z[1, 0] = torch.tensor(payload, dtype=torch.int32).view(torch.float32)
    loss, gradient = loss_and_gradient(ls.cross_entropy, z, torch.zeros(64, dtype=torch.int64))
    assert loss.isnan()
    assert gradient[1].isnan().all()


@pytest.mark.parametrize("classes", [5, 40, 5000])
def test_a_masked_row_is_nan_as_torchs(classes):
    z = torch.full((2, classes), -torch.inf)
    assert ls.cross_entropy(z, torch.zeros(2, dtype=torch.int64)).isnan()


@pytest.mark.parametrize(
    "rearrange",
    [
        lambda z: z.t().contiguous().t(),
        lambda z: z.repeat_interleave(2, 1)[:, ::2],
        lambda z: z.repeat_interleave(3, 0)[::3],
        lambda z: z.expand(z.shape[0], -1),
    ],
    ids=["transposed", "every second class", "every third row", "as it is"],
)
@pytest.mark.parametrize("classes", [5, 90])
def test_strided_logits(rearrange, classes):
    z, y = torch.randn(130, classes), torch.randint(0, classes, (130,))
    view = rearrange(z)
    loss, gradient = loss_and_gradient(ls.cross_entropy, view, y)
    torchs = loss_and_gradient(F.cross_entropy, view, y)
    torch.testing.assert_close((loss, gradient), torchs)
    assert gradient.stride() == torchs[1].stride()


@pytest.mark.parametrize("view", ["channels last", "every second pixel"])
def test_images(view):
    z, y = torch.randn(2, 21, 18, 20), torch.randint(0, 21, (2, 18, 20))
    z = z.contiguous(memory_format=torch.channels_last) if view == "channels last" else z[..., ::2]
    y = y[..., : z.shape[-1]]
    torch.testing.assert_close(loss_and_gradient(ls.cross_entropy, z, y), loss_and_gradient(F.cross_entropy, z, y))


def test_low_precision_gradients_are_rounded_once_for_any_upstream():
    z, y = torch.randn(64, 50).half(), torch.randint(0, 50, (64,))
    z.requires_grad_()
    (ls.cross_entropy(z, y).float() * 2.0**14).backward()
    true = exact(z.detach(), y)[1] * 2.0**14
    assert distance(z.grad, true) < 3e-4  # rounded after 1/N it would have lost half of its bits


def test_backward_twice_gives_the_same_gradient_and_spares_the_first():
    z = torch.randn(300, 40, requires_grad=True)
    loss = ls.cross_entropy(z, torch.randint(0, 40, (300,)))
    (first,) = torch.autograd.grad(loss, z, retain_graph=True)
    before = first.clone()
    (second,) = torch.autograd.grad(loss * 3, z)
    torch.testing.assert_close(first, before, rtol=0, atol=0)
    torch.testing.assert_close(second, 3 * first)


def test_a_gradient_that_is_kept_is_never_overwritten():
    y = torch.randint(0, 1000, (1200,))
    kept = [loss_and_gradient(ls.cross_entropy, torch.randn(1200, 1000), y)[1] for _ in range(4)]
    copies = [g.clone() for g in kept]
    view, copy = kept.pop()[5:].numpy(), copies.pop()[5:].numpy()
    for _ in range(4):
        loss_and_gradient(ls.cross_entropy, torch.randn(1200, 1000), y)
    assert all(torch.equal(a, b) for a, b in zip(kept, copies, strict=True))
    assert (view == copy).all()


def test_memory_of_a_dropped_gradient_is_used_again_and_can_be_released():
    memory.release()
    first = memory.empty((1 << 20,), torch.float32)
    address = first.data_ptr()
    del first
    again = memory.empty((1 << 20,), torch.float32)
    assert again.data_ptr() == address
    del again
    memory.release()
    assert not memory._idle


def test_the_number_of_threads_changes_no_bit():
    z, y = torch.randn(3000, 70), torch.randint(0, 70, (3000,))
    threads = torch.get_num_threads()
    results = []
    for count in (1, 2, 5):
        torch.set_num_threads(count)
        results.append(loss_and_gradient(ls.cross_entropy, z, y))
    torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))


def test_callers_in_many_threads():
    z, y = torch.randn(4000, 50), torch.randint(0, 50, (4000,))
    expected = loss_and_gradient(ls.cross_entropy, z, y)
    wrong = []

    def work():
        with ls.kernels.use("cpu"):
            for _ in range(20):
                ours = loss_and_gradient(ls.cross_entropy, z, y)
                wrong.extend(1 for a, b in zip(ours, expected, strict=True) if not torch.equal(a, b))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def python(code: str, **environment: str) -> str:
    """What a fresh process prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_computes_the_same():
    code = """
import os, torch, losscope as ls
torch.set_num_threads(2)
z, y = torch.randn(4000, 50), torch.randint(0, 50, (4000,))
with ls.kernels.use("cpu"):
    before = ls.cross_entropy(z, y)
    child = os.fork()
    if child == 0:
        os._exit(0 if torch.equal(ls.cross_entropy(z, y), before) else 1)
    print(os.waitpid(child, 0)[1])
"""
    assert python(code).strip() == "0"


def test_processes_that_compile_at_once_have_files_of_their_own(tmp_path):
    """Of every dtype what was compiled is found again: the third process may not compile."""
    compute = """
import time, torch, losscope as ls
from numba.core import caching, ccallback
save = caching.IndexDataCacheFile._save_index
{change}
for dtype in {dtypes}:
    z = torch.tensor([[0.0, 1.0]], dtype=dtype)
    with ls.kernels.use("cpu"):
        print(float(ls.cross_entropy(z, torch.tensor([0]))))
"""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    slow = "caching.IndexDataCacheFile._save_index = lambda self, known: (time.sleep(5), save(self, known))"
    first = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", compute.format(change=slow, dtypes=f"[{dtype}]")],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for dtype in ("torch.float32", "torch.float64")
    ]
    told = [float(process.communicate(timeout=120)[0]) for process in first]
    without, dtypes = "ccallback.CFunc._compile_uncached = None", "[torch.float32, torch.float64]"
    again = python(compute.format(change=without, dtypes=dtypes), NUMBA_CACHE_DIR=str(tmp_path))
    assert [float(line) for line in again.split()] == told


def test_code_that_several_processes_compiled_serves_one(tmp_path):
    """Each dtype is compiled by a process of its own; a last one loads all, whose functions must not share names."""
    compute = """
import torch, losscope as ls
from torch.nn import functional as F
torch.manual_seed(0)
for dtype in {dtypes} * 4:
    z, y, w = (3 * torch.randn(5, 5003)).to(dtype), torch.randint(0, 5003, (5,)), torch.rand(5003).to(dtype)
    q = torch.rand(5, 5003)
    for target, weight in ((y, None), (y, w), (q.to(dtype) / q.sum(1, keepdim=True).to(dtype), w)):
        ours, exact = z.clone().requires_grad_(), z.double().requires_grad_()
        with ls.kernels.use("cpu"):
            loss = ls.cross_entropy(ours, target, weight, label_smoothing=0.1)
        target = target.double() if target.is_floating_point() else target
        weight = None if weight is None else weight.double()
        truth = F.cross_entropy(exact, target, weight, label_smoothing=0.1)
        for each, x in ((loss, ours), (truth, exact)):
            each.backward()
        torch.testing.assert_close(loss.double(), truth, rtol=2e-2, atol=0)
        torch.testing.assert_close(ours.grad.double(), exact.grad, rtol=2e-2, atol=1e-4)
"""
    dtypes = "torch.float32", "torch.bfloat16"
    for several in ([dtypes[0]], [dtypes[1]], dtypes, dtypes[::-1]):
        python(compute.format(dtypes=f"[{', '.join(several)}]"), NUMBA_CACHE_DIR=str(tmp_path))


def test_without_a_place_for_the_cache_torch_serves_with_one_warning():
    code = """
import warnings, torch, losscope as ls
from losscope.kernels.cpu import compiled
def refuse(*args, **kwargs):
    raise RuntimeError("cannot cache function: no locator available")
compiled.cfunc = refuse
z, y = torch.randn(4000, 50), torch.randint(0, 50, (4000,))
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    losses = [ls.cross_entropy(z, y) for _ in range(3)]
torch.testing.assert_close(losses[0], torch.nn.functional.cross_entropy(z, y))
print(len(told), told[0].category.__name__, "NUMBA_CACHE_DIR" in str(told[0].message))
"""
    assert python(code).split() == ["1", "LosscopeWarning", "True"]


def test_without_numba_torch_serves_with_one_warning():
    code = """
import sys, warnings
sys.modules["numba"] = None
import torch, losscope as ls
z, y = torch.randn(4000, 50), torch.randint(0, 50, (4000,))
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    losses = [ls.cross_entropy(z, y) for _ in range(3)]
torch.testing.assert_close(losses[0], torch.nn.functional.cross_entropy(z, y))
print(len(told), told[0].category.__name__)
"""
    assert python(code).split() == ["1", "LosscopeWarning"]


def test_second_derivatives_go_through_the_reference():
    z, y = torch.randn(6, 5, dtype=torch.float64, requires_grad=True), torch.randint(0, 5, (6,))
    assert torch.autograd.gradgradcheck(lambda z: ls.cross_entropy(z, y, focal_gamma=2.0), (z,))
    t = torch.rand(6, 5, dtype=torch.float64)
    assert torch.autograd.gradgradcheck(lambda z: ls.binary_cross_entropy_with_logits(z, t), (z,))


def test_nothing_is_kept_for_a_frozen_input():
    loss = ls.cross_entropy(torch.randn(30, 5), torch.randint(0, 5, (30,)))
    assert loss.grad_fn is None
    with torch.no_grad():
        assert not ls.cross_entropy(torch.randn(30, 5, requires_grad=True), torch.randint(0, 5, (30,))).requires_grad


def test_a_weight_that_wants_its_gradient_gets_it():
    weight = torch.rand(5, requires_grad=True)
    ls.cross_entropy(torch.randn(30, 5), torch.randint(0, 5, (30,)), weight, reduction="sum").backward()
    assert weight.grad is not None


@pytest.mark.parametrize("options", [BinaryOptions(), BinaryOptions(focal_gamma=2.0)])
def test_binary_masks_cost_nothing(options):
    z, t = torch.tensor([[-torch.inf, torch.inf, 0.5]]), torch.tensor([[0.0, 1.0, 1.0]])
    loss, gradient = loss_and_gradient(
        ls.binary_cross_entropy_with_logits, z, t, focal_gamma=options.focal_gamma, reduction="sum"
    )
    alone = loss_and_gradient(
        ls.binary_cross_entropy_with_logits, z[:, 2:], t[:, 2:], focal_gamma=options.focal_gamma, reduction="sum"
    )
    torch.testing.assert_close(loss, alone[0])
    torch.testing.assert_close(gradient, F.pad(alone[1], (2, 0)))


@pytest.mark.parametrize(("samples", "classes"), [(70_001, 97), (450_003, 15), (17, 127), (1, 3), (129, 16)])
def test_few_classes_in_any_number(samples, classes):
    """Blocks and tiles that are not full, and gradients large enough to go past the caches."""
    z, y = torch.randn(samples, classes), torch.randint(0, classes, (samples,))
    y[samples // 2] = -100
    loss, gradient = loss_and_gradient(ls.cross_entropy, z, y, reduction="sum")
    true_loss, true_gradient = loss_and_gradient(F.cross_entropy, z.double(), y, reduction="sum")
    torch.testing.assert_close(loss.double(), true_loss, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient.double(), true_gradient, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("classes", [5, 100])
@pytest.mark.parametrize("gamma", [0.5, 2.0, 3.7])
def test_focal_loss_of_sure_and_of_unsure_samples(classes, gamma):
    scale = torch.logspace(-2, 1.5, 300)[:, None]
    z, y = torch.randn(300, classes) * scale, torch.randint(0, classes, (300,))
    loss, gradient = loss_and_gradient(ls.cross_entropy, z, y, focal_gamma=gamma, reduction="sum")
    true_loss, true_gradient = exact(z, y, focal_gamma=gamma, reduction="sum")
    assert distance(loss, true_loss) < 1e-6
    assert distance(gradient, true_gradient) < 1e-6


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("samples", "classes"), [(1, 48), (3, 63), (21, 64), (70, 65), (9, 1000), (5, 1023), (2, 1024)]
)
@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize(
    "options",
    [{}, {"label_smoothing": 0.1}, {"focal_gamma": 2.0}, {"z_loss": 0.01, "label_smoothing": 0.2}, {"soft": True}],
    ids=lambda options: ",".join(options),
)
def test_rows_that_are_some_vectors(options, reduction, samples, classes, dtype):
    """Masked classes, ignored samples and class weights, in rows that fill their last vector or do not."""
    options = options | {"reduction": reduction}
    z, w = (torch.randn(samples, classes) * 3).to(dtype), torch.rand(classes).to(dtype)
    y = torch.randint(1, classes, (samples,))
    z[:, 0], z[samples // 2, classes // 2] = -torch.inf, 5.0  # class 0 is masked, and nobody's target
    y[samples // 2] = classes // 2
    if options.pop("soft", False):
        y = torch.rand(samples, classes).masked_fill(z == -torch.inf, 0).to(dtype)
        y = (y / y.sum(1, keepdim=True)).to(dtype)
    elif samples > 1:
        y[0] = -100
        z[0, 3] = torch.nan  # an ignored row may hold anything
    upstream = torch.linspace(1, 2, samples) if reduction == "none" else torch.ones(())

    def taken(function, z, *args):
        z = z.detach().clone().requires_grad_()
        loss = function(z, *args)
        (loss.double() * upstream).sum().backward()
        return loss.detach().double(), z.grad.double()

    ours = taken(lambda z: ls.cross_entropy(z, y, w, **options), z)
    q = y.double() if y.is_floating_point() else y
    theirs = taken(lambda z: reference.cross_entropy(z, q, w.double(), CategoricalOptions(**options)), z.double())
    for got, true in zip(ours, theirs, strict=True):
        torch.testing.assert_close(got, true, rtol=4 * torch.finfo(dtype).eps, atol=4 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_band_whose_gradient_takes_the_place_of_its_logits(smoothing):
    """As in the linear loss; a class that is masked has no share even where it is the target."""
    z, y = torch.randn(40, 100), torch.randint(0, 100, (40,))
    z[7, y[7]] = -torch.inf
    upstream = torch.rand(40)
    options = CategoricalOptions(label_smoothing=smoothing, reduction="none")
    apart = cpu.apart(z, y, None, options, upstream)
    inplace = cpu.rows(z.clone(), y, None, options, upstream)
    assert apart.loss[7] == torch.inf
    torch.testing.assert_close(inplace.loss, apart.loss)
    torch.testing.assert_close(inplace.dz, apart.dz, equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("values", [1, 15, 17, 63, 64, 959, 961, 3841, 40_007])
def test_labels_in_any_number(values, dtype):
    z, t = (torch.randn(values) * 4).to(dtype), torch.rand(values).to(dtype)
    loss, gradient = loss_and_gradient(ls.binary_cross_entropy_with_logits, z, t, label_smoothing=0.1)
    smoothed = t.double() * 0.9 + 0.05
    true_loss, true_gradient = loss_and_gradient(F.binary_cross_entropy_with_logits, z.double(), smoothed)
    assert distance(loss, true_loss) < 4 * torch.finfo(dtype).eps  # in float64 the formula has its own roundings
    assert distance(gradient, true_gradient) < 4 * torch.finfo(dtype).eps


def test_gradients_of_labels_too_large_for_the_caches():
    z, t = torch.randn(memory.STREAMED // 4 + 5), torch.rand(memory.STREAMED // 4 + 5)
    loss, gradient = loss_and_gradient(ls.binary_cross_entropy_with_logits, z, t)
    torchs_loss, torchs_gradient = loss_and_gradient(F.binary_cross_entropy_with_logits, z, t)
    torch.testing.assert_close(loss, torchs_loss)
    torch.testing.assert_close(gradient, torchs_gradient)


@pytest.mark.parametrize("bad", [-0.25, 1.5, float("nan"), float("inf")])
@pytest.mark.parametrize("shape", [(70, 7), (5, 300), (3, 5000), (4, 7, 80), (4, 300, 3)])
@pytest.mark.parametrize(
    "options",
    [{}, {"softcap": 5.0}, {"return_stats": True}, {"label_smoothing": 0.1}, {"reduction": "none"}],
    ids=lambda options: ",".join(options),
)
def test_a_soft_target_out_of_range_is_seen_on_the_way(bad, shape, options):
    z, q = torch.randn(shape, requires_grad=True), torch.randn(shape).softmax(1)
    weight = torch.ones(shape[1])
    weight[-1] = 0  # the loss would not show it there
    ls.cross_entropy(z, q, weight, **options)
    q[-1, -1] = bad
    with pytest.raises(ls.InputError, match="soft targets in"):
        ls.cross_entropy(z, q, weight, **options)
    with torch.no_grad(), pytest.raises(ls.InputError, match="soft targets in"):
        ls.cross_entropy(z, q, weight, **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("wrong", [-0.25, 1.5, float("nan"), float("inf")])
@pytest.mark.parametrize("wanted", [True, False])
def test_labels_out_of_range_are_seen_on_the_way(dtype, wrong, wanted):
    z, t = torch.randn(300, 70, dtype=dtype).requires_grad_(wanted), torch.rand(300, 70).to(dtype)
    t[211, 69] = wrong
    with pytest.raises(ls.InputError, match=r"\[211, 69\]|\(211, 69\)"):
        ls.binary_cross_entropy_with_logits(z, t)
    assert z.grad is None


@pytest.mark.parametrize(("scale", "flip"), [(0.0, False), (15.0, False), (15.0, True), (40.0, False)])
def test_sums_of_labels_that_are_open_or_nearly_sure(scale, flip):
    """Half a million factors of 2 in the product of (1 + e^−|z|), and of nearly 1."""
    t = torch.randint(0, 2, (500, 1000)).float()
    z = (t * 2 - 1) * scale * (-1 if flip else 1)
    loss, gradient = loss_and_gradient(ls.binary_cross_entropy_with_logits, z, t)
    sign = 1 - 2 * t.double()  # torch's own formula loses what is below the last place of z
    true_loss, true_gradient = loss_and_gradient(lambda z: F.softplus(sign * z, threshold=100).mean(), z.double())
    assert distance(loss, true_loss) < 4 * torch.finfo(torch.float32).eps
    assert distance(gradient, true_gradient) < 4 * torch.finfo(torch.float32).eps


def test_infinite_logits_of_labels_count_as_sure():
    inf = float("inf")
    for shape in ((2, 2), (200, 200)):  # torch's own operator serves the first, and this must be seen
        z, t = torch.full(shape, inf), torch.ones(shape)
        z[0, 0], t[0, 0] = -inf, 0.0
        loss, gradient = loss_and_gradient(ls.binary_cross_entropy_with_logits, z, t)
        assert loss == 0
        assert not gradient.any()

"""Cross-entropy over a sharded vocabulary: ours beside torch's ``loss_parallel``, on two gloo ranks in one run.

    python benchmarks/vocabulary_parallel.py

Times are of forward and backward, alternated, medians over the rounds. Bytes are those of the tensors given to a
collective, counted where both libraries call torch.distributed. Values are compared with torch on one device.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as funcol
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from torch.distributed.tensor.parallel import loss_parallel

import losscope as ls

RANKS, ROUNDS = 2, 15
N, H = 1024, 32_000


@contextmanager
def sent() -> Iterator[list[int]]:
    """The bytes of the tensors that all-reduces are given, those of torch.distributed and its functional ones."""
    found: list[int] = []

    def counted(call):
        def wrapper(tensor, *args, **kwargs):
            found.append(tensor.numel() * tensor.element_size())
            return call(tensor, *args, **kwargs)

        return wrapper

    with (
        patch.object(dist, "all_reduce", counted(dist.all_reduce)),
        patch.object(funcol, "all_reduce", counted(funcol.all_reduce)),
    ):
        yield found


def step(loss: Callable[[DTensor], Tensor], z: DTensor) -> tuple[Tensor, Tensor]:
    """The loss and the gradient to this rank's logits."""
    z.grad = None
    value = loss(z)
    value.sum().backward()
    return value.detach(), z.grad.to_local()


def ours(y: Tensor, **options: object) -> Callable[[DTensor], Tensor]:
    return lambda z: ls.cross_entropy(z, y, **options)


def theirs(y: Tensor, **options: object) -> Callable[[DTensor], Tensor]:
    return lambda z: F.cross_entropy(z, y, **options)


def compare(z: Tensor, mesh: DeviceMesh, name: str, y: Tensor, **options: object) -> list[str]:
    """A line for each library: the error of its gradient, or what it raised."""
    whole = z.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(F.cross_entropy(whole, y, **options), whole)
    wanted = wanted.chunk(RANKS, 1)[dist.get_rank()]
    lines = []
    for library, loss in (("losscope", ours), ("loss_parallel", theirs)):
        target = distribute_tensor(y, mesh, [Shard(1)]) if y.is_floating_point() else y
        shard = distribute_tensor(z, mesh, [Shard(1)]).requires_grad_()
        try:
            _, gradient = step(loss(target, **options), shard)
            said = f"largest error of the gradient {(gradient - wanted).abs().max() / wanted.abs().max():.0e}"
        except Exception as error:  # whatever it is, it is the result
            said = f"{type(error).__name__}: {str(error).splitlines()[0][:80]}"
        lines.append(f"{name:32}{library:16}{said}")
    return lines


def cases(mesh: DeviceMesh) -> list[str]:
    g = torch.Generator().manual_seed(0)
    z, y = torch.randn(64, 1000, generator=g), torch.randint(1000, (64,), generator=g)
    some, w = y.masked_fill(torch.arange(64) % 3 == 0, -100), torch.rand(1000, generator=g) + 0.5
    q = torch.randn(64, 1000, generator=g).softmax(1)
    return [
        *compare(z, mesh, "plain", y),
        *compare(z, mesh, "ignored", some),
        *compare(z, mesh, "weight", y, weight=w),
        *compare(z, mesh, "weight and ignored", some, weight=w),
        *compare(z, mesh, "label smoothing", y, label_smoothing=0.1),
        *compare(z, mesh, "soft targets", q),
    ]


def times(mesh: DeviceMesh, dtype: torch.dtype) -> list[str]:
    g = torch.Generator().manual_seed(0)
    z, y = torch.randn(N, H, generator=g).to(dtype), torch.randint(H, (N,), generator=g)
    shard = distribute_tensor(z, mesh, [Shard(1)]).requires_grad_()
    found: dict[str, list[float]] = {"losscope": [], "loss_parallel": []}
    communication = {}
    for name, loss in (("losscope", ours), ("loss_parallel", theirs)):
        with sent() as bytes_of_calls:
            step(loss(y), shard)
        communication[name] = f"{sum(bytes_of_calls) / N:.2f} bytes a token in {len(bytes_of_calls)} all-reduces"
    for _ in range(ROUNDS):
        for name, loss in (("losscope", ours), ("loss_parallel", theirs)):
            dist.barrier()
            began = time.perf_counter()
            step(loss(y), shard)
            found[name].append((time.perf_counter() - began) * 1e3)
    ratio = statistics.median(b / a for a, b in zip(*found.values(), strict=True))
    lines = [f"{dtype!s:32}{n:16}{statistics.median(t):8.1f} ms, {communication[n]}" for n, t in found.items()]
    return [*lines, f"{'':32}loss_parallel takes {ratio:.2f} times as long"]


@contextmanager
def group(rank: int, meet: str):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meet}", rank=rank, world_size=RANKS)
    yield init_device_mesh("cpu", (RANKS,))
    dist.destroy_process_group()


def measure(rank: int, meet: str) -> None:
    with group(rank, meet) as mesh, loss_parallel():
        lines = [*cases(mesh), "", *times(mesh, torch.float32), *times(mesh, torch.bfloat16)]
    if rank == 0:
        print(f"N = {N}, H = {H}, {RANKS} gloo ranks of one thread, torch {torch.__version__}", *lines, sep="\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(measure, (f"{folder}/meet",), nprocs=RANKS)

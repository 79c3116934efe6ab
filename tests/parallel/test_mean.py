"""One mean over accumulation steps and ranks: the gradients of one big batch, with unequal counts."""

import pytest
import torch
import torch.distributed as dist
from tests.parallel.ranks import on_ranks
from torch.nn.parallel import DistributedDataParallel

import losscope as ls

F64 = torch.float64


def data():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(4, 6, 3, generator=g, dtype=F64)  # four parts of six samples
    y = torch.randint(0, 5, (4, 6), generator=g)
    y[0, :5] = y[2] = -100  # one part with a single target, and one with none
    return x, y


def model():
    torch.manual_seed(0)
    return torch.nn.Linear(3, 5, dtype=F64)


def big_batch(weight=None):
    x, y = data()
    net = model()
    ls.cross_entropy(net(x.flatten(0, 1)), y.flatten(), weight).backward()
    return net.weight.grad


@pytest.mark.parametrize("weight", [None, torch.linspace(0.5, 2, 5, dtype=F64)], ids=["plain", "weighted"])
def test_accumulation_steps(weight):
    x, y = data()
    net = model()
    normalizer = ls.parallel.global_normalizer(y, weight=weight)
    for part, target in zip(x, y, strict=True):
        ls.cross_entropy(net(part), target, weight, normalizer=normalizer).backward()
    torch.testing.assert_close(net.weight.grad, big_batch(weight))


def test_a_mean_of_means_is_another_number():
    """What the normalizer is for: without it the parts' means are not the mean."""
    x, y = data()
    net = model()
    parts = [i for i in range(4) if (y[i] >= 0).any()]
    for i in parts:
        (ls.cross_entropy(net(x[i]), y[i]) / len(parts)).backward()
    assert not torch.allclose(net.weight.grad, big_batch(), rtol=1e-2)


def ddp():
    """Two accumulation steps on each of two ranks."""
    x, y = (t[2 * dist.get_rank() : 2 * dist.get_rank() + 2] for t in data())
    net = DistributedDataParallel(model())
    normalizer = ls.parallel.global_normalizer(list(y))
    with net.no_sync():
        ls.cross_entropy(net(x[0]), y[0], normalizer=normalizer).backward()
    ls.cross_entropy(net(x[1]), y[1], normalizer=normalizer).backward()
    return net.module.weight.grad


def ddp_in_one_call():
    """normalizer="global": one step, the count taken by the loss; rank 1 has all its targets ignored."""
    x, y = data()
    net = DistributedDataParallel(model())
    loss = ls.CrossEntropyLoss(normalizer="global")
    loss(net(x[1 + dist.get_rank()]), y[1 + dist.get_rank()]).backward()
    return net.module.weight.grad


def plain_sum():
    """A loop that sums the gradients itself."""
    x, y = data()
    net, own = model(), dist.get_rank()
    normalizer = ls.parallel.global_normalizer(y[own::2], gradients_averaged=False)
    ls.cross_entropy(net(x[own::2].flatten(0, 1)), y[own::2].flatten(), normalizer=normalizer).backward()
    dist.all_reduce(net.weight.grad)
    return net.weight.grad


def fsdp():
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    x, y = (t[2 * dist.get_rank() : 2 * dist.get_rank() + 2] for t in data())
    net = fully_shard(model(), mesh=init_device_mesh("cpu", (2,)))
    normalizer = ls.parallel.global_normalizer(y)
    ls.cross_entropy(net(x.flatten(0, 1)), y.flatten(), normalizer=normalizer).backward()
    return net.weight.grad.full_tensor()


def all_ways():
    return {way.__name__: way() for way in (ddp, plain_sum, fsdp, ddp_in_one_call)}


@pytest.fixture(scope="module")
def two_ranks():
    return on_ranks(2, all_ways)


@pytest.mark.parametrize("way", ["ddp", "plain_sum", "fsdp"])
def test_ranks(way, two_ranks):
    for gradients in two_ranks:
        torch.testing.assert_close(gradients[way], big_batch())


def test_a_rank_without_targets_neither_hangs_nor_gives_nan(two_ranks):
    x, y = data()
    net = model()
    ls.cross_entropy(net(x[1]), y[1]).backward()
    for gradients in two_ranks:
        torch.testing.assert_close(gradients["ddp_in_one_call"], net.weight.grad)


def test_nothing_counts_anywhere():
    assert ls.parallel.global_normalizer(torch.full((3,), -100)) == 1


def test_no_targets_are_an_error():
    with pytest.raises(ls.InputError, match="at least one target"):
        ls.parallel.global_normalizer([])


@pytest.mark.parametrize("ignore_index", [-100, 3])
def test_on_one_rank_the_global_mean_is_the_mean(ignore_index):
    """Weighted, and whatever is ignored, for the logits and for their layer."""
    x, y = data()
    x, y, w = x.flatten(0, 1), y.flatten().clamp(min=0), torch.linspace(0.5, 2, 5, dtype=F64)
    y[3], options = ignore_index, {"weight": w, "ignore_index": ignore_index}
    z = model()(x)
    torch.testing.assert_close(
        ls.cross_entropy(z, y, normalizer="global", **options), ls.cross_entropy(z, y, **options)
    )
    layer = model().weight
    mean = ls.linear_cross_entropy(x, layer, y, **options)
    torch.testing.assert_close(ls.linear_cross_entropy(x, layer, y, normalizer="global", **options), mean)

"""Classes shared out over ranks: the loss, the gradients and the statistics of one device, whatever the shards."""

import itertools

import pytest
import torch
import torch.distributed as dist
from tests.parallel.ranks import on_ranks

import losscope as ls

F64 = torch.float64
N, D, H = 7, 3, 11
INDEX_OPTIONS = [
    {},
    {"reduction": "sum", "z_loss": 0.1},
    {"reduction": "none", "softcap": 2.0},
    {"label_smoothing": 0.1},
    {"focal_gamma": 2.0},
    {"normalizer": 3.5, "z_loss": 0.1, "label_smoothing": 0.2, "softcap": 5.0},
    {"return_stats": True, "z_loss": 0.1},
]
SOFT_OPTIONS = [o for o in INDEX_OPTIONS if "focal_gamma" not in o]


def problem():
    g = torch.Generator().manual_seed(0)
    z, q = torch.randn(N, H, generator=g, dtype=F64) * 3, torch.rand(N, H, generator=g, dtype=F64).softmax(1)
    x, w, b = (torch.randn(*s, generator=g, dtype=F64) for s in ((N, D), (H, D), (H,)))
    y = torch.tensor([0, 10, 4, -100, 7, 3, 3])
    z[0, 2] = z[1, 9] = -torch.inf  # masks, on different ranks
    z[3] = torch.nan  # an ignored row may hold anything
    return z, q, x, w, b, y, torch.linspace(0.5, 2, H, dtype=F64)


def cases():
    z, q, *_, y, weight = problem()
    for options, cw in itertools.product(INDEX_OPTIONS, (None, weight)):
        yield z, y, cw, options
    for options, cw in itertools.product(SOFT_OPTIONS, (None, weight)):
        yield z.nan_to_num(0.5, neginf=-torch.inf), q.masked_fill(z.isneginf(), 0), cw, options


def flat(result, *gradients):
    """The loss, the gradients and any statistics, as a list of tensors."""
    loss, stats = result if isinstance(result, tuple) else (result, ())
    return [loss.detach(), *gradients, *(s.to(F64) for s in stats)]


def one(z, target, weight, options):
    z = z.clone().requires_grad_()
    result = ls.cross_entropy(z, target, weight, **options)
    loss = result[0] if isinstance(result, tuple) else result
    return flat(result, *torch.autograd.grad(loss, z, upstream(loss)))


def upstream(loss):
    return 1.5 + torch.arange(loss.numel(), dtype=F64).view_as(loss)


def shards(sizes):
    own = dist.get_rank()
    return slice(sum(sizes[:own]), sum(sizes[: own + 1]))


def sharded(sizes):
    """Every case on this rank's shard; the gradient is of the shard's columns."""
    part, out = shards(sizes), []
    for z, target, weight, options in cases():
        mine = z[:, part].clone().requires_grad_()
        theirs = target[:, part] if target.is_floating_point() else target
        result = ls.cross_entropy(mine, theirs, weight, **options, group=dist.group.WORLD)
        loss = result[0] if isinstance(result, tuple) else result
        out.append(flat(result, *torch.autograd.grad(loss, mine, upstream(loss))))
    return out


def all_on_two_ranks():
    """One start of the processes for everything that two ranks can show."""
    return {
        (6, 5): sharded((6, 5)),
        (1, 10): sharded((1, 10)),
        "linear": linear((6, 5), False),
        "sequence_parallel": linear((6, 5), True),
        "dtensors": dtensors(),
        "refusals": refusals(),
    }


@pytest.fixture(scope="module")
def two_ranks():
    return on_ranks(2, all_on_two_ranks)


@pytest.mark.parametrize("sizes", [(6, 5), (1, 10), (4, 0, 6, 1)], ids=str)
def test_every_option_equals_one_device(sizes, two_ranks):
    ranks = [rank[sizes] for rank in two_ranks] if len(sizes) == 2 else on_ranks(len(sizes), sharded, sizes)
    for number, case in enumerate(cases()):
        loss, gradient, *stats = one(*case)
        for result in ranks:
            torch.testing.assert_close(result[number][0], loss, msg=str(case[3]))
            for got, want in zip(result[number][2:], stats, strict=True):
                torch.testing.assert_close(got, want)
        whole = torch.cat([result[number][1] for result in ranks], 1)
        torch.testing.assert_close(whole, gradient, msg=str(case[3]))


def linear(sizes, sequence_parallel):
    _, _, x, w, b, y, weight = problem()
    part, group = shards(sizes), dist.group.WORLD
    w, b = w[part].clone().requires_grad_(), b[part].clone().requires_grad_()
    rows = slice(0, 2) if dist.get_rank() == 0 else slice(2, N)
    x = (x[rows] if sequence_parallel else x).clone().requires_grad_()
    whole = ls.parallel.gather_rows(x, group) if sequence_parallel else x
    loss = ls.linear_cross_entropy(
        whole, w, y, linear_bias=b, weight=weight, label_smoothing=0.1, z_loss=0.1, group=group
    )
    return [loss.detach(), *torch.autograd.grad(loss, (x, w, b), torch.tensor(2.0, dtype=F64))]


@pytest.mark.parametrize("sequence_parallel", [False, True])
def test_linear_equals_one_device(sequence_parallel, two_ranks):
    _, _, *layer, y, weight = problem()
    x, w, b = (t.clone().requires_grad_() for t in layer)
    loss = ls.linear_cross_entropy(x, w, y, linear_bias=b, weight=weight, label_smoothing=0.1, z_loss=0.1)
    dx, dw, db = torch.autograd.grad(loss, (x, w, b), torch.tensor(2.0, dtype=F64))
    ranks = [rank["sequence_parallel" if sequence_parallel else "linear"] for rank in two_ranks]
    for result in ranks:
        torch.testing.assert_close(result[0], loss.detach())
    got = torch.cat([r[1] for r in ranks]) if sequence_parallel else ranks[1][1]
    torch.testing.assert_close(got, dx)
    torch.testing.assert_close(torch.cat([r[2] for r in ranks]), dw)
    torch.testing.assert_close(torch.cat([r[3] for r in ranks]), db)


def dtensors():
    """The same calls with DTensors, which say themselves how they are sharded."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    z, q, x, w, _, y, weight = problem()
    mesh = init_device_mesh("cpu", (2,))
    z = distribute_tensor(z.nan_to_num(0, neginf=-torch.inf), mesh, [Shard(1)]).requires_grad_()
    y_same = distribute_tensor(y, mesh, [Replicate()])
    loss = ls.cross_entropy(z, y_same, weight, label_smoothing=0.1)
    (dz,) = torch.autograd.grad(loss, z)
    soft = ls.cross_entropy(z.detach(), distribute_tensor(q.masked_fill(q > 1, 0), mesh, [Shard(1)]), softcap=4.0)
    x = distribute_tensor(x, mesh, [Shard(0)]).requires_grad_()
    w = distribute_tensor(w, mesh, [Shard(0)]).requires_grad_()
    linear = ls.linear_cross_entropy(x, w, distribute_tensor(y, mesh, [Shard(0)]))
    dx, dw = torch.autograd.grad(linear, (x, w))
    return [t.detach() for t in (loss, dz.full_tensor(), soft, linear, dx.full_tensor(), dw.full_tensor())]


def test_dtensors(two_ranks):
    z, q, x, w, _, y, weight = problem()
    z = z.nan_to_num(0, neginf=-torch.inf).requires_grad_()
    loss = ls.cross_entropy(z, y, weight, label_smoothing=0.1)
    soft = ls.cross_entropy(z.detach(), q, softcap=4.0)
    x, w = x.requires_grad_(), w.requires_grad_()
    linear = ls.linear_cross_entropy(x, w, y)
    wanted = [loss, *torch.autograd.grad(loss, z), soft, linear, *torch.autograd.grad(linear, (x, w))]
    for rank in two_ranks:
        for got, want in zip(rank["dtensors"], wanted, strict=True):
            torch.testing.assert_close(got, want.detach())


def refusals():
    """The errors of the edge are the same on all ranks, so that none waits for another."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    z, _, x, w, _, y, weight = problem()
    mine, group, told = z[:, shards((6, 5))], dist.group.WORLD, []
    calls = [
        lambda: ls.cross_entropy(mine, y + 5, group=group),
        lambda: ls.cross_entropy(mine, y, weight[:5], group=group),
        lambda: ls.cross_entropy(distribute_tensor(z, init_device_mesh("cpu", (2,)), [Shard(0)]), y),
        lambda: ls.linear_cross_entropy(x, w[shards((6, 5))], y, filter_eps=1e-3, group=group),
        lambda: ls.linear_cross_entropy(x, w[shards((6, 5))], y, recompute=True, group=group),
    ]
    for call in calls:
        try:
            call()
        except ls.InputError as error:
            told.append(str(error))
    leaf = mine.nan_to_num(0).clone().requires_grad_()
    (first,) = torch.autograd.grad(ls.cross_entropy(leaf, y, group=group), leaf, create_graph=True)
    try:
        first.sum().backward()
    except RuntimeError as error:
        told.append(str(error))
    return told


def test_bad_input_and_second_derivatives_are_refused_on_every_rank(two_ranks):
    for told in (rank["refusals"] for rank in two_ranks):
        assert len(told) == 6
        assert "0…10" in told[0]
        assert "(11,)" in told[1]
        assert "Shard(1)" in told[2]
        assert "filter_eps with all classes on one rank" in told[3]
        assert "recompute with all classes on one rank" in told[4]
        assert "once_differentiable" in told[5]


def dies():
    if dist.get_rank() == 1:
        raise SystemExit("this rank dies")
    z, *_, y, _ = problem()
    ls.cross_entropy(z[:, :6], y, group=dist.group.WORLD)


def test_a_rank_that_dies_ends_the_others():
    with pytest.raises(Exception, match=r"terminated|Connection|timed out|exit"):
        on_ranks(2, dies, timeout=10)

"""Healthy models by the hundred, quickly made: none of them is told an error or a warning.

The labels are drawn from the probabilities (or know nothing of an untrained model), so that nothing is wrong; classes,
sizes, stages, dtypes, forms of target, masks, weights and shapes are drawn by a seed.
"""

import pytest
import torch
import torch.nn.functional as F
from tests.lint.samples import alarms, generator, one_hot

import losscope as ls

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
STAGES = {"untrained": 0.0, "half": 1.0, "well": 4.0, "over": 15.0}


class Draw:
    """Choices by a seed."""

    def __init__(self, seed):
        self.g = generator(seed)

    def one(self, *choices):
        return choices[int(torch.randint(len(choices), (1,), generator=self.g))]

    def normal(self, *shape):
        return torch.randn(*shape, generator=self.g)

    def uniform(self, *shape):
        return torch.rand(*shape, generator=self.g)


def outputs(draw, n, h, *shape):
    """Logits and labels of a model at some stage, and the step that may be told."""
    stage = draw.one(*STAGES)
    offset = draw.normal(h).view(1, h, *[1] * len(shape))
    if stage == "untrained":
        z = draw.one(0.02, 0.1, 0.3) * draw.normal(n, h, *shape) + draw.one(0, 0.1, 0.3) * offset
        f = (draw.one(0, 1, 2) * draw.normal(h)).softmax(0)
        y = torch.multinomial(f, z[:, 0].numel(), True, generator=draw.g).view(n, *shape)
        return z, y, draw.one(None, 0)
    z = STAGES[stage] * draw.normal(n, h, *shape) + draw.one(0, 0.5, 2) * offset
    p = z.movedim(1, -1).softmax(-1).reshape(-1, h)
    return z, torch.multinomial(p, 1, generator=draw.g).view(n, *shape), draw.one(None, 20, 1000)


def plain(draw, n, h, dtype):
    z, y, step = outputs(draw, n, h)
    return z.to(dtype), y, draw.one("cross_entropy", torch.nn.CrossEntropyLoss(label_smoothing=0.1)), step


def nll(draw, n, h, dtype):
    z, y, step = outputs(draw, n, h)
    return z.log_softmax(1).to(dtype), y, draw.one("nll_loss", "cross_entropy"), step


def one_hot_floats(draw, n, h, dtype):
    z, y, step = outputs(draw, n, h)
    return z.to(dtype), one_hot(y, h).to(dtype), "cross_entropy", step


def soft(draw, n, h, dtype):
    z, y, step = outputs(draw, n, h)
    share = draw.uniform(n, 1)
    mixed = share * one_hot(y, h) + (1 - share) * one_hot(y.roll(1), h)
    return z.to(dtype), draw.one(mixed, (z / 2).softmax(1)).to(dtype), "cross_entropy", step


def masked(draw, n, h, dtype):
    z, y, step = outputs(draw, n, h)
    closed = (draw.uniform(n, h) < 0.5) & ~one_hot(y, h).bool()
    return z.masked_fill(closed, draw.one(-torch.inf, -1e4)).to(dtype), y, "cross_entropy", step


def weighted(draw, n, h, dtype):
    z, y, step = outputs(draw, n, h)
    return z.to(dtype), y, ls.CrossEntropyLoss(draw.uniform(h) + 0.1), step


def ignored(draw, n, h, dtype):
    z, y, step = outputs(draw, n, h)
    y = y.where(draw.uniform(n) < 0.6, -100)
    y[0] = 0
    return z.to(dtype), y, "cross_entropy", step


def sequence(draw, n, h, dtype):
    h = min(h, 100)
    z, y, step = outputs(draw, min(n, 50), h, draw.one(9, 30, h if h < 40 else 9))
    return z.to(dtype), y, "cross_entropy", step


def image(draw, n, h, dtype):
    z, y, step = outputs(draw, min(n, 20), min(h, 10), 6, 7)
    return z.to(dtype), y, "cross_entropy", step


def binary(draw, n, h, dtype, loss="bce_with_logits"):
    labels = draw.one(1, 2, 5, 12, 40)
    strength = draw.one(0, 1, 4, 10)
    if strength == 0:
        z = draw.one(0.02, 0.1, 0.3) * draw.normal(n, labels) + draw.one(0, 0.1, 0.3) * draw.normal(labels)
        m = (draw.uniform(n, labels) < draw.uniform(labels)).float()
    else:
        z = strength * draw.normal(n, labels) + draw.one(0, 1, 2) * draw.normal(labels) - draw.one(0, 0, 2, 4)
        m = torch.bernoulli(z.sigmoid(), generator=draw.g)
    return z.to(dtype), m.to(dtype), loss, None


def positive_weight(draw, n, h, dtype):
    z, m, _, step = binary(draw, n, h, dtype)
    return z, m, torch.nn.BCEWithLogitsLoss(pos_weight=5 * draw.uniform(z.shape[1])), step


def probabilities(draw, n, h, dtype):
    z, m, _, step = binary(draw, n, h, torch.float32)
    return z.sigmoid().to(dtype), m.to(dtype), "bce", step


def values(draw, n, h, dtype):
    return draw.normal(n, 1).to(dtype), draw.normal(n, 1).to(dtype), draw.one("mse", torch.nn.MSELoss()), None


KINDS = (plain, nll, one_hot_floats, soft, masked, weighted, ignored, sequence, image, binary, positive_weight)


@pytest.mark.parametrize("kind", [*KINDS, probabilities, values], ids=lambda kind: kind.__name__)
def test_no_alarm_on_healthy_models(kind):
    told = []
    for seed in range(60):
        draw = Draw(seed)
        n, h = draw.one(8, 12, 30, 100, 400), draw.one(2, 3, 10, 100, 1000)
        dtype = draw.one(*DTYPES)
        z, y, loss, step = kind(draw, n, h, dtype)
        told += [(seed, rule) for rule in alarms(z, y, loss, step=step)]
    assert told == []


@pytest.mark.parametrize("bias", [0.0, 0.3])
def test_small_networks_before_and_while_they_train(bias):
    """Real gradients: a network on a task that it learns, linted at every stage with every size of batch."""
    told = []
    for seed in range(8):
        torch.manual_seed(seed)
        x = torch.randn(400, 6)
        y = (x @ torch.randn(6, 3)).argmax(1)
        net = torch.nn.Sequential(torch.nn.Linear(6, 24), torch.nn.ReLU(), torch.nn.Linear(24, 3))
        torch.nn.init.constant_(net[2].bias, bias)
        optimizer = torch.optim.Adam(net.parameters(), 1e-2)
        for step in range(120):
            z = net(x)
            if step in (0, 1, 3, 10, 30, 100):
                for n in (8, 32, 400):
                    told += alarms(z[:n], y[:n], "cross_entropy", step=step)
                    m = one_hot(y, 3)[:n]
                    told += alarms(z[:n].log_softmax(1), y[:n], "nll_loss", step=step)
                    told += alarms(z[:n], m, "bce_with_logits") if step == 0 else []
            optimizer.zero_grad()
            F.cross_entropy(z, y).backward()
            optimizer.step()
    assert told == []

"""The numbers of every chapter of the tutorial, from torch's own functions and from the formulas: no losscope here."""

import math

import torch
import torch.nn.functional as F

F64 = torch.float64


def outputs(v):
    return torch.tensor([v["z₀"], v["z₁"], v["z₂"]], dtype=F64)


def options(v):
    """γ and ε; together they are refused, and the page goes on with neither."""
    return (0.0, 0.0) if v["γ"] and v["ε"] else (v["γ"], v["ε"])


def categorical(z, y, gamma=0.0, epsilon=0.0, w=None):
    """Σ_h w_h q_h (1 − ŷ_h)^γ (−ln ŷ_h) of each row."""
    p = torch.softmax(z, -1)
    q = (1 - epsilon) * F.one_hot(y, z.shape[-1]) + epsilon / z.shape[-1]
    w = torch.ones(z.shape[-1], dtype=z.dtype) if w is None else w
    return (w * q * (1 - p) ** gamma * -p.log()).sum(-1)


def binary(z, m, gamma=0.0, epsilon=0.0):
    """(1 − p_t)^γ of the binary cross-entropy, whose targets are smoothed towards 1/2."""
    m = (1 - epsilon) * m + epsilon / 2
    p = torch.sigmoid(z)
    miss = (1 - torch.where(m == 1, p, 1 - p)) ** gamma if gamma else 1
    return miss * F.binary_cross_entropy(p, m, reduction="none")


def slope(function, z):
    leaf = z.clone().requires_grad_()
    return torch.autograd.grad(function(leaf), leaf)[0]


def raw(v):
    z = outputs(v)
    return {
        "ŷ by softmax": torch.softmax(z, 0),
        "Σ ŷ by softmax": 1.0,
        "ŷ by sigmoid": torch.sigmoid(z),
        "values": z,
        "values, from logarithms": z.exp(),
    }


def links(v):
    z = outputs(v) / v["T"]
    return {
        "σ(z/T), each on its own": torch.sigmoid(z),
        "softmax of (0, z₀/T)": torch.stack([torch.sigmoid(-z[0]), torch.sigmoid(z[0])]),
        "softmax(z/T)": torch.softmax(z, 0),
        "Σ softmax": 1.0,
        "entropy (nats)": torch.distributions.Categorical(logits=z).entropy(),
        "ln Σ e^(z/T)": z.exp().sum().log(),
    }


def batches(v):
    z = torch.tensor([[1, 10], [2, -2], [2, 2], [0, 2], [4.5, 5], [v["z₅₀"], v["z₅₁"]]], dtype=F64)
    p = torch.softmax(z, int(v["dim"][0]))
    return {"ŷ of sample 5": p[5], "Σ_h ŷ of each sample": p.sum(1), "Σ_i ŷ of each class": p.sum(0)}


def targets(v):
    z = torch.tensor([[2, 0.5, -1, 0], [0, 1, 1.5, -0.5], [-1, 0, 0.5, 3]], dtype=F64)
    y = torch.tensor([v["y₀"], 2, 3])
    t = F.one_hot(y, 4).double()
    if v["form"] == "index y":
        return {"target of sample 0": y[0], "L_mean (nats)": F.cross_entropy(z, y)}
    if v["form"] == "multi-hot m":
        names = ["cat", "dog", "bird", "fish"]
        given = torch.tensor([[float(n in v["labels"]) for n in names], [0, 1, 1, 0], [0] * 4], dtype=F64)
        loss = F.binary_cross_entropy_with_logits(z, given)
    else:
        epsilon = v["ε of q"] if v["form"] == "soft q" else 0.0
        given = (1 - epsilon) * t + epsilon / 4
        loss = F.cross_entropy(z, y, label_smoothing=epsilon)
    return {"target of sample 0": given[0], "Σ_h of each row": given.sum(1), "L_mean (nats)": loss}


def stability(v):
    dtype = getattr(torch, v["precision"])
    z = torch.tensor([0, v["z"]], dtype=F64)
    paper = z.to(dtype)
    return {
        "1. ln(softmax z)": (paper.exp() / paper.exp().sum()).log(),
        "2. z − ln Σ e^z": paper - paper.exp().sum().log(),
        "3. ls.log_softmax(z)": torch.log_softmax(z, 0).to(dtype),
        "ln Σ e^z, as on paper": paper.exp().sum().log(),
        "ls.logsumexp(z)": torch.logsumexp(z, 0).to(dtype),
        "ln σ(−z), as on paper": ((-paper[1]).exp() / (1 + (-paper[1]).exp())).log(),
        "ls.log_sigmoid(−z)": F.logsigmoid(-z[1]).to(dtype),
    }


def nll(v):
    z, y = outputs(v), v["y"]
    loss = F.cross_entropy(z, torch.tensor(y))
    return {
        "s = ln ŷ (nats)": torch.log_softmax(z, 0),
        "ŷ": torch.softmax(z, 0),
        "ℓ = −s_y": loss,
        "−Σ_h t_h s_h": loss,
        "e^−ℓ = ŷ_y": torch.softmax(z, 0)[y],
    }


def cross_entropy(v):
    z, y, (gamma, epsilon) = outputs(v) / v["T"], torch.tensor(v["y"]), options(v)
    others = torch.tensor([[2, 0.5, -1], [-1, 1, 0.5], [0, 1, -0.5]], dtype=F64) / v["T"]
    batch, truth = torch.cat([z.unsqueeze(0), others]), torch.tensor([v["y"], 0, 1, 2])
    w = torch.tensor([v["w₀"], v["w₁"], v["w₂"]], dtype=F64)
    counts = torch.tensor([float(f"sample {i}" not in v["ignored"]) for i in range(4)], dtype=F64)
    each = counts * categorical(batch, truth, gamma, epsilon, w)
    return {
        "ℓ (nats)": categorical(z, y, gamma, epsilon),
        "nll of log-softmax, no options": F.cross_entropy(z, y),
        "chance, ln H": math.log(3),
        "ŷ": torch.softmax(z, 0),
        "ŷ − q": slope(lambda z: F.cross_entropy(z, y, label_smoothing=epsilon), z),
        "∂ℓ/∂(z/T), by autograd": slope(lambda z: categorical(z, y, gamma, epsilon), z),
        "v": counts.long(),
        "w_y": w[truth],
        "v ℓ (nats)": each,
        "L_sum (nats)": each.sum(),
        "Σ v w_y": (counts * w[truth]).sum(),
        "L_mean (nats)": each.sum() / (counts * w[truth]).sum(),
        "L_mean where all count alike": categorical(batch, truth, gamma, epsilon).mean(),
    }


def multi_label(v):
    z, (gamma, epsilon) = outputs(v), options(v)
    m = torch.tensor([float(f"label {h}" in v["m"]) for h in range(3)], dtype=F64)
    return {
        "ŷ": torch.sigmoid(z),
        "m, smoothed by ε": (1 - epsilon) * m + epsilon / 2,
        "ℓ of each label (nats)": binary(z, m, gamma, epsilon),
        "L_mean (nats)": binary(z, m, gamma, epsilon).mean(),
        "∂L/∂z": slope(lambda z: binary(z, m, gamma, epsilon).mean(), z),
        "(ŷ − m)/H": slope(lambda z: binary(z, m, 0.0, epsilon).mean(), z),
        "d": z > 0,
    }


def regression(v):
    y = 10.0 ** torch.tensor([v["log₁₀ y₀"], v["log₁₀ y₁"]], dtype=F64)
    squared, relative = (y * (v["ratio"] - 1)) ** 2, torch.full((2,), math.log(v["ratio"]) ** 2, dtype=F64)
    return {
        "y": y,
        "ŷ": y * v["ratio"],
        "squared error": squared,
        "its share of the sum": squared / squared.sum(),
        "squared log error (nats²)": relative,
        "its share of the sum ": relative / relative.sum(),
    }


def choosing(v):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        value, decision = CHOSEN[v["target"]](v)
    return {"loss(z, …)": value, "d": decision}


RARE, NOISY, VOID = "some classes are rare", "some labels are wrong", "some targets must not count"
ALL, MANY = torch.tensor([0, 2, 1, 2]), torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]])


def _extras(v):
    """γ and ε of the answers, and how many of four samples count."""
    return 2.0 * v[RARE], 0.1 * (v[NOISY] and not v[RARE]), 4 - v[VOID]


def _index(v):
    z, (gamma, epsilon, n) = torch.randn(4, 3).double(), _extras(v)
    return categorical(z[:n], ALL[:n], gamma, epsilon).mean(), z.argmax(1)


def _soft(v):
    z, q = torch.randn(4, 3), torch.softmax(torch.randn(4, 3), 1)
    return F.cross_entropy(z, q, label_smoothing=0.1 * v[NOISY]), z.argmax(1)


def _labels(m):
    def of(v):
        z, (gamma, epsilon, n) = torch.randn(m.shape).double(), _extras(v)
        return binary(z[:n], m[:n].double(), gamma, epsilon).mean(), z > 0

    return of


def _value(v):
    z, y = torch.randn(4, 1), torch.randn(4, 1)
    return ((z - y) ** 2).mean(), z


def _ratio(v):
    z = torch.randn(4, 1)
    return ((z - torch.tensor([[1.0], [10], [100], [1000]]).log()) ** 2).mean(), z.exp()


def _given(v):
    s, n = torch.log_softmax(torch.randn(4, 3), 1), 4 - v[VOID]
    return F.nll_loss(s[:n], ALL[:n]), s.argmax(1)


def _probabilities(v):
    p = torch.rand(4, 3)
    return F.binary_cross_entropy(p, MANY), p > 0.5


CHOSEN = {
    "one of H classes": _index,
    "a distribution over H classes": _soft,
    "yes or no": _labels(torch.tensor([[1.0], [0], [0], [1]])),
    "any subset of H labels": _labels(MANY),
    "a value": _value,
    "a positive value, where ratios matter": _ratio,
    "one of H classes, log-probabilities given": _given,
    "labels, only probabilities given": _probabilities,
}
MISTAKEN = {
    "softmax-before-cross-entropy": lambda z: torch.softmax(z, 1),
    "softmax-over-wrong-dim": lambda z: torch.softmax(z, 0),
}


def wrong(v):
    generator = torch.Generator().manual_seed(0)
    z = 2 * torch.randn(256, 5, generator=generator)
    y = torch.multinomial(torch.softmax(z, 1), 1, generator=generator).squeeze(1)
    given = MISTAKEN[v["rule"]] if v["wrong"] else (lambda z: z)
    gradient = slope(lambda z: F.cross_entropy(given(z), y), z.double())
    return {"L_mean": F.cross_entropy(given(z.double()), y), "mean ‖∂L/∂z_i‖": gradient.norm(dim=1).mean()}


CHAPTERS = {
    "raw": raw,
    "links": links,
    "batches": batches,
    "targets": targets,
    "stability": stability,
    "nll": nll,
    "cross-entropy": cross_entropy,
    "multi-label": multi_label,
    "regression": regression,
    "choosing": choosing,
    "wrong": wrong,
}

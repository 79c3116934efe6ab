"""Unbroken runs: nothing here may be called an error or a warning."""

from collections.abc import Callable, Iterator

import torch
from tests.zoo import data, models
from tests.zoo.case import DTYPES, SIZES, Case, part, parts
from tests.zoo.models import STAGES, Outputs, Trained
from torch import Tensor, nn

import losscope as ls
from losscope.linting import History

FAMILIES: list[Callable[[], Iterator[Case]]] = []


def family(make: Callable[[], Iterator[Case]]) -> Callable[[], Iterator[Case]]:
    FAMILIES.append(make)
    return make


def cases() -> Iterator[Case]:
    """All of them."""
    for make in FAMILIES:
        yield from make()


def outputs_of(*trained: Callable[[], Trained]) -> Iterator[Outputs]:
    """At every stage, on the samples trained on and on the others."""
    for make in trained:
        for stage in STAGES:
            yield make().train[stage]
            yield make().held_out[stage]


def step_of(o: Outputs) -> dict[str, object]:
    return {"step": 0} if "untrained" in o.name else {"step": 100}


@family
def plain() -> Iterator[Case]:
    """Cross-entropy of raw outputs in every dtype and for every N."""
    for o in outputs_of(*models.CLASSIFIERS, models.imbalanced, models.pixels, models.ink, models.vocabulary):
        for p in parts(o):
            for dtype in DTYPES:
                yield Case(o.name, p.z.to(dtype), p.y, nn.CrossEntropyLoss(), step_of(o))
        yield Case(o.name, o.z.double(), o.y, ls.CrossEntropyLoss())


@family
def sequences() -> Iterator[Case]:
    """Sequences, also with as many positions as classes; padding that is ignored."""
    for o in outputs_of(models.letters):
        for p in parts(o, (8, 32, None)):
            for dtype in DTYPES:
                yield Case(o.name, p.z.to(dtype), p.y, nn.CrossEntropyLoss(), step_of(o))
        yield Case(f"{o.name}, flattened", o.z.movedim(1, 2).flatten(0, 1), o.y.flatten(), ls.CrossEntropyLoss())
    for o in outputs_of(models.spelling):
        for p in parts(o, (8, 32, None)):
            for dtype in DTYPES:
                yield Case(o.name, p.z.to(dtype), p.y, nn.CrossEntropyLoss(ignore_index=0), step_of(o))
        y = o.y.masked_fill(o.y == 0, -100)
        yield Case(f"{o.name}, padded with -100", o.z, y, nn.CrossEntropyLoss())
        yield Case(f"{o.name}, flattened", o.z.movedim(1, 2).flatten(0, 1), y.flatten(), nn.CrossEntropyLoss())


@family
def log_probabilities() -> Iterator[Case]:
    """nll_loss of log_softmax, taken in the dtype or rounded to it."""
    for o in outputs_of(models.iris, models.cancer, models.digits, models.vocabulary, models.letters):
        for p in parts(o, (8, 32, None)):
            for dtype in DTYPES:
                yield Case(f"{o.name}, log_softmax", p.z.log_softmax(1).to(dtype), p.y, nn.NLLLoss(), step_of(o))
                yield Case(f"{o.name}, log_softmax in it", p.z.to(dtype).log_softmax(1), p.y, ls.NLLLoss())


@family
def binary() -> Iterator[Case]:
    """Labels each on its own, as raw outputs and as probabilities."""
    for o in outputs_of(models.labels, models.cancer_binary):
        for p in parts(o):
            for dtype in DTYPES:
                z = p.z.to(dtype)
                yield Case(o.name, z, p.y.to(dtype), nn.BCEWithLogitsLoss(), step_of(o))
                yield Case(f"{o.name}, smoothed", z, p.y.to(dtype), ls.BCEWithLogitsLoss(label_smoothing=0.1))
                if not (z.sigmoid() == 1 - p.y).any():  # sure and wrong: saturated in truth
                    yield Case(f"{o.name}, sigmoid", z.sigmoid(), p.y.to(dtype), nn.BCELoss(), step_of(o))
                yield Case(f"{o.name}, 0.1 and 0.9", z, 0.1 + 0.8 * p.y.to(dtype), nn.BCEWithLogitsLoss())
    for o in outputs_of(models.cancer_binary):
        for p in parts(o):
            yield Case(f"{o.name}, one dimension", p.z.squeeze(1), p.y.squeeze(1), nn.BCEWithLogitsLoss())
    for o in outputs_of(models.labels):
        yield Case(f"{o.name}, pos_weight", o.z, o.y, nn.BCEWithLogitsLoss(pos_weight=torch.full((7,), 3.0)))
        yield Case(f"{o.name}, weight", o.z, o.y, nn.BCEWithLogitsLoss(torch.linspace(0, 2, 7)))
        y = o.y.masked_fill(torch.rand(o.y.shape, generator=torch.Generator().manual_seed(1)) < 0.2, -1)
        yield Case(f"{o.name}, a fifth ignored", o.z, y, ls.BCEWithLogitsLoss(ignore_index=-1))
        yield Case(f"{o.name}, focal", o.z, o.y, ls.BCEWithLogitsLoss(focal_gamma=2.0))


@family
def one_of_many_as_labels() -> Iterator[Case]:
    """Ten labels of which one is true, each on its own: every label is rare."""
    for o in outputs_of(models.digits):
        for p in parts(o):
            yield Case(f"{o.name}, one-hot labels", p.z, ls.one_hot(p.y, 10), nn.BCEWithLogitsLoss())


@family
def soft_targets() -> Iterator[Case]:
    """One-hot floats, mixed pairs, smoothed ones, and a teacher's probabilities."""
    for o in outputs_of(models.iris, models.digits, models.vocabulary):
        for p in parts(o, (8, 32, None)):
            h = p.z.shape[1]
            hot = ls.one_hot(p.y, h)
            mixed = 0.7 * hot + 0.3 * hot.roll(1, 0)
            teacher = (p.z + torch.randn(p.z.shape, generator=torch.Generator().manual_seed(2))).softmax(1)
            for name, q in (("one-hot", hot), ("mixed", mixed), ("smooth", 0.9 * hot + 0.1 / h), ("teacher", teacher)):
                for dtype in DTYPES:
                    yield Case(f"{o.name}, {name}", p.z.to(dtype), q.to(dtype), nn.CrossEntropyLoss())


@family
def options() -> Iterator[Case]:
    """Smoothing, class weights, ignored samples, other reductions, focal, z-loss and softcap."""
    for o in outputs_of(models.wine, models.digits, models.imbalanced):
        for p in parts(o, (16, None)):
            h = p.z.shape[1]
            weight = torch.linspace(0.5, 2, h)
            some_ignored = torch.where(torch.arange(len(p.y)) % 5 == 0, -100, p.y)
            yield Case(f"{o.name}, smoothing", p.z, p.y, nn.CrossEntropyLoss(label_smoothing=0.1), step_of(o))
            yield Case(f"{o.name}, weight", p.z, p.y, nn.CrossEntropyLoss(weight), step_of(o))
            if (p.y != 0).any():
                yield Case(f"{o.name}, a weight of 0", p.z, p.y, nn.CrossEntropyLoss(weight - 0.5), step_of(o))
            yield Case(f"{o.name}, ignored", p.z, some_ignored, nn.CrossEntropyLoss())
            if (p.y != 1).any():
                yield Case(f"{o.name}, ignored 1", p.z, p.y, nn.CrossEntropyLoss(ignore_index=1))
            yield Case(f"{o.name}, ignored, nll", p.z.log_softmax(1), some_ignored, nn.NLLLoss())
            yield Case(f"{o.name}, sum", p.z, p.y, nn.CrossEntropyLoss(reduction="sum"), step_of(o))
            yield Case(f"{o.name}, none", p.z, p.y, ls.CrossEntropyLoss(reduction="none"))
            yield Case(f"{o.name}, focal", p.z, p.y, ls.CrossEntropyLoss(focal_gamma=2.0), step_of(o))
            yield Case(f"{o.name}, z-loss", p.z, p.y, ls.CrossEntropyLoss(z_loss=1e-4, softcap=30.0), step_of(o))
            yield Case(f"{o.name}, small integers", p.z, p.y.to(torch.uint8), ls.CrossEntropyLoss())


@family
def masks() -> Iterator[Case]:
    """−inf where a class cannot be; never the true one."""
    for o in outputs_of(models.digits, models.vocabulary, models.letters):
        drawn = torch.rand(o.z.shape, generator=torch.Generator().manual_seed(5)) < 0.3
        z = o.z.masked_fill(drawn.scatter(1, o.y.unsqueeze(1), False), -torch.inf)
        for p in parts(Outputs(o.name, z, o.y)):
            for dtype in DTYPES:
                yield Case(f"{o.name}, masked", p.z.to(dtype), p.y, nn.CrossEntropyLoss())
            yield Case(f"{o.name}, masked, nll", p.z.log_softmax(1), p.y, nn.NLLLoss())
        kept = min(len(o.z), 64)
        for_ignored = z[:kept].clone()
        for_ignored[::4] = -torch.inf
        ignored = o.y[:kept].clone()
        ignored[::4] = -100
        yield Case(f"{o.name}, ignored rows all masked", for_ignored, ignored, ls.CrossEntropyLoss())


@family
def one_class_at_a_time() -> Iterator[Case]:
    """A file sorted by class: a batch in which one class is all there is, or nearly so."""
    for o in outputs_of(models.iris, models.digits, models.imbalanced):
        order = o.y.argsort(stable=True)
        for n in (8, 32):
            yield Case(f"{o.name}, sorted", o.z[order][:n], o.y[order][:n], nn.CrossEntropyLoss())
        yield Case(f"{o.name}, sorted", o.z[order], o.y[order], nn.CrossEntropyLoss())


@family
def untrained_heads() -> Iterator[Case]:
    """Last layers as they are initialised, H from 2 to 1000, and one initialised to zero."""
    x, y = data.table("digits")
    for h in (2, 3, 5, 10, 50, 100, 300, 1000):
        for seed in range(3 if h < 50 else 1):
            with torch.random.fork_rng(), torch.no_grad():
                torch.manual_seed(seed)
                z = models.perceptron(64, h)(x[:500])
            target = (y + 10 * torch.arange(len(y)))[:500] % h
            for n in SIZES:
                p = part(Outputs("", z, target), n, seed)
                for dtype in DTYPES:
                    yield Case(f"untrained, H={h}", p.z.to(dtype), p.y, nn.CrossEntropyLoss(), {"step": 0})
        for n in (8, 256):
            yield Case(f"zero head, H={h}", torch.zeros(n, h), target[:n], nn.CrossEntropyLoss(), {"step": 0})


@family
def small_positive_outputs() -> Iterator[Case]:
    """Outputs that happen to be between 0 and 1, as of an untrained head with a bias, or of cosines."""
    x, m = data.labels_of_digits()
    directions = torch.randn(64, 10, generator=torch.Generator().manual_seed(6))
    cosines = nn.functional.normalize(x, dim=1) @ nn.functional.normalize(directions, dim=0)
    y = data.table("digits")[1]
    for n in (8, 16, 32, 500):
        yield Case("cosines", cosines[:n], y[:n], nn.CrossEntropyLoss())
        yield Case("cosines of positive features", cosines.abs()[:n], y[:n], nn.CrossEntropyLoss())
        yield Case("outputs about 0.5", 0.5 + 0.1 * cosines[:n, :7], m[:n], nn.BCEWithLogitsLoss())


@family
def accumulated() -> Iterator[Case]:
    """Micro-batches that count alike, or unlike with the divisor given."""
    o = models.digits().train["well"]
    equal, unequal = History((32.0, 32.0, 32.0)), History((3.0, 30.0), normalizer=True)
    yield Case("equal counts", o.z[:32], o.y[:32], nn.CrossEntropyLoss(), {"history": equal, "step": 5})
    yield Case("a divisor", o.z[:30], o.y[:30], ls.CrossEntropyLoss(normalizer=33.0), {"history": unequal, "step": 5})
    yield Case("a sum", o.z[:30], o.y[:30], nn.CrossEntropyLoss(reduction="sum"), {"history": History((3.0, 30.0))})


@family
def held_out() -> Iterator[Case]:
    """Said to be held out; models that are as sure as they are right."""
    for make in (
        models.iris,
        models.wine,
        models.digits,
        models.digits_conv,
        models.pixels,
        models.ink,
        models.letters,
    ):
        for stage in ("untrained", "half"):
            for p in parts(make().held_out[stage]):
                yield Case(p.name, p.z, p.y, nn.CrossEntropyLoss(), {"held_out": True})


@family
def values() -> Iterator[Case]:
    """Regression: a linear fit of one iris measure to the others."""
    x, _ = data.table("iris")
    fit: Tensor = torch.linalg.lstsq(x[:, :3], x[:, 3:]).solution
    yield Case("iris, a value", x[:, :3] @ fit, x[:, 3:], nn.MSELoss())
    yield Case("iris, a value each", (x[:, :3] @ fit).squeeze(1), x[:, 3], nn.MSELoss())
    yield Case("iris, ln of a value", x[:, :3] @ fit, x[:, 3:].exp(), ls.MSLELoss())

"""Runs broken in one way each; the rule of that name must be found."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from tests.zoo import data, models
from tests.zoo.case import DTYPES, SIZES, Case, part, parts
from tests.zoo.models import Outputs, Trained
from torch import Tensor, nn

import losscope as ls
from losscope.linting import History

Maker = Callable[[], Iterator[Case]]
MISTAKES: dict[str, Maker] = {}


def breaks(rule: str) -> Callable[[Maker], Maker]:
    """Make the function below it the mistake of this name."""

    def register(make: Maker) -> Maker:
        def named() -> Iterator[Case]:
            for c in make():
                yield replace(c, rule=rule)

        MISTAKES[rule] = named
        return make

    return register


def cases() -> Iterator[Case]:
    """All of them."""
    for make in MISTAKES.values():
        yield from make()


def outputs_of(
    *trained: Callable[[], Trained], stages: tuple[str, ...] = ("untrained", "half", "well"), held_out: bool = True
) -> Iterator[Outputs]:
    for make in trained:
        for stage in stages:
            yield make().held_out[stage] if held_out else make().train[stage]


def in_each_dtype(outputs: Iterator[Outputs], sizes: tuple[int | None, ...] = SIZES) -> Iterator[Outputs]:
    """Of each size, in each precision."""
    for o in outputs:
        for p in parts(o, sizes):
            for dtype in DTYPES:
                yield Outputs(o.name, p.z.to(dtype), p.y)


# ------------------------------------------------------------------------------------------- activations


@breaks("softmax-before-cross-entropy")
def softmax_in_the_model() -> Iterator[Case]:
    every = (*models.CLASSIFIERS, models.imbalanced, models.vocabulary, models.pixels, models.letters)
    for p in in_each_dtype(outputs_of(*every, stages=("untrained", "half", "well", "over"))):
        yield Case(f"{p.name}, softmax", p.z.softmax(1), p.y, nn.CrossEntropyLoss())
    for p in in_each_dtype(outputs_of(models.iris, models.digits)):
        wide = Outputs(p.name, p.z.float().softmax(1).to(p.z.dtype).float(), p.y)
        yield Case(f"{p.name}, softmax, kept as float32", wide.z, p.y, ls.CrossEntropyLoss())
    yield from _trained_with_softmax()


def _trained_with_softmax() -> Iterator[Case]:
    """The model itself ends in a softmax and was trained so."""
    x, y = data.table("wine")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(models.perceptron(13, 3), nn.Softmax(1))
        trained = models.fit("wine, softmax in the model", model, x, y)
    for p in in_each_dtype(outputs_of(lambda: trained)):
        yield Case(p.name, p.z, p.y, nn.CrossEntropyLoss())


@breaks("log-softmax-before-cross-entropy")
def log_softmax_in_the_model() -> Iterator[Case]:
    for p in in_each_dtype(outputs_of(*models.CLASSIFIERS, models.vocabulary, models.letters)):
        yield Case(f"{p.name}, log_softmax", p.z.log_softmax(1), p.y, nn.CrossEntropyLoss())


@breaks("sigmoid-before-bce-with-logits")
def sigmoid_in_the_model() -> Iterator[Case]:
    for p in in_each_dtype(outputs_of(models.labels, models.cancer_binary, stages=("half", "well", "over"))):
        hard = "a single output of so few samples" if p.z.numel() < 32 else ""
        yield Case(f"{p.name}, sigmoid", p.z.sigmoid(), p.y.to(p.z.dtype), nn.BCEWithLogitsLoss(), hard=hard)
    for p in in_each_dtype(outputs_of(models.digits, stages=("half", "well"))):
        m = ls.one_hot(p.y, 10, dtype=p.z.dtype)
        yield Case(f"{p.name}, one-hot labels, sigmoid", p.z.sigmoid(), m, ls.BCEWithLogitsLoss())


@breaks("not-log-probabilities")
def nll_of_something_else() -> Iterator[Case]:
    for p in in_each_dtype(outputs_of(*models.CLASSIFIERS, models.vocabulary)):
        yield Case(f"{p.name}, raw", p.z, p.y, nn.NLLLoss())
        yield Case(f"{p.name}, softmax", p.z.softmax(1), p.y, ls.NLLLoss())


@breaks("probabilities-out-of-range")
def bce_of_raw_outputs() -> Iterator[Case]:
    for p in in_each_dtype(outputs_of(models.labels, models.cancer_binary)):
        yield Case(f"{p.name}, raw", p.z, p.y.to(p.z.dtype), nn.BCELoss())


@breaks("softmax-over-wrong-dim")
def softmax_over_the_samples() -> Iterator[Case]:
    for p in in_each_dtype(outputs_of(*models.CLASSIFIERS)):
        yield Case(f"{p.name}, softmax(0)", p.z.softmax(0), p.y, nn.CrossEntropyLoss())
        yield Case(f"{p.name}, log_softmax(0)", p.z.log_softmax(0), p.y, nn.NLLLoss())
    for p in in_each_dtype(outputs_of(models.letters), (8, None)):
        yield Case(f"{p.name}, softmax(-1)", p.z.softmax(-1), p.y, nn.CrossEntropyLoss())


@breaks("single-output-softmax")
def softmax_of_one_output() -> Iterator[Case]:
    for p in in_each_dtype(outputs_of(models.cancer_binary)):
        yield Case(f"{p.name}, BCE", p.z.softmax(1), p.y.to(p.z.dtype), nn.BCELoss())
        yield Case(f"{p.name}, cross-entropy", p.z, p.y.squeeze(1).long(), nn.CrossEntropyLoss())


@breaks("decision-not-output")
def decisions() -> Iterator[Case]:
    for p in in_each_dtype(outputs_of(*models.CLASSIFIERS, stages=("half", "well"))):
        h, kind = p.z.shape[1], p.z.dtype
        hot = nn.functional.one_hot(p.z.argmax(1), h).to(kind)
        yield Case(f"{p.name}, one-hot argmax", hot, p.y, nn.CrossEntropyLoss())
        yield Case(f"{p.name}, argmax", p.z.argmax(1).to(kind), p.y, nn.CrossEntropyLoss())
    for p in in_each_dtype(outputs_of(models.labels, models.cancer_binary, stages=("half", "well"))):
        d, m = (p.z > 0).to(p.z.dtype), p.y.to(p.z.dtype)
        yield Case(f"{p.name}, z > 0", d, m, nn.BCEWithLogitsLoss())
        hard = "saturated probabilities that are all right look alike" if bool((d == m).all()) else ""
        yield Case(f"{p.name}, z > 0, BCE", d, m, nn.BCELoss(), hard=hard)


# ------------------------------------------------------------------------------------------------ targets


@breaks("class-dim-last")
def classes_last() -> Iterator[Case]:
    for p in in_each_dtype(outputs_of(models.letters, models.pixels, models.spelling), (8, 32, None)):
        ignore = nn.CrossEntropyLoss(ignore_index=0) if "spelling" in p.name else nn.CrossEntropyLoss()
        if p.z.shape[1] != p.z.shape[2] or "untrained" not in p.name:  # untrained, both readings are as good
            hard = "half trained, and few positions" if "half" in p.name and p.y.numel() < 500 else ""
            yield Case(f"{p.name}, classes last", p.z.movedim(1, -1), p.y, ignore, hard=hard)


@breaks("target-out-of-range")
def targets_out_of_range() -> Iterator[Case]:
    for p in in_each_dtype(outputs_of(*models.CLASSIFIERS, models.pixels)):
        h = p.z.shape[1]
        if int(p.y.max()) == h - 1:
            yield Case(f"{p.name}, from 1", p.z, p.y + 1, nn.CrossEntropyLoss())
        for void in (255, -1):
            y = p.y.clone()
            y.flatten()[::5] = void
            yield Case(f"{p.name}, void {void}", p.z, y, nn.CrossEntropyLoss())


@breaks("target-dtype")
def target_dtypes() -> Iterator[Case]:
    for p in in_each_dtype(outputs_of(*models.CLASSIFIERS)):
        hot = nn.functional.one_hot(p.y, p.z.shape[1])
        yield Case(f"{p.name}, float index", p.z, p.y.float(), nn.CrossEntropyLoss())
        yield Case(f"{p.name}, integer one-hot", p.z, hot, nn.CrossEntropyLoss())
    for p in in_each_dtype(outputs_of(models.labels)):
        yield Case(f"{p.name}, integer labels", p.z, p.y.long(), nn.BCEWithLogitsLoss())


@breaks("target-shape")
def target_shapes() -> Iterator[Case]:
    for p in in_each_dtype(outputs_of(*models.CLASSIFIERS)):
        yield Case(f"{p.name}, (N, 1)", p.z, p.y.unsqueeze(1), nn.CrossEntropyLoss())
        yield Case(f"{p.name}, one short", p.z, p.y[1:], nn.CrossEntropyLoss())
    for p in in_each_dtype(outputs_of(models.labels)):
        yield Case(f"{p.name}, one label short", p.z, p.y[:, 1:].to(p.z.dtype), nn.BCEWithLogitsLoss())


@breaks("multi-hot-target-for-cross-entropy")
def multi_hot() -> Iterator[Case]:
    for p in in_each_dtype(outputs_of(models.labels)):
        yield Case(f"{p.name}, cross-entropy", p.z, p.y.to(p.z.dtype), nn.CrossEntropyLoss())


@breaks("target-not-a-distribution")
def not_a_distribution() -> Iterator[Case]:
    for p in in_each_dtype(outputs_of(models.iris, models.digits)):
        hot = ls.one_hot(p.y, p.z.shape[1])
        mixed = 0.7 * hot + 0.3 * hot.roll(1, 0)
        unlike = (torch.arange(1, len(hot) + 1) / len(hot)).unsqueeze(1)
        for name, q in (
            ("smoothed upwards", hot + 0.1),
            ("a class left out", mixed[:, 1:]),
            ("weighed", unlike * mixed),
        ):
            z = p.z[:, 1:] if q.shape[1] < p.z.shape[1] else p.z
            if not torch.allclose(q.sum(1), torch.ones(len(q))):  # the class left out is in no small part
                yield Case(f"{p.name}, {name}", z, q.to(z.dtype), nn.CrossEntropyLoss())


@breaks("target-outside-unit-interval")
def plus_and_minus_one() -> Iterator[Case]:
    for p in in_each_dtype(outputs_of(models.labels, models.cancer_binary)):
        yield Case(f"{p.name}, ±1", p.z, (2 * p.y - 1).to(p.z.dtype), nn.BCEWithLogitsLoss())
        yield Case(f"{p.name}, to 255", p.z, (255 * p.y).to(p.z.dtype), nn.BCEWithLogitsLoss())


@breaks("broadcast-target")
def broadcast() -> Iterator[Case]:
    for p in in_each_dtype(outputs_of(models.cancer_binary)):
        y = p.y.to(p.z.dtype)
        yield Case(f"{p.name}, target (N,)", p.z, y.squeeze(1), nn.BCEWithLogitsLoss())
        yield Case(f"{p.name}, target (N, 1)", p.z.squeeze(1), y, nn.BCEWithLogitsLoss())
        yield Case(f"{p.name}, a value", p.z, y.squeeze(1), nn.MSELoss())


@breaks("masked-target")
def the_true_class_masked() -> Iterator[Case]:
    for p in in_each_dtype(outputs_of(*models.CLASSIFIERS, models.letters)):
        z = p.z.clone()
        z[::7] = z[::7].scatter(1, p.y[::7].unsqueeze(1), -torch.inf)
        yield Case(f"{p.name}, true class masked", z, p.y, nn.CrossEntropyLoss())


@breaks("fully-masked-row")
def rows_masked() -> Iterator[Case]:
    for p in in_each_dtype(outputs_of(*models.CLASSIFIERS)):
        z = p.z.clone()
        z[::7] = -torch.inf
        yield Case(f"{p.name}, rows masked", z, p.y, nn.CrossEntropyLoss())


# --------------------------------------------------------------------------------------------- what counts


@breaks("weight-length")
def weight_lengths() -> Iterator[Case]:
    for p in in_each_dtype(outputs_of(*models.CLASSIFIERS)):
        for h in (p.z.shape[1] - 1, p.z.shape[1] + 1):
            yield Case(f"{p.name}, {h} weights", p.z, p.y, nn.CrossEntropyLoss(torch.ones(h, dtype=p.z.dtype)))
    for p in in_each_dtype(outputs_of(models.labels)):
        loss = nn.BCEWithLogitsLoss(pos_weight=torch.ones(6, dtype=p.z.dtype))
        yield Case(f"{p.name}, 6 pos_weights", p.z, p.y.to(p.z.dtype), loss)


@breaks("nothing-counts")
def nothing_counts() -> Iterator[Case]:
    for p in in_each_dtype(outputs_of(models.iris, models.digits, models.letters)):
        yield Case(f"{p.name}, all ignored", p.z, torch.full_like(p.y, -100), nn.CrossEntropyLoss())
        yield Case(f"{p.name}, empty", p.z[:0], p.y[:0], nn.CrossEntropyLoss())
        zero = torch.zeros(p.z.shape[1], dtype=p.z.dtype)
        yield Case(f"{p.name}, weights 0", p.z, p.y, nn.CrossEntropyLoss(zero))


@breaks("padding-counted")
def padding_counted() -> Iterator[Case]:
    for p in in_each_dtype(outputs_of(models.spelling, held_out=False)):
        yield Case(f"{p.name}, padding counts", p.z, p.y, nn.CrossEntropyLoss())
        last = p.y.masked_fill(p.y == 0, 28) - 1
        yield Case(f"{p.name}, the last id pads", p.z.roll(-1, 1), last, nn.CrossEntropyLoss())


@breaks("weighted-mean")
def weighted_means() -> Iterator[Case]:
    for p in in_each_dtype(outputs_of(models.iris, models.digits, models.imbalanced), (1, *SIZES)):
        weight = torch.linspace(0.5, 2, p.z.shape[1], dtype=p.z.dtype)
        yield Case(f"{p.name}, weighted", p.z, p.y, nn.CrossEntropyLoss(weight))


@breaks("unequal-valid-counts")
def unequal_counts() -> Iterator[Case]:
    for p in in_each_dtype(outputs_of(models.spelling)):
        history = History((float((p.y != 0).sum()), 900.0, 350.0))
        yield Case(f"{p.name}, unequal", p.z, p.y, nn.CrossEntropyLoss(ignore_index=0), {"history": history, "step": 3})


@breaks("class-imbalance")
def imbalance() -> Iterator[Case]:
    x, y = data.table("digits")
    rare = torch.cat([(y == 7).nonzero()[:20], (y != 7).nonzero()]).squeeze(1)
    rare = rare[torch.randperm(len(rare), generator=torch.Generator().manual_seed(0))]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        trained = models.fit("a rare 7", models.perceptron(64, 2), x[rare], (y[rare] == 7).long())
    for p in in_each_dtype(outputs_of(lambda: trained, held_out=False), (None,)):
        yield Case(p.name, p.z, p.y, nn.CrossEntropyLoss())


# ------------------------------------------------------------------------------------------ finite numbers


@breaks("non-finite-output")
def not_finite() -> Iterator[Case]:
    for p in in_each_dtype(outputs_of(models.iris, models.digits, models.labels, models.letters)):
        binary = p.y.is_floating_point()
        y = p.y.to(p.z.dtype) if binary else p.y
        for bad in (torch.nan, torch.inf):
            z = p.z.clone()
            z[3, 1] = bad
            yield Case(f"{p.name}, a {bad}", z, y, nn.BCEWithLogitsLoss() if binary else nn.CrossEntropyLoss())


@breaks("low-precision-overflow")
def near_the_range() -> Iterator[Case]:
    for o in outputs_of(models.iris, models.digits):
        for p in parts(o):
            z = (p.z / p.z.abs().max() * 60000).half()
            yield Case(f"{p.name}, up to 60000", z, p.y, nn.CrossEntropyLoss())


@breaks("saturated-output")
def saturated() -> Iterator[Case]:
    for o in outputs_of(models.labels, models.cancer_binary, stages=("well",)):
        for p in parts(o):
            for dtype in DTYPES:
                shift = torch.where(torch.arange(len(p.y)) % 4 == 0, -1.0, 1.0).unsqueeze(1)
                sure = ((2 * p.y - 1) * shift * 200).to(dtype).sigmoid()  # a quarter sure of the wrong answer
                soft = p.z.sigmoid().to(dtype)
                wrong = shift.expand_as(sure) < 0
                yield Case(f"{o.name}, saturated", torch.where(wrong, sure, soft), p.y.to(dtype), nn.BCELoss())


# ------------------------------------------------------------------------------------------------ learning


@breaks("initial-loss")
def bad_initialisation() -> Iterator[Case]:
    x, y = data.table("digits")
    for h in (2, 10, 100):
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(0)
            head = models.perceptron(64, h)
            head[2].weight *= 100
            wild = head(x)
            biased = models.perceptron(64, h)(x) + torch.eye(h)[0] * 15
        for name, z in (("head a hundred times too large", wild), ("a bias of 15", biased)):
            for p in in_each_dtype(iter([Outputs(f"{name}, H={h}", z, (y + torch.arange(len(y))) % h)])):
                yield Case(p.name, p.z, p.y, nn.CrossEntropyLoss(), {"step": 0})


@breaks("constant-output")
def dead_layer() -> Iterator[Case]:
    """The bias alone reaches the output."""
    for p in in_each_dtype(outputs_of(*models.CLASSIFIERS, models.cancer_binary, stages=("half", "well"))):
        binary = p.y.is_floating_point()
        loss = nn.BCEWithLogitsLoss() if binary else nn.CrossEntropyLoss()
        y = p.y.to(p.z.dtype) if binary else p.y
        yield Case(f"{p.name}, dead", p.z.float().mean(0).to(p.z.dtype).expand_as(p.z), y, loss, {"step": 100})


@breaks("majority-collapse")
def one_answer() -> Iterator[Case]:
    """Inputs of another scale than those trained on; and labels that the inputs say nothing of."""
    for name, inputs, classes in (("iris", 4, 3), ("wine", 13, 3), ("breast_cancer", 30, 2), ("digits", 64, 10)):
        x, y = data.table(name)
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(0)
            model = models.perceptron(inputs, classes)
            with torch.enable_grad():
                models.fit(name, model, x, y, steps=(10, 20, 200))
            for n in SIZES[2:]:
                p = part(Outputs(f"{name}, inputs shifted by 20", model(x + 20), y), n)
                for dtype in DTYPES:
                    yield Case(p.name, p.z.to(dtype), p.y, nn.CrossEntropyLoss(), {"step": 500})
    x, y = data.table("digits")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x = x[torch.randperm(len(x))]
        shuffled = models.fit("is it a 7, inputs shuffled", models.perceptron(64, 2), x, (y == 7).long(), rate=1e-3)
    for p in in_each_dtype(iter([shuffled.held_out["well"]]), (None,)):
        yield Case(p.name, p.z, p.y, nn.CrossEntropyLoss(), {"step": 120})


@breaks("overconfident")
def overconfident() -> Iterator[Case]:
    for p in in_each_dtype(outputs_of(models.memorised, stages=("well", "over")), (300, None)):
        yield Case(p.name, p.z, p.y, nn.CrossEntropyLoss(), {"held_out": True})


@breaks("label-noise")
def noisy_labels() -> Iterator[Case]:
    asked = {"held_out": True, "select": ["label-noise"]}
    for p in in_each_dtype(outputs_of(models.digits, models.digits_conv, stages=("well",)), (None,)):
        y, h = p.y.clone(), p.z.shape[1]
        y[::12] = (y[::12] + 1) % h
        yield Case(f"{p.name}, one label in twelve wrong", p.z, y, nn.CrossEntropyLoss(), asked)


@breaks("shifted-labels")
def shifted() -> Iterator[Case]:
    for p in in_each_dtype(outputs_of(models.letters, models.spelling, stages=("half", "well", "over")), (8, 32, None)):
        loss = nn.CrossEntropyLoss(ignore_index=0) if "spelling" in p.name else nn.CrossEntropyLoss()
        for shift in (1, -1):
            z, y = _shifted(p.z, p.y, shift)
            few = int((y != 0).sum()) < 500
            hard = "half trained: it knows little" if "half" in p.name else "few positions" if few else ""
            yield Case(f"{p.name}, shifted by {shift}", z, y, loss, hard=hard)


def _shifted(z: Tensor, y: Tensor, by: int) -> tuple[Tensor, Tensor]:
    """Each output beside the target ``by`` positions on."""
    return (z[..., :-1], y[:, 1:]) if by > 0 else (z[..., 1:], y[:, :-1])

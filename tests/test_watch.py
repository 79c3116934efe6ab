"""``watch`` in real training loops: each mistake is told within the first steps, and a healthy loop hears nothing."""

import copy
import gc
import io
import pickle
import warnings
import weakref

import pytest
import torch
import torch.nn.functional as F
from tests.parallel.ranks import on_ranks
from tests.zoo import data, models
from torch import nn

import losscope as ls
from losscope.watching import FindingWarning, Watch, WatchFunctions, unwatch, watch


def loop(model, loss, x, y, *, steps, batch=32, micro_batches=1, rate=1e-2, outputs=lambda z: z, autocast=None):
    """Train as people do: Adam, seeded minibatches, gradients added up over ``micro_batches``."""
    optimizer = torch.optim.Adam(model.parameters(), rate)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        optimizer.zero_grad()
        for _ in range(micro_batches):
            some = torch.randint(len(x), (batch,), generator=generator)
            with torch.autocast("cpu", autocast, enabled=autocast is not None):
                value = loss(outputs(model(x[some])), y[some])
            (value / micro_batches).backward()
        optimizer.step()


def rules_told(run, *, loss=None, **options):
    """The rules of the warnings that ``run`` gives with a watched loss."""
    found = []
    run(watch(nn.CrossEntropyLoss() if loss is None else loss, on_finding=found.append, **options))
    assert len({finding.rule for finding in found}) == len(found), "each rule is told once"
    return [finding.rule for finding in found]


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


# -------------------------------------------------------------------------------------- mistakes of a loop


def test_softmax_in_the_model():
    x, y = data.table("digits")
    model = nn.Sequential(models.perceptron(64, 10), nn.Softmax(1))
    assert "softmax-before-cross-entropy" in rules_told(lambda loss: loop(model, loss, x, y, steps=2))


def test_sigmoid_in_the_model():
    x, m = data.labels_of_digits()
    model = nn.Sequential(models.perceptron(64, 7), nn.Sigmoid())
    told = rules_told(lambda loss: loop(model, loss, x, m, steps=10), loss=nn.BCEWithLogitsLoss())
    assert "sigmoid-before-bce-with-logits" in told


def test_argmax_in_place_of_outputs():
    x, y = data.table("digits")
    model = models.perceptron(64, 10)

    def run(loss):
        with pytest.raises(RuntimeError, match="does not require grad"):  # what torch says of it, much later
            loop(model, loss, x, y, steps=1, outputs=lambda z: F.one_hot(z.argmax(1), 10).float())

    assert "decision-not-output" in rules_told(run)


def test_a_decision_in_place_of_outputs_with_a_gradient():
    """Rounding keeps the graph and gives the gradient 0, so nothing raises."""
    x, m = data.labels_of_digits()
    model = nn.Sequential(models.perceptron(64, 7), nn.Sigmoid())
    told = rules_told(lambda loss: loop(model, loss, x, m, steps=2, outputs=torch.round), loss=nn.BCELoss())
    assert "decision-not-output" in told


def test_missing_ignore_index():
    ids = data.sentences()
    model = models.NextToken(28)
    assert "padding-counted" in rules_told(lambda loss: loop(model, loss, ids[:, :-1], ids[:, 1:], steps=2))


def padded_batches(model, loss, *, lengths, steps=3):
    """Micro-batches of words of unlike length, each with its own mean."""
    ids = data.sentences()
    counts = (ids != data.PADDING).sum(1)
    groups = [ids[(counts >= low) & (counts <= high)] for low, high in lengths]
    optimizer = torch.optim.Adam(model.parameters())
    for step in range(steps):
        optimizer.zero_grad()
        for group in groups:
            batch = group[32 * step : 32 * step + 32]
            (loss(model(batch[:, :-1]), batch[:, 1:]) / len(groups)).backward()
        optimizer.step()


def test_accumulation_with_unequal_lengths():
    loss = nn.CrossEntropyLoss(ignore_index=0)
    told = rules_told(lambda loss: padded_batches(models.NextToken(28), loss, lengths=[(2, 4), (8, 12)]), loss=loss)
    assert "unequal-valid-counts" in told


def test_accumulation_with_equal_lengths():
    loss = nn.CrossEntropyLoss(ignore_index=0)
    told = rules_told(lambda loss: padded_batches(models.NextToken(28), loss, lengths=[(5, 5), (5, 5)]), loss=loss)
    assert "unequal-valid-counts" not in told


def test_unequal_lengths_with_the_divisor_given():
    counted = ls.CrossEntropyLoss(ignore_index=0, normalizer=200.0)
    told = rules_told(lambda loss: padded_batches(models.NextToken(28), loss, lengths=[(2, 4), (8, 12)]), loss=counted)
    assert "unequal-valid-counts" not in told


@pytest.mark.parametrize("zero", ["before", "between", "after"])
def test_steps_of_unequal_lengths_are_no_accumulation(zero):
    """The gradient is zeroed at each step, wherever the loop does that; also where no optimizer steps."""
    x, y = data.table("digits")
    model = models.perceptron(64, 10)

    def run(loss):
        for n in (8, 64, 16, 128, 8, 64):
            if zero == "before":
                model.zero_grad(set_to_none=False)
            value = loss(model(x[:n]), y[:n])
            if zero == "between":
                model.zero_grad()
            value.backward()
            if zero == "after":
                model.zero_grad()

    assert "unequal-valid-counts" not in rules_told(run)


def test_several_losses_in_one_backward_pass_are_no_accumulation():
    x, y = data.table("digits")
    model = models.perceptron(64, 10)

    def run(loss):
        for _ in range(4):
            model.zero_grad()
            (loss(model(x[:8]), y[:8]) + loss(model(x[:64]), y[:64])).backward()

    assert "unequal-valid-counts" not in rules_told(run)


def test_shifted_labels_while_fine_tuning():
    """A model that knows the language, in a loop whose labels stand one position too late."""
    ids = data.letters()
    model = models.NextToken(27)
    loop(model, nn.CrossEntropyLoss(), ids[:, :-1], ids[:, 1:], steps=120, batch=32)
    told = rules_told(lambda loss: loop(model, loss, ids[:, :-2], ids[:, 2:], steps=3, rate=1e-4), step=120)
    assert "shifted-labels" in told


def test_a_call_that_raises_is_told_with_its_remedy_and_still_raises():
    x, y = data.table("digits")
    model = models.perceptron(64, 10)
    loss = watch(nn.CrossEntropyLoss())
    loop(model, loss, x, y, steps=20)  # beyond the first calls, so that the next is not a call to look at
    with pytest.warns(FindingWarning, match="target-out-of-range") as told, pytest.raises(IndexError):
        loss(model(x), y + 1)
    assert told[0].filename == __file__
    assert told[0].message.finding.rule == "target-out-of-range"


def test_a_first_loss_far_from_chance():
    x, y = data.table("digits")
    model = models.perceptron(64, 10)
    with torch.no_grad():
        model[2].weight *= 100
    assert "initial-loss" in rules_told(lambda loss: loop(model, loss, x, y, steps=1))
    assert "initial-loss" not in rules_told(lambda loss: loop(model, loss, x, y, steps=1), step=500)


# ------------------------------------------------------------------------------------------ healthy loops


@pytest.mark.parametrize("autocast", [None, torch.bfloat16], ids=["float32", "autocast"])
@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss, ls.CrossEntropyLoss])
def test_a_classifier_is_trained_in_silence(loss, autocast):
    x, y = data.table("digits")
    loop(models.perceptron(64, 10), watch(loss(), every=20), x, y, steps=400, autocast=autocast)


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer"])
def test_small_classifiers_are_trained_in_silence(name):
    x, y = data.table(name)
    model = models.perceptron(x.shape[1], int(y.max()) + 1)
    loop(model, watch(nn.CrossEntropyLoss(), every=7), x, y, steps=300, batch=16, micro_batches=2)


def test_labels_are_trained_in_silence():
    x, m = data.labels_of_digits()
    loop(models.perceptron(64, 7), watch(nn.BCEWithLogitsLoss(), every=20), x, m, steps=300)


def test_an_imbalanced_classifier_is_trained_in_silence():
    x, y = data.table("digits")
    loop(models.perceptron(64, 2), watch(nn.CrossEntropyLoss(), every=20), x, (y == 7).long(), steps=300)


def test_a_sequence_model_is_trained_in_silence():
    ids = data.sentences()
    loss = watch(nn.CrossEntropyLoss(ignore_index=0), every=20)
    loop(models.NextToken(28), loss, ids[:, :-1], ids[:, 1:], steps=200, batch=64)


def test_a_segmentation_is_trained_in_silence():
    x, y = data.pixels()
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))
    loop(model, watch(nn.CrossEntropyLoss(), every=20), x, y, steps=200, batch=16)


def test_a_last_layer_that_starts_at_zero_is_trained_in_silence():
    x, y = data.table("digits")
    model = models.perceptron(64, 10)
    nn.init.zeros_(model[2].weight)
    nn.init.zeros_(model[2].bias)
    loop(model, watch(nn.CrossEntropyLoss(), every=20), x, y, steps=100, micro_batches=2)


def test_evaluation_between_steps():
    x, y = data.table("digits")
    model = models.perceptron(64, 10)
    loss = watch(nn.CrossEntropyLoss(), every=5)
    for _ in range(10):
        loop(model, loss, x[:1200], y[:1200], steps=20)
        with torch.inference_mode():
            loss(model(x[1200:]), y[1200:])


# ------------------------------------------------------------------------------ the module stays what it is


LOSSES = [
    lambda: nn.CrossEntropyLoss(torch.rand(5), label_smoothing=0.1),
    lambda: ls.CrossEntropyLoss(torch.rand(5), focal_gamma=2.0),
    nn.NLLLoss,
    lambda: ls.LinearCrossEntropyLoss(5, 4),
]


@pytest.mark.parametrize("make", LOSSES)
def test_the_module_is_itself(make):
    loss = make()
    before = (repr(loss), list(loss.state_dict()), type(loss), dict(loss.named_parameters()).keys())
    watched = watch(loss)
    assert watched is loss
    assert (repr(loss), list(loss.state_dict()), type(loss), dict(loss.named_parameters()).keys()) == before
    assert watched.eval().training is False
    assert watched.train().training is True
    assert unwatch(watched) is loss
    assert not loss._forward_hooks


def test_results_gradients_and_random_numbers_are_unchanged():
    x, y = data.table("digits")

    def run(loss):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Dropout(0.2), models.perceptron(64, 10))
        loop(model, loss, x, y, steps=12, micro_batches=2)
        return [*(p.detach() for p in model.parameters()), torch.get_rng_state()]

    for plain, watched in zip(run(nn.CrossEntropyLoss()), run(watch(nn.CrossEntropyLoss(), every=1)), strict=True):
        assert torch.equal(plain, watched)


@pytest.mark.parametrize("backward", [True, False])
def test_neither_outputs_nor_graph_are_kept(backward):
    x, y = data.table("digits")
    model, loss = models.perceptron(64, 10), watch(nn.CrossEntropyLoss())
    for _ in range(3):
        hidden = model[:2](x[:32])  # saved by the graph of z
        z = model[2](hidden)
        value = loss(z, y[:32])
        if backward:
            value.backward()
        kept = [weakref.ref(hidden), weakref.ref(z)]
        del hidden, z, value
        gc.collect()
        assert [one() for one in kept] == [None, None]


def test_a_watch_does_not_keep_its_module():
    loss = watch(nn.CrossEntropyLoss())
    gone = weakref.ref(loss)
    del loss
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), lambda m: saved(m)])
def test_a_copy_is_not_watched(duplicate):
    twin = duplicate(watch(nn.CrossEntropyLoss(), on_finding=lambda finding: pytest.fail("a copy told")))
    z = torch.eye(8).softmax(1)
    assert twin(z, torch.arange(8)) == F.cross_entropy(z, torch.arange(8))


def saved(module):
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def test_keyword_arguments():
    found = []
    loss = watch(nn.CrossEntropyLoss(), on_finding=found.append)
    loss(input=torch.eye(8).softmax(1), target=torch.arange(8))
    assert [f.rule for f in found] == ["softmax-before-cross-entropy"]


# ------------------------------------------------------------------------------------- when, and how it tells


def test_a_rule_is_told_once_on_the_line_that_called():
    loss = watch(nn.CrossEntropyLoss())
    z, y = torch.eye(8).softmax(1), torch.arange(8)
    with pytest.warns(FindingWarning) as told:
        loss(z, y)
    for _ in range(4):
        loss(z, y)  # a second warning would be an error
    assert [w.filename for w in told] == [__file__]
    text = str(told[0].message)
    assert "softmax-before-cross-entropy" in text
    assert "call 1 of this loss" in text
    assert issubclass(FindingWarning, ls.LosscopeWarning)


def test_a_warning_can_be_made_an_error():
    loss = watch(nn.CrossEntropyLoss())
    with warnings.catch_warnings():
        warnings.simplefilter("error", FindingWarning)
        with pytest.raises(FindingWarning):
            loss(torch.eye(8).softmax(1), torch.arange(8))


def test_what_is_only_worth_knowing_is_no_warning():
    z, y = torch.randn(8, 4).log_softmax(1), torch.arange(8) % 4
    watch(nn.CrossEntropyLoss())(z, y)  # a warning would be an error
    found = []
    watch(nn.CrossEntropyLoss(), on_finding=found.append)(z, y)
    assert [f.rule for f in found] == ["log-softmax-before-cross-entropy"]


def test_rules_can_be_chosen():
    z, y = torch.eye(8).softmax(1), torch.arange(8)
    watch(nn.CrossEntropyLoss(), ignore=["softmax-before-cross-entropy"])(z, y)
    watch(nn.CrossEntropyLoss(), select=["nothing-counts"])(z, y)


@pytest.mark.parametrize("make", [nn.CrossEntropyLoss, ls.CrossEntropyLoss])
@pytest.mark.parametrize(("every", "seen"), [(25, [25, 50, 75, 100]), (40, [40, 80])])
def test_the_first_calls_and_then_every_kth(every, seen, make):
    y = torch.arange(8)
    fine, wrong = torch.randn(8, 8), torch.eye(8).softmax(1)
    noticed = []
    for bad in (*range(1, 13), 24, 25, 26, 39, 40, 50, 75, 80, 99, 100):  # only this call is wrong
        found = []
        loss = watch(make(), every=every, on_finding=found.append)
        for call in range(1, bad + 1):
            loss(wrong if call == bad else fine, y)
        if "softmax-before-cross-entropy" in {f.rule for f in found}:
            noticed.append(bad)
    assert noticed == [*range(1, 11), *seen]


def test_watching_again_replaces_the_watch():
    first, second = [], []
    loss = watch(watch(nn.CrossEntropyLoss(), on_finding=first.append), on_finding=second.append)
    loss(torch.eye(8).softmax(1), torch.arange(8))
    assert (len(first), len(second)) == (0, 1)


@pytest.mark.parametrize(
    ("wrong", "options", "text"),
    [
        (nn.Linear(2, 2), {}, "watch: expected a loss"),
        (nn.CrossEntropyLoss, {}, "watch: expected a loss"),
        (F.cross_entropy, {}, "watch: expected a loss"),
        (nn.CrossEntropyLoss(), {"every": 0}, "every"),
        (nn.CrossEntropyLoss(), {"select": ["no-such-rule"]}, "no-such-rule"),
    ],
)
def test_what_cannot_be_watched(wrong, options, text):
    with pytest.raises(ls.InputError, match=text):
        watch(wrong, **options)


def test_a_check_that_breaks_does_not_break_the_training(monkeypatch):
    monkeypatch.setattr("losscope.watching.hook.lint", lambda *a, **k: 1 / 0)
    loss = watch(nn.CrossEntropyLoss())
    z, y = torch.randn(8, 3, requires_grad=True), torch.zeros(8, dtype=torch.long)
    with pytest.warns(ls.LosscopeWarning, match=r"could not check call 1 .*ZeroDivisionError"):
        loss(z, y).backward()
    loss(z, y).backward()  # said once: a second warning would be an error


# --------------------------------------------------------------------------- functions, graphs and transforms


def test_functions_are_seen_while_the_mode_is_on():
    found = []
    z, y = torch.randn(16, 4, requires_grad=True), torch.arange(16) % 4
    with WatchFunctions(Watch(on_finding=found.append)):
        expected = F.cross_entropy(z.softmax(1), y)
        F.nll_loss(z, y)
        with pytest.raises(IndexError):
            nn.CrossEntropyLoss()(z, y + 1)
    rules = {"softmax-before-cross-entropy", "not-log-probabilities", "target-out-of-range"}
    assert {f.rule for f in found} >= rules
    told = len(found)
    assert F.cross_entropy(z.softmax(1), y) == expected
    assert len(found) == told


# What torch's own tracer warns of is not ours.
_TRACED = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning:torch")


def compiled(step):
    """Traced as ``torch.compile`` does, in one graph, without the time of inductor's code."""
    torch._dynamo.reset()
    return torch.compile(step, backend="aot_eager", fullgraph=True)


@_TRACED
@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss, ls.CrossEntropyLoss])
def test_inside_a_compiled_graph(loss):
    x, y = data.table("digits")
    found = []
    model = models.perceptron(64, 10)
    loss = watch(loss(), every=20, on_finding=found.append)
    step = compiled(lambda x, y, softmax: loss(model(x).softmax(1) if softmax else model(x), y))
    for call in range(30):
        step(x[:32], y[:32], softmax=call >= 20)  # wrong from call 21 on
    assert not found
    for _ in range(10):
        step(x[:32], y[:32], softmax=True)  # call 40 is one to look at
    assert [f.rule for f in found] == ["softmax-before-cross-entropy"]


@_TRACED
def test_a_compiled_graph_has_the_same_gradients():
    x, y = data.table("digits")
    model = models.perceptron(64, 10)
    watched, plain = watch(nn.CrossEntropyLoss()), nn.CrossEntropyLoss()
    gradients = []
    for loss in (watched, plain):
        model.zero_grad()
        step = compiled(lambda x, y, loss=loss: loss(model(x), y))
        step(x[:32], y[:32]).backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.filterwarnings(r"ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_accumulation_after_a_compiled_model():
    torch._dynamo.reset()
    loss = nn.CrossEntropyLoss(ignore_index=0)
    model = models.NextToken(28)
    model.output = torch.compile(model.output, backend="eager")
    told = rules_told(lambda loss: padded_batches(model, loss, lengths=[(2, 4), (8, 12)]), loss=loss)
    assert "unequal-valid-counts" in told


def test_under_transforms_nothing_is_read():
    loss = watch(nn.CrossEntropyLoss())
    z, y = torch.randn(4, 8, 3), torch.zeros(4, 8, dtype=torch.long)
    assert torch.func.vmap(loss)(z, y).shape == (4,)
    assert torch.func.grad(loss)(z[0], y[0]).shape == (8, 3)
    with torch.device("meta"):
        assert loss(torch.empty(8, 3), torch.empty(8, dtype=torch.long)).is_meta


# ---------------------------------------------------------------------------------------------------- ranks


def _a_rank():
    """Train with DDP; whether this rank told the rule, where both ranks are wrong, the second is, and none is."""
    rank = torch.distributed.get_rank()
    x, y = torch.randn(192, 64), torch.arange(192) % 10
    model = nn.parallel.DistributedDataParallel(nn.Linear(64, 10))
    told = []
    for wrong in ((0, 1), (1,), ()):
        found = []
        loss = watch(nn.CrossEntropyLoss(), on_finding=found.append)
        for step in range(3):
            z = model(x[2 * step + rank :: 6])
            loss(z.softmax(1) if rank in wrong else z, y[2 * step + rank :: 6]).backward()
        told.append(sum(f.rule == "softmax-before-cross-entropy" for f in found))
    torch.distributed.barrier()
    return told


def test_ranks_tell_a_rule_once_between_them():
    first, second = on_ranks(2, _a_rank)
    assert [a + b for a, b in zip(first, second, strict=True)] == [1, 1, 0]
    assert second[1] == 1


def test_unequal_lengths_with_the_divisor_given_to_the_call():
    def run(loss):
        padded_batches(models.NextToken(28), lambda z, y: loss(z, y, normalizer=200.0), lengths=[(2, 4), (8, 12)])

    assert "unequal-valid-counts" not in rules_told(run, loss=ls.CrossEntropyLoss(ignore_index=0))


def test_after_a_check_that_broke_the_next_call_is_looked_at(monkeypatch):
    found = []
    loss = watch(nn.CrossEntropyLoss(), on_finding=found.append)
    z, y = torch.eye(8).softmax(1), torch.arange(8)
    with monkeypatch.context() as broken:
        broken.setattr("losscope.watching.hook.lint", lambda *a, **k: 1 / 0)
        with pytest.warns(ls.LosscopeWarning, match="could not check"):
            loss(z, y)
    loss(z, y)
    assert [f.rule for f in found] == ["softmax-before-cross-entropy"]


def test_functions_are_seen_with_their_options():
    found = []
    z, m = torch.randn(16, 4), torch.zeros(16, 4)
    with WatchFunctions(Watch(on_finding=found.append)):
        F.nll_loss(z.log_softmax(1), torch.full((16,), 9), ignore_index=9, reduction="sum")
        with pytest.raises(RuntimeError):
            F.binary_cross_entropy_with_logits(z, m, pos_weight=torch.ones(3))
    assert [f.rule for f in found] == ["nothing-counts", "weight-length"]


def test_a_function_without_a_gradient_is_no_first_step():
    found = []
    z, y = 100 * torch.randn(64, 10), torch.arange(64) % 10
    with WatchFunctions(Watch(on_finding=found.append)):
        F.cross_entropy(z, y)
    assert "initial-loss" not in [f.rule for f in found]


def test_a_loss_in_evaluation_mode_is_no_first_step():
    z = (100 * torch.randn(64, 10)).requires_grad_()
    assert "initial-loss" not in rules_told(lambda loss: loss.eval()(z, torch.arange(64) % 10))


def test_accumulation_with_unequal_numbers_of_labels():
    """Labels have a mark for what does not count, too."""
    x, m = data.labels_of_digits()
    model = models.perceptron(64, 7)

    def run(loss):
        for _ in range(3):
            model.zero_grad()
            for kept in (64, 8):
                some = m[:64].clone()
                some[kept:] = -1
                loss(model(x[:64]), some).backward()

    assert "unequal-valid-counts" in rules_told(run, loss=ls.BCEWithLogitsLoss(ignore_index=-1))


def test_every_kth_is_a_whole_number():
    with pytest.raises(ls.InputError, match="every"):
        watch(nn.CrossEntropyLoss(), every=2.5)


def test_what_gets_worse_is_told_again():
    """A masked row that is ignored is worth knowing, one that counts is a mistake."""
    z, y = torch.randn(16, 5), torch.arange(16) % 5
    z[0] = -torch.inf
    ignored = y.clone()
    ignored[0] = -100
    loss = watch(nn.CrossEntropyLoss())
    loss(z, ignored)
    with pytest.warns(FindingWarning, match="fully-masked-row"):
        loss(z, y)
    loss(z, y)

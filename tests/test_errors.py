"""Bad input: what was expected, what came and what to do, raised before any work."""

import numpy as np
import pytest
import torch

import losscope as ls

Z, Y = torch.zeros(4, 3), torch.tensor([0, 1, 2, 0])
M = torch.zeros(4, 3)
X, W = torch.zeros(4, 5), torch.zeros(3, 5)
NAN, INF = float("nan"), float("inf")
META = torch.device("meta")

ce, nll, linear = ls.cross_entropy, ls.nll_loss, ls.linear_cross_entropy
bce, bce_logits = ls.binary_cross_entropy, ls.binary_cross_entropy_with_logits
mse, msle = ls.mse_loss, ls.mean_squared_log_error
normalizer = ls.parallel.global_normalizer


def case(name, call, expected, got, fix):
    return pytest.param(call, expected, got, fix, id=name)


INDEX = [
    case("too large", lambda: ce(Z, torch.tensor([0, 1, 3, 7])), "0…2", "3 at (2,) (and 1 more", "number of classes"),
    case("negative", lambda: ce(Z, torch.tensor([0, -1, 2, 0])), "ignore_index=-100", "-1 at (1,)", "ignore_index=-1"),
    case("one-based", lambda: ce(Z, torch.tensor([1, 2, 3, 1])), "0…2", "3 at (2,)", "subtract 1"),
    case("in an image", lambda: ce(torch.zeros(1, 3, 2, 2), torch.tensor([[[0, 1], [9, 0]]])), "0…2", "(0, 1, 0)", ""),
    case("nll", lambda: nll(Z, torch.tensor([0, 1, 3, 0])), "0…2", "3 at (2,)", "number of classes"),
    case("linear", lambda: linear(X, W, torch.tensor([0, 1, 3, 0])), "0…2", "3 at (2,)", "number of classes"),
    case("255 in uint8", lambda: ce(Z, Y.to(torch.uint8) + 255), "0…2", "255 at (0,)", "ignore_index=255"),
    case("float index", lambda: ce(Z, Y.float()), "integer dtype", "float32 of shape (4,)", ".long()"),
    case("float index, nll", lambda: nll(Z, Y.float()), "integer dtype", "float32 of shape (4,)", ".long()"),
    case("integer one-hot", lambda: ce(Z, torch.eye(3)[Y].long()), "shape (4,)", "int64 of shape (4, 3)", ".to(input."),
    case("boolean index", lambda: ce(Z, Y.bool()), "class indices", "bool of shape (4,)", ".long()"),
    case("boolean one-hot", lambda: ce(Z, M.bool()), "class indices", "bool of shape (4, 3)", ".to(input.dtype)"),
    case("complex index", lambda: ce(Z, Y.to(torch.complex64)), "class indices", "complex64", ".real"),
    case("extra dimension", lambda: ce(Z, Y[:, None]), "shape (4,)", "int64 of shape (4, 1)", ".squeeze(1)"),
    case("batch mismatch", lambda: ce(Z, Y[:3]), "shape (4,)", "int64 of shape (3,)", "batch sizes differ"),
    case(
        "class dimension last",
        lambda: ce(torch.zeros(4, 7, 3), torch.zeros(4, 7).long()),
        "shape (4, 3)",
        "(4, 7)",
        "movedim(-1, 1)",
    ),
    case("soft target of another shape", lambda: ce(Z, torch.zeros(4, 2)), "(4,)", "float32 of shape (4, 2)", "shape"),
    case("soft target for nll", lambda: nll(Z, M), "shape (4,)", "float32 of shape (4, 3)", ""),
    case("soft target above 1", lambda: ce(Z, M + 2), "[0, 1]", "2 at (0, 0)", "probabilities"),
    case("soft target NaN", lambda: ce(Z, M * NAN), "[0, 1]", "nan at (0, 0)", "probabilities"),
    case("soft target of -1 and 1", lambda: ce(Z, M - 1), "[0, 1]", "-1 at (0, 0)", "±1"),
    case(
        "soft target and ignore_index", lambda: ce(Z, M, ignore_index=1), "no ignore_index", "ignore_index=1", "q = 0"
    ),
    case("no batch beside a batch", lambda: ce(torch.zeros(3), Y), "shape ()", "int64 of shape (4,)", ""),
    case("soft and ignore_index 0", lambda: ce(Z, M, ignore_index=0), "no ignore_index", "ignore_index=0", "q = 0"),
    case("one-based, one ignored", lambda: ce(Z, torch.tensor([1, 2, 3, -100])), "0…2", "3 at (2,)", "subtract 1"),
]

LOGITS = [
    case("integer dtype", lambda: ls.softmax(Z, dtype=torch.int64), "a floating dtype", "torch.int64", "leave it out"),
    case("no dim", lambda: ls.softmax(Z, None), "dim in -2…1", "None", "name one"),
    case("dims of a softmax", lambda: ls.log_softmax(Z, (0,)), "dim in -2…1", "(0,)", "name one"),
    case("no dim of a sum", lambda: ls.logsumexp(Z, None), "dim in -2…1", "None", "name one"),
    case("a dim twice", lambda: ls.logsumexp(Z, (0, -2)), "each dim once", "(0, -2)", "repeated"),
    case("a name as dim", lambda: ls.softmax(Z, "a"), "dim in -2…1", "'a'", "name one"),
    case("a float as dim", lambda: ls.log_softmax(Z, 1.0), "dim in -2…1", "1.0", "name one"),
    case("a truth value as dim", lambda: ls.softmax(Z, True), "dim in -2…1", "True", "name one"),
    case("a float as dim of a sum", lambda: ls.logsumexp(Z, 1.0), "dim in -2…1", "1.0", "name one"),
    case("a float among dims", lambda: ls.logsumexp(Z, (0, 1.0)), "dim in -2…1", "1.0", "name one"),
    case("a string as dtype", lambda: ls.softmax(Z, dtype="float32"), "a floating dtype", "'float32'", "leave it out"),
    case("complex and a dtype", lambda: ls.softmax(Z + 1j, dtype=torch.float32), "floating", "complex64", "real part"),
    case("integer layer", lambda: linear(X, W.long(), Y), "linear_weight of a floating dtype", "int64", ".float()"),
    case("list", lambda: ce([[0.0, 1.0]], Y[:1]), "input as a tensor", "a list", "torch.as_tensor"),
    case("numpy", lambda: ce(np.zeros((4, 3)), Y), "input as a tensor", "a ndarray", "torch.as_tensor"),
    case("none", lambda: ce(None, Y), "input as a tensor", "a NoneType", "torch.as_tensor"),
    case("numpy target", lambda: ce(Z, np.zeros(4)), "target as a tensor", "a ndarray", "torch.as_tensor"),
    case("list of labels", lambda: bce_logits(Z, [1.0]), "target as a tensor", "a list", "torch.as_tensor"),
    case("list weight", lambda: ce(Z, Y, [1.0, 1, 1]), "weight as a tensor", "a list", "torch.as_tensor"),
    case("integer", lambda: ce(Z.long(), Y), "floating", "int64 of shape (4, 3)", ".float()"),
    case("boolean", lambda: bce_logits(Z.bool(), M), "floating", "bool", ".float()"),
    case("complex", lambda: ce(Z.to(torch.complex64), Y), "floating", "complex64", "real part"),
    case(
        "0-d", lambda: ce(torch.tensor(1.0), torch.tensor(0)), "(N, H)", "float32 of shape ()", "binary_cross_entropy"
    ),
    case("no class", lambda: ce(torch.zeros(4, 0), Y), "at least one class", "shape (4, 0)", "last layer"),
    case("integer sigmoid", lambda: ls.sigmoid(Y), "floating", "int64", ".float()"),
    case("integer softmax", lambda: ls.softmax(Y), "floating", "int64", ".float()"),
    case("softmax dim", lambda: ls.softmax(Z, 2), "dim in -2…1", "2", ""),
    case("logsumexp dim", lambda: ls.logsumexp(Z, (0, 5)), "dim in -2…1", "5", ""),
    case("list sigmoid", lambda: ls.sigmoid([0.0]), "tensor", "a list", "torch.as_tensor"),
    case("target on another device", lambda: ce(Z, Y.to(META)), "target on cpu", "meta", ".to(input.device)"),
    case("soft target on another device", lambda: ce(Z, M.to(META)), "target on cpu", "meta", ".to(input.device)"),
    case("weight on another device", lambda: ce(Z, Y, torch.ones(3, device=META)), "weight on cpu", "meta", ".to("),
    case("labels on another device", lambda: bce_logits(Z, M.to(META)), "target on cpu", "meta", ".to("),
    case("layer on another device", lambda: linear(X, W.to(META), Y), "linear_weight on cpu", "meta", ".to("),
    case(
        "bias on another device",
        lambda: linear(X, W, Y, linear_bias=torch.zeros(3, device=META)),
        "linear_bias on cpu",
        "meta",
        ".to(",
    ),
    case("layer of another dtype", lambda: linear(X, W.double(), Y), "input's dtype", "float64", ".to("),
    case(
        "bias of another dtype",
        lambda: linear(X, W, Y, linear_bias=torch.zeros(3).double()),
        "input's dtype",
        "float64",
        ".to(",
    ),
    case("layer of another width", lambda: linear(X, W[:, :4], Y), "(N, D)", "(3, 4)", "nn.Linear"),
    case("layer's bias", lambda: linear(X, W, Y, linear_bias=torch.zeros(4)), "shape (3,)", "(4,)", "per output"),
]

ELEMENTWISE = [
    case(
        "broadcast labels", lambda: bce_logits(torch.zeros(4, 1), torch.zeros(4)), "shape (4, 1)", "(4,)", "unsqueeze"
    ),
    case("broadcast probabilities", lambda: bce(torch.zeros(4, 1), torch.zeros(4)), "shape (4, 1)", "(4,)", "squeeze"),
    case("broadcast values", lambda: mse(torch.zeros(4, 1), torch.zeros(4)), "shape (4, 1)", "(4,)", "broadcasting"),
    case(
        "broadcast log values", lambda: msle(torch.zeros(4, 1), torch.ones(4)), "shape (4, 1)", "(4,)", "broadcasting"
    ),
    case("integer labels", lambda: bce_logits(Z, M.long()), "floating", "integer: int64", ".to(input.dtype)"),
    case("boolean labels", lambda: bce_logits(Z, M.bool()), "floating", "boolean: bool", ".to(input.dtype)"),
    case("index for labels", lambda: bce_logits(Z, Y), "shape (4, 3)", "int64 of shape (4,)", ""),
    case("labels of -1", lambda: bce_logits(Z, M - 1), "[0, 1]", "-1 at (0, 0)", "±1"),
    case("label of 2", lambda: bce_logits(Z, M + 2), "[0, 1]", "2 at (0, 0)", "probabilities"),
    case("label NaN", lambda: bce_logits(Z, M * NAN), "[0, 1]", "nan at (0, 0)", ""),
    case(
        "logits as probabilities", lambda: bce(Z - 3, M), "probabilities as input in [0, 1]", "-3 at (0, 0)", "logits"
    ),
    case("probability NaN", lambda: bce(Z * NAN, M), "[0, 1]", "nan at (0, 0)", "logits"),
    case(
        "focal and a soft label", lambda: bce_logits(Z, M + 0.5, focal_gamma=2.0), "0 or 1", "0.5 at (0, 0)", "harden"
    ),
    case("log of 0", lambda: msle(Z, M), "above 0", "0 at (0, 0)", "mse_loss"),
    case("log of a negative", lambda: msle(Z, M - 2), "above 0", "-2 at (0, 0)", "mse_loss"),
    case("complex values", lambda: mse(Z, M.to(torch.complex64)), "target of a floating", "complex64", "real part"),
]

WEIGHTS = [
    case("regression weight", lambda: mse(Z, M, torch.ones(2)), "a weight of the input's shape", "(2,)", "reshape"),
    case(
        "regression weight, a number", lambda: msle(Z, M + 1, 2.0), "weight as a tensor", "a float", "as_tensor(weight)"
    ),
    case(
        "complex weight", lambda: mse(Z, M, M.to(torch.complex64)), "weight of real numbers", "complex64", "real part"
    ),
    case("complex pos_weight", lambda: bce_logits(Z, M, pos_weight=M + 1j), "pos_weight of real", "complex64", "real"),
    case("complex weight of probabilities", lambda: bce(M, M, M + 1j), "weight of real numbers", "complex64", "real"),
    case("complex label weight", lambda: bce_logits(Z, M, M + 1j), "weight of real numbers", "complex64", "real part"),
    case("too short", lambda: ce(Z, Y, torch.ones(2)), "each of the 3 classes", "shape (2,)", "one weight per class"),
    case(
        "integer", lambda: ce(Z, Y, torch.ones(3).long()), "floating number for each", "int64", "one weight per class"
    ),
    case("nll", lambda: nll(Z, Y, torch.ones(4)), "each of the 3 classes", "shape (4,)", "one weight per class"),
    case("linear", lambda: linear(X, W, Y, weight=torch.ones(4)), "each of the 3 classes", "(4,)", "one weight per"),
    case("pos_weight", lambda: bce_logits(Z, M, pos_weight=torch.ones(4)), "(4, 3)", "shape (4,)", "per label"),
    case("pos_weight enlarges", lambda: bce_logits(Z, M, pos_weight=torch.ones(2, 4, 3)), "(4, 3)", "(2, 4, 3)", ""),
    case("element weight", lambda: bce_logits(Z, M, torch.ones(4)), "broadcasts to the input's", "(4,)", "per label"),
    case("regression weight", lambda: mse(Z, M, torch.ones(4)), "shape (4, 3)", "(4,)", ""),
]

OPTIONS = [
    case("reduction", lambda: ce(Z, Y, reduction="avg"), "'none', 'mean' or 'sum'", "'avg'", "choose"),
    case("reduction, labels", lambda: bce_logits(Z, M, reduction="avg"), "'mean'", "'avg'", "choose"),
    case("reduction, probabilities", lambda: bce(M, M, reduction=None), "'mean'", "None", "choose"),
    case("reduction, values", lambda: mse(Z, M, reduction="avg"), "'mean'", "'avg'", "choose"),
    case("reduction, list", lambda: ce(Z, Y, reduction=["mean"]), "'mean'", "['mean']", "choose"),
    case("reduction of labels, list", lambda: bce_logits(Z, M, reduction=["mean"]), "'mean'", "['mean']", "choose"),
    case("smoothing above 1", lambda: ce(Z, Y, label_smoothing=1.5), "in [0, 1]", "1.5", "label_smoothing"),
    case("smoothing NaN", lambda: ce(Z, Y, label_smoothing=NAN), "finite", "nan", "label_smoothing"),
    case("smoothing bool", lambda: ce(Z, Y, label_smoothing=True), "label_smoothing", "True", ""),
    case("smoothing string", lambda: ce(Z, Y, label_smoothing="0.1"), "label_smoothing", "'0.1'", ""),
    case("smoothing tensor", lambda: ce(Z, Y, label_smoothing=torch.tensor(0.1)), "label_smoothing", "tensor", ""),
    case("smoothings", lambda: ce(Z, Y, label_smoothing=torch.tensor([0.1, 0.2])), "label_smoothing", "tensor", ""),
    case("softcaps", lambda: ce(Z, Y, softcap=torch.ones(2)), "softcap", "tensor", ""),
    case("smoothing of labels", lambda: bce_logits(Z, M, label_smoothing=-0.1), "in [0, 1]", "-0.1", ""),
    case("gamma negative", lambda: ce(Z, Y, focal_gamma=-1.0), "at least 0", "-1.0", "focal_gamma"),
    case("gamma infinite", lambda: ce(Z, Y, focal_gamma=INF), "finite", "inf", "focal_gamma"),
    case("gamma of labels", lambda: bce_logits(Z, M, focal_gamma=NAN), "finite", "nan", "focal_gamma"),
    case("z_loss", lambda: ce(Z, Y, z_loss=-1e-4), "at least 0", "-0.0001", "z_loss"),
    case("softcap 0", lambda: ce(Z, Y, softcap=0.0), "above 0", "0.0", "softcap"),
    case("softcap NaN", lambda: ce(Z, Y, softcap=NAN), "finite", "nan", "softcap"),
    case("ignore_index float", lambda: ce(Z, Y, ignore_index=1.5), "an int", "1.5", "index"),
    case("ignore_index none", lambda: ce(Z, Y, ignore_index=None), "an int", "None", "index"),
    case("ignore_index none, soft", lambda: ce(Z, M, ignore_index=None), "an int", "None", "index"),
    case("ignore_index of labels", lambda: bce_logits(Z, M, ignore_index=NAN), "finite", "nan", "ignore_index"),
    case("normalizer 0", lambda: ce(Z, Y, normalizer=0), "above 0", "0", "normalizer"),
    case("normalizer NaN", lambda: ce(Z, Y, normalizer=torch.tensor(NAN)), "positive", "nan", "count"),
    case("normalizer of two", lambda: ce(Z, Y, normalizer=torch.ones(2)), "one positive", "shape (2,)", "count"),
    case("normalizer, sum", lambda: ce(Z, Y, normalizer=4, reduction="sum"), "'mean'", "'sum'", "divisor"),
    case("normalizer, none", lambda: ce(Z, Y, normalizer=4, reduction="none"), "'mean'", "'none'", "divisor"),
    case(
        "focal, smoothing", lambda: ce(Z, Y, focal_gamma=2.0, label_smoothing=0.1), "no label smoothing", "0.1", "out"
    ),
    case("focal, soft", lambda: ce(Z, M, focal_gamma=2.0), "hard targets", "soft targets", "leave one"),
    case(
        "focal, smoothed labels", lambda: bce_logits(Z, M, focal_gamma=2.0, label_smoothing=0.1), "without", "0.1", ""
    ),
    case("no such kernel", lambda: ls.kernels.use("fast").__enter__(), "reference", "'fast'", "one of them"),
    case("normalizer inf", lambda: ce(Z, Y, normalizer=torch.tensor(INF)), "positive", "inf", "count"),
    case("ignore_index bool", lambda: ce(Z, Y, ignore_index=True), "an int", "True", "index"),
]

TARGETS = [
    case("one_hot range", lambda: ls.one_hot(torch.tensor([0, 5]), 3), "0…2", "5", "num_classes"),
    case("one_hot float", lambda: ls.one_hot(torch.tensor([0.0]), 3), "integer", "float32", ".long()"),
    case("to_index", lambda: ls.to_index(torch.tensor([[0.5, 0.5]])), "one-hot", "float32 of shape (1, 2)", "soft"),
    case("multi_hot range", lambda: ls.multi_hot([[0, 4]], 3), "0…2", "4 in row 0", "num_labels"),
    case("multi_hot negative", lambda: ls.multi_hot([[0], [-1]], 3), "0…2", "-1 in row 1", "num_labels"),
    case("multi_hot float", lambda: ls.multi_hot([[0], [1.0]], 3), "0…2", "1.0 in row 1", "indices"),
    case("multi_hot bool", lambda: ls.multi_hot(M.bool(), 3), "0…2", "False in row 0", "indices"),
    case("multi_hot, no size", lambda: ls.multi_hot([[0]], None), "num_labels: an int", "None", "last layer"),
    case("one_hot inferred", lambda: ls.one_hot(Y, -1), "num_classes: an int of at least 1", "-1", "last layer"),
    case("one_hot of a list", lambda: ls.one_hot([0, 1], 2), "y as a tensor", "a list", "torch.as_tensor(y)"),
    case("one_hot complex", lambda: ls.one_hot(Y + 0j, 3), "integer", "complex64", ".real.long()"),
    case("to_index of a list", lambda: ls.to_index([[0, 1]]), "t as a tensor", "a list", "torch.as_tensor(t)"),
    case("recognise a list", lambda: ls.recognise([0, 1], Z), "target as a tensor", "a list", "as_tensor(target)"),
    case("recognise beside a list", lambda: ls.recognise(Y, [[0.0]]), "outputs as a tensor", "a list", "as_tensor("),
    case("count a list", lambda: normalizer([0, 1]), "a target tensor", "a list", "as_tensor(targets)"),
    case("count an array", lambda: normalizer(np.array([0, 1])), "a target tensor", "a ndarray", "as_tensor(targets)"),
    case("count none", lambda: normalizer(None), "a target tensor", "a NoneType", "as_tensor(targets)"),
    case("count beyond the weights", lambda: normalizer(Y, weight=torch.ones(2)), "0…1", "2 at (2,)", "classes"),
    case("count a weight", lambda: normalizer(Y, weight=[1.0, 1, 1]), "weight as a tensor", "a list", "as_tensor("),
    case("count weights of rows", lambda: normalizer(Y, weight=Z), "shape (12,)", "shape (4, 3)", "one weight per"),
    case("one_hot bool", lambda: ls.one_hot(torch.tensor([True, False]), 2), "integer", "bool", ".long()"),
    case("regression weight of a row", lambda: mse(Z, M, torch.ones(3)), "shape (4, 3)", "(3,)", ""),
    case("layer of images, one sample", lambda: linear(X[0], torch.zeros(3, 2, 5), Y), "batched", "(5,)", "unsqueeze"),
    case("filter_eps of a shard", lambda: linear(X, W, Y, group="any", filter_eps=0.1), "on one rank", "shard", "out"),
]

MODULES = [
    case("smoothing", lambda: ls.CrossEntropyLoss(label_smoothing=2), "in [0, 1]", "2", "label_smoothing"),
    case("combination", lambda: ls.CrossEntropyLoss(focal_gamma=1.0, label_smoothing=0.1), "no label", "0.1", "out"),
    case("reduction", lambda: ls.NLLLoss(reduction="avg"), "'mean'", "'avg'", "choose"),
    case("reduction of labels", lambda: ls.BCEWithLogitsLoss(reduction="avg"), "'mean'", "'avg'", "choose"),
    case("reduction of values", lambda: ls.MSELoss(reduction="avg"), "'mean'", "'avg'", "choose"),
    case("at the call", lambda: ls.CrossEntropyLoss()(Z, Y.float()), "integer dtype", "float32", ".long()"),
]


@pytest.mark.parametrize("gradients", [True, False], ids=["", "no_grad"])
@pytest.mark.parametrize(
    ("call", "expected", "got", "fix"), INDEX + LOGITS + ELEMENTWISE + WEIGHTS + OPTIONS + TARGETS + MODULES
)
def test_what_was_expected_what_came_and_what_to_do(call, expected, got, fix, gradients):
    """Without gradients too: the shortest way to torch's operators checks less then."""
    with torch.set_grad_enabled(gradients), pytest.raises(ls.InputError) as caught:
        call()
    error = caught.value
    assert expected in error.expected
    assert got in error.got
    assert fix in error.fix
    assert str(error) == f"{error.where}: expected {error.expected}; got {error.got}. What to do: {error.fix}."


def test_it_says_where_on_the_cpu_whatever_the_default_device():
    with torch.device("meta"), pytest.raises(ls.InputError, match=r"got 2 at \(2,\)"):
        ce(Z[:, :2], Y)


def test_it_is_a_value_error():
    assert issubclass(ls.InputError, ValueError)


def test_it_names_the_function_that_was_called():
    for function in (ce, nll, bce, bce_logits, mse, msle):
        with pytest.raises(ls.InputError, match=rf"^{function.__name__}: "):
            function(None, None)
    with pytest.raises(ls.InputError, match=r"^linear_cross_entropy: "):
        linear(None, None, None)


def test_it_can_be_pickled():
    import pickle

    error = ls.InputError("f", "a", "b", "c")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize("kernel", ls.kernels.KERNELS)
def test_it_is_raised_before_any_work(kernel, monkeypatch):
    """No kernel is reached, whichever is asked for."""
    for name in ("cross_entropy", "binary_cross_entropy_with_logits", "mse_loss", "nll_loss"):
        monkeypatch.setattr(f"losscope.kernels.dispatch.{name}", pytest.fail)
    with ls.kernels.use(kernel):
        for call in (INDEX + ELEMENTWISE)[:3]:
            with pytest.raises(ls.InputError):
                call.values[0]()


# What looks like a mistake and is none.


def test_integers_of_any_width_are_indices():
    z = torch.randn(4, 3)
    expected = ce(z, Y)
    for dtype in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.uint16, torch.uint32, torch.uint64):
        assert torch.equal(ce(z, Y.to(dtype)), expected)


def test_an_ignored_index_may_be_any_number():
    z = torch.randn(4, 3)
    expected = ce(z[1:], Y[1:])
    for ignored in (-1, 255, 2**40, 1):
        y = Y.clone()
        y[0] = ignored
        kept = y != ignored
        torch.testing.assert_close(ce(z, y, ignore_index=ignored), ce(z[kept], Y[kept]))
    y = Y.to(torch.uint8)
    y[0] = 255
    torch.testing.assert_close(ce(z, y, ignore_index=255), expected)


def test_an_index_of_another_type_does_not_wrap_around_to_the_ignored_one():
    """−100 is 156 in eight bits."""
    with pytest.raises(ls.InputError, match="156"):
        ce(Z, torch.tensor([0, 1, 156, 2], dtype=torch.uint8))


def test_masks_infinities_and_nan_in_the_logits_are_no_errors():
    z = torch.tensor([[-INF, 0.0, 1.0], [NAN, 0.0, 0.0]])
    assert ce(z[:1], Y[1:2]).isfinite()
    assert ce(z[1:], Y[:1]).isnan()


def test_soft_targets_need_not_sum_to_one():
    torch.testing.assert_close(ce(Z, M + 1), torch.tensor(3.0).log() * 3)

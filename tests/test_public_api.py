"""What is exported, and that changing the import is all it takes."""

import copy
import inspect
import io
import pickle
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import losscope as ls

NAMES = [
    "NOTATION",
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "Explanation",
    "Finding",
    "InputError",
    "LinearCrossEntropyLoss",
    "Link",
    "LintResult",
    "Loss",
    "LosscopeWarning",
    "MSELoss",
    "MSLELoss",
    "NLLLoss",
    "Report",
    "Stats",
    "Summary",
    "TargetKind",
    "as_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "explain",
    "kernels",
    "linear_cross_entropy",
    "lint",
    "log_sigmoid",
    "log_softmax",
    "logsumexp",
    "mean_squared_log_error",
    "mse_loss",
    "multi_hot",
    "nll_loss",
    "one_hot",
    "parallel",
    "recognise",
    "report",
    "sigmoid",
    "softmax",
    "summarize",
    "to_index",
    "unwatch",
    "watch",
]

DEPRECATED = {"size_average", "reduce", "_stacklevel"}
HINTS = {"options"}  # linear_cross_entropy's: how to compute, not what
FUNCTIONS = [
    (ls.cross_entropy, F.cross_entropy),
    (ls.nll_loss, F.nll_loss),
    (ls.binary_cross_entropy, F.binary_cross_entropy),
    (ls.binary_cross_entropy_with_logits, F.binary_cross_entropy_with_logits),
    (ls.mse_loss, F.mse_loss),
    (ls.linear_cross_entropy, F.linear_cross_entropy),
    (ls.softmax, F.softmax),
    (ls.log_softmax, F.log_softmax),
]
MODULES = ["CrossEntropyLoss", "NLLLoss", "BCELoss", "BCEWithLogitsLoss", "MSELoss", "LinearCrossEntropyLoss"]
Z, Y = torch.tensor([[1.0, 10.0, 0.0], [2.0, -2.0, 1.0]]), torch.tensor([1, 0])

# Every module with an input of its own: (module, input, target).
EXAMPLES = [
    (ls.CrossEntropyLoss(torch.tensor([1.0, 2, 3]), label_smoothing=0.1), Z, Y),
    (ls.NLLLoss(torch.tensor([1.0, 2, 3]), ignore_index=0), Z.log_softmax(1), Y),
    (ls.BCELoss(), Z.sigmoid(), ls.one_hot(Y, 3)),
    (ls.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 2, 3])), Z, ls.one_hot(Y, 3)),
    (ls.MSELoss(), Z, Z.roll(1)),
    (ls.MSLELoss(), Z, Z.exp().roll(1)),
    (ls.LinearCrossEntropyLoss(3, 4, bias=True), Z, Y),
]
every_module = pytest.mark.parametrize(("loss", "z", "y"), EXAMPLES, ids=lambda x: type(x).__name__)


def test_the_exported_names():
    """A name here is a promise: take none away, and add one on purpose."""
    assert sorted(ls.__all__) == sorted(NAMES)
    assert all(getattr(ls, name) is not None for name in NAMES)


def test_every_public_function_and_class_is_documented_with_an_example():
    functions = [getattr(ls, n) for n in NAMES if callable(getattr(ls, n)) or inspect.isclass(getattr(ls, n))]
    without = [f.__name__ for f in functions if not inspect.getdoc(f)]
    assert not without
    losses = [function for function, _ in FUNCTIONS] + [getattr(ls, name) for name in MODULES]
    assert [f.__name__ for f in losses if ">>> " not in inspect.getdoc(f)] == []


@pytest.mark.parametrize(("ours", "theirs"), FUNCTIONS, ids=lambda f: f.__name__)
def test_the_parameters_of_torch(ours, theirs):
    """Its names, its order of the tensors and its defaults; what is more is keyword-only."""
    mine, torchs = inspect.signature(ours).parameters, inspect.signature(theirs).parameters
    torchs = {name: p for name, p in torchs.items() if name not in DEPRECATED | HINTS}
    assert torchs.keys() <= mine.keys()
    for name, parameter in torchs.items():
        if (name, ours.__name__) not in {("dim", "softmax"), ("dim", "log_softmax")}:  # torch guesses; here it is −1
            assert mine[name].default == parameter.default, name
    assert all(mine[name].kind is inspect.Parameter.KEYWORD_ONLY for name in mine.keys() - torchs.keys())


@pytest.mark.parametrize("name", MODULES)
def test_the_parameters_of_torchs_modules(name):
    mine = inspect.signature(getattr(ls, name)).parameters
    torchs = inspect.signature(getattr(torch.nn, name)).parameters
    for parameter in (p for n, p in torchs.items() if n not in DEPRECATED | HINTS):
        assert mine[parameter.name].default == parameter.default, parameter.name


@pytest.mark.parametrize("name", MODULES)
def test_the_state_of_torchs_modules_loads_and_is_the_same(name):
    args = (5, 3) if name.startswith("Linear") else ()
    weight = {} if name == "MSELoss" else {"weight": torch.tensor([1.0, 2.0, 3.0])}
    ours, theirs = getattr(ls, name)(*args, **weight), getattr(torch.nn, name)(*args, **weight)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    theirs.load_state_dict({key: value + 1 for key, value in theirs.state_dict().items()})
    ours.load_state_dict(theirs.state_dict())
    for key, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value)


@every_module
def test_options_may_be_set_after_construction(loss, z, y):
    loss = copy.deepcopy(loss)
    mean = loss(z, y)
    loss.reduction = "none"
    each = loss(z, y)
    assert mean.ndim == 0
    assert each.shape == (y.shape if y.is_floating_point() else (2,))
    loss.reduction = "sum"
    torch.testing.assert_close(loss(z, y), each.sum())


@every_module
def test_copies_and_pickles_compute_the_same(loss, z, y):
    saved = io.BytesIO()
    torch.save(loss, saved)
    saved.seek(0)
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss)), torch.load(saved, weights_only=False)):
        assert torch.equal(other(z, y), loss(z, y))
        assert repr(other) == repr(loss)


@every_module
def test_weights_are_buffers_that_move_with_the_module(loss, z, y):
    moved = copy.deepcopy(loss).double()
    assert all(buffer.dtype == torch.float64 for buffer in moved.buffers())
    assert moved(z.double(), y.double() if y.is_floating_point() else y).dtype == torch.float64
    assert all(b.device.type == "meta" for b in copy.deepcopy(loss).to("meta").buffers())


@every_module
def test_a_loss_knows_what_the_outputs_mean(loss, z, y):
    assert isinstance(loss, ls.Loss)
    assert isinstance(loss.link, ls.Link)
    assert isinstance(loss.target_kind, ls.TargetKind)
    assert loss.formula.startswith((r"\ell_i = ", r"\ell_{ih} = "))
    assert loss.formula.count("{") == loss.formula.count("}")
    assert loss.activation(z).shape[0] == loss.decode(z).shape[0] == 2


def test_activations_and_decisions_from_raw_outputs():
    z = torch.tensor([[0.0, 5.0], [-1.0, -2.0]])
    ce, bce = ls.CrossEntropyLoss(), ls.BCEWithLogitsLoss()
    torch.testing.assert_close(ce.activation(z), z.softmax(1))
    torch.testing.assert_close(ls.CrossEntropyLoss(softcap=2.0).activation(z), (2 * (z / 2).tanh()).softmax(1))
    assert ce.decode(z).tolist() == [1, 0]
    torch.testing.assert_close(bce.activation(z), z.sigmoid())
    assert bce.decode(z).tolist() == [[False, True], [False, False]]
    torch.testing.assert_close(ls.NLLLoss().activation(z.log_softmax(1)), z.softmax(1))
    assert ls.BCELoss().decode(z.sigmoid()).tolist() == [[False, True], [False, False]]
    assert torch.equal(ls.MSELoss().decode(z), z)
    torch.testing.assert_close(ls.MSLELoss().decode(z), z.exp())
    layer = ls.LinearCrossEntropyLoss(2, 3)
    torch.testing.assert_close(layer.activation(z), layer.linear(z).softmax(1))
    assert torch.equal(layer.decode(z), layer.linear(z).argmax(1))
    assert ce.decode(torch.randn(2, 5, 4, 3)).shape == (2, 4, 3)
    assert ce.decode(torch.randn(5)).shape == ()


def test_the_formula_follows_the_options():
    plain, full = ls.CrossEntropyLoss(), ls.CrossEntropyLoss(torch.ones(3), label_smoothing=0.1, softcap=30.0)
    assert plain.formula == ls.CrossEntropyLoss.likelihood
    assert "w_h" in full.formula
    assert "0.1" in full.formula
    assert r"\tanh" in full.formula
    assert "2" in ls.BCEWithLogitsLoss(focal_gamma=2.0).formula
    full.label_smoothing = 0.0
    assert "0.1" not in full.formula


def test_the_repr_names_the_options_that_are_on():
    assert repr(ls.CrossEntropyLoss()) == "CrossEntropyLoss()"
    text = repr(ls.CrossEntropyLoss(label_smoothing=0.1, reduction="sum"))
    assert text == "CrossEntropyLoss(reduction='sum', label_smoothing=0.1)"
    assert repr(ls.BCEWithLogitsLoss(focal_gamma=2.0)) == "BCEWithLogitsLoss(focal_gamma=2.0)"


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_dtype_of_a_loss_is_the_one_its_docstring_says(reduction):
    m = ls.one_hot(Y, 3)
    for ours, theirs in [
        (ls.binary_cross_entropy_with_logits, F.binary_cross_entropy_with_logits),
        (ls.cross_entropy, F.cross_entropy),
    ]:
        assert theirs(Z, m.double(), reduction=reduction).dtype == torch.float64
        assert ours(Z, m.double(), reduction=reduction).dtype == torch.float64
        assert ours(Z.bfloat16(), m, reduction=reduction).dtype == torch.float32
        assert "promote" in ours.__doc__
    assert ls.binary_cross_entropy(Z.sigmoid(), m.double(), reduction=reduction).dtype == torch.float32


def test_what_the_readme_says_of_ignore_index_and_of_what_is_missing():
    readme = " ".join((Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8").split())
    assert "`ignore_index` in `binary_cross_entropy_with_logits` (not in `binary_cross_entropy`)" in readme
    assert "ignore_index" in inspect.signature(ls.binary_cross_entropy_with_logits).parameters
    assert "ignore_index" not in inspect.signature(ls.binary_cross_entropy).parameters
    assert "without the deprecated `size_average` and `reduce`" in readme


def test_a_normalizer_may_come_with_the_call():
    loss = ls.CrossEntropyLoss()
    torch.testing.assert_close(loss(Z, Y, normalizer=8), F.cross_entropy(Z, Y, reduction="sum") / 8)
    torch.testing.assert_close(
        loss(Z, Y, normalizer=torch.tensor([8])), F.cross_entropy(Z, Y, reduction="sum") / 8, check_stride=False
    )


def test_every_function_and_its_module_agree():
    m = ls.one_hot(Y, 3)
    w = torch.tensor([1.0, 2, 3])
    pairs = [
        (ls.CrossEntropyLoss(w, z_loss=0.1), ls.cross_entropy(Z, Y, w, z_loss=0.1), Z, Y),
        (ls.NLLLoss(w), ls.nll_loss(Z, Y, w), Z, Y),
        (ls.BCEWithLogitsLoss(w, pos_weight=w), ls.binary_cross_entropy_with_logits(Z, m, w, pos_weight=w), Z, m),
        (ls.BCELoss(w), ls.binary_cross_entropy(Z.sigmoid(), m, w), Z.sigmoid(), m),
        (ls.MSELoss(), ls.mse_loss(Z, m), Z, m),
        (ls.MSLELoss(), ls.mean_squared_log_error(Z, m + 1), Z, m + 1),
    ]
    for module, expected, z, y in pairs:
        assert torch.equal(module(z, y), expected)


def test_the_version_is_that_of_the_package():
    from importlib.metadata import version

    assert ls.__version__ == version("losscope")


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_formula_names_the_z_loss(smoothing):
    loss = ls.CrossEntropyLoss(label_smoothing=smoothing, z_loss=0.25)
    assert r"+ 0.25 \left(\ln" in loss.formula


MEAN = r"L_\mathrm{mean} = \frac"
OF_CLASSES = [
    ({}, True, MEAN + r"{\sum_i v_i \ell_i}{\sum_i v_i w_{y_i}}", lambda v, w, each: (v * each).sum() / (v * w).sum()),
    ({"normalizer": 5.0}, True, MEAN + r"{\sum_i v_i \ell_i}{5}", lambda v, w, each: (v * each).sum() / 5),
    ({"normalizer": 5.0}, False, MEAN + r"{\sum_i v_i \ell_i}{5}", lambda v, w, each: (v * each).sum() / 5),
    (
        {"normalizer": "global"},
        True,
        MEAN + r"{\sum_i v_i \ell_i}{C}",
        lambda v, w, each: (v * each).sum() / (v * w).sum(),
    ),
    ({"reduction": "sum"}, True, r"L_\mathrm{sum} = \sum_i v_i \ell_i", lambda v, w, each: (v * each).sum()),
    ({"reduction": "sum"}, False, r"L_\mathrm{sum} = \sum_i v_i \ell_i", lambda v, w, each: (v * each).sum()),
    ({"reduction": "none"}, True, r"L_i = v_i \ell_i", lambda v, w, each: v * each),
    ({"reduction": "none"}, False, r"L_i = v_i \ell_i", lambda v, w, each: v * each),
]


@pytest.mark.parametrize(("options", "weighted", "said", "means"), OF_CLASSES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_formula_of_classes_is_that_of_the_reduction(options, weighted, said, means, smoothing):
    y, w = torch.tensor([0, 2, -100, 1, 2, 2]), torch.tensor([1.0, 2.0, 5.0]) if weighted else None
    v, at, each = y != -100, y.clamp(min=0), torch.ones(3) if w is None else w
    z = torch.linspace(-3, 4, 18).reshape(6, 3).sin() * 3
    s = z.log_softmax(1)
    q = (1 - smoothing) * ls.one_hot(at, 3) + smoothing / 3
    loss = ls.CrossEntropyLoss(w, label_smoothing=smoothing, **options)
    assert loss.formula.endswith(r", \quad " + said)
    torch.testing.assert_close(loss(z, y), means(v, each[at], -(each * q * s).sum(1)))
    if "normalizer" not in options and not smoothing:
        picked = ls.NLLLoss(w, **options)
        assert (
            picked.formula
            == (r"\ell_i = -w_{y_i} s_{i,y_i}" if weighted else r"\ell_i = -s_{i,y_i}") + rf", \quad {said}"
        )
        torch.testing.assert_close(picked(s, y), means(v, each[at], -each[at] * s[torch.arange(6), at]))


@pytest.mark.parametrize(
    ("options", "said", "means"),
    [
        ({}, r"\ell_i = -w_{y_i} s_{i,y_i}, ", lambda w, s, lse: -w * s),
        (
            {"focal_gamma": 2.0},
            r"\ell_i = w_{y_i} \left(-(1 - \hat{y}_{i,y_i})^{2} s_{i,y_i}\right), ",
            lambda w, s, lse: w * -((1 - s.exp()) ** 2) * s,
        ),
        (
            {"z_loss": 0.5},
            r"\ell_i = w_{y_i} \left(-s_{i,y_i} + 0.5 \left(\ln \sum_k e^{z_{ik}}\right)^2\right), ",
            lambda w, s, lse: w * (-s + 0.5 * lse**2),
        ),
    ],
)
def test_the_weight_of_the_formula_multiplies_every_term(options, said, means):
    z, y, w = Z[:2], torch.tensor([0, 2]), torch.tensor([1.0, 2.0, 5.0])
    loss = ls.CrossEntropyLoss(w, reduction="none", **options)
    assert loss.formula.startswith(said)
    s = z.log_softmax(1)[torch.arange(2), y]
    torch.testing.assert_close(loss(z, y), means(w[y], s, z.logsumexp(1)))


WEIGHTED = r"\ell_{ih} = w_{ih} \left(-m_{ih} \ln \hat{y}_{ih} - (1 - m_{ih}) \ln(1 - \hat{y}_{ih})\right), "


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("options", "said", "means"),
    [
        ({}, MEAN + r"{\sum_{ih} \ell_{ih}}{N H}", lambda v, each: each.sum() / each.numel()),
        ({"reduction": "sum"}, r"L_\mathrm{sum} = \sum_{ih} \ell_{ih}", lambda v, each: each.sum()),
        ({"reduction": "none"}, r"L_{ih} = \ell_{ih}", lambda v, each: each),
        (
            {"ignore_index": 0.0},
            r"v_{ih} = [m_{ih} \neq 0], \quad " + MEAN + r"{\sum_{ih} v_{ih} \ell_{ih}}{\sum_{ih} v_{ih}}",
            lambda v, each: (v * each).sum() / v.sum(),
        ),
        (
            {"ignore_index": 0.0, "reduction": "none"},
            r"v_{ih} = [m_{ih} \neq 0], \quad L_{ih} = v_{ih} \ell_{ih}",
            lambda v, each: v * each,
        ),
    ],
)
def test_the_formula_of_labels_is_that_of_the_reduction(options, said, means, weighted):
    m, w = ls.one_hot(Y, 3), torch.tensor([1.0, 2.0, 5.0])
    each = F.binary_cross_entropy_with_logits(Z, m, w if weighted else None, reduction="none")
    losses = [(ls.BCEWithLogitsLoss(w if weighted else None, **options), Z)]
    if "ignore_index" not in options:
        losses.append((ls.BCELoss(w if weighted else None, **options), Z.sigmoid()))
    for loss, given in losses:
        torch.testing.assert_close(loss(given, m), means(m != 0, each))
        assert loss.formula.startswith(WEIGHTED) or not weighted
        assert loss.formula.endswith(rf", \quad {said}") or (not options and not weighted and "L_" not in loss.formula)


@pytest.mark.parametrize("kind", [ls.MSELoss, ls.MSLELoss])
def test_the_formula_of_values_is_that_of_the_reduction(kind):
    assert kind().formula == kind.likelihood
    assert kind(reduction="sum").formula == kind.likelihood + r", \quad L_\mathrm{sum} = \sum_{ih} \ell_{ih}"
    assert kind(reduction="none").formula == kind.likelihood + r", \quad L_{ih} = \ell_{ih}"


def test_a_large_normalizer_is_written_out():
    assert ls.CrossEntropyLoss(normalizer=1234567).formula.endswith("{1234567}")


def test_the_formulas_name_the_weights():
    w = torch.ones(3)
    assert "w_{y_i}" in ls.NLLLoss(w).formula
    assert "w_{ih}" in ls.BCELoss(w).formula
    assert "w_{ih}" in ls.BCEWithLogitsLoss(w).formula
    assert "p_h" in ls.BCEWithLogitsLoss(pos_weight=w).formula

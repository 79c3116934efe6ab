"""The one notation is the same wherever it is written down."""

import re
from pathlib import Path

import pytest
import torch

import losscope as ls

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("src/losscope/**/*.py"), *ROOT.glob("docs/**/*.md"), ROOT / "README.md"]
WEIGHT_TIMES_LOSS = re.compile(r"\bw(_\{?\w+(_i)?\}*)?(\\,|\s)+(ℓ|\\ell)")


def test_the_table_of_the_design_is_that_of_the_package():
    design = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    for name in ("L", "ℓ", "ℓh"):
        equation = re.search(r"(L_mean|ℓ_\w+) = (?:(?! in nats)[^;])+", ls.NOTATION[name].meaning)[0].removesuffix(",")
        assert f"{equation} |" in design, name


@pytest.mark.parametrize(
    "text", ["v_i w_{y_i} ℓ_i", r"v_i\, w_{y_i} \ell_i", "Σ w_y ℓ", "v w ℓ (nats)", r"w_{ih} \ell"]
)
def test_a_weight_before_the_loss_would_be_seen(text):
    assert WEIGHT_TIMES_LOSS.search(text)


def test_no_weight_multiplies_the_loss_of_a_sample():
    """Weights are inside ℓ: outside they would be squared when one formula is put into the other."""
    assert len(PAGES) > 200
    assert not [path for path in PAGES if WEIGHT_TIMES_LOSS.search(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_mean_of_the_notation_is_the_mean(smoothing):
    z, y, w = torch.randn(6, 3, dtype=torch.float64), torch.tensor([0, 1, 2, -100, 2, 1]), torch.tensor([1.0, 2.0, 5.0])
    options = {"weight": w.double(), "label_smoothing": smoothing}
    v, each = y != -100, ls.cross_entropy(z, y, reduction="none", **options)
    torch.testing.assert_close(ls.cross_entropy(z, y, **options), (v * each).sum() / (v * w[y * v]).sum())

"""Targets: from one form to another and back, and which form one is in."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

import losscope as ls
from losscope.targets import smooth

INDEX, ONE_HOT, SOFT = ls.TargetKind.INDEX, ls.TargetKind.ONE_HOT, ls.TargetKind.SOFT
MULTI_HOT, VALUE = ls.TargetKind.MULTI_HOT, ls.TargetKind.VALUE


@given(st.lists(st.integers(0, 4), max_size=6))
def test_one_hot_and_back(labels):
    y = torch.tensor(labels, dtype=torch.int64)
    t = ls.one_hot(y, 5)
    assert t.dtype == torch.float32
    assert torch.equal(t, F.one_hot(y, 5).float())
    assert torch.equal(ls.to_index(t), y)


def test_one_hot_has_its_classes_in_dimension_one():
    y = torch.randint(0, 3, (2, 4, 5))
    t = ls.one_hot(y, 3)
    assert t.shape == (2, 3, 4, 5)
    assert torch.equal(t.argmax(1), y)
    assert ls.one_hot(torch.tensor(2), 3).tolist() == [0, 0, 1]


def test_what_is_ignored_is_a_row_of_zeros():
    y = torch.tensor([1, -100, 0])
    assert ls.one_hot(y, 2).tolist() == [[0, 1], [0, 0], [1, 0]]
    assert ls.one_hot(torch.tensor([1, 7]), 2, ignore_index=7, dtype=torch.float64).sum().item() == 1


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float16, torch.complex64])
def test_a_one_hot_target_of_any_dtype_has_an_index(dtype):
    y = torch.tensor([2, 0, 1])
    assert torch.equal(ls.to_index(ls.one_hot(y, 3, dtype=dtype)), y)


def test_to_index_refuses_what_an_index_cannot_say():
    for t in ([[0.5, 0.5]], [[1.0, 1.0]], [[0.0, 0.0]]):
        with pytest.raises(ls.InputError):
            ls.to_index(torch.tensor(t))


@given(st.lists(st.sets(st.integers(0, 4)), max_size=5))
def test_multi_hot(labels):
    m = ls.multi_hot(labels, 5)
    assert m.shape == (len(labels), 5)
    assert [set(row.nonzero().flatten().tolist()) for row in m] == labels


@pytest.mark.parametrize("labels", [torch.tensor([[2, 0]], dtype=torch.uint8), np.array([[2, 0]])])
def test_multi_hot_of_arrays(labels):
    """A scalar of eight bits would select by a mask."""
    assert ls.multi_hot(labels, 3).tolist() == [[1, 0, 1]]


def test_smoothing_is_torchs():
    z, q = torch.randn(4, 3), torch.rand(4, 3)
    torch.testing.assert_close(F.cross_entropy(z, smooth(q, 0.3)), F.cross_entropy(z, q, label_smoothing=0.3))
    torch.testing.assert_close(smooth(ls.one_hot(torch.tensor(1), 4), 0.4), torch.tensor([0.1, 0.7, 0.1, 0.1]))


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        (torch.tensor([0, 2]), INDEX),
        (torch.tensor([0, 2], dtype=torch.int32), INDEX),
        (torch.tensor([0.5, 2.0]), VALUE),
        (torch.tensor([[0.0, 1, 0], [1, 0, 0]]), ONE_HOT),
        (torch.tensor([[0, 1, 0], [1, 0, 0]]), ONE_HOT),
        (torch.tensor([[False, True, False], [True, False, False]]), ONE_HOT),
        (torch.tensor([[0.0, 1, 1], [0, 0, 0]]), MULTI_HOT),
        (torch.tensor([[0.2, 0.5, 0.3], [1, 0, 0]]), SOFT),
        (torch.tensor([[0.2, 0.5, 0.8], [1, 0, 0]]), VALUE),
        (torch.tensor([[-0.2, 0.7, 0.5], [1, 0, 0]]), VALUE),
    ],
)
def test_recognise(target, kind):
    assert ls.recognise(target, torch.zeros(2, 3)) is kind


def test_recognise_has_a_tolerance():
    q = torch.tensor([[0.5, 0.495]])
    assert ls.recognise(q, torch.zeros(1, 2)) is VALUE
    assert ls.recognise(q, torch.zeros(1, 2), tolerance=0.01) is SOFT

import torch
from sklearn.datasets import load_digits

from losscope.example import digits


def test_the_same_every_time_and_the_callers_random_numbers_stay():
    torch.manual_seed(7)
    first = digits(progress=False)
    drawn = torch.rand(3)
    torch.manual_seed(7)
    assert torch.equal(torch.rand(3), drawn)
    assert torch.equal(digits(progress=False).outputs, first.outputs)


def test_rows_are_the_digits_they_say_they_are():
    example, data = digits(progress=False), load_digits()
    assert torch.equal(example.targets, torch.tensor(data.target)[example.indices])
    assert torch.equal(example.images * 16, torch.tensor(data.images, dtype=torch.float32)[example.indices])
    assert example.class_names[3] == "three"


def test_it_has_learned_and_is_not_perfect():
    example = digits(progress=False)
    accuracy = (example.outputs.argmax(1) == example.targets).double().mean()
    assert 0.9 < accuracy < 0.99


def test_nothing_is_written_where_no_terminal_is(capfd):
    digits()
    assert capfd.readouterr() == ("", "")

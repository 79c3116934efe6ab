"""What ``explain`` gives back: the steps, and their looks in a terminal, a notebook and a pipe.

Each look is imported when it is first asked for: importing losscope needs neither rich nor jinja2.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from losscope.explain.step import Step
from losscope.explain.table import Table, table
from losscope.explain.view import View

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Explanation:
    """A loss taken apart: its steps, in the order in which they are computed.

    Attributes:
        title: the loss with its options.
        intro: what is shown, and how it is laid out.
        steps: the steps, each with its complete numbers.
        notes: what the formulas give as they stand on paper, where floating point breaks them.
        differences: by symbol, the largest difference of L from the loss called in the ordinary way, and of each
            gradient from autograd through it.
        agrees: whether rounding explains these differences.
    """

    title: str
    intro: tuple[str, ...]
    steps: tuple[Step, ...]
    notes: tuple[str, ...]
    differences: dict[str, float]
    agrees: bool
    view: View = field(repr=False)

    @property
    def gradient_error(self) -> float:
        """The largest difference between a gradient in closed form and autograd's."""
        return max(difference for symbol, difference in self.differences.items() if symbol != "L")

    def __getitem__(self, symbol: str) -> Step:
        """The step of that symbol.

        Example:
            >>> ls.explain("cross_entropy", torch.tensor([[0.0, 5.0]]), torch.tensor([1]))["ŷ"].value
            tensor([[0.0067, 0.9933]])
        """
        for step in self.steps:
            if step.symbol == symbol:
                return step
        raise KeyError(f"{symbol}: the steps are {', '.join(step.symbol for step in self.steps)}")

    def __str__(self) -> str:
        """Plain text of at most 80 columns."""
        from rich.console import Console

        text = io.StringIO()
        Console(file=text, width=80, color_system=None, force_terminal=False, legacy_windows=False).print(self)
        return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines()).rstrip()

    def __repr__(self) -> str:
        return str(self)

    def __rich__(self) -> RenderableType:
        """With colours, where the terminal has them."""
        from rich.console import Group

        from losscope.explain import terminal

        return Group(*terminal.rendered(*self._parts()))

    def _repr_html_(self) -> str:
        from losscope.explain import page

        return page.rendered(*self._parts())

    def _repr_markdown_(self) -> str:
        from losscope.explain import markdown

        return markdown.rendered(*self._parts())

    def _parts(self) -> tuple[str, list[str], list[tuple[Step, Table]], list[str]]:
        tables = [(step, table(step, self.view)) for step in self.steps]
        return self.title, list(self.intro), tables, list(self.notes)

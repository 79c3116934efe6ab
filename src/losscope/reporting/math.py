"""Formulas as MathML, which a browser reads without a network."""

from __future__ import annotations

from latex2mathml.converter import convert
from markupsafe import Markup


def mathml(latex: str, *, block: bool = False) -> Markup:
    r"""LaTeX of losscope's own formulas as MathML; as a block its sums and fractions have their full size.

    Example:
        >>> print(mathml(r"y_i")[:52])
        <math xmlns="http://www.w3.org/1998/Math/MathML" dis
    """
    markup = convert(latex)
    return Markup(markup.replace("<math ", '<math displaystyle="true" ', 1) if block else markup)


def formulas(latex: str) -> list[Markup]:
    r"""The parts of a formula that ``\quad`` separates, one for each line of a narrow page."""
    return [mathml(part.strip(), block=True) for part in latex.split(r", \quad")]

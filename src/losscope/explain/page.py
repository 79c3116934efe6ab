"""An explanation as HTML for a notebook or a page: no script, nothing to load, light and dark."""

from __future__ import annotations

import re

from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup, escape

from losscope.explain.step import Step
from losscope.explain.table import Table

_SUBSCRIPT = re.compile(r"_(?:\{([^}]*)\}|(\w+))")
_UPRIGHT = re.compile(r"\b(exp|ln|max|min|tanh|where|and|or|held at|the divisor held above)\b")
_SUPERSCRIPT = re.compile(r"\^(-?[\d.]+)")


def rendered(title: str, intro: list[str], steps: list[tuple[Step, Table]], notes: list[str]) -> str:
    """One ``<section>`` with its own style."""
    return _TEMPLATE.render(title=title, intro=intro, steps=steps, notes=notes)


def formula(text: str) -> Markup:
    """A plain formula with its subscripts and powers set as such, and functions upright.

    Example:
        >>> formula("s_ih = z_ih − ln Σ_k e^2")
        Markup('s<sub>ih</sub> = z<sub>ih</sub> − <span>ln</span> Σ<sub>k</sub> e<sup>2</sup>')
    """
    return Markup(_UPRIGHT.sub(r"<span>\1</span>", _scripts(str(escape(text)))))


def _scripts(text: str) -> str:
    lowered = _SUBSCRIPT.sub(lambda m: f"<sub>{_scripts(m[1] or m[2])}</sub>", text)
    return _SUPERSCRIPT.sub(r"<sup>\1</sup>", lowered)


_ENVIRONMENT = Environment(
    loader=PackageLoader("losscope.explain"),
    autoescape=select_autoescape(default=True, default_for_string=True),
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters["formula"] = formula
_TEMPLATE = _ENVIRONMENT.get_template("explanation.html")

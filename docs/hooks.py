"""What mkdocs does to a page: the notation table from the package, and formulas as MathML, which needs no script."""

import re

from latex2mathml.converter import convert

from losscope import NOTATION

CODE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
DISPLAY = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)
INLINE = re.compile(r"\$([^$\n]+?)\$")


def on_page_markdown(markdown: str, **_: object) -> str:
    """Formulas outside code become MathML."""
    text = markdown.replace("{{ notation }}", notation_table())
    parts = CODE.split(text)
    return "".join(part if i % 2 else mathml(part) for i, part in enumerate(parts))


def mathml(text: str) -> str:
    """$$…$$ as a block, $…$ in the line (in a span, or markdown takes one at a line's start for a block)."""
    text = DISPLAY.sub(lambda m: f"<div>{convert(m[1], display='block')}</div>", text)
    return INLINE.sub(lambda m: f"<span>{convert(m[1])}</span>", text)


def notation_table() -> str:
    """Symbol, name, meaning, shape, as the package holds them."""
    rows = [f"| ${s.latex}$ | `{s.text}` | {s.name} | {s.meaning} | {s.shape} |" for s in NOTATION.values()]
    return "\n".join(["| symbol | in text | name | meaning | shape |", "|---|---|---|---|---|", *rows])

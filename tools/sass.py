"""NVIDIA's machine code, as nvdisasm writes it."""

from __future__ import annotations

import re


def spills_in_loops(sass: str) -> int:
    """Instructions between a label and a jump back to it that move registers to or from a thread's own memory."""
    lines, labels, loops = sass.splitlines(), {}, []
    for place, line in enumerate(lines):
        if label := re.match(r"(LBB\d+):", line):
            labels[label[1]] = place
        elif (jump := re.search(r"\bBRA\b.*\b(LBB\d+)", line)) and jump[1] in labels:
            loops.append(range(labels[jump[1]], place))
    spills = [place for place, line in enumerate(lines) if re.search(r"\b(LDL|STL)\b", line)]
    return sum(any(place in loop for loop in loops) for place in spills)

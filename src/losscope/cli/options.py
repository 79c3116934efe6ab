"""The options that the commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

File = Annotated[
    Path | None,
    typer.Argument(
        metavar="FILE",
        help="Outputs and targets: .npz, .npy, .safetensors, .csv, .tsv, .parquet, .pt, or a folder of .parquet "
        "or .npy files. Without it the built-in example.",
        show_default=False,
    ),
]
LossName = Annotated[
    str, typer.Option("--loss", help="cross_entropy, nll, bce_with_logits, bce, mse or msle.", metavar="NAME")
]
Outputs = Annotated[str | None, typer.Option(help="Name of the raw outputs in the file.", metavar="NAME")]
Targets = Annotated[str | None, typer.Option(help="Name of the targets in the file.", metavar="NAME")]
TargetsFile = Annotated[Path | None, typer.Option(help="A file of their own for the targets.", metavar="FILE")]
Classes = Annotated[
    str | None,
    typer.Option(help="Names of the classes: a text file with a name on each line, or 'cat,dog'.", metavar="NAMES"),
]
IgnoreIndex = Annotated[
    float | None, typer.Option(help="A target that does not count (-100 for cross_entropy and nll).", metavar="VALUE")
]
AsJson = Annotated[bool, typer.Option("--json", help="The numbers as JSON on stdout, and nothing else there.")]

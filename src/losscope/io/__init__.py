"""Outputs and targets from a file: .npz, .npy, .safetensors, .csv, .tsv, .parquet, .pt; never by unpickling.

A pickle can run code when it is opened, so nothing here opens one: numpy reads with ``allow_pickle=False``, torch with
``weights_only=True``. The way is the same for every format: the file's *contents* are names, two of them are picked
as *fields*, and a field is read a few rows at a time. Parquet, safetensors and .npy hold no more than one batch in
memory (parquet: and a few pages of the row group it is in).
"""

from losscope.io.opening import open_source
from losscope.io.source import Batch, Field, Source

__all__ = ["Batch", "Field", "Source", "open_source"]

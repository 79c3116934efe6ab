"""The last linear layer and its loss, a few rows at a time: the logits are never held.

- ``sweep``: the walk over the rows, which spends each chunk's gradient on the layer's at once
- ``products``: the products that it takes, by the quicker of torch's libraries
- ``operator``: the walk as one operator of torch, so that autograd and ``torch.compile`` see a single node
- ``closed_form``: a chunk's loss and gradient by torch's operators, where no fused kernel has them
"""

from losscope.kernels.chunked.operator import FUSED, linear_cross_entropy, serves
from losscope.kernels.chunked.sweep import Chunk, Layer, Rows, rows_of_a_chunk

__all__ = ["FUSED", "Chunk", "Layer", "Rows", "linear_cross_entropy", "rows_of_a_chunk", "serves"]

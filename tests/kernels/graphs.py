"""What a compiled call hands to its backend."""

import torch


def graphs():
    """A backend that keeps what it was given."""
    seen = []

    def backend(graph, inputs):
        seen.append(graph)
        return torch._dynamo.lookup_backend("aot_eager")(graph, inputs)

    return backend, seen

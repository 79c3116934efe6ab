"""A function on several gloo ranks of this machine; what each of them returns comes back in their order."""

import os
import tempfile
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def on_ranks(ranks, function, *arguments, timeout=60):
    """[function(*arguments) on rank 0, on rank 1, …]; an exception on one of them is raised here."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_one, (ranks, folder, timeout, function, arguments), nprocs=ranks)
        return [torch.load(Path(folder) / f"{rank}.pt", weights_only=True) for rank in range(ranks)]


def _one(rank, ranks, folder, timeout, function, arguments):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=ranks, timeout=timedelta(seconds=timeout)
    )
    torch.save(function(*arguments), Path(folder) / f"{rank}.pt")
    dist.barrier()  # nobody leaves while another still talks to it
    dist.destroy_process_group()
    # DDP's and FSDP's threads outlive the group where a cycle holds the model. One that asks for the interpreter while
    # that is being taken down is ended by force, which C++ answers with an abort (about one run in a hundred).
    os._exit(0)

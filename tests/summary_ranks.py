"""What one of several ranks does in test_summary.py: apart, so that a new process imports little."""

import torch

from losscope.summary import Summary


def classifier(n=500, classes=7, seed=0, dtype=torch.float32):
    """Raw outputs and targets that somewhat agree."""
    g = torch.Generator().manual_seed(seed)
    z = 2 * torch.randn(n, classes, generator=g, dtype=torch.float64)
    y = torch.multinomial((z / 1.5).softmax(1), 1, generator=g).squeeze(1)
    return z.to(dtype), y


def measure(rank, ranks, port, all_shares, folder):
    """For each way to share 301 rows out: measure this rank's part in batches of 50, and write the result."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=ranks)
    z, y = classifier(n=301)
    found = []
    for shares in all_shares:
        summary = Summary("cross_entropy")
        start, stop = shares[rank]
        for i in range(start, stop, 50):
            summary.update(z[i : min(i + 50, stop)], y[i : min(i + 50, stop)], index=i)
        found.append((summary.compute().to_dict(), int(summary.seen)))
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()

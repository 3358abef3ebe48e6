"""The processes that train together: one by default, or as many as torchrun starts, on processors or GPUs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True, kw_only=True)
class Team:
    """Where this process stands among those that train the same network."""

    rank: int = 0
    """Its number, from 0; the first one writes files and talks."""
    size: int = 1
    """Number of processes."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Where it computes."""

    @property
    def leads(self) -> bool:
        """Whether this process writes and talks."""
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """Let gradients be averaged over the team after every backward pass."""
        if self.size == 1 or not any(p.requires_grad for p in module.parameters()):
            return module
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=devices)

    def autocast(self) -> torch.autocast:
        """Compute in bfloat16 where the device has it; a CPU and an old GPU stay at 32 bits."""
        able = self.device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=able)

    def share_buffers(self, network: nn.Module) -> None:
        """Give every process the batch statistics of the first, so that all of them validate one network."""
        if self.size > 1:
            for buffer in network.buffers():
                dist.broadcast(buffer, src=0)

    def total(self, value: float) -> float:
        """Return the sum of every process's value."""
        if self.size == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device=self.device if self.device.type == "cuda" else "cpu")
        dist.all_reduce(tensor)
        return float(tensor)

    def interleave(self, mine: torch.Tensor, n: int) -> torch.Tensor:
        """Put rows rank, rank + size, ... of every process back in order; returns (n, k) on the CPU."""
        if self.size == 1:
            return mine.cpu()
        parts: list[torch.Tensor | None] = [None] * self.size
        dist.all_gather_object(parts, mine.cpu())
        whole = torch.empty((n, *mine.shape[1:]), dtype=mine.dtype)
        for rank, part in enumerate(parts):
            assert part is not None
            whole[rank :: self.size] = part
        return whole

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def join_team() -> Iterator[Team]:
    """Join the processes that torchrun started, or be a team of one; leaves the team at the end.

    `torchrun --nproc-per-node 2 -m audit train C ...` starts two on this machine; with `--nnodes` and a rendezvous
    address there may be several machines. Each process takes the GPU of its local rank, if there is one.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    if size == 1:
        yield Team(device=device)
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Team(rank=dist.get_rank(), size=size, device=device)
    finally:
        dist.destroy_process_group()

"""Which engine a stage gets: what was asked for, or by the size of the work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from audit.errors import UsageError
from audit.prediction.concurrency import every_core
from audit.prediction.engines import Engine, Processes
from audit.run.preparation import Preparation
from audit.run.settings import Settings

if TYPE_CHECKING:  # of all engines it is the one that is seldom used
    from audit.prediction.cluster import RayCluster


def settle_engine(settings: Settings) -> Settings:
    """Return settings whose number of processes is that of the engine.

    What contradicts itself is refused, and a cluster that is not there, before anything is read.

    Raises
    ------
    UsageError
        If an engine cannot be used as it is asked for.
    """
    if settings.address and settings.engine != "ray":
        raise UsageError(
            f"--address names the Ray cluster of --engine ray, but the engine is {settings.engine}. Use --engine ray, or omit --address."
        )
    if settings.engine == "serial" and settings.workers not in (1, "auto"):
        raise UsageError(
            f"--engine serial is one process, but --workers {settings.workers} was given. Use --engine processes, or omit --workers."
        )
    if settings.engine == "ray":
        if settings.emit and not settings.predictions:
            raise UsageError(
                "--emit writes images into a folder of this machine, which the nodes of a Ray cluster may not have. Use --engine processes."
            )
        _cluster(settings).check()
    if settings.engine == "serial":
        return structs.replace(settings, workers=1)
    if settings.engine == "processes" and settings.workers == "auto":
        return structs.replace(settings, workers=every_core())
    return settings


def text_engine(prepared: Preparation, settings: Settings) -> Engine:
    """Return what finds text, and writes the images of a product."""
    return _chosen(settings, prepared.processes(settings.workers))


def predicting_engine(prepared: Preparation, settings: Settings) -> Engine:
    """Return what predicts: of this machine one process where another device than the CPU does it, filled with batches across images."""
    return _chosen(settings, prepared.predicting_processes(settings.workers))


def _chosen(settings: Settings, n: int) -> Engine:
    return _cluster(settings) if settings.engine == "ray" else Processes(n=n)


def _cluster(settings: Settings) -> RayCluster:
    from audit.prediction.cluster import RayCluster

    return RayCluster(address=settings.address, most=None if settings.workers == "auto" else settings.workers)

"""Which engine a stage gets: what was asked for, or by the size of the work."""

from __future__ import annotations

from msgspec import structs

from audit.errors import UsageError
from audit.models.devices import device_of
from audit.prediction.concurrency import every_core
from audit.prediction.engines import SERIAL, Engine, Processes
from audit.run.preparation import Preparation
from audit.run.settings import Settings


def check_engine(settings: Settings) -> None:
    """Refuse settings that contradict each other, and a cluster that is not there, before anything is read.

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


def text_engine(prepared: Preparation, settings: Settings) -> Engine:
    """Return what finds text, and writes the images of a product."""
    return _chosen(settings, prepared.processes(settings.workers))


def predicting_engine(prepared: Preparation, settings: Settings) -> Engine:
    """Return what predicts: of this machine one process where another device than the CPU does it, filled with batches across images."""
    if device_of(prepared.bundle).type != "cpu" and settings.engine != "ray":
        return SERIAL
    return _chosen(settings, prepared.processes(settings.workers))


def processes_here(prepared: Preparation, settings: Settings) -> tuple[int, int]:
    """Return how many processes of this machine find text, and how many predict; a forecast knows no cluster."""
    local = structs.replace(settings, engine="auto") if settings.engine == "ray" else settings
    engines = text_engine(prepared, local), predicting_engine(prepared, local)
    n_text, n_predicting = (engine.n if isinstance(engine, Processes) else 1 for engine in engines)
    return n_text, n_predicting


def _chosen(settings: Settings, n_auto: int) -> Engine:
    if settings.engine == "ray":
        return _cluster(settings)
    if settings.engine == "serial":
        return SERIAL
    if settings.engine == "processes" and settings.workers == "auto":
        return Processes(n=every_core())
    return Processes(n=n_auto)


def _cluster(settings: Settings) -> Engine:
    from audit.prediction.cluster import RayCluster

    return RayCluster(address=settings.address, most=None if settings.workers == "auto" else settings.workers)

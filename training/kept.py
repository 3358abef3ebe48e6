"""Networks of earlier epochs, kept as bundles beside the final one: when a shortcut was learnt can then be audited."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from audit.data.records import Cohort
from audit.data.tasks import Task
from audit.models.saving import save_bundle
from audit.provenance import with_paths_from
from audit.store.serialise import plain
from audit.training.steps import Setting


def kept_folder(out: Path, epoch: int) -> Path:
    """Return where the network of an epoch is kept, beside the final one in `out`."""
    return out / "epochs" / f"{epoch:04d}"


def keeps_networks(
    name: str,
    cohort: Cohort,
    splits: Mapping[str, str],
    setting: Setting,
    *,
    classes: Sequence[str],
    task: Task,
    provenance: Mapping[str, Any],
) -> Callable[[torch.nn.Module, int, bool], None]:
    """Return what keeps the networks that the setting asks for, each as a bundle that knows the same images as the final one.

    Parameters
    ----------
    name : str
        Of the final bundle.
    cohort, splits, setting, classes, task, provenance
        As of `audit.training.classes.train_classes`.

    Returns
    -------
    callable
        `keep` of `audit.training.loop.train`.
    """
    every = setting.keep_every

    def keep(network: torch.nn.Module, epoch: int, best: bool) -> None:
        wanted = best if every == "phase" else every is not None and not best and epoch % every == 0
        if not wanted or not setting.team.leads:
            return
        folder = kept_folder(setting.out, epoch)
        # A copy: what is trained stays in its mode and its place.
        still = copy.deepcopy(network).cpu().eval().to(memory_format=torch.contiguous_format)
        save_bundle(
            folder,
            still,
            name=f"{name}-epoch-{epoch}",
            architecture=setting.architecture,
            classes=classes,
            task=task,
            preprocessing=setting.preprocessing,
            provenance=plain({**with_paths_from(provenance, setting.out, folder), "epoch": epoch}),
            metrics={},
            splits=splits,
            pixels=cohort.pixels,
        )

    return keep

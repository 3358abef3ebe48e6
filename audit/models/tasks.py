"""What the outputs of a network mean: one class an image (softmax), or findings independent of each other (sigmoids)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audit.data.tasks import TASKS, Task
from audit.errors import ModelError, UnknownNameError, UsageError


def older_task(provenance: Mapping[str, Any]) -> Task | None:
    """Return the task of a bundle that was written before it said it.

    Those are known where training wrote them: the chain's last step learns one class an image, its findings step independent
    findings. Of others nothing is assumed.
    """
    if "network" in provenance and "recipe" in provenance:
        return "single-label"
    return "multi-label" if "fingerprint" in provenance else None


def check_task(name: str) -> Task:
    """Return a task by name.

    Raises
    ------
    UnknownNameError
        If there is none; the nearest is suggested.
    """
    for task in TASKS:
        if name == task:
            return task
    raise UnknownNameError("task", name, TASKS)


def foreign_task(model: str, asked: Task | None, n_classes: int, n_outputs: int) -> tuple[Task, tuple[str, ...]]:
    """Return the task of a model that is opened directly, and what was assumed of it, in words.

    Raises
    ------
    UsageError
        If the task that was asked for does not fit the outputs.
    ModelError
        If it is multi-label.
    """
    if asked == "multi-label":
        raise ModelError(_MULTI_LABEL.format(model=model))
    if asked == "binary" and n_classes != 2:
        raise UsageError(
            f"{model} has {n_classes} classes, but --task binary was given. Omit --task, or name two classes."
        )
    if n_outputs == 1:
        return "binary", ()
    if asked is None:
        return "single-label", ("exactly one class applies to an image (softmax)",)
    return asked, ()


_MULTI_LABEL = (
    "The model {model} is multi-label (a sigmoid for each output), and only single-label networks (softmax over the classes, or one "
    "sigmoid for two) can be audited yet. Training can start from a multi-label bundle: `audit train D --checkpoint FOLDER`."
)


def audited_task(model: str, known: Task | None, said: str) -> Task:
    """Return the task under which a network is audited; only single-label networks can be.

    Parameters
    ----------
    model : str
        The bundle's name, for messages.
    known : Task or None
        What the bundle says.
    said : str
        What the user says of a bundle that does not say it; empty for nothing.

    Raises
    ------
    ModelError
        If the outputs are those of a multi-label network, or nobody says what they are.
    UsageError
        If the user says something else than the bundle.
    """
    asked = check_task(said) if said else None
    if asked is not None and known is not None and asked != known:
        raise UsageError(
            f"The bundle {model} is {known}, but --task {asked} was given. The setting is only for bundles that do not state their "
            "task; omit it."
        )
    task = known or asked
    if task is None:
        raise ModelError(
            f"The bundle {model} does not state its task, because an earlier version wrote it. If exactly one class applies "
            "to each image (softmax), use --task single-label; networks with independent findings (sigmoids) cannot be audited yet."
        )
    if task == "multi-label":
        raise ModelError(_MULTI_LABEL.format(model=model))
    return task

"""What the outputs of a network mean: one class an image (softmax), or findings independent of each other (sigmoids)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from audit.data.tasks import TASKS, Task
from audit.errors import ModelUsageError, UnknownNameError, UsageError
from audit.models.outputs import task_of_names


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


def foreign_task(model: str, asked: Task | None, names: Sequence[str], n_outputs: int) -> tuple[Task, tuple[str, ...]]:
    """Return the task of a model that is opened directly, and what was assumed of it, in words.

    Raises
    ------
    UsageError
        If the task that was asked for does not fit the outputs.
    """
    if asked == "multi-label" and n_outputs == 1:
        raise UsageError(
            f"{model} has one output, but --task multi-label was given. A network of one sigmoid is binary: name two classes, first that "
            "of a low output, and omit --task."
        )
    if asked == "binary" and len(names) != 2:
        raise UsageError(
            f"{model} has {len(names)} classes, but --task binary was given. Omit --task, or name two classes."
        )
    if n_outputs == 1:
        return "binary", ()
    if asked is None and task_of_names(names) == "multi-label":
        return "multi-label", (
            "each output is a finding of its own (sigmoid), as the published networks with these outputs have it",
        )
    if asked is None:
        return "single-label", ("exactly one class applies to an image (softmax)",)
    return asked, ()


def operating_points(
    model: str, points: Sequence[float | None], task: Task, n_outputs: int
) -> tuple[float | None, ...]:
    """Return the probability above which each output counts as found: one for each, or one for all.

    Raises
    ------
    UsageError
        If they do not fit the outputs, are no probabilities, or the task has none.
    """
    if not points:
        return ()
    if task != "multi-label":
        raise UsageError(
            f"{model} is {task}, and only multi-label networks have operating points. Omit --operating-points."
        )
    told = tuple(points) * n_outputs if len(points) == 1 else tuple(points)
    if len(told) != n_outputs:
        raise UsageError(
            f"{model} has {n_outputs} outputs, but {len(told)} operating points are given. Give one probability for each output, in their "
            "order, or one for all."
        )
    wrong = next((p for p in told if p is not None and not 0 < p < 1), None)
    if wrong is not None:
        raise UsageError(
            f"An operating point of {model} must be a probability between 0 and 1, both excluded; found {wrong:g}."
        )
    return told


def audited_task(model: str, known: Task | None, said: str) -> Task:
    """Return the task under which a network is audited.

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
        If nobody says what the outputs are.
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
        raise ModelUsageError(
            f"The bundle {model} does not state its task, because an earlier version wrote it. If exactly one class applies "
            "to each image (softmax), use --task single-label; if each output is a separate finding (sigmoid), --task multi-label."
        )
    return task

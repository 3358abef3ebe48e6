"""What a bundle states of its network, held against what is declared beside it: other declarations would give another network's results."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from audit.data.bundle_record import BundleRecord
from audit.data.input_choices import Scale
from audit.data.planned_model import InputSteps
from audit.errors import UsageError
from audit.models.kinds import with_kind
from audit.models.outputs import ORDERS
from audit.models.prepared_input import SCALES
from audit.models.requests import DeclaredInput, ModelRequest

Difference = tuple[str, str]
"""What a bundle states, and what was given, each in words."""
_BESIDE_A_FUNCTION = ("input_px", "channels", "colour")
"""What is stated of an input that a function prepares."""


def check_stated(folder: Path, record: BundleRecord, request: ModelRequest) -> None:
    """Refuse declarations beside a bundle that contradict it; equal ones are accepted.

    The task is checked where the audit decides it (`audit.models.tasks.audited_task`), and operating points may be chosen anew: they
    are where recall and specificity are measured, not what the network answers.

    Raises
    ------
    UsageError
        If any differs; all differences stand in one sentence.
    """
    found = [*_of_network(record, request), *_of_input(record.preprocessing, request.declared)]
    if found:
        stated, given = (" and ".join(dict.fromkeys(parts)) for parts in zip(*found, strict=True))
        them = "it" if len(found) == 1 else "them"
        raise UsageError(
            f"The bundle {folder} states {stated}, but {given} {'was' if len(found) == 1 else 'were'} given. Omit {them}, on the command "
            f"line and in [model] of audit.toml, or import the network again with {them}."
        )


def _of_network(record: BundleRecord, request: ModelRequest) -> Iterator[Difference]:
    asked = request.classes
    names = ORDERS.get(asked[0], asked) if len(asked) == 1 else asked
    if names and tuple(names) != record.classes:
        yield _flag("classes", record.classes), _flag("classes", asked)
    if request.answers not in (None, record.answers):
        yield _flag("answers", record.answers), _flag("answers", request.answers)
    if request.kind and request.kind != record.architecture and with_kind(request).kind != record.kind:
        yield f"the kind {_text(record.kind)}", f"--as {_text(request.kind)}"
    if request.checkpoint:
        yield "its own weights", _flag("checkpoint", request.checkpoint)


def _of_input(steps: InputSteps, said: DeclaredInput) -> Iterator[Difference]:
    stated = _stated(steps)
    if said.preprocess and said.preprocess != steps.function:
        yield _in_words("preprocess", steps.function or None), _flag("preprocess", said.preprocess)
    if said.scale and (steps.function or not _same(_ends(steps), _ends_of_scale(said.scale, len(steps.mean)))):
        values = " and ".join(_flag(name, stated[name]) for name in ("value_range", "mean", "std"))
        yield _flag("preprocess", steps.function) if steps.function else values, f"--scale {said.scale}"
    for name, value in stated.items():
        given = getattr(said, name)
        if given is None or given == ():
            continue
        if steps.function and name not in _BESIDE_A_FUNCTION:
            yield _flag("preprocess", steps.function), _flag(name, given)
        elif not _same(value, _whole(name, given, len(steps.mean))):
            yield _in_words(name, value), _flag(name, given)


def _stated(steps: InputSteps) -> Mapping[str, Any]:
    """Return what a bundle states of each declaration; None where it has none."""
    shorter = None
    if steps.fit == "shorter-side" and steps.size_px is not None:
        shorter = steps.shorter_px or min(steps.size_px)
    same = (
        "colour",
        "fit",
        "interpolation",
        "library",
        "pad",
        "crop",
        "clahe",
        "value_range",
        "mean",
        "std",
        "per_image",
    )
    return {
        "input_px": steps.size_px,
        "channels": len(steps.mean),
        "shorter_px": shorter,
        **{name: getattr(steps, name) for name in same},
    }


def _in_words(name: str, value: Any) -> str:
    if value is not None:
        return _flag(name, value)
    return "images at their own size" if name == "input_px" else f"no --{name.replace('_', '-')}"


def _flag(name: str, value: Any) -> str:
    return f"--{name.replace('_', '-')} {_text(value)}"


def _text(value: Any) -> str:
    """Return a value as an option takes it, in a form that cannot steer a terminal."""
    if isinstance(value, tuple):
        same = len(set(value)) == 1 and not isinstance(value[0], str)
        return ",".join(_text(v) for v in (value[:1] if same else value))
    if isinstance(value, bool):
        return str(value).lower()
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if text.isprintable() else ascii(text)


def _whole(name: str, given: Any, n_channels: int) -> Any:
    """Return what was declared in the form of a record: one number may stand for all."""
    if name == "input_px" and len(given) == 1:
        return given * 2
    return given * n_channels if name in ("mean", "std") and len(given) == 1 else given


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, (tuple, list)) and isinstance(other, (tuple, list)):
        return len(one) == len(other) and all(_same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)
    return bool(one == other)


def _ends(steps: InputSteps) -> tuple[tuple[float, float], ...]:
    """Return what black and white become in each channel."""
    low, high = steps.value_range
    return tuple(((low - m) / s, (high - m) / s) for m, s in zip(steps.mean, steps.std, strict=True))


def _ends_of_scale(scale: Scale, n_channels: int) -> tuple[tuple[float, float], ...]:
    mean, std = (part[:n_channels] for part in SCALES[scale])
    return tuple((-m / s, (1 - m) / s) for m, s in zip(mean, std, strict=True))

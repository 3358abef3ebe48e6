"""What the outputs of a network mean."""

from __future__ import annotations

from typing import Literal, get_args

Task = Literal["single-label", "multi-label"]
"""single-label: exactly one class applies to an image (softmax); multi-label: any number of findings does, each with a sigmoid."""
TASKS: tuple[Task, ...] = get_args(Task)

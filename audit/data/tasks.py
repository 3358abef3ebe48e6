"""What the outputs of a network mean."""

from __future__ import annotations

from typing import Literal, get_args

Task = Literal["single-label", "binary", "multi-label"]
"""single-label: exactly one class applies to an image (softmax); binary: the same with two classes, by one sigmoid or two outputs;
multi-label: any number of findings applies, each with a sigmoid."""
TASKS: tuple[Task, ...] = get_args(Task)

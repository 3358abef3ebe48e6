"""Provenance: which code produced a result."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

_PATHS = frozenset({"manifest", "findings_manifest", "findings_bundle"})
"""What a bundle's story calls its data; a hash says which they were."""
_WHOLE_PATH = r"(?:[A-Za-z]:|~|\.\.)?[\\/]|~|\.\."
_FOLDERS = r"(?<![\w.:/\\])(?:~|\.{1,2}|[A-Za-z]:)?[\\/](?:[^\s\\/]+[\\/])*(?=[^\s\\/])"
"""The folders of a path inside a sentence; not those of a URL."""


def tool_version() -> str:
    """Return the version of this package."""
    return metadata.version("imageaudit")


def git_commit() -> str | None:
    """Return the commit of the working folder, where there is one."""
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=False)  # noqa: S607
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None if found.returncode == 0 else None


def portable_path(path: str) -> str:
    """Return a path as files that go out may hold it: one that leaves the working folder only by its last part.

    Folders are named after users, projects and patients.
    """
    leaves = re.match(r"[A-Za-z]:|[\\/~]", path) is not None or ".." in re.split(r"[\\/]", path)
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1] if leaves else path


def without_paths(story: Any) -> Any:
    """Return what a bundle says of its training without paths: those of manifests and bundles go, others lose their folders."""
    if isinstance(story, Mapping):
        return {key: without_paths(value) for key, value in story.items() if key not in _PATHS}
    if isinstance(story, (list, tuple)):
        return [without_paths(value) for value in story]
    if not isinstance(story, str):
        return story
    return portable_path(story) if re.match(_WHOLE_PATH, story) else re.sub(_FOLDERS, "", story)


def with_paths_from(story: Mapping[str, Any], old: Path, new: Path) -> dict[str, Any]:
    """Return what a bundle says of its training with the paths of its data as they are from another folder."""
    return {
        key: os.path.relpath(old / value, new) if key in _PATHS and isinstance(value, str) else value
        for key, value in story.items()
    }


def portable_command(command: Sequence[str]) -> list[str]:
    """Return a command without the paths in it: of each argument that is one, `PATH` is left."""
    first = next((i for i, argument in enumerate(command) if argument.startswith("-")), len(command))
    # What stands before the first option is the program and its command, even where a folder is called like one.
    return [_portable_argument(argument, named=i < first) for i, argument in enumerate(command)]


def _portable_argument(argument: str, *, named: bool) -> str:
    option, equals, value = argument.partition("=") if argument.startswith("-") else ("", "", argument)
    if not value or (argument.startswith("-") and not equals):
        return argument
    try:
        is_path = any(c in value for c in "/\\~") or (not named and Path(value).exists())
    except (OSError, ValueError):
        is_path = True
    return f"{option}{equals}PATH" if is_path else argument

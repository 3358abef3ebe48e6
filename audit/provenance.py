"""Which code made a result."""

from __future__ import annotations

import subprocess
from importlib import metadata


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

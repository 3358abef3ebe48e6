"""The builder, with its warnings as errors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def build(configuration: Path) -> str:
    """Build a site; return what is wrong with it, empty if nothing is.

    Parameters
    ----------
    configuration : Path
        Its `mkdocs.yml`.
    """
    # The theme announces its successor in a banner on standard error; mkdocs.yml says why it is kept today.
    silent = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    # Not --quiet: it drops warnings before --strict counts them, and the build passes.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", configuration.name]
    built = subprocess.run(
        command,
        cwd=configuration.parent,
        env=silent,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return built.stdout if built.returncode else ""

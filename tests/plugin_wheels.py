"""Packages of other people: built as wheels, and really installed into folders of their own."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path


def install_plugin(folder: Path, name: str, files: Mapping[str, str], entry_points: str) -> Path:
    """Install a package from a wheel, and return the folder that holds it.

    Parameters
    ----------
    folder : Path
        Where wheel and installation are made.
    name : str
        Of the distribution, with underscores.
    files : mapping
        Path in the wheel -> text.
    entry_points : str
        Contents of `entry_points.txt`.
    """
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    information = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(f"{information}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(
            f"{information}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{information}/entry_points.txt", entry_points)
        archive.writestr(f"{information}/RECORD", "")
    site = folder / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--quiet", "--target", site, wheel],
        check=True,
    )
    return site

"""report.html printed to a PDF file, by a browser of the Chromium family that is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from audit.errors import StoreError
from audit.files import read_regular

BROWSER_VARIABLE = "AUDIT_CHROMIUM"
_BROWSERS = (
    "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge", "msedge", "brave-browser",
)  # fmt: skip
_MOST_SECONDS = 180


def print_pdf(page: Path) -> bytes:
    """Print an HTML report to PDF: its print style folds nothing and needs no script.

    Parameters
    ----------
    page : Path
        `report.html` of a finished run.

    Returns
    -------
    bytes
        The PDF file.

    Raises
    ------
    StoreError
        If no browser is installed, or it fails.
    """
    browser = _find_browser()
    with tempfile.TemporaryDirectory(prefix="audit-pdf-") as folder:
        printed = Path(folder) / "report.pdf"
        command = [
            browser, "--headless", "--disable-gpu", "--no-first-run", "--disable-extensions", "--no-pdf-header-footer",
            f"--user-data-dir={Path(folder) / 'profile'}", f"--print-to-pdf={printed}", page.resolve().as_uri(),
        ]  # fmt: skip
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            # Chromium refuses to start as root with its sandbox. The page is our own: foreign text in it is escaped.
            command.insert(1, "--no-sandbox")
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=_MOST_SECONDS)  # noqa: S603 a list, no shell
            data = read_regular(printed)
        except subprocess.TimeoutExpired as error:
            raise StoreError(
                f"{browser} did not print {page} within {_MOST_SECONDS} s. Open the report in a browser and print it there."
            ) from error
        except (subprocess.CalledProcessError, OSError) as error:
            raise StoreError(
                f"{browser} could not print {page} ({_reason(error)}). Set {BROWSER_VARIABLE} to another browser of the Chromium family, "
                "or open the report in a browser and print it there."
            ) from error
    if not data.startswith(b"%PDF-"):
        raise StoreError(f"What {browser} printed is not a PDF file. Open {page} in a browser and print it there.")
    return data


def _find_browser() -> str:
    asked = os.environ.get(BROWSER_VARIABLE)
    names = (asked,) if asked else _BROWSERS
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        what = f"{BROWSER_VARIABLE} names {asked!r}, which is not a program" if asked else "none was found"
        raise StoreError(
            f"A PDF is printed by a browser of the Chromium family, and {what}. Install Chromium, Chrome or Edge, set {BROWSER_VARIABLE} "
            "to its path, or open report.html in any browser and print it there."
        )
    return found


def _reason(error: subprocess.CalledProcessError | OSError) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return f"exit code {error.returncode}"

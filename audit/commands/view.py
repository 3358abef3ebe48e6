"""`audit view`: a local page with all images of a run, until it is ended."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from audit.data.strings import shown_string
from audit.errors import UsageError, shown_message
from audit.prediction.interrupts import Interrupted
from audit.prediction.table import read_finished
from audit.run.settings import Settings
from audit.viewing.cases import find_image, known_condition
from audit.viewing.pictures import CasePictures
from audit.viewing.server import RunPages, ViewServer


def view(path: Path, settings: Settings, *, port: int, image: str | None, condition: str | None) -> int:
    """Serve the pages of a run on this machine, and print their address; Ctrl-C ends it."""
    finished = read_finished(path)
    if settings.data and not Path(settings.data).exists():
        raise UsageError(
            f"--data {settings.data} does not exist. Name the manifest or the folder of the run, or omit the option."
        )
    shown, query = "", {}
    if image is not None:
        name = find_image(path, finished.table.record_ids.tolist(), image, plain=finished.plan.privacy.key is None)
        shown = f"case/{quote(name, safe='')}"
    if condition is not None:
        known_condition([c.name for c in finished.suite.conditions], condition)
        query = {"condition": condition}
    if image is None and condition is not None:
        number = [c.name for c in finished.suite.conditions[1:]].index(condition) if condition != "clean" else -1
        shown, query = (f"#condition={number}" if number >= 0 else ""), {}
    pages = RunPages(finished, CasePictures(finished, settings, _tell))
    with ViewServer(pages, port, _tell) as server:
        sys.stderr.write(
            f"audit: {len(finished.table.record_ids)} images of {shown_string(path.name, 200)}. The address holds a token, and works on "
            "this machine until Ctrl-C.\n"
        )
        sys.stdout.write(f"{server.url(shown, **query)}\n")
        sys.stdout.flush()
        # Whoever asks it to end leaves nothing unfinished.
        with suppress(Interrupted):
            server.serve_forever()
    return 0


def _tell(reason: str) -> None:
    sys.stderr.write(f"audit: {shown_message(reason)}\n")
    sys.stderr.flush()

"""What tests of the report share: a finished run, and a page taken apart."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from audit.config import Settings
from audit.run import run_audit

EMPTY_ELEMENTS = ("meta", "img", "br", "input", "rect", "line", "circle", "image", "link", "path", "polyline")


def finished_run(manifest: Path, bundle: Path, folder: Path, *, judge_gates: bool = True, **settings: Any) -> Path:
    """Audit a bundle on the cohort of a manifest, with its file of boxes; return the run folder."""
    given = Settings(
        model=str(bundle),
        data=str(manifest),
        detector="annotated",
        boxes=str(manifest.parent / "boxes.json"),
        runs=str(folder / "runs"),
        cache=str(folder / "cache"),
        resamples=200,
        **settings,
    )
    return run_audit(given, judge_gates=judge_gates, command=["audit", "run"], on_stage=lambda *_: lambda: None)[0]


class Page(HTMLParser):
    """Collects elements, their attributes and their ids."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))
        if tag not in EMPTY_ELEMENTS:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            assert self.open[-1] == tag, f"{self.open[-1]} is closed by {tag}"
            self.open.pop()

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [a for t, a in self.found if t == tag]

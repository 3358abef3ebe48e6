"""Built pages load nothing from elsewhere: they are read in hospitals, where a page must not call out."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

_LOADED = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "link": ("href",),
    "use": ("href", "xlink:href"),
    "image": ("href", "xlink:href"),
}
"""Element -> the attributes that make a browser fetch something."""
_FOREIGN = re.compile(r"^\s*(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
_IN_STYLE = re.compile(r"(?:url\(\s*|@import\s+)[\"']?((?:https?:)?//[^\"')\s]+)", re.IGNORECASE)


class _Requests(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_style = tag == "style"
        for name, value in attrs:
            if name == "style":
                self.found += _IN_STYLE.findall(value or "")
            elif name in _LOADED.get(tag, ()) and _FOREIGN.match(value or ""):
                self.found.append(str(value))

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.found += _IN_STYLE.findall(data)

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False


def foreign_requests(site: Path) -> list[str]:
    """Return what the pages and styles of a folder would load from elsewhere, each as `page: address`.

    Parameters
    ----------
    site : Path
        Folder of built pages. Links that a reader clicks are no requests.
    """
    found = []
    for page in sorted(site.rglob("*.html")):
        parser = _Requests()
        parser.feed(page.read_text(encoding="utf-8"))
        found += [f"{page.relative_to(site)}: {address}" for address in parser.found]
    for style in sorted(site.rglob("*.css")):
        found += [f"{style.relative_to(site)}: {a}" for a in _IN_STYLE.findall(style.read_text(encoding="utf-8"))]
    return found

"""Foreign words in Markdown: of file names, classes and strings of images nothing becomes markup, a link, a mention or a picture."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_MARKUP = re.compile(r"([\\`*_\[\]|#~!$])")
_BREAK = "\N{ZERO WIDTH SPACE}"
# What platforms make links of after Markdown was read, so that no backslash helps: addresses, mentions, issues, merge requests.
_LINKED = re.compile(
    r"(?<=:)(?=//)|(?<=@)|(?<=www)(?=\.)|(?<=[#!$%~])(?=\d)|(?<=\bGH-)(?=\d)|(?<=&amp;)(?=\d)", re.IGNORECASE
)


def inert(text: str) -> str:
    """Return a text on one line that a platform shows as it is: without markup, HTML, links and mentions, and nothing that turns it."""
    flat = " ".join(text.split())
    flat = "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c)[0] == "C" else c for c in flat)
    escaped = _MARKUP.sub(r"\\\1", flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
    return _LINKED.sub(_BREAK, escaped)


def fenced(lines: Sequence[str]) -> list[str]:
    """Return lines as a block that keeps their spaces, which nothing in them can end; none of none."""
    return ["```text", *(line.replace("`", "'") for line in lines), "```"] if lines else []

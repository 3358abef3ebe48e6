"""The templates, and what every page is framed by."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape

from audit.data.strings import shown_string
from audit.reports.findings.effect_words import MARKS, VERDICTS, estimate
from audit.reports.findings.group_effects import place
from audit.reports.findings.relevance_by_group import interval
from audit.reports.findings.terms import TERMS
from audit.statistics.selections import figure_in_words
from audit.store.numbers import bracketed, compact, counted, number, signed

_TERM = re.compile(r"\b({})\b".format("|".join(re.escape(name.removesuffix("s")) + "s?" for name in TERMS)))
_EXPLAINED = Markup('<a class="term" href="#{}" data-tip="{}" aria-describedby="{}">{}</a>')


@cache
def environment() -> Environment:
    """Return the templates, escaping everything, failing on names that are not given; a process compiles each once."""
    found = Environment(
        loader=FunctionLoader(_source),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(
        number=number, signed=signed, bracketed=bracketed, compact=compact, counted=counted, figure=figure_in_words,
        estimate=estimate, shown=shown_string, interval=interval, place=place, meaning=VERDICTS.__getitem__,
        sign=lambda verdict: MARKS.get(verdict, ""), marked=commands_marked, explained=terms_explained,
    )  # fmt: skip
    return found


def commands_marked(text: str) -> Markup:
    """Return a sentence, escaped, in which what stands between backticks is code; other backticks stay."""
    *pairs, last = text.split("`") if text.count("`") % 2 == 0 else [text]
    marked = (Markup("<code>{}</code>").format(part) if i % 2 else escape(part) for i, part in enumerate(pairs))
    return Markup("").join(marked) + escape(last)


def terms_explained(text: str) -> Markup:
    """Return a sentence, escaped, in which the first use of each term of the first screen shows its meaning on focus."""
    marked, seen = Markup(""), set[str]()
    for i, part in enumerate(_TERM.split(text)):
        name = next((n for n in TERMS if i % 2 and n.removesuffix("s") == part.removesuffix("s")), "")
        if not name or name in seen:
            marked += escape(part)
            continue
        seen.add(name)
        anchor = f"term-{name.replace(' ', '-').lower()}"
        marked += _EXPLAINED.format(anchor, TERMS[name], anchor, part)
    return marked


def frame(*, script: bool = True) -> dict[str, Any]:
    """Return what every page is framed by: style, script, and the policy that admits these two alone."""
    style, ours = _asset("report.css"), _asset("report.js") if script else ""
    return {
        "policy": _policy(style, ours),
        "style": Markup(style),  # noqa: S704  # our own file, and its hash is in the policy
        "script": Markup(ours),  # noqa: S704
    }


def whole_page(template: str, *, script: bool = False, **shown: Any) -> bytes:
    """Return a page in its frame, in UTF-8; what that cannot hold, such as a stray byte of a file's name, becomes a reference."""
    page = environment().get_template(template).render(**shown, **frame(script=script))
    return page.encode("utf-8", "xmlcharrefreplace")


def _source(name: str) -> tuple[str, None, Callable[[], bool]] | None:
    """Return a template, and what tells whether it is still the same: whoever writes a section edits and renders it again."""
    source = _text(name)
    return None if source is None else (source, None, lambda: _text(name) == source)


def _text(name: str) -> str | None:
    """Read a template of this package, or of another as `package:path`; None where there is none."""
    package, _, path = name.rpartition(":")
    try:
        return resources.files(package or "audit.templates").joinpath(path).read_text(encoding="utf-8")
    except (ImportError, OSError):
        return None


def _asset(name: str) -> str:
    return (resources.files("audit.templates") / name).read_text(encoding="utf-8").strip()


def _policy(style: str, script: str) -> str:
    """Return a content policy that admits these two blocks, pictures in the file, and nothing else."""

    def digest(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    runs = f"script-src 'sha256-{digest(script)}'; " if script else ""
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest(style)}'; {runs}"
        "base-uri 'none'; form-action 'none'"
    )

"""The rendered sections of one run: those of this package in their order, those of other packages where they request.

A section of another package is foreign code. Whatever goes wrong in it, the rest of the report is written, and both the page and
the command say which section is missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import get_args

from jinja2 import Environment, TemplateNotFound
from markupsafe import Markup

from audit.data.strings import shown_string
from audit.errors import AuditError, UsageError
from audit.reports.page.templates import environment
from audit.reports.reading.view import RunView
from audit.reports.sections import OWN, SECTIONS, Section, State, checked_section

_ID = re.compile(r"""\sid\s*=\s*["']?([^\s"'>]+)""")
_FRAME_IDS = ("main", "header", "not-shown-h")
"""Ids of the page outside its sections."""
_MOST_REASON = 600


@dataclass(frozen=True, kw_only=True)
class Part:
    """One written section."""

    name: str
    """Id of its element."""
    title: str
    """Its entry in the navigation."""
    state: State
    """What the navigation marks it with."""
    html: Markup
    """What its template made."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Why a section of another package is not shown."""

    told: str
    """A sentence for the page, which may be shared: error messages of foreign code may name files of this machine."""
    reason: str
    """The sentence for whoever renders the page."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """All sections of one run."""

    parts: tuple[Part, ...]
    """In the page's order."""
    problems: tuple[Problem, ...]
    """Of the sections that are not shown."""


def write_sections(run: RunView) -> Written:
    """Write every section that applies to a run."""
    templates = environment()
    own = {section.name: _write(section, run, templates) for section in OWN}
    taken = {*_FRAME_IDS, *own, *(name for part in own.values() if part for name in _ID.findall(part.html))}
    following: dict[str, list[Part]] = {name: [] for name in own}
    problems = []
    for name, where in SECTIONS.foreign().items():
        try:
            section = checked_section(name, SECTIONS[name], where, own)
            part = _write(section, run, templates)
            if part is not None:
                taken |= _own_ids(part, taken, where)
                following[section.after].append(part)
        except (Exception, SystemExit) as error:  # foreign code: whatever it raises, the report is written without it
            problems.append(_problem(name, where, error))
    ordered = (part for name, mine in own.items() for part in (mine, *following[name]) if part is not None)
    return Written(parts=tuple(ordered), problems=tuple(problems))


def _write(section: Section, run: RunView, templates: Environment) -> Part | None:
    """Write one section; None where it does not apply to the run."""
    shown = section.view(run)
    if shown is None:
        return None
    if not isinstance(shown, Mapping):
        raise TypeError(f"its view returned {type(shown).__name__}; expected a mapping or None")
    html = templates.get_template(section.template).render(**shown)
    # Its values were escaped by the template.
    state = "quiet" if section.state is None else section.state(run)
    if state not in get_args(State):
        raise ValueError(f"its state is {state!r}; expected {', '.join(get_args(State))}")
    return Part(name=section.name, title=section.title, state=state, html=Markup(html))  # noqa: S704


def _own_ids(part: Part, taken: Iterable[str], where: str) -> set[str]:
    """Return the ids of a foreign section: the navigation must find it, and no link or script may find it in place of another."""
    ids = set(_ID.findall(part.html))
    if part.name not in ids:
        raise UsageError(
            f"The template of the section {part.name!r} has no element with id={part.name!r}, to which the navigation links. Correct "
            f"it in the package that provides {where}, see docs/guides/extend.md."
        )
    twice = sorted(ids & set(taken) - {part.name})
    if twice or part.name in taken:
        raise UsageError(
            f"The section {part.name!r} uses the id {(twice or [part.name])[0]!r}, which another element of the page has. Correct it in "
            f"the package that provides {where}."
        )
    return ids


def _problem(name: str, where: str, error: BaseException) -> Problem:
    kind = type(error).__name__
    if isinstance(error, AuditError):
        kind, reason = "it cannot be used", str(error)
    else:
        if isinstance(error, TemplateNotFound):
            kind = "template not found"
        reason = f"The section {name!r} is not shown: {kind} ({error}). Update or uninstall the package that provides {where}."
    named = f"The section “{shown_string(name)}” ({shown_string(where, 80)})"
    return Problem(
        told=f"{named} could not be written: {kind}. `audit report` prints the reason.",
        reason=shown_string(" ".join(reason.split()), _MOST_REASON),
    )

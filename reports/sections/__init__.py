"""The sections of report.html, one file each; importing this package registers all of them."""

from audit.reports.reading.view import RunView
from audit.reports.sections import (
    atlas,
    controls,
    edited,
    effects,
    examples,
    gates,
    groups,
    history,
    levels,
    limits,
    looked_alike,
    methods,
    provenance,
    relevance,
    signoff,
    sources,
    standards,
    stress,
    suspects,
    training,
    verdict,
)
from audit.reports.sections.base import SECTIONS, Section, State, checked_section

OWN = tuple(
    SECTIONS.register(module.SECTION.name)(module.SECTION)
    for module in (
        edited, verdict, gates, effects, suspects, stress, examples, relevance, looked_alike, atlas, groups, levels, sources, history,
        controls, training, methods, limits, standards, provenance, signoff,
    )
)  # fmt: skip
"""The sections of this package, in the page's order."""

__all__ = ["OWN", "SECTIONS", "RunView", "Section", "State", "checked_section"]

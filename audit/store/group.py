"""What a group of images is, and the one way in which files, rules and the command line write it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Images that share something; in a rule also every group of a kind."""

    kind: str
    """`all` for every image; else what its images share: `class`, `word` for a string read on them, or a column such as `source`; `*` in a
    rule for every class and word."""
    value: str | None = None
    """The class, string or cell; `*` in a rule for every one of the kind; None where the kind says it all. Foreign text: it may hold
    anything, `=` too."""

    def __str__(self) -> str:
        """Write it as files hold it: `all`, `class=covid`."""
        return self.kind if self.value is None else f"{self.kind}={self.value}"

    def __lt__(self, other: Group) -> bool:
        """Sort groups as they are written."""
        return str(self) < str(other)

    @property
    def label(self) -> str:
        """The group in figures and tables: `class: covid`."""
        return self.kind if self.value is None else f"{self.kind}: {self.value}"


ALL = Group(kind="all")
"""Every image."""


def parse_group(text: str) -> Group:
    """Read a group back from how it is written; whatever the text is, writing the group gives it again."""
    kind, equals, value = text.partition("=")
    return Group(kind=kind, value=value if equals else None)

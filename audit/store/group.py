"""What a group of images is, and the one way in which files, rules and the command line write it."""

from __future__ import annotations

from typing import NoReturn


class Group:
    """Images that share something; in a rule also every group of a kind. Frozen, and equal where kind and value are.

    Not a dataclass, because readers of documents would then expect an object in its place: it is written as text.

    Parameters
    ----------
    kind : str
        `all` for every image; else what its images share: `class`, `word` for a string read on them, or a column such as `source`; `*` in
        a rule for every class and word.
    value : str or None
        The class, string or cell; `*` in a rule for every one of the kind; None where the kind says it all. Foreign text: it may hold
        anything, `=` too.
    """

    __slots__ = ("kind", "value")
    kind: str
    value: str | None

    def __init__(self, *, kind: str, value: str | None = None) -> None:
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "value", value)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        """Refuse: a group is a key of mappings."""
        raise AttributeError(f"a group is frozen; cannot set {name}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Group) and (self.kind, self.value) == (other.kind, other.value)

    def __hash__(self) -> int:
        return hash((self.kind, self.value))

    def __lt__(self, other: Group) -> bool:
        """Sort groups as they are written."""
        return str(self) < str(other)

    def __str__(self) -> str:
        """Write it as files hold it: `all`, `class=covid`."""
        return self.kind if self.value is None else f"{self.kind}={self.value}"

    def __repr__(self) -> str:
        return f"Group(kind={self.kind!r}, value={self.value!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return parse_group, (str(self),)

    @property
    def label(self) -> str:
        """The group in figures and tables: `class: covid`."""
        return self.kind if self.value is None else f"{self.kind}: {self.value}"


def parse_group(text: str) -> Group:
    """Read a group back from how it is written; whatever the text is, writing the group gives it again."""
    kind, equals, value = text.partition("=")
    return Group(kind=kind, value=value if equals else None)


ALL = Group(kind="all")
"""Every image."""

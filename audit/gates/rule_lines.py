"""The line of each gate rule in the configuration, to which annotations in a pull request point."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audit.files import read_text_file

_ID = re.compile(r"""(?:^|[\s,{])id\s*=\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)')""")
_HEADER = re.compile(r"^\s*\[[^\]]*\]|^\s*\[\[")
_RULES = re.compile(r"^\s*\[\[\s*(tool\.audit\.)?gate\.rule\s*\]\]")
_GATE = re.compile(r"^\s*\[\s*(tool\.audit\.)?gate\s*\]")
_COMMENT = re.compile(r"^\s*#")


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleLine:
    """The place of one rule."""

    file: str
    """Path of the file, relative to the root of the repository, with forward slashes."""
    line: int
    """From 1."""


def find_rule_lines(rules: Sequence[str], folder: Path) -> dict[str, RuleLine]:
    """Find the line of each rule: that of its table's header, or of its id in an inline table.

    Parameters
    ----------
    rules : sequence of str
        Ids. A rule that is not in the file, such as a default rule, is placed at its first line.
    folder : Path
        Where audit.toml and pyproject.toml are looked for.

    Returns
    -------
    dict of str to RuleLine
        Empty where there is no such file inside the repository.
    """
    path = next((folder / n for n in ("audit.toml", "pyproject.toml") if (folder / n).is_file()), None)
    file = None if path is None else path_in_repository(path, folder)
    if path is None or file is None:
        return {}
    lines = read_text_file(path).splitlines()
    wanted, found = set(rules), dict.fromkeys(rules, 1)
    header, inside = 0, False
    for number, line in enumerate(lines, 1):
        if _COMMENT.match(line):
            continue
        if _HEADER.match(line):
            rules_table = _RULES.match(line)
            header, inside = number if rules_table else 0, bool(rules_table or _GATE.match(line))
        if not inside:  # an `id` of another table is another id
            continue
        for match in _ID.finditer(line):
            rule = match[1] if match[1] is not None else match[2]
            if rule in wanted:
                wanted.discard(rule)
                found[rule] = number if "{" in line or not header else header
    return {rule: RuleLine(file=file, line=line) for rule, line in found.items()}


def path_in_repository(path: Path, folder: Path) -> str | None:
    """Return a file's path from the repository's root, with forward slashes; None where it lies outside.

    Parameters
    ----------
    path : Path
        The file.
    folder : Path
        The root, unless GitHub or GitLab name one.
    """
    root = Path(os.environ.get("GITHUB_WORKSPACE") or os.environ.get("CI_PROJECT_DIR") or folder).resolve()
    found = path.resolve()
    return found.relative_to(root).as_posix() if found.is_relative_to(root) else None

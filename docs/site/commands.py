"""The reference of the command line, read from the application itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer.main

from audit.cli.main import app
from docs.site.records import code, table


def command_page() -> str:
    """Return the page of all commands with their arguments and options."""
    root = typer.main.get_command(app)
    parts = ["# Command line\n", f"{root.help}\n", _settings_note()]
    for path, command in _walk(root, ("audit",)):
        parts.append(_section(path, command))
    return "\n".join(parts)


def command_names() -> list[str]:
    """Return every command in full: `audit run`, `audit text find`, ..."""
    return [" ".join(path) for path, _ in _walk(typer.main.get_command(app), ("audit",))]


def _settings_note() -> str:
    return (
        "Options of `audit run` and `audit plan` are [settings](settings.md), which `audit.toml` and the environment can also set. "
        "Every command ends with one of the [exit codes](exit-codes.md).\n"
    )


def _walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each command that does something, in the order of `--help`."""
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
        return
    for name, child in children.items():
        yield from _walk(child, (*path, name))


def _section(path: tuple[str, ...], command: Any) -> str:
    context = command.make_context(" ".join(path), [], resilient_parsing=True)
    usage = " ".join(command.get_usage(context).removeprefix("Usage: ").split())
    parts = [f"## {' '.join(path)}\n", f"```\n{usage}\n```\n", f"{_text(command.help)}\n"]
    for kind, title in (("argument", "argument"), ("option", "option")):
        records = [p.get_help_record(context) for p in command.params if p.param_type_name == kind]
        rows = [[code(r[0]), r[1]] for r in records if r is not None]
        if rows:
            parts.append(table([title, "meaning"], rows))
    return "\n".join(parts)


def _text(text: str | None) -> str:
    return "\n".join(line.strip() for line in (text or "").splitlines())

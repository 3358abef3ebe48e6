"""Write docs/settings.md anew: `python -m tests.golden.make_settings`, and read the diff before committing it."""

from __future__ import annotations

from pathlib import Path

from audit.run.settings import Setting, declared_settings

FILE = Path(__file__).parents[2] / "docs" / "settings.md"
_HEAD = """# Settings

This page is made from the declarations in `audit/run/settings.py` by `python -m tests.golden.make_settings`.

The command line takes precedence over the environment, then `audit.toml`, then `[tool.audit]` in `pyproject.toml`.
An empty variable counts as not set.
A list in a variable is separated by commas, and a table of names is written `a=b,c=d`.
From Python, `audit.run_audit` takes every setting by its name and reads neither files nor variables.
All settings are checked before the first image is read; a message names the place where the value was set.

| setting | option of `audit run` and `audit plan` | variable | in `audit.toml` | values | default | meaning |
|---|---|---|---|---|---|---|
"""


def settings_page() -> str:
    """Return the page."""
    return _HEAD + "".join(_row(setting) for setting in declared_settings().values())


def _row(setting: Setting) -> str:
    default = "none" if setting.default in ("", (), {}, None) else f"`{str(setting.default).lower()}`"
    where = (f"`{setting.flag}`", f"`{setting.variable}`") if setting.has_option else ("–", "–")
    cells = (f"`{setting.name}`", *where, f"`{setting.key}`", setting.expected, default, setting.help)
    return f"| {' | '.join(cells)} |\n"


def main() -> None:
    FILE.write_text(settings_page(), encoding="utf-8")


if __name__ == "__main__":
    main()

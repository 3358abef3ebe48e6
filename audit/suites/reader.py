"""Suites are read from TOML, and bound to their perturbations."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from pathlib import Path

from audit.data.conditions import Suite
from audit.errors import UnknownNameError, UsageError
from audit.files import why_unreadable
from audit.store.documents import parse_toml, read_toml
from audit.suites.binding import bind
from audit.suites.document import suite_of


def suite_names() -> list[str]:
    """Return the names of the suites that ship with the package."""
    folder = resources.files("audit") / "suites"
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))


def load_suite(name: str) -> Suite:
    """Read a suite by name, or by the path of a TOML file.

    Raises
    ------
    UsageError
        If the suite does not exist, the file does not follow the schema, or a perturbation does not take its parameters.
    """
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise UsageError(
                f"The suite file {name} {why_unreadable(path)}. Give a path to a TOML file or one of {', '.join(suite_names())}."
            )
        try:
            document = read_toml(path)
        except UnicodeDecodeError as error:
            raise UsageError(f"The suite file {name} cannot be read as text in UTF-8: {error}.") from error
        except OSError as error:
            raise UsageError(f"The suite file {name} cannot be read ({error.strerror}).") from error
        except ValueError as error:
            raise UsageError(f"Suite {name} is not valid TOML: {error}.") from error
    elif name in suite_names():
        document = parse_toml((resources.files("audit") / "suites" / f"{name}.toml").read_text(encoding="utf-8"))
    else:
        raise UnknownNameError("suite", name, suite_names(), "A path to a .toml file is accepted too.")
    return _bound(suite_of(name, document))


def _bound(suite: Suite) -> Suite:
    """Make every condition's perturbation once: its version and what it declares are of the instance, not of its maker."""
    return replace(suite, conditions=tuple(c if c.role == "clean" else bind(c) for c in suite.conditions))

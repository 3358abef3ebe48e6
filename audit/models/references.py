"""The user's own code, by name: `package.module:function`, also from the folder that the command is started in."""

from __future__ import annotations

import difflib
import importlib
import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from audit.errors import UsageError, shown_string

_REFERENCE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")


def is_reference(text: str) -> bool:
    """Say whether a text has the form `package.module:function`."""
    return _REFERENCE.fullmatch(text) is not None


@cache
def load_reference(reference: str, what: str) -> Callable[..., Any]:
    """Import the function of a reference. It is the user's own code, and runs with the user's rights.

    Parameters
    ----------
    reference : str
        `package.module:function`; modules of the working folder are found like installed ones.
    what : str
        What it is meant to be, for messages.

    Raises
    ------
    UsageError
        If there is no such module or function, or its import fails.
    """
    if not is_reference(reference):
        raise UsageError(
            f"A {what} is named as package.module:function, found {shown_string(reference, 100)}. Correct the name."
        )
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    module_name, _, path = reference.partition(":")
    importlib.invalidate_caches()
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise UsageError(
                f"The {what} {reference} cannot be imported: there is no module {error.name} in {here} or among the installed packages. "
                "Start the command in the folder that contains it, or install its package."
            ) from error
        raise UsageError(
            f"The {what} {reference} cannot be imported: it needs the package {error.name}, which is not installed. Install it with "
            f"`pip install {error.name}`."
        ) from error
    except (Exception, SystemExit) as error:  # the user's module may raise anything, or end the process
        raise UsageError(f"The {what} {reference} cannot be imported: its module raised {error!r}.") from error
    for name in path.split("."):
        if not hasattr(found, name):
            near = difflib.get_close_matches(name, dir(found), n=1)
            guess = f" Did you mean {near[0]!r}?" if near else ""
            raise UsageError(f"The {what} {reference} does not exist: {module_name} has no {name!r}.{guess}")
        found = getattr(found, name)
    if not callable(found):
        raise UsageError(
            f"The {what} {reference} must be a function or another callable, found a {type(found).__name__}."
        )
    checked: Callable[..., Any] = found
    return checked

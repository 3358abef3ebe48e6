"""The exception tree; every member is shown to the user as one paragraph, never as a traceback.

    AuditError                 exit code 4: the audit could not be completed
    ├── UsageError             exit code 2: wrong use or configuration
    │   └── UnknownNameError   a name that no registry, suite or folder knows
    ├── CohortError            the table of records cannot be trusted
    │   └── CohortUsageError   another path or option mends it: a UsageError, exit code 2
    ├── ImageError             one image cannot be read
    ├── ModelError             a bundle or checkpoint cannot be used
    │   └── ModelUsageError    another path or option mends it: a UsageError, exit code 2
    ├── TextError              text regions cannot be found or read
    │   └── TextUsageError     another path or option mends it: a UsageError, exit code 2
    ├── RelevanceError         attribution cannot be computed for this network
    └── StoreError             a run folder cannot be written or read back

What a changed command line mends is exit code 2, whatever it is about; what is damaged, absent from the machine or not allowed to be
written is exit code 4. A message says what went wrong, what is allowed, what was found, and what to do.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable

MOST_MESSAGE = 1500
"""Characters of a message; what it echoes is cut where it is written, and this is the limit for what nobody thought of."""

MOST_NAMES = 40
"""Known names that a message lists."""
_MOST_SHOWN = 12
"""Names of somebody else's that a message echoes."""


def shown_string(text: str, most: int = 40) -> str:
    """Return a string fit for a terminal or a sentence: what does not print, or turns text round, replaced; long ones cut."""
    safe = "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c)[0] == "C" else c for c in text[: most + 1])
    return safe if len(safe) <= most else f"{safe[: most - 1]}…"


def shown_value(value: object, most: int = 60) -> str:
    """Return any value that somebody else wrote as a message echoes it: on one line, printable and cut."""
    return shown_string(repr(value), most)


def shown_names(names: Iterable[str], most: int = _MOST_SHOWN) -> str:
    """Return names that somebody else chose as a message lists them: each fit for a terminal, the first few, and how many more."""
    every = list(names)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(shown_string(name) for name in every[:most]) + more


def shown_message(text: str) -> str:
    """Return a whole message as it is printed, however long what it echoes: cut in its middle, for its end says what to do."""
    if len(text) > MOST_MESSAGE:
        text = f"{text[: MOST_MESSAGE - 500]} … {text[-400:]}"
    # A byte of a file name that is no text keeps its number: by it the file can be found.
    return shown_lines(text.encode("utf-8", "backslashreplace").decode())


def shown_lines(text: str) -> str:
    """Return a text of several lines, each of them fit for a terminal."""
    return "\n".join(shown_string(line, len(line)) for line in text.split("\n"))


class AuditError(Exception):
    """Root of everything that the command line reports without a traceback."""

    exit_code: int = 4


class UsageError(AuditError):
    """The command or its configuration is wrong."""

    exit_code = 2


def near_names(name: str, known: Iterable[str]) -> list[str]:
    """Return at most three known names that are near to one, the nearest first."""
    # Compared without case, so that `c` finds the model `C`.
    folded = {known_name.casefold(): known_name for known_name in sorted(set(known), reverse=True)}
    return [folded[n] for n in difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.5)]


class UnknownNameError(UsageError):
    """A name that is not known, with the nearest names that are.

    Parameters
    ----------
    kind : str
        What was looked up, in words ("suite", "model").
    name : object
        The name that was asked for; a configuration may hold anything in its place.
    known : iterable of str
        Every name that would have been accepted.
    hint : str
        What else the user could do; appended to the message.
    """

    def __init__(self, kind: str, name: object, known: Iterable[str], hint: str = "") -> None:
        names = sorted(set(known))
        near = near_names(str(name), names)
        guess = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        if len(names) > MOST_NAMES:  # the first of so many in the alphabet help nobody
            choice = f" {len(names)} names are known."
        else:
            choice = f" Known: {', '.join(names)}." if names else " None is available here."
        super().__init__(f"No {kind} is called {shown_value(name)}.{guess}{choice}{' ' + hint if hint else ''}")


class CohortError(AuditError):
    """The manifest or its images do not form a cohort that can be trusted."""


class CohortUsageError(UsageError, CohortError):
    """The manifest is not where the command says, or not what it declares: another path or option mends it."""


class ImageError(AuditError):
    """One image file cannot be read as a radiograph."""


class ModelError(AuditError):
    """A bundle or checkpoint cannot be used."""


class ModelUsageError(UsageError, ModelError):
    """The model is not where the command says, or not what it declares: another path or option mends it."""


class TextError(AuditError):
    """Text regions cannot be found or read."""


class TextUsageError(UsageError, TextError):
    """A file of boxes is not where the command says, or not named: another path or option mends it."""


class RelevanceError(AuditError):
    """Relevance cannot be attributed for this network."""


class StoreError(AuditError):
    """A run folder or bundle cannot be written, or cannot be read back."""

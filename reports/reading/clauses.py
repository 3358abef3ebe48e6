"""Titles of conditions inside a sentence: `Text inpainted` becomes `when the text is inpainted`."""

from __future__ import annotations

import re

_DONE = re.compile(r"(?P<what>.+?) (?P<done>(?:\w+ed|kept)(?: (?:in|out|back|away|elsewhere)\b(?: \w+)?)?)")
_GIVEN = re.compile(r".+ of (?:another|the same|a random)\b.*")
_DOSE = re.compile(r"(?P<words>.+), (?P<dose>[a-z ]+ -?[\d.e+-]+)")
_DETERMINED = ("the ", "a ", "an ", "only ", "its ", "all ", "each ", "every ", "no ", "noise", "object ")
"""How subjects begin that need no article before them."""
_TAILS = re.compile(r" (?:of|without|with|elsewhere|as|in|at|from)\b.*")
"""What follows the noun that the verb agrees with."""


def clause(title: str) -> str:
    """Return what a condition does to an image as an adverbial clause: `when the image is given the look of another source`.

    Titles of this package say what is done (`Text covered in grey`, `Only the border kept`) or which property the image takes on
    (`Noise of another class`). The title of a suite or plug-in that does neither is quoted: `under “Windowed”`.

    Parameters
    ----------
    title : str
        Of a condition, fit to be printed; that of a rung ends with its dose.
    """
    rung = _DOSE.fullmatch(title)
    words, dose = (rung["words"], f" ({rung['dose']})") if rung else (title, "")
    done = _DONE.fullmatch(words)
    if done:
        return f"when {_subject(done['what'], added=done['done'] in ('added', 'swapped in'))} {done['done']}{dose}"
    if _GIVEN.fullmatch(words):
        return f"when the image is given the {_small(words)}{dose}"
    return f"under “{title}”"


def _subject(what: str, *, added: bool) -> str:
    """Return what something is done to, with its article and verb: `the same shapes elsewhere are`."""
    named = _small(what)
    if named.startswith("own "):
        named = f"the image's {named}"
    elif not (added or named.startswith(_DETERMINED)):
        named = f"the {named}"
    elif added and named.startswith("patch "):
        named = f"a {named}"
    head = _TAILS.sub("", named)
    several = " and " in head or (head.endswith("s") and not head.endswith(("ss", "us", "is")))
    return f"{named} {'are' if several else 'is'}"


def _small(words: str) -> str:
    """Return words as they stand within a sentence; those that begin with an abbreviation stay."""
    return words if words[1:2].isupper() else words[:1].lower() + words[1:]

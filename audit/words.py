"""Strings that were read on films: made comparable, and those that enough patients' films carry, which become groups."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

MAX_WORDS = 10
"""Strings that become groups. Each is one more judged effect of every text mask, and all judged effects widen each other's
simultaneous intervals; strings beyond the ten commonest are mostly misreadings of these, or on hardly enough films."""


def normal_string(text: str) -> str:
    """Return a string as it is compared: in capitals, runs of white space as one blank."""
    return " ".join(text.upper().split())


def may_be_personal(text: str) -> bool:
    """Say whether a string may be a date of birth or a number of somebody: whether it holds a digit."""
    return any(c.isdigit() for c in text)


def shown_string(text: str, most: int = 40) -> str:
    """Return a string fit for a terminal or a sentence: what does not print, or turns text round, replaced; long ones cut."""
    safe = "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c)[0] == "C" else c for c in text)
    return safe if len(safe) <= most else f"{safe[: most - 1]}…"


def common_words(
    read: Iterable[tuple[int, str]], patients: Sequence[str], *, min_patients: int
) -> dict[str, NDArray[np.bool_]]:
    """Choose the strings that become groups, by the films alone: what a network says of them plays no part.

    Strings are hostile: any characters, any length. Those with digits are left out, as dates and numbers of patients are not
    to be repeated in a report; a name stands on the films of one patient, so that the least number of patients keeps it out.

    Parameters
    ----------
    read : iterable of (int, str)
        Place of the film, and one string that was read on it.
    patients : sequence of str
        Who is shown, film by film.
    min_patients : int
        Strings on the films of fewer are left out.

    Returns
    -------
    dict
        At most `MAX_WORDS` normal strings -> (n films,) whether it was read there; those of most patients first, ties in
        alphabetical order.
    """
    films: defaultdict[str, set[int]] = defaultdict(set)
    for place, text in read:
        word = normal_string(text)
        if word and not may_be_personal(word):
            films[word].add(place)
    n_patients = {word: len({patients[i] for i in places}) for word, places in films.items()}
    enough = [word for word, n in n_patients.items() if n >= min_patients]
    chosen = sorted(enough, key=lambda word: (-n_patients[word], word))[:MAX_WORDS]
    return {word: _members(films[word], len(patients)) for word in chosen}


def _members(places: set[int], n: int) -> NDArray[np.bool_]:
    members = np.zeros(n, dtype=np.bool_)
    members[sorted(places)] = True
    return members

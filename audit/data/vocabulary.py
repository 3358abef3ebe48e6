"""The values of `sex` and `view` that files of a run may hold: a closed list, so that no cell of a table reaches a file by itself."""

from __future__ import annotations

from collections.abc import Mapping

from audit.data.ages import says_nothing

OTHER = "other"
"""Stands for every value that is on no list."""
_SEXES: Mapping[str, str] = {
    "f": "F", "female": "F", "femal": "F", "woman": "F", "w": "F", "girl": "F",
    "m": "M", "male": "M", "man": "M", "boy": "M",
    "o": OTHER, "other": OTHER, "diverse": OTHER, "d": OTHER, "x": OTHER, "intersex": OTHER,
    "u": "",
}  # fmt: skip
_VIEWS: Mapping[str, str] = {
    "pa": "PA", "posteroanterior": "PA", "posterioranterior": "PA",
    "ap": "AP", "anteroposterior": "AP", "anteriorposterior": "AP",
    "apsupine": "AP Supine", "aphorizontal": "AP Supine", "supine": "AP Supine",
    "apsemierect": "AP semi erect", "aperect": "AP erect", "apaxial": "AP axial",
    "l": "L", "lat": "L", "lateral": "L",
    "ll": "LL", "leftlateral": "LL", "rl": "RL", "rightlateral": "RL",
    "lld": "LLD", "rld": "RLD", "llo": "LLO", "rlo": "RLO", "lao": "LAO", "rao": "RAO", "lpo": "LPO", "rpo": "RPO",
    "frontal": "frontal", "axial": "axial", "coronal": "coronal", "sagittal": "sagittal", "lordotic": "lordotic",
    "cc": "CC", "mlo": "MLO", "ml": "ML", "lm": "LM", "costal": "costal", "oblique": "oblique",
    "other": OTHER, "unk": "", "exclude": OTHER,
}  # fmt: skip


def known_sex(text: str) -> str | None:
    """Return F, M, `other` or nothing; None for a value that is not understood."""
    return _known(text, _SEXES)


def known_view(text: str) -> str | None:
    """Return a projection as the project writes it, or nothing; None for a value that is not understood."""
    return _known(text, _VIEWS)


def _known(text: str, values: Mapping[str, str]) -> str | None:
    if says_nothing(text):
        return ""
    return values.get("".join(c for c in text.casefold() if c.isalnum()))


def pattern_of(text: str, most: int = 20) -> str:
    """Return how a cell is written, not what it says: digits as 9, letters as a. It may be shown whoever it is about."""
    shape = "".join(
        "9" if c.isnumeric() else "a" if c.isalpha() else c if c.isascii() and c.isprintable() else "?" for c in text
    )
    return shape if len(shape) <= most else f"{shape[:most]}..."

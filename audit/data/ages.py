"""Ages as tables and DICOM files write them, in years; infants keep their weeks and days as fractions."""

from __future__ import annotations

import re

OLDEST_YEARS = 120
"""More is a typing error: ChestX-ray14 has 412."""
_LONGEST = 40
"""Characters; no age is longer, and what is longer may be anything."""
_YEARS = {"y": 1.0, "a": 1.0, "m": 1 / 12, "w": 7 / 365.25, "d": 1 / 365.25}
_NUMBER = r"\d{1,4}(?:[.,]\d+)?"
_UNIT = r"years?|yrs?|y|a|months?|mths?|mos?|m|weeks?|wks?|w|days?|d"
_ENDING = r"(?:\s*[-/]?\s*(?:old|of\s+age))?\s*\.?"
_PLAIN = re.compile(rf"({_NUMBER})\s*-?\s*({_UNIT})?\.?{_ENDING}", re.IGNORECASE)
_OPEN = re.compile(
    rf"(?:(>=?|≥|<=?|≤|over|above|under|below|less than|more than)\s*({_NUMBER})\s*({_UNIT})?|({_NUMBER})\s*({_UNIT})?\s*"
    rf"(?:\+|plus|or (?:more|older|over)|and (?:over|above|older)|({_UNIT})?\s*\+)){_ENDING}",
    re.IGNORECASE,
)
_BAND = re.compile(
    rf"\[?\(?({_NUMBER})\s*({_UNIT})?\s*(?:-|–|—|to|\.\.)\s*({_NUMBER})\s*({_UNIT})?[\])]?{_ENDING}", re.IGNORECASE
)
_MIXED = re.compile(rf"({_NUMBER})\s*({_UNIT})[\s,]*({_NUMBER})\s*({_UNIT}){_ENDING}", re.IGNORECASE)
_STRICT = (">", "over", "above", "more than")
_BELOW = ("<", "<=", "≤", "under", "below", "less than")
_NOTHING = frozenset(
    {
        "",
        "-",
        "--",
        "?",
        ".",
        "na",
        "n/a",
        "<na>",
        "nan",
        "nat",
        "none",
        "null",
        "nil",
        "unk",
        "unknown",
        "not reported",
        "missing",
    }
)


def says_nothing(text: str) -> bool:
    """Say whether a cell is empty, or a word for an empty one."""
    return text.strip().casefold() in _NOTHING


def parse_age(text: str, unit: str = "y") -> float | None:
    """Read an age in years.

    Read are `58`, `58.5`, `060Y`, `018M`, `003W`, `010D`, `45 yrs`, `9month`, `1y 6m`; a band `45-54` is its middle (with the whole
    last year), `>89` and `90+` are the least that they allow, `<1` is half of it.

    Parameters
    ----------
    text : str
        A cell.
    unit : {"y", "m", "w", "d"}
        Of a number without a unit.

    Returns
    -------
    float or None
        None where it says nothing, or nothing that can be true.
    """
    text = text.strip()
    if len(text) > _LONGEST:
        return None
    if found := _PLAIN.fullmatch(text):
        return _possible(_years(found[1], found[2], unit))
    if found := _OPEN.fullmatch(text):
        sign, number, of = (
            (found[1].lower(), found[2], found[3]) if found[1] else (">=", found[4], found[5] or found[6])
        )
        years = _years(number, of, unit)
        if sign in _BELOW:
            return _possible(years / 2)
        return _possible(years + (_YEARS[_letter(of, unit)] if sign in _STRICT else 0))
    if found := _BAND.fullmatch(text):
        low, high = _years(found[1], found[2] or found[4], unit), _years(found[3], found[4], unit)
        step = _YEARS[_letter(found[4], unit)]
        return _possible((low + high + step) / 2) if low <= high else None
    if found := _MIXED.fullmatch(text):
        return _possible(_years(found[1], found[2], unit) + _years(found[3], found[4], unit))
    return None


def _letter(word: str | None, unit: str) -> str:
    return word[0].lower() if word else unit


def _years(number: str, word: str | None, unit: str) -> float:
    return float(number.replace(",", ".")) * _YEARS[_letter(word, unit)]


def _possible(years: float) -> float | None:
    return years if 0 <= years <= OLDEST_YEARS else None

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.data.ages import OLDEST_YEARS, parse_age, says_nothing
from audit.data.vocabulary import known_sex, known_view, pattern_of

DAY = 1 / 365.25


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("58", 58), ("58.0", 58), ("58,5", 58.5), ("0", 0), ("060Y", 60), ("018M", 1.5), ("003W", 21 * DAY), ("010D", 10 * DAY),
        ("000D", 0), ("45 yrs", 45), ("45yrs", 45), ("9month", 0.75), ("7days", 7 * DAY), ("3 weeks", 21 * DAY), ("1y 6m", 1.5),
        ("1 year, 6 months", 1.5), ("45-year-old", 45), (">89", 90), ("> 89", 90), (">=90", 90), ("≥90", 90),
        ("89+", 89), ("90 or more", 90),
        ("over 89", 90), ("50+", 50), ("90Y+", 90), ("<1", 0.5), ("45-54", 50), ("45–54", 50), ("45 to 54 years", 50), ("0-4", 2.5),
        ("[40-50)", 45.5), ("6-11 months", 0.75), ("412D", 412 * DAY), (" 44 ", 44),
    ],
)  # fmt: skip
def test_ages_are_read(text: str, years: float) -> None:
    assert parse_age(text) == pytest.approx(years)


@pytest.mark.parametrize(
    "text",
    ["412", "155", "-3", "54-45", "", "?", "adult", "1970-01-07", "45 cats", "4e1", "nan", "1" * 1000, "45Y60", "inf"],
)
def test_what_no_age_can_be_is_none(text: str) -> None:
    assert parse_age(text) is None


@given(st.integers(0, 999), st.sampled_from("YMWD"))
def test_every_age_string_of_dicom(number: int, unit: str) -> None:
    years = number * {"Y": 1, "M": 1 / 12, "W": 7 * DAY, "D": DAY}[unit]
    assert parse_age(f"{number:03d}{unit}") == (pytest.approx(years) if years <= OLDEST_YEARS else None)


@given(st.text(max_size=60))
def test_any_text_is_an_age_or_none(text: str) -> None:
    age = parse_age(text)
    assert age is None or 0 <= age <= OLDEST_YEARS
    assert not (says_nothing(text) and age is not None)
    shown = pattern_of(text)
    assert not any(c.isalnum() and c not in "9a" for c in shown), "what a cell says is not shown"


def test_units_of_the_column() -> None:
    assert parse_age("6", "m") == 0.5
    assert parse_age("6Y", "m") == 6


def test_sexes_and_views() -> None:
    assert [known_sex(t) for t in ("F", "female", "Male", "m", "O", "unknown", "", "SMITH")] == [
        "F", "F", "M", "M", "other", "", "", None,
    ]  # fmt: skip
    assert [known_view(t) for t in ("PA", "pa", "Postero-anterior", "AP Supine", "AP_horizontal", "LATERAL", "?", "SMITH")] == [
        "PA", "PA", "PA", "AP Supine", "AP Supine", "L", "", None,
    ]  # fmt: skip

"""Numbers in sentences and tables, written one way everywhere: a true minus sign, fixed decimals, no negative zero."""

from __future__ import annotations

MINUS = "\N{MINUS SIGN}"
NOTHING = "\N{EN DASH}"
"""Shown in place of a missing number."""


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with a true minus sign, or a dash where there is none.

    A value that rounds to zero loses its sign; a zero that is exact is written without decimals, so that a measured one is told
    from it.
    """
    if value is None:
        return NOTHING
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        return "0" if value == 0 else text.removeprefix("-")
    return text.replace("-", MINUS)


def signed(value: float, digits: int = 3) -> str:
    """Return a change with its sign, plus too; none where rounding leaves nothing."""
    text = number(value, digits)
    return f"+{text}" if value > 0 and float(f"{value:.{digits}f}") else text


def compact(value: float, digits: int = 6) -> str:
    """Return a number that somebody chose, such as a limit, with the decimals that it needs and no more."""
    return f"{value:.{digits}g}".replace("-", MINUS)


def bracketed(estimate: float, low: float | None, high: float | None, digits: int = 3) -> str:
    """Return an estimate with its interval, where it has one: `0.266 [0.190, 0.347]`."""
    if low is None or high is None:
        return number(estimate, digits)
    return f"{number(estimate, digits)} [{number(low, digits)}, {number(high, digits)}]"


def signed_bracketed(change: float, low: float | None, high: float | None, digits: int = 3) -> str:
    """Return a change with its interval, every number with its sign: `+0.024 [−0.003, +0.052]`."""
    if low is None or high is None:
        return signed(change, digits)
    return f"{signed(change, digits)} [{signed(low, digits)}, {signed(high, digits)}]"


def counted(n: int, one: str, many: str = "") -> str:
    """Return a count with its noun in the right number: `1 group`, `2 groups`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"

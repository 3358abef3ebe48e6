"""Ticks of an axis, and the room that text takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from audit.store.numbers import compact


def text_px(text: str) -> float:
    """Return about how wide a text of 13 px is drawn; the fonts of readers differ."""
    return sum(13.5 if c in "MW@%mw" or ord(c) > 0x2E80 else 9.0 if c.isupper() else 7.5 for c in text)


def shortened(text: str, room_px: float) -> str:
    """Shorten a name that does not fit in its middle, because names often differ at their ends; tables show it in full."""
    if text_px(text) <= room_px:
        return text
    for kept in range(len(text) - 1, 0, -1):
        tail = kept // 3
        cut = f"{text[: kept - tail]}…{text[len(text) - tail :]}"
        if text_px(cut) <= room_px:
            return cut
    return "…"


def tick_values(low: float, high: float, most: int = 7) -> list[float]:
    """Return the round values between two ends that an axis marks, about `most` at most."""
    step = nice_step((high - low) * 7 / most)
    return [k * step for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def tick_digits(values: Sequence[float]) -> int:
    """Return the number of decimals that distinguish neighbouring ticks, at least two."""
    step = min((b - a for a, b in pairwise(values)), default=1.0)
    return max(2, -math.floor(math.log10(step) + 1e-9))


def tick_text(value: float) -> str:
    """Write a tick without trailing zeros."""
    return compact(round(value, 6))


def nice_step(span: float) -> float:
    """Return a step of 1, 2 or 5 times a power of ten that cuts a span into at most seven."""
    least = math.floor(math.log10(span / 7))
    return next(m * 10.0**e for e in (least, least + 1) for m in (1, 2, 5) if span / (m * 10.0**e) <= 7)

"""Where small documents are read: TOML and JSON, bounded in size and nesting before anything is made of them."""

from __future__ import annotations

import errno
import json
import math
import tomllib
from pathlib import Path
from typing import Any

from audit.files import read_regular

MAX_TOML_BYTES = 512 * 1024
"""Settings, suites and recipes take a few kilobytes."""
MAX_JSON_BYTES = 256 * 1024 * 1024
"""The effects of a large run take some ten megabytes."""
# tomllib's memory grows with the square of the parts of a dotted key, which stands in one line.
_MAX_DOTS = 500


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    ValueError
        If it is not valid TOML, too large or nested too deeply.
    OSError
        If it cannot be read.
    """
    return parse_toml(_text(path, MAX_TOML_BYTES))


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML as `read_toml` does."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.count(".") > _MAX_DOTS:
            raise ValueError(f"line {number} has more than {_MAX_DOTS} dots")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(path: Path) -> Any:
    """Read a JSON file that holds no NaN, no infinity and no endless nesting.

    Raises
    ------
    ValueError
        If it is not so, not valid JSON, or too large.
    OSError
        If it cannot be read.
    """
    return strict_json(_text(path, MAX_JSON_BYTES))


def strict_json(text: str) -> Any:
    """Parse JSON that holds no NaN, no infinity and no endless nesting.

    Raises
    ------
    ValueError
        If it is not so; Python's own reader would let these pass, or fail in another way.
    """

    def refuse(constant: str) -> float:
        raise ValueError(f"{constant} is not a number")

    def finite(digits: str) -> float:
        value = float(digits)
        return value if math.isfinite(value) else refuse(digits)

    try:
        return json.loads(text, parse_constant=refuse, parse_float=finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _text(path: Path, limit: int) -> str:
    try:
        return read_regular(path, limit).decode("utf-8-sig")
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise ValueError(error.strerror) from None
        raise

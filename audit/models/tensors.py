"""safetensors files: the one place where they are read, after a look at their header."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from audit.files import open_regular
from audit.models.foreign import RefusedError, first_twice, shown

MAX_HEADER_BYTES = 4 * 1024 * 1024
"""Of the table of tensors; DenseNet-201 takes 0.1 MB."""


def read_tensors(file: Path | bytes) -> dict[str, torch.Tensor]:
    """Read a safetensors file, or its bytes.

    Names, types, shapes and places of the tensors are the library's to check: every byte belongs to exactly one tensor,
    and every tensor has as many as its shape needs. The header's length and that no name stands in it twice are checked
    here, before the library sees it.

    Raises
    ------
    RefusedError
        If the header is damaged, too long or ambiguous.
    OSError
        If the file cannot be read.
    """
    if isinstance(file, bytes):
        _check_header(file[:8], file[8 : 8 + MAX_HEADER_BYTES], len(file))
    else:
        with open_regular(file) as opened:
            _check_header(opened.read(8), opened.read(MAX_HEADER_BYTES), file.stat().st_size)
    try:
        return safetensors.torch.load(file) if isinstance(file, bytes) else safetensors.torch.load_file(file)
    # The library raises torch's own errors for types and shapes that torch does not have.
    except (safetensors.SafetensorError, RuntimeError, TypeError, ValueError, KeyError, OverflowError) as error:
        raise RefusedError(f"it is not a safetensors file ({shown(str(error))})") from error


def _check_header(length: bytes, header: bytes, file_bytes: int) -> None:
    if len(length) < 8:
        raise RefusedError("it is not a safetensors file: it is shorter than 8 bytes")
    n = struct.unpack("<Q", length)[0]
    if n > min(MAX_HEADER_BYTES, file_bytes - 8):
        raise RefusedError(
            f"it is not a safetensors file: its header claims {n} bytes, but the file allows at most "
            f"{min(MAX_HEADER_BYTES, file_bytes - 8)}"
        )
    try:
        document = json.loads(header[:n], object_pairs_hook=_distinct)
    except RecursionError:
        raise RefusedError("its header is nested too deeply") from None
    except ValueError as error:
        raise RefusedError(f"its header is not valid JSON ({shown(str(error))})") from error
    if not isinstance(document, dict):
        raise RefusedError("its header is not a table of tensors")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    twice = first_twice(name for name, _ in pairs)
    if twice is not None:
        raise RefusedError(f"its header names {shown(twice)} twice")
    return dict(pairs)

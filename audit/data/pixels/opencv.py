"""OpenCV as a decoder, without its log: what it has to say of damage reaches the user as an error."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

NAME = f"OpenCV {cv2.__version__}"
_log = cv2.utils.logging


def decode(data: bytes) -> NDArray[Any] | None:
    """Decode all channels and bits of an image file, colours in OpenCV's order; None if it cannot be decoded."""
    level = _log.getLogLevel()
    _log.setLogLevel(_log.LOG_LEVEL_SILENT)
    try:
        found = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    finally:
        _log.setLogLevel(level)
    return None if found is None else np.asarray(found)

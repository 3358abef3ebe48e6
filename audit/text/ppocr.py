"""PaddleOCR's two small networks, as the package rapidocr ships them: one marks text, one reads it."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from audit.errors import TextError

# Both networks were trained on inputs of (grey / 255 - 0.5) / 0.5.
_MEAN = 127.5
_STRIDE_PX = 32
_READ_HEIGHT_PX = 48
_READ_WIDTH_PX = (64, 480)


class PpOcr:
    """PP-OCR's detector and recogniser (small models), run by ONNX Runtime on the processor.

    Raises
    ------
    TextError
        If the package rapidocr or its networks are missing.
    """

    def __init__(self) -> None:
        self._detector_file, self._reader_file = _networks()
        self.parts = tuple(
            (file.stem, hashlib.sha256(file.read_bytes()).hexdigest()[:8])
            for file in (self._detector_file, self._reader_file)
        )
        self.version = "PP-OCR " + ", ".join(f"{name} {digest}" for name, digest in self.parts)

    def text_map(self, image: NDArray[np.uint8], long_side_px: float, quarter_turns: int) -> NDArray[np.float32]:
        """Return how probable text is at every pixel of a resized image.

        Parameters
        ----------
        image : ndarray of uint8 (h, w)
            Grey levels.
        long_side_px : float
            Working size; the network's sense of what a stroke is depends on it.
        quarter_turns : int
            The network looks at the image turned so often by 90 degrees; markers are taped on as they come.

        Returns
        -------
        ndarray of float32 (h', w')
            Probabilities, turned back; h' / h and w' / w are the scale.
        """
        scale = long_side_px / max(image.shape)
        height, width = (max(_STRIDE_PX, round(side * scale / _STRIDE_PX) * _STRIDE_PX) for side in image.shape)
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        resized = np.asarray(cv2.resize(image, (width, height), interpolation=how), dtype=np.uint8)
        working = np.rot90(resized, quarter_turns)
        return np.asarray(np.rot90(self.probabilities(working), -quarter_turns), dtype=np.float32)

    def probabilities(self, working: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return how probable text is at every pixel of a grey image (h, w) as it is; sides must be multiples of 32 px."""
        inputs = np.repeat(((working.astype(np.float32) - _MEAN) / _MEAN)[None, None], 3, axis=1)
        return np.asarray(self._run(self._detect, inputs)[0, 0], dtype=np.float32)

    def read(self, crops: Sequence[NDArray[np.uint8]]) -> list[tuple[str, float]]:
        """Read grey crops (h, w), each of one line; return strings and mean confidences of their letters."""
        lines = [_line(crop) for crop in crops]
        read = [("", 0.0)] * len(lines)
        # Lines of one width at a time: what is read does not depend on what is read along with it, and nothing is padded.
        for width in sorted({line.shape[1] for line in lines}):
            chosen = [i for i, line in enumerate(lines) if line.shape[1] == width]
            inputs = np.repeat(np.stack([lines[i] for i in chosen])[:, None], 3, axis=1)
            for i, probabilities in zip(chosen, self._run(self._recognise, inputs), strict=True):
                read[i] = self._decode(probabilities)
        return read

    @staticmethod
    def _run(session: Any, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(session.run(None, {session.get_inputs()[0].name: inputs})[0], dtype=np.float32)

    def _decode(self, probabilities: NDArray[np.float32]) -> tuple[str, float]:
        """Take the best letter of every step (t, letters), and drop blanks and repetitions."""
        best = probabilities.argmax(axis=1)
        told = (best != 0) & np.append(True, best[1:] != best[:-1])
        if not told.any():
            return "", 0.0
        return "".join(self._letters[i] for i in best[told]), float(probabilities.max(axis=1)[told].mean())

    @cached_property
    def _detect(self) -> Any:
        return _session(self._detector_file)

    @cached_property
    def _recognise(self) -> Any:
        return _session(self._reader_file)

    @cached_property
    def _letters(self) -> list[str]:
        listed = self._recognise.get_modelmeta().custom_metadata_map["character"].splitlines()
        return ["", *listed, " "]


def _line(crop: NDArray[np.uint8]) -> NDArray[np.float32]:
    height, width = crop.shape
    target = int(np.clip(round(width * _READ_HEIGHT_PX / height), 16, _READ_WIDTH_PX[1]))
    how = cv2.INTER_AREA if height > _READ_HEIGHT_PX else cv2.INTER_CUBIC
    line = (cv2.resize(crop, (target, _READ_HEIGHT_PX), interpolation=how).astype(np.float32) - _MEAN) / _MEAN
    # What lies right of a short line is empty, not black.
    return np.pad(line, ((0, 0), (0, max(0, _READ_WIDTH_PX[0] - target))))


def _networks() -> tuple[Path, Path]:
    found = importlib.util.find_spec("rapidocr")
    folders = [Path(p) / "models" for p in (found.submodule_search_locations or ())] if found is not None else []
    files = [sorted(f for folder in folders for f in folder.glob(f"PP-OCR*_{task}_*.onnx")) for task in ("det", "rec")]
    if importlib.util.find_spec("onnxruntime") is None or not all(files):
        raise TextError(
            "The networks of the package rapidocr (3.10 or newer), or ONNX Runtime, are missing. Install them with "
            "`pip install 'rapidocr>=3.10' onnxruntime`, or use another finder: --detector easyocr or --detector markers."
        )
    return files[0][-1], files[1][-1]


def _session(file: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # The same number of threads that torch would take, so that one variable bounds both.
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    # Threads that wait for work sleep; spinning, they would cost other processes' time.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

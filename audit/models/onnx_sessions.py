"""Sessions of ONNX Runtime on one thread: how a sum is divided among threads changes its last digits."""

from __future__ import annotations

from typing import Any

import onnxruntime

_ERRORS_ONLY = 3


def open_session(model: str | bytes) -> Any:
    """Open a model on the CPU, with one thread; whatever the C++ side raises is raised.

    Parameters
    ----------
    model : str or bytes
        Path of an ONNX file, or its content.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    return onnxruntime.InferenceSession(model, sess_options=options, providers=["CPUExecutionProvider"])

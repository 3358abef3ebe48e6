"""A folder of Hugging Face as a model: config.json, preprocessor_config.json and safetensors, read offline and without its code."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from audit.data.input_choices import Interpolation
from audit.errors import ModelError, ModelUsageError, shown_names
from audit.models.bundle import SAVE_PRETRAINED
from audit.models.factories import open_module
from audit.models.foreign import shown
from audit.models.identity import files_sha256
from audit.models.libraries import needed
from audit.models.preprocessing import Preprocessing
from audit.models.requests import ModelRequest, OpenedModel
from audit.store.documents import read_json

_CONFIG, _PROCESSOR, _HF_WEIGHTS = "config.json", "preprocessor_config.json", "model.safetensors"
_CONVNEXT_SHARE = 224 / 256
"""Share of the enlarged image that ConvNeXT's processor keeps of small inputs where its file does not say."""
_PIL: Mapping[int, Interpolation] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "area"}


def open_huggingface(request: ModelRequest) -> OpenedModel:
    """Open a folder of Hugging Face: config.json, preprocessor_config.json and safetensors, without network access."""
    folder = Path(request.checkpoint).parent if request.checkpoint else Path(request.model)
    files = {name: folder / name for name in (_CONFIG, _PROCESSOR, _HF_WEIGHTS) if (folder / name).is_file()}
    if not folder.is_dir():
        raise ModelUsageError(f"{shown(str(folder))} is not a folder, and nothing is downloaded. {SAVE_PRETRAINED}")
    if _CONFIG not in files or _HF_WEIGHTS not in files:
        raise ModelUsageError(
            f"The folder {folder} must hold {_CONFIG} and {_HF_WEIGHTS} (save_pretrained writes both), found "
            f"{shown_names(sorted(p.name for p in folder.iterdir())) or 'nothing'}."
        )
    transformers = needed("transformers", "huggingface")
    transformers.utils.logging.disable_progress_bar()  # standard error holds the audit's own lines
    try:
        network = transformers.AutoModelForImageClassification.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_safetensors=True
        )
    except Exception as error:  # the library raises many types for a damaged folder
        raise ModelError(f"transformers cannot open {folder}: {' '.join(shown(str(error)).split())}") from error
    labels = network.config.id2label
    names = tuple(str(labels[i]) for i in range(len(labels)))
    told = read_processor(files[_PROCESSOR]) if _PROCESSOR in files else None
    opened = open_module(
        request,
        network,
        told=told,
        names=names,
        architecture=f"Hugging Face {type(network).__name__}",
        content=files_sha256(files),
    )
    return replace(opened, body=None, files=files)


def read_processor(file: Path) -> Preprocessing:
    """Return the input that a preprocessor_config.json describes.

    Raises
    ------
    ModelError
        If it describes none that is understood.
    """
    try:
        told = read_json(file)
        size, crop = told.get("size", 224), told.get("crop_size", 224)
        side = size if isinstance(size, int) else size.get("shortest_edge")
        cropped = crop if isinstance(crop, int) else crop.get("height")
        fixed = None if isinstance(size, int) or "height" not in size else (int(size["height"]), int(size["width"]))
        centred = told.get("do_center_crop", False)
        kind = str(told.get("image_processor_type", told.get("feature_extractor_type", "")))
        share = told.get("crop_pct", _CONVNEXT_SHARE if kind.startswith("ConvNext") else None)
        normal = told.get("do_normalize", True)
        values: dict[str, Any] = {
            "mean": tuple(told["image_mean"]) if normal else (0.0,) * 3,
            "std": tuple(told["image_std"]) if normal else (1.0,) * 3,
            "value_range": (0.0, 255.0 * float(told.get("rescale_factor", 1 / 255)))
            if told.get("do_rescale", True)
            else (0.0, 255.0),
            "interpolation": _PIL.get(told.get("resample", 2), "bilinear"),
        }
        values["colour"] = "rgb" if len(values["mean"]) == 3 else "grey"
        if math.isclose(values["value_range"][1], 1.0):
            values["value_range"] = (0.0, 1.0)
        if share is not None and side and side < 384:  # ConvNeXT's way
            return Preprocessing(size_px=(side, side), fit="shorter-side", shorter_px=int(side / share), **values)
        if centred:
            shorter = side or min(fixed or (cropped, cropped))
            return Preprocessing(size_px=(cropped, cropped), fit="shorter-side", shorter_px=shorter, **values)
        if fixed is None and not isinstance(size, int) and share is None:
            raise ValueError("images keep their aspect ratio and are not cropped, so the input has no fixed size")
        return Preprocessing(size_px=fixed or (side, side), fit="squash", **values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{file} describes no preprocessing that is understood ({error!r}). Remove it, and declare the input with --input-px, --scale "
            "and --fit."
        ) from error

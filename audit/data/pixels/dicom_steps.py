"""The steps of DICOM's grey-scale pipeline: modality, values of interest, presentation (PS3.3 C.11)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from audit.data.pixels.decoders import CONVERT
from audit.data.pixels.dicom import word
from audit.data.pixels.grey import Values
from audit.data.pixels.limits import RefusedError
from audit.data.pixels.tables import Table, read_table
from audit.data.strings import shown_string

SEVERAL_WINDOWS = "The file offers several windows; the first was applied."
TABLE_BEFORE_WINDOW = "The file offers a look-up table and a window; the table was applied."
CONTRADICTING_PRESENTATION = "The presentation shape inverts an image of MONOCHROME2; it was inverted."
_MACROS = ("PixelValueTransformationSequence", "FrameVOILUTSequence", "PixelIntensityRelationshipLUTSequence")
_GROUPS = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One step of the grey-scale pipeline."""

    rule: Callable[[Values], Values]
    """What it does to values."""
    says: str | None = None
    """Its words in the facts."""
    top: float | None = None
    """The greatest value that it gives, where its type says so; the least is then 0."""
    notes: tuple[str, ...] = ()
    """What a reader should know."""


def _same(values: Values) -> Values:
    return values


def _lookup(dataset: Any, keyword: str) -> Any:
    """Return an element of the image, or of its functional groups, which hold one frame here; None if empty."""
    places = [dataset]
    for group in _GROUPS:
        for item in list(dataset.get(group) or [])[:1]:
            for macro in _MACROS:
                places = [*list(item.get(macro) or [])[:1], *places]
    for place in places:
        value = place.get(keyword)
        if value is not None and value != "" and not (hasattr(value, "__len__") and len(value) == 0):
            return value
    return None


def numbers(dataset: Any, keyword: str) -> list[float]:
    """Return the numbers of an element, or none; one that is not finite is refused."""
    value = _lookup(dataset, keyword)
    if value is None:
        return []
    try:
        found = [float(v) for v in (value if hasattr(value, "__iter__") and not isinstance(value, str) else [value])]
    except (TypeError, ValueError) as error:
        raise RefusedError(f"is a DICOM file whose {keyword} is not a number", CONVERT) from error
    if not np.isfinite(found).all():
        raise RefusedError(f"is a DICOM file whose {keyword} is not a number", CONVERT)
    return found


def _table(dataset: Any, sequence: str, *, signed: bool) -> Table | None:
    found = _lookup(dataset, sequence)
    if found is None:
        return None
    return read_table(found[0], "LUTDescriptor", "LUTData", signed=signed, little=is_little(dataset))


def is_little(dataset: Any) -> bool:
    """Say whether the file has its low bytes first."""
    return bool(dataset.file_meta.TransferSyntaxUID.is_little_endian)


def modality_step(dataset: Any, *, signed: bool) -> Step:
    """Return the step from stored to modality values: a table, else slope and intercept, else none."""
    table = _table(dataset, "ModalityLUTSequence", signed=signed)
    if table is not None:
        return Step(rule=table.look_up, says=f"look-up table of {len(table.entries)} entries", top=table.top)
    slope, intercept = (numbers(dataset, name) for name in ("RescaleSlope", "RescaleIntercept"))
    if not slope and not intercept:
        return Step(rule=_same)
    a, b = (slope or [1.0])[0], (intercept or [0.0])[0]
    if a == 0:
        raise RefusedError("is a DICOM file whose RescaleSlope is 0", CONVERT)
    if a == 1 and b == 0:
        return Step(rule=_same)
    return Step(rule=lambda values: values * a + b, says=f"slope {a:g}, intercept {b:g}")


def interest_step(dataset: Any, *, signed: bool) -> Step:
    """Return the step from modality values to 0..255 by the file's own table or window; says None where it has none."""
    table = _table(dataset, "VOILUTSequence", signed=signed)
    centers, widths = numbers(dataset, "WindowCenter"), numbers(dataset, "WindowWidth")
    if table is not None:
        lut = table
        several = len(_lookup(dataset, "VOILUTSequence")) > 1
        notes = [*([SEVERAL_WINDOWS] if several else []), *([TABLE_BEFORE_WINDOW] if centers else [])]
        says = f"look-up table of {len(lut.entries)} entries to {lut.bits} bits"
        return Step(rule=lambda values: lut.look_up(values) * (255.0 / lut.top), says=says, notes=tuple(notes))
    if not centers and not widths:
        return Step(rule=_same)
    if not centers or not widths:
        raise RefusedError("is a DICOM file with an incomplete window: the centre or the width is missing", CONVERT)
    function = str(_lookup(dataset, "VOILUTFunction") or "LINEAR").strip().upper()
    rule = _window(centers[0], widths[0], function)
    says = f"centre {centers[0]:g}, width {widths[0]:g}, {function}"
    return Step(rule=rule, says=says, notes=(SEVERAL_WINDOWS,) if len(centers) > 1 else ())


def _window(center: float, width: float, function: str) -> Callable[[Values], Values]:
    """Return the window's own function to 0..255 (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    if function == "LINEAR" and width >= 1:
        if width == 1:
            return lambda v: np.where(v <= center - 0.5, 0.0, 255.0)
        return lambda v: np.clip((v - (center - 0.5)) / (width - 1) + 0.5, 0, 1) * 255
    if function == "LINEAR_EXACT" and width > 0:
        return lambda v: np.clip((v - center) / width + 0.5, 0, 1) * 255
    if function == "SIGMOID" and width > 0:
        return lambda v: 255 / (1 + np.exp(np.clip(-4 * (v - center) / width, -700, 700)))
    raise RefusedError(
        f"is a DICOM file with a window of width {width:g} and function {shown_string(function)!r}, which is undefined",
        CONVERT,
    )


def presentation_step(dataset: Any, photometric: str) -> tuple[Step, bool]:
    """Return what comes after the window, and whether small values are bright at the end."""
    shape = word(dataset, "PresentationLUTShape")
    table = _table(dataset, "PresentationLUTSequence", signed=False)
    negative = photometric == "MONOCHROME1"
    if table is not None:
        if negative:
            raise RefusedError(
                "is a DICOM file of MONOCHROME1 with a presentation look-up table, so its polarity is unknown", CONVERT
            )
        lut = table
        last = len(lut.entries) - 1
        return (
            Step(
                rule=lambda grey: lut.look_up(np.clip(grey, 0, 255) * (last / 255.0) + lut.first) * (255.0 / lut.top),
                says=f"look-up table of {len(lut.entries)} entries",
            ),
            False,
        )
    if shape == "INVERSE":
        # With MONOCHROME1 the shape says the same thing once more (PS3.3 C.8.11.3.1.2); it does not turn it back.
        return Step(rule=_same, says=shape, notes=() if negative else (CONTRADICTING_PRESENTATION,)), True
    if shape == "IDENTITY" and negative:
        raise RefusedError(
            "is a DICOM file of MONOCHROME1 whose presentation shape is IDENTITY, which is contradictory", CONVERT
        )
    if shape not in ("", "IDENTITY"):
        raise RefusedError(f"is a DICOM file of presentation shape {shape!r}, which is not read", CONVERT)
    return Step(rule=_same, says=shape or None), negative

"""`audit list` and `audit doctor`: what is available."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Mapping
from importlib import metadata, util
from pathlib import Path

from audit.commands.keys import describe_key
from audit.data.strings import shown_string
from audit.errors import UnknownNameError


def _models() -> list[str]:
    return sorted(p.parent.name for p in Path("models").glob("*/model.json"))


def _perturbations() -> list[str]:
    from audit.perturbations import PERTURBATIONS

    return PERTURBATIONS.names()


def _suites() -> list[str]:
    from audit.suites.reader import suite_names

    return suite_names()


def _finders() -> list[str]:
    from audit.text.finders import FINDERS

    return sorted(FINDERS)


def _recipes() -> list[str]:
    from audit.training.recipes import recipe_names

    return recipe_names()


def _measures() -> list[str]:
    from audit.statistics.catalogue import MEASURES

    return [f"{name:<32}{m.better:<8}{m.words} ({m.unit})" for name, m in MEASURES.items()]


def _sections() -> list[str]:
    from audit.reports.sections import OWN, SECTIONS

    own = [f"{section.name:<16}{section.title}: {section.comes_from}" for section in OWN]
    return [*own, *(f"{shown_string(name):<16}from {where}" for name, where in SECTIONS.foreign().items())]


KINDS: Mapping[str, Callable[[], list[str]]] = {
    "models": _models,
    "perturbations": _perturbations,
    "suites": _suites,
    "detectors": _finders,
    "recipes": _recipes,
    "measures": _measures,
    "sections": _sections,
}


_NO_BUNDLE = (
    "no bundle in models/: `audit import FILE --out models/NAME` makes one of a model of your own, `audit train C --data MANIFEST` trains "
    "one; `audit run --model FILE` needs none"
)
_OPTIONAL: Mapping[str, str] = {
    "timm": "timm",
    "transformers": "huggingface",
    "monai": "monai",
    "torchxrayvision": "torchxrayvision",
    "tensorboard": "tensorboard",
}
"""Library that not everybody needs -> the extra that brings it."""


def list_names(kind: str) -> int:
    """Print the names of one kind, one per line."""
    if kind not in KINDS:
        raise UnknownNameError("kind of thing to list", kind, KINDS)
    names = KINDS[kind]()
    for name in names:
        sys.stdout.write(name + "\n")
    if kind == "models" and not names:
        sys.stderr.write(f"{_NO_BUNDLE}\n")
    return 0


def doctor() -> int:
    """Print what is installed and what is missing for an audit; return 0 if nothing is missing."""
    lines: list[tuple[bool, str]] = [(sys.version_info >= (3, 11), f"Python {platform.python_version()}")]
    for package in (
        "torch",
        "torchvision",
        "zennit",
        "easyocr",
        "rapidocr",
        "onnxruntime",
        "scikit-learn",
        "statsmodels",
        "jinja2",
    ):
        try:
            lines.append((True, f"{package} {metadata.version(package)}"))
        except metadata.PackageNotFoundError:
            lines.append((False, f"{package} is missing: pip install imageaudit"))
    cv2 = util.find_spec("cv2") is not None
    lines.append((cv2, "opencv is installed" if cv2 else "opencv is missing: pip install opencv-python-headless"))
    lines.append(_weights_line())
    lines += _decoder_lines()
    lines.append((True, describe_key()))
    lines.append(
        (os.access(".", os.W_OK), f"the working folder is writable, {shutil.disk_usage('.').free / 1e9:.0f} GB free")
    )
    models = _models()
    lines.append(
        (
            True,
            f"bundles in models/: {', '.join(models)}" if models else _NO_BUNDLE,
        )
    )
    lines += _optional_lines()
    for fine, line in lines:
        sys.stdout.write(f"{'ok     ' if fine else 'MISSING'}  {line}\n")
    return 0 if all(fine for fine, _ in lines) else 4


def _optional_lines() -> list[tuple[bool, str]]:
    """Name the libraries that some models need; a missing one is not an error."""
    lines = []
    for package, extra in _OPTIONAL.items():
        try:
            lines.append(f"optional: {package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            lines.append(f"optional: {package} is not installed: pip install 'imageaudit[{extra}]'")
    return [(True, line) for line in lines]


def _decoder_lines() -> list[tuple[bool, str]]:
    """Name the decoders of packed DICOM; a missing one is not an error, because most cohorts need none."""
    from audit.data.pixels.decoders import installed

    there, missing = installed()
    by_plugin: dict[str, list[str]] = {}
    for name, plugin in there.items():
        by_plugin.setdefault(plugin, []).append(name)
    lines = [f"DICOM decoder {plugin}: {'; '.join(names)}" for plugin, names in sorted(by_plugin.items())]
    if missing:
        lines.append(
            f"no DICOM decoder for {'; '.join(missing)}: pip install 'imageaudit[dicom]' if your images need one"
        )
    return [(True, line) for line in lines]


def _weights_line() -> tuple[bool, str]:
    from audit.text.easyocr_finder import weights_folder

    if weights_folder() is not None:
        return True, "EasyOCR's weights are installed"
    return (
        False,
        "EasyOCR's weights are missing: pip install 'imageaudit[weights]', or run EasyOCR once with network access",
    )

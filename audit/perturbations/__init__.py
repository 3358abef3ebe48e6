"""Edits of an image, one file per family; importing this package registers all of them."""

from audit.perturbations import (
    anatomy,
    class_shift,
    corruption,
    look_shift,
    marker_only,
    masking,
    objects,
    pasting,
    source_shift,
)
from audit.perturbations.base import (
    PERTURBATIONS,
    Comparing,
    Halving,
    NotApplicable,
    Perturbation,
    Scene,
    SelfChecking,
    Titled,
    changed_pixels,
    make_perturbation,
)

__all__ = [
    "PERTURBATIONS",
    "Comparing",
    "Halving",
    "NotApplicable",
    "Perturbation",
    "Scene",
    "SelfChecking",
    "Titled",
    "anatomy",
    "changed_pixels",
    "class_shift",
    "corruption",
    "look_shift",
    "make_perturbation",
    "marker_only",
    "masking",
    "objects",
    "pasting",
    "source_shift",
]

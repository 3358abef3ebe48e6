"""Edits of an image, one file a family; importing this package registers all of them."""

from audit.perturbations import masking, pasting
from audit.perturbations.base import PERTURBATIONS, Perturbation, Scene, make_perturbation

__all__ = ["PERTURBATIONS", "Perturbation", "Scene", "make_perturbation", "masking", "pasting"]

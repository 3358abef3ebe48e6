"""What can be planted: one frozen record a kind, each a pure function from a picture to a picture."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from audit.data.pixels.colour import channels_of
from audit.randomness import generator_for
from audit.training.phantom.lettering import TextBox

Family = Literal[
    "text", "object", "border", "grey curve", "exposure", "sharpness", "noise", "resolution", "compression", "bit depth",
    "padding", "aspect", "pose", "source", "group", "several",
]  # fmt: skip
NAMED_BY: Mapping[Family, tuple[str, ...]] = MappingProxyType(
    {
        "text": ("text", "letter", "marker"),
        "object": ("object", "electrode", "clip", "tube", "arrow", "pacemaker", "ruler", "sticker"),
        "border": ("border", "collimation", "frame"),
        "grey curve": ("grey curve", "grey scale", "contrast"),
        "exposure": ("exposure", "grey curve", "brightness"),
        "sharpness": ("sharpness", "resolution"),
        "noise": ("noise",),
        "resolution": ("resolution", "sharpness"),
        "compression": ("compression",),
        "bit depth": ("bit depth",),
        "padding": ("padding", "border", "aspect"),
        "aspect": ("aspect", "zoom"),
        "pose": ("position", "rotation", "zoom", "pose"),
        "source": ("source",),
        "group": ("sex", "age", "patient characteristic"),
        "several": (),
    }
)
"""Family -> words of which a sentence holds one if it names the family as the cause; `several` is named by any of its parts."""


_GREY = 2
_INK = (1.0, 0.8, 0.3)
"""How far a plant in colour darkens red, green and blue: a blue pen, a blue sticker."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A rendered image with what is known of its places; no array of it is ever changed."""

    image: NDArray[np.uint8]
    """Grey (h, w), or red, green and blue (h, w, 3)."""
    lungs: NDArray[np.uint8] | None = None
    """255 inside the lungs (h, w); None where nobody knows."""
    boxes: tuple[TextBox, ...] = ()
    """Text known to be there."""


Apply = Callable[[Picture, float, np.random.Generator], Picture]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of dependence."""

    name: str
    """Kebab-case; names files."""
    family: Family
    """What a report should name as the cause."""
    about: str
    """In words, to stand after "found"."""
    doses: tuple[float, float]
    """A weak and a strong parameter of `apply`."""
    unit: str
    """What the dose counts; empty for none."""
    apply: Apply
    """Plants it."""
    otherwise: Apply | None = None
    """What images without the plant get instead, where the network can only tell which of two states it sees (R or L)."""
    local: bool = False
    """Whether pixels away from the plant stay as they are."""
    columns: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Column of the manifest -> its value for images without and with the plant."""
    parts: tuple[Family, ...] = ()
    """Of `several`: the families planted together."""

    @property
    def families(self) -> tuple[Family, ...]:
        """The families that a report may name as the cause."""
        return self.parts or (self.family,)


def plant(kind: Kind, picture: Picture, dose: float, *, carried: bool, seed: int, name: str) -> Picture:
    """Return a picture with the plant, or with what images without it get.

    Parameters
    ----------
    kind : Kind
        What is planted.
    picture : Picture
        Left as it is.
    dose : float
        Parameter of the kind.
    carried : bool
        Whether this image carries the plant.
    seed, name
        Which network, and which image: the plant depends on nothing else.
    """
    change = kind.apply if carried else kind.otherwise
    if change is None:
        return picture
    if picture.image.ndim == _GREY:
        return change(picture, dose, generator_for(seed, "plant", kind.name, name))
    # What lies on a radiograph is brighter than tissue; on a photograph it is as often darker, so it is laid onto the negative.
    negative = kind.local
    planes = channels_of(255 - picture.image if negative else picture.image)
    made = [
        change(replace(picture, image=plane), dose, generator_for(seed, "plant", kind.name, name)) for plane in planes
    ]
    image = np.stack([p.image for p in made], axis=-1)
    if not negative:
        return replace(made[0], image=image)
    clean = picture.image.astype(np.float32)
    return with_image(made[0], clean + np.array(_INK, dtype=np.float32) * (255 - image.astype(np.float32) - clean))


def is_named(families: tuple[Family, ...], sentence: str) -> bool:
    """Say whether a sentence names one of the families as what the network reads."""
    # Whole words: "image" names no age.
    words = "|".join(re.escape(word) for family in families for word in NAMED_BY[family])
    return bool(words) and re.search(rf"\b(?:{words})s?\b", sentence.casefold()) is not None


def with_image(picture: Picture, image: NDArray[np.generic]) -> Picture:
    """Return a picture with other grey levels (rounded and clipped) and the same places."""
    return replace(picture, image=np.clip(np.rint(image), 0, 255).astype(np.uint8))

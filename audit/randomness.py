"""Where every random choice comes from: generators derived from names, never a global state."""

from __future__ import annotations

import hashlib

import numpy as np


def generator_for(seed: int, *names: str | int) -> np.random.Generator:
    """Return the generator that belongs to (run seed, names...), such as (seed, record id, condition, draw).

    It depends on nothing else, so that order, resume and the number of machines cannot change a pixel.
    """
    key = "\x1f".join([str(seed), *map(str, names)]).encode("utf-8", "surrogateescape")
    return np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(key).digest(), "big")))

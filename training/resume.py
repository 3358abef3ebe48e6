"""A training that was killed goes on where it was: weights, optimiser and position, and nothing random.

Order and movement are functions of (seed, epoch, record), so no state of a generator has to be kept, and the resumed
training ends with the same weights to the bit. Saved generator states did not survive: a data loader draws from the
global one when it starts again, after the state was put back.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from audit.errors import StoreError
from audit.files import write_atomically


@dataclass(frozen=True, kw_only=True)
class Keeper:
    """Where one step's checkpoint lies, and for which training it counts."""

    path: Path
    """File; absent before the first checkpoint and after the step."""
    fingerprint: str
    """Hash of everything that the weights depend on; a checkpoint with another one is not used."""
    every_batches: int
    """Batches of an epoch between checkpoints; there is one after an epoch too, where the last is not seconds old."""
    writes: bool
    """Only the first process of a team writes."""

    def save(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint, atomically: with a full disk or a kill the last good one stays.

        Raises
        ------
        StoreError
            If it cannot be written.
        """
        if not self.writes:
            return
        buffer = io.BytesIO()
        torch.save({"fingerprint": self.fingerprint, **state}, buffer)
        try:
            write_atomically(self.path, buffer.getvalue())
        except StoreError as error:
            raise StoreError(
                f"{error} The last checkpoint is intact. Free some space and repeat the command to continue."
            ) from error

    def load(self) -> dict[str, Any] | None:
        """Return the state that was saved for the same training; None if there is none or it cannot be read."""
        if not self.path.is_file():
            return None
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        # A damaged file makes the reader raise nearly anything; then the step begins again, which is right if slow.
        except Exception:
            return None
        return state if isinstance(state, dict) and state.get("fingerprint") == self.fingerprint else None

    def done(self) -> None:
        """Remove the checkpoint."""
        if self.writes:
            self.path.unlink(missing_ok=True)

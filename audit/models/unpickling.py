"""A reader of foreign checkpoints that never runs code from the file.

Neither torch's reader nor Python's unpickler is asked: a zip is looked at member by member (`audit.models.archives`), a
pickle is run by a machine that can build plain values, tensors and inert shells alone (`audit.models.pickles`). So a whole
pickled module of any torchvision version can be read, in the formats before and since torch 1.6, although its classes have
long changed; and a TorchScript program is never opened.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from audit.errors import ModelError, ModelUsageError
from audit.files import open_regular, stands_for, why_unreadable
from audit.models.archives import open_archive
from audit.models.foreign import RefusedError
from audit.models.legacy import read_legacy
from audit.models.pickle_names import Shell
from audit.models.pickles import run_pickle
from audit.models.tensors import read_tensors

__all__ = ["Shell", "read_checkpoint"]


def read_checkpoint(path: Path, *, admit: Collection[str] = ()) -> Any:
    """Read a checkpoint: tensors are real, objects of classes are shells, nothing is run.

    Parameters
    ----------
    path : Path
        safetensors, or what `torch.save` wrote: a state dictionary or a whole module, zip format or older.
    admit : collection of str
        Packages whose classes may become shells too, such as the module in which a network was defined.

    Returns
    -------
    Any
        Mappings, tensors, plain values and `Shell` objects.

    Raises
    ------
    ModelError
        If the file cannot be read, or names something that is not admitted.
    """
    if not path.is_file():
        raise ModelUsageError(f"The checkpoint {path} {why_unreadable(path)}. Check the path.")
    try:
        with open_regular(path) as file:
            head = file.read(1024)
        if what := stands_for(head):
            raise RefusedError(f"it is {what}")
        if path.suffix == ".safetensors":
            return read_tensors(path)
        if not head.startswith(b"PK\x03\x04"):
            return read_legacy(path, admit=admit)
        with open_archive(path) as archive:
            return run_pickle(archive.pickle(), persistent=archive.storage, admit=admit)
    except RefusedError as refused:
        raise ModelError(f"The checkpoint {path} is refused: {refused}.") from refused
    except OSError as error:
        raise ModelError(f"The checkpoint {path} cannot be read ({error.strerror}).") from error

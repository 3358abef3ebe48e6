"""Names under which files that go out speak of images and patients: made with a key that stays with the user."""

from __future__ import annotations

import hmac
import os
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from audit.errors import StoreError, UsageError
from audit.files import read_regular

KEY_VARIABLE = "AUDIT_KEY"
"""Environment variable that holds the key itself: for CI, where it is a secret of the project."""
FILE_VARIABLE = "AUDIT_KEY_FILE"
"""Environment variable that names the file of the key, in place of the user's own."""
_MAX_KEY_BYTES = 64 * 1024
MIN_KEY_BYTES = 16
"""Shorter keys can be found by trying."""
_NEW_KEY_BYTES = 32
_NAME_DIGITS = 16
"""Hexadecimal digits of a name: of a million images two share one by chance in one of 37 million cohorts."""
_FINGERPRINT_DIGITS = 8


@dataclass(frozen=True, kw_only=True)
class Pseudonyms:
    """Names images and patients.

    The same key gives the same name to the same id, whatever the plan and the data set, so that a case keeps its name from
    run to run. Without the key a name can neither be made nor be tested against a guess.
    """

    key: bytes | None = field(repr=False)
    """The secret; None where ids stand as they are (`plain_ids`)."""

    def image(self, record_id: str) -> str:
        """Return an image's name."""
        return record_id if self.key is None else self._digest("image", record_id)[:_NAME_DIGITS]

    def patient(self, patient: str) -> str:
        """Return a patient's name; never an image's, even where both have one id."""
        return patient if self.key is None else self._digest("patient", patient)[:_NAME_DIGITS]

    @property
    def fingerprint(self) -> str | None:
        """Distinguishes keys and reveals nothing else about them; None for plain ids."""
        return None if self.key is None else self._digest("fingerprint", "")[:_FINGERPRINT_DIGITS]

    def _digest(self, kind: str, text: str) -> str:
        message = f"{kind}\0{text}".encode("utf-8", "surrogateescape")
        return hmac.digest(self.key or b"", message, "sha256").hex()


PLAIN = Pseudonyms(key=None)
"""Names that are the ids."""


def make_pseudonyms(*, plain: bool = False) -> Pseudonyms:
    """Read the key; where there is none, make one in the user's own file, for its owner's eyes only.

    Parameters
    ----------
    plain : bool
        Ids stand as they are; no key is read.

    Raises
    ------
    UsageError
        If the key is too short.
    StoreError
        If the file cannot be read or made.
    """
    if plain:
        return PLAIN
    found = find_pseudonyms()
    if found is None:
        _make(key_path())
        found = find_pseudonyms()
    if found is None:
        raise StoreError(
            f"The key {shown_path(key_path())} was written, but no longer exists. Set {KEY_VARIABLE} to a key."
        )
    return found


def find_pseudonyms() -> Pseudonyms | None:
    """Read the key: from `AUDIT_KEY`, else from the file that `AUDIT_KEY_FILE` names, else from the user's own file.

    Returns
    -------
    Pseudonyms or None
        None where there is no key yet.

    Raises
    ------
    UsageError
        If the key is too short.
    StoreError
        If the file cannot be read.
    """
    given = os.environ.get(KEY_VARIABLE, "").strip()
    if given:
        return Pseudonyms(key=_long_enough(given.encode("utf-8", "surrogateescape"), KEY_VARIABLE))
    key = _read(key_path())
    return None if key is None else Pseudonyms(key=key)


def key_path(environment: Mapping[str, str] | None = None) -> Path:
    """Return where the user's key lies, made or not."""
    variables = os.environ if environment is None else environment
    if variables.get(FILE_VARIABLE):
        return Path(variables[FILE_VARIABLE])
    folder = variables.get("XDG_CONFIG_HOME", "")
    # The XDG specification: a path that is not absolute is to be ignored.
    if Path(folder).is_absolute():
        return Path(folder) / "audit" / "key"
    try:
        return Path.home() / ".config" / "audit" / "key"
    except RuntimeError as error:
        raise StoreError(
            f"There is no home folder for the key of pseudonyms ({error}). Set {KEY_VARIABLE} to a key, or a key file in "
            f"{FILE_VARIABLE}."
        ) from error


def _long_enough(key: bytes, where: str) -> bytes:
    if len(key) < MIN_KEY_BYTES:
        raise UsageError(
            f"The key in {where} has {len(key)} bytes; at least {MIN_KEY_BYTES} are needed, otherwise pseudonyms can be guessed. "
            "Create one with `openssl rand -hex 32`."
        )
    return key


def _read(path: Path) -> bytes | None:
    try:
        return _long_enough(read_regular(path, _MAX_KEY_BYTES).strip(), shown_path(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(
            f"The key {shown_path(path)} cannot be read ({error.strerror}). Set {KEY_VARIABLE} to the key, or another key file in "
            f"{FILE_VARIABLE}."
        ) from error


def _make(path: Path) -> None:
    """Write a new key, whole or not at all; of two processes that do so at once, one key stays."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".key.")  # mode 0600
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(_NEW_KEY_BYTES) + "\n")
                file.flush()
                os.fsync(file.fileno())
            _put(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(
            f"The key of pseudonyms cannot be written to {shown_path(path)} ({error.strerror}). Set "
            f"{KEY_VARIABLE} to a key, or {FILE_VARIABLE} to a writable file, or use ids with --plain-ids."
        ) from error


def _put(temporary: str, path: Path) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError:
        return
    except OSError:  # a file system without hard links
        if not path.exists():
            Path(temporary).replace(path)


def shown_path(path: Path) -> str:
    """Return a path as a log may hold it: a home folder is named after its user."""
    try:
        return (Path("~") / path.resolve().relative_to(Path.home().resolve())).as_posix()
    except (ValueError, RuntimeError, OSError):
        return path.name

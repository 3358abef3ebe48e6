"""Messages of the command line about the key of pseudonyms."""

from __future__ import annotations

import os
import sys

from audit.data.pseudonyms import KEY_VARIABLE, find_pseudonyms, key_path, make_pseudonyms, shown_path
from audit.run.settings import Settings


def announce_key(settings: Settings) -> None:
    """Create the key if there is none, and report it: without it, pseudonyms can no longer be resolved."""
    if settings.plain_ids or find_pseudonyms() is not None:
        return
    made = make_pseudonyms()
    sys.stderr.write(
        f"audit: created the key {made.fingerprint} for pseudonyms of images, in {shown_path(key_path())}. Keep it: without it, "
        "pseudonyms cannot be resolved, and runs cannot be compared with a baseline that uses them.\n"
    )


def describe_key() -> str:
    """Describe the key in use, for `audit doctor`."""
    found = find_pseudonyms()
    if found is None:
        return f"no key for pseudonyms yet: the first audit creates one in {shown_path(key_path())}"
    where = KEY_VARIABLE if os.environ.get(KEY_VARIABLE, "").strip() else shown_path(key_path())
    return f"pseudonyms use the key {found.fingerprint} of {where}"

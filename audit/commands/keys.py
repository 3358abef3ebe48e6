"""The key that images are named with, as the command line speaks of it."""

from __future__ import annotations

import os
import sys

from audit.data.pseudonyms import KEY_VARIABLE, find_pseudonyms, key_path, make_pseudonyms, shown_path
from audit.run.settings import Settings


def announce_key(settings: Settings) -> None:
    """Make the key where there is none, and report it: who loses it can no longer resolve a name."""
    if settings.plain_ids or find_pseudonyms() is not None:
        return
    made = make_pseudonyms()
    sys.stderr.write(
        f"audit: made the key {made.fingerprint} that images are named with, in {shown_path(key_path())}. Keep it: without it no "
        "name can be resolved, and no run compared with a baseline of these names.\n"
    )


def describe_key() -> str:
    """Say which key is there, for `audit doctor`."""
    found = find_pseudonyms()
    if found is None:
        return f"no key for image names yet: the first audit makes one in {shown_path(key_path())}"
    where = KEY_VARIABLE if os.environ.get(KEY_VARIABLE, "").strip() else shown_path(key_path())
    return f"images are named with the key {found.fingerprint} of {where}"

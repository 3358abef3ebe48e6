"""What tells one plan from another: everything that decides results, and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from audit.store.results import to_json


def plan_hash(plan: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a plan.

    How the model came about is in its digest, not in its story. Which key names the images decides no result, so neither the
    key's fingerprint nor notes that name images are part of it.
    """
    model = {key: value for key, value in plan["model"].items() if key != "training"}
    data = {key: value for key, value in plan["data"].items() if key != "notes"}
    privacy = {key: value for key, value in plan["privacy"].items() if key != "key"}
    return hashlib.sha256(to_json({**plan, "model": model, "data": data, "privacy": privacy}).encode()).hexdigest()

"""Documents of runs for tests: the kept run's, with what a test says instead."""

from __future__ import annotations

from typing import Any

from audit.data.plan import Plan, PlannedCondition
from audit.store.folder import RunFolder
from audit.store.run_record import RunRecord
from audit.store.serialise import plain
from audit.store.typed import typed

from .golden.make_report import RUN

PLAN, RECORD = RunFolder(RUN).read(Plan), RunFolder(RUN).read(RunRecord)


def plan_with(base: Plan = PLAN, **parts: Any) -> Plan:
    """Return a plan with other values: of a part that is an object those that are named, of others the whole."""
    document = plain(base)
    for name, value in parts.items():
        document[name] = {**document[name], **value} if isinstance(value, dict) else value
    return typed(document, Plan)


def planned(name: str, **fields: Any) -> PlannedCondition:
    """Return a planned condition."""
    return typed({**plain(PLAN.suite.conditions[1]), "name": name, **fields}, PlannedCondition)

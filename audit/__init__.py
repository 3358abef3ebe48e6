"""Audits of image classifiers, which may rely on printed text or the source of an image instead of its content.

    import audit

    result = audit.run_audit(model="models/C", data="images/manifest.csv")
    result.verdict.status, result.effects, result.report

The distribution claims this one import name. In a checkout the folders `training/`, `reports/` and `templates/` lie beside this
one, and are `audit.training`, `audit.reports` and `audit.templates` all the same.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audit import errors
    from audit.commands.python_api import AuditResult, judge, read_run, run_audit
    from audit.run.settings import Settings

    __version__: str

__all__ = ["AuditResult", "Settings", "__version__", "errors", "judge", "read_run", "run_audit"]

_HOMES = {
    "AuditResult": "audit.commands.python_api",
    "judge": "audit.commands.python_api",
    "read_run": "audit.commands.python_api",
    "run_audit": "audit.commands.python_api",
    "Settings": "audit.run.settings",
}
_BESIDE = Path(__file__).resolve().parent.parent
if (_BESIDE / "pyproject.toml").is_file() and (_BESIDE / "training" / "chain.py").is_file():
    __path__.append(str(_BESIDE))


def __getattr__(name: str) -> Any:
    """Import what is asked for, and nothing before: `import audit` takes no torch."""
    if name == "errors":
        return import_module("audit.errors")
    if name == "__version__":
        return import_module("audit.provenance").tool_version()
    if name not in _HOMES:
        raise AttributeError(f"module 'audit' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""The front door from Python: one audit, or a finished run, as an object that shows itself in a notebook."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit.errors import UnknownNameError
from audit.run.settings import Settings, check_settings
from audit.store.folder import RunFolder, check_run
from audit.store.results import Verdict, effect_from_json, plain, verdict_from_json

if TYPE_CHECKING:  # pandas takes half a second to import
    import pandas as pd

Progress = Callable[[str, int], Callable[[], None]]
"""Called with the name of a stage and its number of steps; returns what is called after each step."""


@dataclass(frozen=True)
class AuditResult:
    """A finished run."""

    path: Path
    """The run folder."""
    verdict: Verdict
    """What it was judged."""

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.path / "report.html"

    @cached_property
    def effects(self) -> pd.DataFrame:
        """Every estimate, one row each; columns as in `effects.json`."""
        import pandas as pd

        rows = [plain(effect_from_json(row)) for row in RunFolder(self.path).read_json("effects.json")["effects"]]
        return pd.DataFrame(rows)

    def _repr_html_(self) -> str:
        from audit.reports.notebook import notebook_html
        from audit.reports.reading.folder import read_run as read_view

        return notebook_html(read_view(self.path))


def run_audit(
    *, model: str | Path, data: str | Path = "", gate: bool = True, progress: Progress | None = None, **settings: Any
) -> AuditResult:
    """Audit a classifier, and write its report.

    Parameters
    ----------
    model : str or Path
        A bundle: the name of a folder in `models/`, or a path.
    data : str or Path
        Manifest of the images; omitted, the one that the bundle was trained on.
    gate : bool
        Judge by the default rules where the settings have none.
    progress : callable, optional
        Called with the name of each stage and its number of steps; returns what is called after each step.
    **settings
        Any other field of `Settings`. Files and environment variables are not read.

    Raises
    ------
    AuditError
        If the audit cannot be done; its message says what to do. What was computed stays in the run folder.
    """
    from audit.commands.auditing import render
    from audit.run.pipeline import run_audit as run_pipeline

    known = {f.name for f in fields(Settings)}
    for name in settings:
        if name not in known:
            raise UnknownNameError("setting", name, known)
    chosen = Settings(model=str(model), data=str(data), **settings)
    check_settings(chosen)
    path, verdict = run_pipeline(
        chosen, judge_gates=gate, command=["audit.run_audit"], on_stage=progress or (lambda *_: lambda: None)
    )
    render(path)
    return AuditResult(path=path, verdict=verdict)


def read_run(path: str | Path) -> AuditResult:
    """Read a finished run.

    Raises
    ------
    StoreError
        If it is not finished, or was changed since.
    """
    check_run(Path(path))
    return AuditResult(path=Path(path), verdict=verdict_from_json(RunFolder(Path(path)).read_json("verdict.json")))


def judge(path: str | Path, gate: Mapping[str, Any] | None = None, *, baseline: str | Path | None = None) -> Verdict:
    """Judge a finished run again; nothing is predicted or written.

    Parameters
    ----------
    path : str or Path
        The run folder.
    gate : mapping, optional
        A `[gate]` table as in `audit.toml`; omitted, the rules that the run was last judged by.
    baseline : str or Path, optional
        A run folder or baseline file that rules against the baseline compare with.
    """
    from audit.run.judgement import rejudge

    return rejudge(Path(path), gate, None if baseline is None else Path(baseline))

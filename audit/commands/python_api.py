"""The front door from Python: one audit, or a finished run, as an object that shows itself in a notebook."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import structs

from audit.errors import UsageError
from audit.gates.document import VerdictDocument
from audit.run.setting import declared_settings
from audit.run.setting_checks import make_settings
from audit.run.settings import Settings
from audit.store.folder import RunFolder, check_run
from audit.store.results import EffectsDocument
from audit.store.serialise import plain
from audit.store.verdict import Verdict

if TYPE_CHECKING:  # pandas takes half a second to import
    import pandas as pd

    from audit.prediction.table import FinishedRun
    from audit.viewing.figure import CaseFigure
    from audit.viewing.pictures import CasePictures

Progress = Callable[[str, int], Callable[[], None]]
"""Called with the name of a stage and its number of steps; returns what is called after each step."""


@dataclass(frozen=True)
class AuditResult:
    """A finished run."""

    path: Path
    """The run folder."""
    verdict: Verdict
    """The verdict."""
    settings: Settings = field(default_factory=Settings, repr=False)
    """What the run was made with, as far as it is known here: where its images and its model are."""
    _live: object = field(default=None, repr=False)

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.path / "report.html"

    @cached_property
    def effects(self) -> pd.DataFrame:
        """All estimates, one row each; columns as in `effects.json`."""
        import pandas as pd

        return pd.DataFrame([plain(effect) for effect in RunFolder(self.path).read(EffectsDocument).effects])

    def case(
        self,
        image: str,
        condition: str | None = None,
        *,
        data: str | Path | None = None,
        model: str | Path | None = None,
    ) -> CaseFigure:
        """Draw one image of the run under a condition: unedited, edited, placebo, difference, relevance, with its predictions.

        Parameters
        ----------
        image : str
            Its pseudonym, or the first digits of it.
        condition : str, optional
            The edit that changed its prediction most if omitted.
        data : str or Path, optional
            Manifest of the run, if it is not known from `run_audit` or the model.
        model : str or Path, optional
            The model of the run, for the heatmap; likewise.

        Returns
        -------
        CaseFigure
            Shows itself in a notebook. A picture that cannot be drawn is a sentence.

        Raises
        ------
        UsageError
            If the run has no such image or condition.
        """
        from audit.viewing.figure import draw_case

        given = {"data": None if data is None else str(data), "model": None if model is None else str(model)}
        settings = structs.replace(self.settings, **{name: value for name, value in given.items() if value is not None})
        if settings != self.settings:  # not kept: they are another's images, or another model
            return replace(self, settings=settings).case(image, condition)
        return draw_case(self._finished, self._pictures, image, condition)

    @cached_property
    def _finished(self) -> FinishedRun:
        from audit.prediction.table import read_finished

        return read_finished(self.path)

    @cached_property
    def _pictures(self) -> CasePictures:
        from audit.viewing.pictures import CasePictures

        return CasePictures(self._finished, self.settings, live=self._live)

    def _repr_html_(self) -> str:
        from audit.reports.notebook import notebook_html
        from audit.reports.reading.folder import read_run as read_view

        return notebook_html(read_view(self.path))


def run_audit(
    *,
    model: str | Path | Callable[..., Any],
    data: str | Path = "",
    gate: bool | Mapping[str, Any] = True,
    progress: Progress | None = None,
    **settings: Any,
) -> AuditResult:
    """Audit a classifier, and write its report.

    Parameters
    ----------
    model : str, Path, torch module or callable
        A bundle (the name of a folder in `models/`, or a path), a file, `package.module:function`; or the classifier itself: a torch
        module, a scikit-learn classifier, or a function `predict(images) -> probabilities` of uint8 images (n, height, width). Name its
        `classes`.
    data : str or Path
        Manifest of the images; omitted, the one that the bundle was trained on.
    gate : bool or mapping
        A `[gate]` table as in `audit.toml`; True for the default rules, False for no judgement.
    progress : callable, optional
        Called with the name of each stage and its number of steps; returns what is called after each step.
    **settings
        Any other field of `Settings`; a path may stand for a string. Files and environment variables are not read. Only a number of
        `workers` starts other processes.

    Raises
    ------
    AuditError
        If the audit cannot be done; its message says what to do. What was computed stays in the run folder.
    """
    from audit.commands.auditing import render
    from audit.run.pipeline import run_audit as run_pipeline

    table = None if isinstance(gate, bool) else gate
    live = None if isinstance(model, (str, Path)) else model
    named = model if live is None else _name_of(live)
    chosen = make_settings({"model": named, "data": data, "gate": table, **settings})
    if (
        chosen.workers == "auto" and chosen.engine == "auto"
    ):  # what the caller defined or registered here is not known to other processes
        chosen = structs.replace(chosen, workers=1)
    if chosen.emit and not chosen.predictions:
        raise UsageError(
            "run_audit finishes an audit. Write the images with the command `audit run --emit`, then pass predictions."
        )
    if live is not None:
        _check_live(live, chosen)
    path, verdict = run_pipeline(
        chosen,
        judge_gates=gate is not False,
        command=["audit.run_audit"],
        on_stage=progress or (lambda *_: lambda: None),
        live=live,
    )
    render(path)
    return AuditResult(path=path, verdict=verdict, settings=chosen, _live=live)


def _name_of(live: Any) -> str:
    """Return what messages and reports call a classifier that is handed over."""
    return str(getattr(live, "__name__", type(live).__name__)).strip("<>") or "model"


def _check_live(live: Any, settings: Settings) -> None:
    """Refuse a classifier that cannot be audited, or not as it is asked for.

    Raises
    ------
    UsageError
        If it cannot be called, or cannot be sent to other processes.
    """
    if not callable(live) and not hasattr(live, "predict_proba"):
        raise UsageError(
            f"model must be a name, a path, a torch module or a callable that predicts images; found a {type(live).__name__}."
        )
    if settings.workers != 1 or settings.engine == "ray":
        try:
            pickle.dumps(live)
        except Exception as error:  # whatever its parts raise, it cannot be sent
            raise UsageError(
                f"The classifier {_name_of(live)} cannot be sent to other processes ({error}). Use workers=1 and no engine, or define "
                "it in a module and pass model='package.module:function'."
            ) from error


def _with_settings(door: Callable[..., AuditResult]) -> inspect.Signature:
    """Return the signature of a function with every setting in place of `**settings`, as `help` and notebooks show it."""
    own = dict(inspect.signature(door).parameters)
    del own["settings"]
    added = [
        inspect.Parameter(s.name, inspect.Parameter.KEYWORD_ONLY, default=s.default, annotation=s.type)
        for s in declared_settings().values()
        if s.name not in own
    ]
    return inspect.Signature([*own.values(), *added], return_annotation=AuditResult)


run_audit.__signature__ = _with_settings(run_audit)  # type: ignore[attr-defined]


def read_run(path: str | Path) -> AuditResult:
    """Read a finished run.

    Raises
    ------
    StoreError
        If it is not finished, or was changed since.
    """
    check_run(Path(path))
    return AuditResult(path=Path(path), verdict=RunFolder(Path(path)).read(VerdictDocument).verdict)


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

"""How a run went, for its record: what each stage took, and on which machine, with which versions, from which command."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from audit.data.plan import plan_hash
from audit.models.devices import device_name
from audit.provenance import git_commit, portable_command
from audit.run.plan import package_versions
from audit.run.preparation import Preparation
from audit.store.folder import RunFolder
from audit.store.run_record import RunRecord, SecondOpinion
from audit.text.find import FoundText

OnStage = Callable[[str, int], Callable[[], None]]
"""Called with a stage's name and its number of steps; returns what to call after each step."""


class Clock:
    """Times every stage, and reports it to the listener.

    Parameters
    ----------
    on_stage : callable
        Called for every stage, and for every step in it.
    """

    def __init__(self, on_stage: OnStage) -> None:
        self._on_stage = on_stage
        self.started = datetime.now(UTC)
        """When the run began."""
        self.timings: dict[str, float] = {}
        """Stage -> seconds that it took, to two decimals."""

    @contextmanager
    def stage(self, name: str, steps: int = 1) -> Iterator[Callable[[], None]]:
        """Time a stage of some steps; the function that it gives is to be called after each of several."""
        step = self._on_stage(name, steps)
        n_made = 0

        def counted() -> None:
            nonlocal n_made
            n_made += 1
            step()

        start = time.perf_counter()
        yield counted
        self.timings[name] = round(time.perf_counter() - start, 2)
        if steps == 1 and not n_made:
            step()


def record_run(
    run: RunFolder,
    prepared: Preparation,
    command: Sequence[str],
    clock: Clock,
    relevance_note: str | None,
    opinion: SecondOpinion | str,
    found: FoundText,
    baseline: Mapping[str, str] | None,
) -> RunRecord:
    """Return the record of a run whose other files are all written.

    Parameters
    ----------
    run : RunFolder
        The run, whose files are hashed.
    prepared : Preparation
        What was audited.
    command : sequence of str
        How the run was started.
    clock : Clock
        When, and what its stages took.
    relevance_note : str or None
        What must be known of its heatmaps.
    opinion : SecondOpinion or str
        How the text finder was checked, or why it was not.
    found : FoundText
        The text, and the images on which the finder failed.
    baseline : mapping, optional
        The baseline that it was compared with.
    """
    plan = prepared.plan
    return RunRecord(
        status="complete",
        command=tuple(portable_command(command)),
        plan_hash=plan_hash(plan),
        git_commit=git_commit(),
        packages=package_versions(),
        python=platform.python_version(),
        platform=platform.platform(),
        cpu_count=os.cpu_count(),
        started=clock.started.isoformat(timespec="seconds"),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        timings=clock.timings,
        relevance_note=relevance_note,
        backend=plan.model.backend,
        device=device_name(prepared.bundle),
        second_opinion=opinion,
        skipped={
            **plan.data.left_out,
            **({"text finder failed": len(found.failures)} if found.failures else {}),
        },
        files=run.hashes(),
        baseline=baseline,
    )

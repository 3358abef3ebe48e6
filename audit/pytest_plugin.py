"""A pytest plugin: every gate of a finished run as a test.

    pytest --audit-run runs/2026-11-26-C-359b62b9 [--audit-baseline audit-baseline.json]

A failed gate fails; an undecided one fails too, unless the policy lets it through, then it is skipped; a gate that is only a
warning is an expected failure; one that waits for its baseline is skipped. The rules are those of audit.toml in the working
folder, else those of the run's plan.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from audit.errors import AuditError
from audit.store.verdict import GateResult, Verdict

_OPTION = "--audit-run"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("audit", "audits of image classifiers")
    group.addoption(_OPTION, action="append", default=[], metavar="RUN", help="run folder whose gates become tests")
    group.addoption("--audit-baseline", default=None, metavar="PATH", help="baseline for max_increase and max_decrease")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Append one test for each gate of each run that was named."""
    for name in config.getoption(_OPTION):
        run = AuditedRun.from_parent(session, name=str(name), path=Path(name).absolute())
        items.extend(run.collect())


class AuditedRun(pytest.Collector):
    """A run folder as pytest sees it."""

    def collect(self) -> Iterator[GateItem]:
        """Judge the run, and yield its gates.

        Raises
        ------
        pytest.UsageError
            If the run cannot be read or judged.
        """
        # Here, not above: pytest loads this module at every start, and most of them name no run.
        from audit.run.judgement import rejudge
        from audit.run.setting_sources import load_settings

        baseline = self.config.getoption("--audit-baseline")
        try:
            table = load_settings({}, self.config.invocation_params.dir).gate
            verdict = rejudge(self.path, table, None if baseline is None else Path(baseline))
        except AuditError as error:
            raise pytest.UsageError(f"{_OPTION} {self.name}: {error}") from error
        for gate in verdict.gates:
            item: GateItem = GateItem.from_parent(self, name=gate.id)
            item.gate, item.verdict = gate, verdict
            yield item


class GateItem(pytest.Item):
    """One gate."""

    gate: GateResult
    """The judged gate."""
    verdict: Verdict
    """Of its run."""

    def runtest(self) -> None:
        """Pass, fail, skip or fail as expected, as the gate was judged."""
        gate = self.gate
        if gate.status == "pass":
            return
        if gate.status == "not judged":
            pytest.skip(gate.reason)
        if gate.level == "warn":
            pytest.xfail(gate.reason)
        if gate.status == "inconclusive" and gate.undecided == "pass":
            pytest.skip(gate.reason)
        first = f"{self.verdict.summary}\n" if gate.status == "incomplete" else ""
        raise GateNotPassedError(f"{first}{gate.status}: {gate.where}: {gate.reason}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:
        """Show the reason alone: a traceback through this module helps nobody."""
        return str(excinfo.value)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Say where the gate belongs."""
        return self.path, None, f"gate {self.name}"


class GateNotPassedError(AssertionError):
    """A gate failed, or could not be decided, compared or trusted."""

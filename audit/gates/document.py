"""The judgement of a run as stored in `verdict.json`: the verdict, and the rules behind it."""

from __future__ import annotations

from typing import ClassVar

from msgspec import convert

from audit.gates.rules import Correction, FirstRunPolicy, GateConfig, Rule
from audit.provenance import portable_path
from audit.store.serialise import plain
from audit.store.typed import Document, RunDocument
from audit.store.verdict import GateResult, Policy, Status, Verdict


class GatePolicy(Document, frozen=True, kw_only=True):
    """Settings for all rules of a gate."""

    inconclusive: Policy = "block"
    """What an undecided error-level rule does: block (exit 3), fail (exit 1) or pass (exit 0)."""
    min_images: int = 0
    """With fewer images a rule is inconclusive."""
    baseline: str = ""
    """The baseline of rules against the baseline; empty for none, and for a path that leaves the working folder."""
    first_run: FirstRunPolicy = "skip"
    """Where the baseline file does not exist yet: skip the rules that need it, or refuse to run."""
    correction: Correction = "holm"
    """How rules that are judged together are corrected for multiple comparisons."""


class VerdictDocument(RunDocument, frozen=True, kw_only=True):
    """The verdict of a run, with its rules."""

    FILE: ClassVar[str] = "verdict.json"

    status: Status
    """Over all error-level gates."""
    summary: str
    """The result of the rules, in words."""
    gates: tuple[GateResult, ...]
    """Every gate; of an incomplete run the controls that failed."""
    tested: tuple[str, ...]
    """Shortcuts for which an effect was judged."""
    not_tested: tuple[str, ...]
    """Shortcuts that were not tested: a pass does not cover them."""
    caveats: tuple[str, ...]
    """Reasons to doubt every figure of the run."""
    calibration: str
    """How often the audit finds shortcuts in this network and data, or that this was not measured."""
    rules: tuple[Rule, ...]
    """The rules that the run was judged by."""
    policy: GatePolicy
    """Settings for all of them."""
    searched: tuple[str, ...] = ()
    """Shortcuts that were searched for and not found, so that no edit could test them."""

    @property
    def verdict(self) -> Verdict:
        """The verdict alone."""
        return convert(self, Verdict, from_attributes=True)

    @property
    def config(self) -> GateConfig:
        """The rules alone."""
        return GateConfig(rules=self.rules, **plain(self.policy))


def verdict_document(verdict: Verdict, config: GateConfig) -> VerdictDocument:
    """Join a verdict with the rules behind it; a path that leaves the working folder is left out."""
    policy = {name: getattr(config, name) for name in GatePolicy.__struct_fields__}
    policy["baseline"] = config.baseline if portable_path(config.baseline) == config.baseline else ""
    told = {name: getattr(verdict, name) for name in VerdictDocument.__struct_fields__ if hasattr(verdict, name)}
    return VerdictDocument(**told, rules=config.rules, policy=GatePolicy(**policy))

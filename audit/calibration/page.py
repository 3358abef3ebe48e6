"""calibration.html, and the same tables as rows of words for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit.calibration.judgements import in_words, is_found, judged_in_words, names_its_cause
from audit.calibration.kinds import find_kind
from audit.calibration.outcomes import Outcome
from audit.calibration.table import Detection, Table, make_table, truth_in_words
from audit.calibration.zoo import DESIGNS
from audit.data.strings import shown_string
from audit.files import write_atomically
from audit.gates.calibration import sentence_of
from audit.reports.page.templates import whole_page
from audit.store.numbers import number, signed_bracketed


@dataclass(frozen=True, kw_only=True)
class Block:
    """One table in words."""

    heading: str
    """What it is."""
    note: str
    """What it shows."""
    columns: tuple[str, ...]
    """Heads."""
    rows: Sequence[tuple[str, ...]]
    """Cells."""


_CODES: Mapping[int, str] = {0: "0 pass", 1: "1 fail", 3: "3 undecided", 4: "4 incomplete", 5: "5 not comparable"}


def write_page(path: Path, document: Mapping[str, Any], outcomes: Sequence[Outcome]) -> Path:
    """Write the page of a calibration; everything from file names to sentences is escaped."""
    page = whole_page(
        "calibration.html.j2",
        document=document,
        outcomes=outcomes,
        sentence=sentence_of(document),
        tables=blocks(outcomes),
    )
    write_atomically(path, page)
    return path


def blocks(outcomes: Sequence[Outcome]) -> list[Block]:
    """Return every table of a calibration as words."""
    table = make_table(outcomes)
    return [*summary_blocks(table), network_block(outcomes), kinds_block(table), accuracy_block(table)]


def network_block(outcomes: Sequence[Outcome]) -> Block:
    """Return a row a network."""
    return Block(
        heading="Every network",
        note="Truth over all images, and over carriers where not all carry the plant; text: effect of all text of the images. Rank: "
        "planted networks must be found (0.10 or more, or 0.25 or more of at least 20 carriers), null networks must not, faint ones "
        "lie between.",
        columns=(
            "network", "planted", "truth (carriers)", "text", "accuracy with, without", "rank", "exit", "judged", "sensitive to",
            "named",
        ),
        rows=[_network_row(o) for o in outcomes],
    )  # fmt: skip


def _network_row(outcome: Outcome) -> tuple[str, ...]:
    case, truth, finding = outcome.case, outcome.truth, outcome.finding
    return (
        case.name,
        find_kind(case.kind).family if case.design in ("planted", "alike", "unlearnt") else "nothing",
        truth_in_words(truth),
        number(truth.text),
        f"{truth.accuracy:.2f}, {truth.accuracy_clean:.2f}",
        truth.rank,
        _CODES.get(finding.exit_code, str(finding.exit_code)),
        judged_in_words(outcome),
        ", ".join(map(shown_string, finding.sensitive)) or "nothing",
        "" if truth.rank == "null" or not is_found(outcome) else "yes" if names_its_cause(outcome) else "no",
    )


def accuracy_block(table: Table) -> Block:
    """Return bias and coverage by kind of plant."""
    rows = [
        (
            a.plants, a.condition, str(a.n), signed_bracketed(a.bias, a.bias_low, a.bias_high), in_words(a.coverage),
            str(a.robust_although_beyond),
        )
        for a in sorted(table.by_kind, key=lambda a: (a.plants in DESIGNS.values(), a.plants, a.condition))
    ]  # fmt: skip
    return Block(
        heading="Estimates by kind",
        note="Shortcut sensitivity over all images minus the truth. Where no class alone carries a plant, the truth is 0 under every edit.",
        columns=("plant", "condition", "networks", "bias", "coverage", "robust although the truth exceeds the limit"),
        rows=rows,
    )


def kinds_block(table: Table) -> Block:
    """Return a row a kind, share and dose."""
    return Block(
        heading="Detection by kind and strength",
        note="All planted networks, learnt or not.",
        columns=("kind, share of one class, dose", "mean truth", "found", "named", "undecided", "passed"),
        rows=_detection_rows(table.kinds),
    )


def summary_blocks(table: Table) -> list[Block]:
    """Return detection by family, false alarms, estimates and targets."""
    alarms = [(_design(f.design), in_words(f.alarms), str(f.undecided), str(f.passed)) for f in table.false_alarms]
    estimates = [
        (
            a.condition, a.plants, a.group, str(a.n), signed_bracketed(a.bias, a.bias_low, a.bias_high), in_words(a.coverage),
            str(a.robust_although_beyond),
        )
        for a in table.accuracies
    ]  # fmt: skip
    return [
        Block(
            heading="Detection",
            note="Networks whose plant must be found, by family. Found: exit code 1. Named: in the first sentence of the verdict.",
            columns=("family", "mean truth", "found", "named", "undecided", "passed"),
            rows=_detection_rows(table.families),
        ),
        Block(
            heading="False alarms",
            note="Null networks with exit code 1, or with any effect called sensitive.",
            columns=("null networks", "false alarms", "undecided", "passed"),
            rows=alarms,
        ),
        Block(
            heading="Estimates",
            note="Shortcut sensitivity minus the truth, and the share of 95 % intervals that include it.",
            columns=(
                "condition",
                "family",
                "images",
                "estimates",
                "bias",
                "coverage",
                "robust although the truth exceeds the limit",
            ),
            rows=estimates,
        ),
        Block(
            heading="Targets",
            note="Targets that the audit should meet.",
            columns=("target", "measured", "status"),
            rows=[(t.name, t.found, str(t.status)) for t in table.targets],
        ),
    ]


def _detection_rows(found: Sequence[Detection]) -> list[tuple[str, ...]]:
    return [
        (d.group, number(d.truth), in_words(d.found), in_words(d.named), str(d.undecided), str(d.passed)) for d in found
    ]


def _design(name: str) -> str:
    if name == "not learnt":
        return "planted on one class, but not learnt"
    words: Mapping[str, str] = {str(key): value for key, value in DESIGNS.items()}
    return "all null networks" if name == "all" else words[name]

"""calibration.html, and the same tables as rows of words for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audit.calibration.plants import find_kind
from audit.calibration.table import (
    Table,
    false_alarm_or_found,
    in_words,
    make_table,
    names_its_cause,
    truth_in_words,
)
from audit.calibration.trial import Outcome
from audit.calibration.zoo import DESIGNS
from audit.data.strings import shown_string
from audit.files import write_atomically
from audit.gates.calibration import sentence_of
from audit.reports.html import environment, frame
from audit.store.numbers import number, signed_bracketed

Rows = list[tuple[str, ...]]
Block = tuple[str, str, tuple[str, ...], Rows]
"""Heading, what it shows, columns, rows."""
_CODES: Mapping[int, str] = {0: "0 pass", 1: "1 fail", 3: "3 undecided", 4: "4 incomplete", 5: "5 not comparable"}


def write_page(path: Path, document: Mapping[str, Any], outcomes: Sequence[Outcome]) -> Path:
    """Write the page of a calibration; everything from file names to sentences is escaped."""
    page = (
        environment()
        .get_template("calibration.html.j2")
        .render(
            document=document,
            outcomes=outcomes,
            sentence=sentence_of(document),
            tables=blocks(outcomes),
            **frame(script=False),
        )
    )
    write_atomically(path, page.encode())
    return path


def blocks(outcomes: Sequence[Outcome]) -> list[Block]:
    """Return every table of a calibration as words."""
    table = make_table(outcomes)
    return [*summary_blocks(table), network_block(outcomes), kinds_block(table)]


def network_block(outcomes: Sequence[Outcome]) -> Block:
    """Return a row a network."""
    rows = [
        (
            o.case.name,
            find_kind(o.case.kind).family if o.case.design in ("planted", "alike", "unlearnt") else "none",
            truth_in_words(o.truth),
            number(o.truth.text),
            f"{o.truth.accuracy:.2f}, {o.truth.accuracy_clean:.2f}",
            o.truth.rank,
            _CODES.get(o.finding.exit_code, str(o.finding.exit_code)),
            false_alarm_or_found(o),
            ", ".join(map(shown_string, o.finding.sensitive)) or "nothing",
            "yes" if names_its_cause(o) and o.truth.rank != "null" else "no" if o.truth.rank != "null" else "",
        )
        for o in outcomes
    ]
    columns = (
        "network", "planted", "truth (carriers)", "text", "accuracy with, without", "rank", "exit", "judged", "sensitive to", "named",
    )  # fmt: skip
    note = (
        "Truth over all images, and over carriers where not all carry the plant; text: effect of all text of the images. Rank: planted "
        "networks must be found (0.10 or more, or 0.25 or more of at least 20 carriers), null networks must not, faint ones lie between."
    )
    return "Every network", note, columns, rows


def kinds_block(table: Table) -> Block:
    """Return a row a kind, share and dose."""
    rows = [
        (d.group, number(d.truth), in_words(d.found), in_words(d.named), str(d.undecided), str(d.passed))
        for d in table.kinds
    ]
    columns = ("kind, share of one class, dose", "mean truth", "found", "named", "undecided", "passed")
    return "Detection by kind and strength", "All planted networks, learnt or not.", columns, rows


def summary_blocks(table: Table) -> list[Block]:
    """Return detection by family, false alarms, estimates and targets."""
    families = [
        (d.group, number(d.truth), in_words(d.found), in_words(d.named), str(d.undecided), str(d.passed))
        for d in table.families
    ]
    alarms = [(_design(f.design), in_words(f.alarms), str(f.undecided), str(f.passed)) for f in table.false_alarms]
    estimates = [
        (
            a.condition, a.family, a.group, str(a.n), signed_bracketed(a.bias, a.bias_low, a.bias_high), in_words(a.coverage),
            str(a.robust_although_beyond),
        )
        for a in table.accuracies
    ]  # fmt: skip
    targets = [(t.name, t.found, t.status) for t in table.targets]
    return [
        (
            "Detection", "Networks whose plant must be found, by family: exit code 1, and named in the first sentence.",
            ("family", "mean truth", "found", "named", "undecided", "passed"), families,
        ),
        (
            "False alarms", "Null networks: exit code 1, or any effect called sensitive.",
            ("null networks", "false alarms", "undecided", "passed"), alarms,
        ),
        (
            "Estimates", "Shortcut sensitivity minus the truth, and how many 95 % intervals hold the truth.",
            ("condition", "family", "images", "networks", "bias", "coverage", "robust although beyond the limit"), estimates,
        ),
        ("Targets", "What the instrument should reach.", ("target", "measured", "status"), targets),
    ]  # fmt: skip


def _design(name: str) -> str:
    if name == "not learnt":
        return "planted on one class, but not learnt"
    return "all null networks" if name == "all" else dict[str, str](DESIGNS)[name]

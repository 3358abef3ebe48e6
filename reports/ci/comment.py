"""A comment for a pull or merge request: the verdict, what changed against the baseline, three pictures, and where the report is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from audit.gates.scope import scope_sentence
from audit.reports.ci.gate_table import gate_table
from audit.reports.ci.text_forest import text_forest
from audit.reports.findings.changes import Change, changes_sentence, figure_of, reasons
from audit.reports.findings.gate_results import gate_counts, worst_first
from audit.reports.findings.markdown_words import fenced, inert
from audit.reports.findings.statements import statements
from audit.reports.reading.view import RunView
from audit.reports.sections.verdict import best_case
from audit.store.numbers import counted

MARKER = "<!-- audit of an image classifier -->"
"""First line, by which a job finds its earlier comment to replace it."""
MOST_CHARACTERS = 60_000
"""GitHub refuses comments of more than 65,536."""
_MOST_ROWS = 15
_MOST_PICTURE = 12_000
_PARTS = ("clean", "edit", "placebo")


@dataclass(frozen=True, kw_only=True, slots=True)
class CommentLinks:
    """Where a reader finds the run and its pictures."""

    artifact: str = ""
    """Address of the artifact with the run folder; empty if it is not known."""
    files: str = ""
    """Address below which the files of the run folder can be opened; empty where files of an artifact have no address."""
    embed: bool = False
    """Whether small pictures are put into the comment as data, which not every platform shows."""


def pr_comment(run: RunView, changes: Sequence[Change] | None, baseline: str, links: CommentLinks) -> str:
    """Write the comment in Markdown; names of files, classes and strings of images are shown as they are and do nothing.

    Parameters
    ----------
    run : RunView
        The run, with the judgement that is reported.
    changes : sequence of Change or None
        What changed since the baseline; None where there is no baseline.
    baseline : str
        Its name.
    links : CommentLinks
        Where the run and its pictures are.
    """
    with_pictures = _joined(run, changes, baseline, links)
    if len(with_pictures) <= MOST_CHARACTERS:
        return with_pictures
    return _joined(run, changes, baseline, CommentLinks(artifact=links.artifact, files=links.files))


def _joined(run: RunView, changes: Sequence[Change] | None, baseline: str, links: CommentLinks) -> str:
    verdict, complete = run.verdict, run.verdict.status != "incomplete"
    counts = gate_counts(verdict)
    lines = [
        MARKER,
        f"### Audit of {inert(run.plan.model.name)}: {verdict.status.upper()}{f' ({counts})' if counts else ''}",
        "",
        *(f"**{inert(caveat)}**\n" for caveat in verdict.caveats),
        inert(statements(run)[0].text),
        "",
    ]
    if complete:
        lines += [*_changed(changes, baseline), *_pictures(run, links)]
    lines += _gates(run)
    if complete:
        lines += _folded("Effects", fenced(text_forest(run)))
        lines += [inert(scope_sentence(verdict)), ""]
    data = f"{inert(run.plan.data.name)}, {counted(run.plan.data.n_images, 'image')} of {counted(run.plan.data.n_patients, 'patient')}"
    where = (
        f"[Run folder with report.html]({_address(links.artifact)})"
        if links.artifact
        else "The report is report.html in the run folder"
    )
    lines.append(f"{where}; data: {data}.")
    return "\n".join(lines) + "\n"


def _changed(changes: Sequence[Change] | None, baseline: str) -> Iterator[str]:
    """Yield what changed: significant changes over all images first; the rest is counted."""
    if changes is None:
        yield from ("No baseline: nothing to compare with.", "")
        return
    yield from (f"**Since the baseline** {inert(baseline)}. {changes_sentence(changes)}", "")
    moved = [c for c in changes if c.outcome in ("worse", "better")]
    moved.sort(
        key=lambda c: (c.outcome != "worse", str(c.group) != "all", -abs((c.effect and c.effect.estimate) or 0.0))
    )
    if moved:
        yield from ("| edit and images | figure | baseline | now | change | |", "|---|---|---|---|---|---|")
        for c in moved[:_MOST_ROWS]:
            cells = (c.where, c.figure, figure_of(c.before), figure_of(c.now), c.words, c.outcome)
            yield f"| {' | '.join(map(inert, cells))} |"
        if len(moved) > _MOST_ROWS:
            yield f"\nand {len(moved) - _MOST_ROWS} more; `audit diff RUN BASELINE` lists all."
        yield ""
    for why in reasons(changes)[:3]:
        yield f"- Not comparable: {inert(why)}"
    if reasons(changes):
        yield ""


def _pictures(run: RunView, links: CommentLinks) -> Iterator[str]:
    """Yield the pictures that show the first finding best: by their addresses, as data, or only their names in the run folder."""
    shown = next((s.effect for s in statements(run) if s.effect is not None and s.effect.estimate is not None), None)
    case = best_case(run, shown)
    if case is None or shown is None:
        return
    there = [part for part in _PARTS if case[part] is not None]
    titles = {
        "clean": "Unedited image",
        "edit": f"Edit: {run.title(shown.condition)}",
        "placebo": f"Placebo: {run.title(shown.placebo or 'clean')}",
    }
    cells = [f"{inert(titles[p])}, predicted {inert(str(case[p]['predicted']))}{_share(case[p])}" for p in there]
    images = [_image(case, part, titles[part], links) for part in there]
    name = str(case["record"])
    image = f"image `{name}`" if name.isalnum() else f"image {inert(name)}"
    yield f"Case {case['case']}, {image}, true class {inert(str(case['label']))}:"
    yield ""
    if all(images):
        yield f"| {' | '.join(cells)} |"
        yield f"|{'---|' * len(cells)}"
        yield f"| {' | '.join(images)} |"
    else:
        for part, cell in zip(there, cells, strict=True):
            yield f"- {cell} (`examples/{case[part]['file']}`)" if _is_plain(case[part]["file"]) else f"- {cell}"
    yield ""


def _image(case: Mapping[str, Any], part: str, alt: str, links: CommentLinks) -> str:
    """Return a picture in Markdown; empty where it can only be named."""
    if links.files and _is_plain(case[part]["file"]):
        address = f"{_address(links.files).rstrip('/')}/examples/{quote(case[part]['file'])}"
        return f"[![{inert(alt)}]({address})]({address})"
    uri = case[part].get("uri") if links.embed else None
    return f"![{inert(alt)}]({uri})" if uri and len(uri) <= _MOST_PICTURE else ""


def _is_plain(name: str) -> bool:
    return all(c.isascii() and (c.isalnum() or c in "-_.") for c in name)


def _share(picture: Mapping[str, Any]) -> str:
    value = picture["probabilities"].get(picture["predicted"])
    return "" if value is None else f" ({100 * value:.0f} %)"


def _gates(run: RunView) -> list[str]:
    """Return the rules that did not pass in a table, the worst first; the others are counted in the title."""
    told = [g for g in worst_first(run.verdict) if g.status != "pass"]
    if not told:
        return []
    more = [f"\nand {len(told) - _MOST_ROWS} more in the report"] if len(told) > _MOST_ROWS else []
    table = [*gate_table(told[:_MOST_ROWS]), *more]
    return _folded(
        f"{counted(len(told), 'gate')} not passed", table, opened=run.verdict.status in ("fail", "incomplete")
    )


def _folded(title: str, lines: Sequence[str], *, opened: bool = False) -> list[str]:
    if not lines:
        return []
    return [f"<details{' open' if opened else ''}><summary>{title}</summary>", "", *lines, "", "</details>", ""]


def _address(url: str) -> str:
    """Return an address as Markdown's parentheses hold it."""
    return quote(url, safe=":/?#[]@!$&'*+,;=%~-._")

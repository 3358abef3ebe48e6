"""Sections of the report: what this package has, and one that another package adds."""

from __future__ import annotations

import atexit
import dataclasses
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from functools import cache
from html import unescape
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import meta
from markupsafe import escape

from audit.errors import UsageError
from audit.reports.findings.effect_words import estimate
from audit.reports.findings.gate_results import figures
from audit.reports.page.html import MAX_BYTES, render_html, within_budget
from audit.reports.page.templates import commands_marked, environment
from audit.reports.reading.folder import read_run
from audit.reports.reading.view import RunView
from audit.reports.sections import OWN, SECTIONS, Section
from audit.store.levels import Level, LevelsDocument, SuspectLevels
from audit.store.serialise import plain

from .documents import plan_with
from .plugin_wheels import install_plugin
from .report_runs import Page, edit, kept_run

ROOT = Path(__file__).parents[1]


@cache
def beside() -> Path:
    """Return a copy of the kept run that lies beside an earlier one; it stays until the tests end."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in ("earlier", "later"):
        shutil.copytree(ROOT / "tests/golden/tiny-run", folder / name)
    edit(folder / "earlier/run.json", lambda d: d.update(started="2020-01-01T00:00:00+00:00"))
    return folder / "later"


def variants() -> dict[str, RunView]:
    """Return the kept run, and what it lacks or has besides."""
    run = read_run(ROOT / "tests/golden/tiny-run")
    conditions = [{**plain(c), "role": "stress" if c.role == "edit" else c.role} for c in run.plan.suite.conditions]
    return {
        "kept": run,
        "edited": dataclasses.replace(run, problems=("<b> is gone",)),
        "without heatmaps": dataclasses.replace(run, relevance=(), relevance_summary=None, clusters=(), markers=()),
        "stresses": dataclasses.replace(run, plan=plan_with(run.plan, suite={"conditions": conditions})),
        "searched": dataclasses.replace(
            run, plan=plan_with(run.plan, objects={"asked": 4, "why_none": "the half that proposes has 18 patients"})
        ),
        "no case": dataclasses.replace(run, examples=(), words=()),
        "repeated": read_run(beside()),
        "levels": dataclasses.replace(run, levels=LEVELS),
    }


_LEVEL = Level(value=0.7, low=0.6, high=0.8, null=0.5, p=0.005, n_images=40, n_patients=20, about="<b>how</b>")
_UNKNOWN = Level(value=None, low=None, high=None, null=None, p=None, n_images=0, n_patients=0, about="<b>why not</b>")
LEVELS = LevelsDocument(
    n_images=40,
    why_none="",
    suspects=(
        SuspectLevels(
            suspect="the <i>text</i>", available=_LEVEL, encoded=_UNKNOWN, used=_LEVEL, erased=_UNKNOWN, harmful=_LEVEL
        ),
        SuspectLevels(
            suspect="the look", available=_LEVEL, encoded=_LEVEL, used=_UNKNOWN, erased=_LEVEL, harmful=_LEVEL
        ),
    ),
)


def page_of(run: RunView) -> str:
    return within_budget(run, MAX_BYTES).html.decode()


def navigation(text: str) -> list[tuple[str, str]]:
    """Return (id, words) of the entries."""
    inside = text[text.index("<nav") : text.index("</nav>")]
    return re.findall(r'<a href="#([^"]+)">([^<]+)</a>', inside)


@pytest.mark.parametrize("section", OWN, ids=lambda s: s.name)
def test_a_view_gives_exactly_what_its_template_needs(section: Section) -> None:
    templates = environment()
    source = templates.loader.get_source(templates, section.template)[0]  # type: ignore[union-attr]
    needed = meta.find_undeclared_variables(templates.parse(source))
    shown = {name: section.view(run) for name, run in variants().items()}
    given = {name: set(found) for name, found in shown.items() if found is not None}
    assert given
    assert all(names == needed for names in given.values()), (given, needed)


@pytest.mark.parametrize("name", list(variants()))
def test_the_navigation_is_the_sections_in_their_order(name: str) -> None:
    run = variants()[name]
    text = page_of(run)
    page = Page(text)
    applies = [s for s in OWN if s.view(run) is not None]
    assert navigation(text) == [(s.name, s.title) for s in applies]
    assert [a["id"] for a in page.all("section")] == [s.name for s in applies]
    assert page.open == []
    ids = [a["id"] for _, a in page.found if "id" in a]
    assert len(ids) == len(set(ids))


def test_sections_that_do_not_apply_are_neither_shown_nor_in_the_navigation() -> None:
    shown = {name: {s.name for s in OWN if s.view(run) is not None} for name, run in variants().items()}
    assert {s.name for s in OWN} - shown["kept"] == {"edited", "stress", "recurring-objects", "history"}
    assert shown["repeated"] - shown["kept"] == {"history"}
    assert shown["searched"] - shown["kept"] == {"recurring-objects"}
    assert shown["edited"] - shown["kept"] == {"edited"}
    assert "levels" in shown["levels"] & shown["kept"]
    assert shown["stresses"] - shown["kept"] == {"stress"}
    assert shown["kept"] - shown["without heatmaps"] == {"looked-alike"}


def test_the_documentation_lists_the_sections() -> None:
    rows = [f"| {s.title} | {s.comes_from} |" for s in OWN]
    text = (ROOT / "docs/guides/report.md").read_text(encoding="utf-8")
    found = text.split("| Section | Comes from |\n|---|---|\n")[1].split("\n\n")[0].split("\n")
    assert found == rows, "docs/guides/report.md should have\n" + "\n".join(rows)


def test_gates_have_the_figures_of_every_other_rendering() -> None:
    run = variants()["kept"]
    first = dataclasses.replace(run.verdict.gates[0], actual=0.125, low=0.1, high=0.15)
    gates = [
        first,
        dataclasses.replace(first, id="change", against="baseline"),
        dataclasses.replace(first, id="none", actual=None, low=None, high=None),
        dataclasses.replace(first, id="control", actual=0.00001, low=None, high=None),
    ]
    page = page_of(dataclasses.replace(run, verdict=dataclasses.replace(run.verdict, gates=gates)))
    table = page[page.index('id="gates"') :]
    cells = re.findall(r'<td class="num" data-label="estimate">([^<]*)</td>', table)
    assert cells == [figures(gate) for gate in gates]
    assert cells[1].startswith("+")


def documented() -> dict[str, str]:
    """Return the blocks of code by language of what docs/guides/extend.md says of sections."""
    text = (
        (ROOT / "docs/guides/extend.md")
        .read_text(encoding="utf-8")
        .split("## A section of the report\n")[1]
        .split("\n## ")[0]
    )
    return dict(re.findall(r"```(\w+)\n(.*?)```", text, re.S))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Install the package that the documentation describes."""
    blocks = documented()
    points = tomllib.loads(blocks["toml"])["project"]["entry-points"]["audit.sections"]
    return install_plugin(
        tmp_path,
        "audit_lungs",
        {"audit_lungs/__init__.py": blocks["python"], "audit_lungs/largest.html.j2": blocks["jinja"]},
        "[audit.sections]\n" + "".join(f"{name} = {value}\n" for name, value in points.items()),
    )


def audit(site: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}
    command = [sys.executable, "-m", "audit", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_documented_section_is_shown_where_it_asks_to_stand(site: Path, tmp_path: Path) -> None:
    run = kept_run(tmp_path)
    before = render_html(run).read_text(encoding="utf-8")
    done = audit(site, "report", run)
    assert (done.returncode, done.stderr) == (0, "")
    text = (run / "report.html").read_text(encoding="utf-8")
    entries = navigation(before)
    place = entries.index(("effects", "Effects")) + 1
    assert navigation(text) == [*entries[:place], ("largest", "Largest effect"), *entries[place:]]
    assert [a["id"] for a in Page(text).all("section")][place] == "largest"
    largest = read_run(run).headline()[0]
    assert f"<p>{largest.condition}: {estimate(largest)}</p>" in text
    # The rest of the page is what it was.
    section = re.search(r'<section id="largest".*?</section>', text, re.S)
    assert section
    assert text.replace(section[0], "").replace('<li><a href="#largest">Largest effect</a></li>\n', "") == before
    assert "largest         from audit_lungs:SECTION" in audit(site, "list", "sections").stdout.splitlines()


BROKEN = """
import sys
from audit.reports.sections import Section

def section(name, view, template="broken_sections:fine.html.j2", **other):
    return Section(**{"name": name, "title": name.title(), "template": template, "view": view, "comes_from": "nothing", **other})


def made(name):
    return lambda run: {"name": name}


def fails(run):
    raise ZeroDivisionError("in /home/somebody/secret.py")


def leaves(run):
    sys.exit(0)


FINE = section("fine", view=made("fine"))
SILENT = section("silent", view=lambda run: None)
RAISES = section("raises", view=fails)
LEAVES = section("leaves", view=leaves)
LISTS = section("lists", view=lambda run: [1, 2])
MISSING = section("missing", template="broken_sections:none.html.j2", view=made("missing"))
NOWHERE = section("nowhere", template="no_such_package:none.html.j2", view=made("nowhere"))
UNDEFINED = section("undefined", view=lambda run: {})
VERDICT = section("verdict", view=made("verdict"))
LOST = section("lost", view=made("lost"), after="efects")
OTHER = section("another", view=made("another"))
CAPITAL = section("<b>Bad", view=made("<b>Bad"))
UNTITLED = section("untitled", view=made("untitled"), title=" ")
NO_ID = section("no-id", view=made("other-id"))
TAKEN = section("taken", template="broken_sections:taken.html.j2", view=made("taken"))
MAIN = section("main", view=made("main"))
NO_VIEW = section("no-view", view=3)
COLOURED = section("coloured", view=made("coloured"), state=lambda run: "red")
STATED = section("stated", view=made("stated"), state="found")
NUMBER = 3
"""
POINTS = """[audit.sections]
fine = broken_sections:FINE
silent = broken_sections:SILENT
raises = broken_sections:RAISES
leaves = broken_sections:LEAVES
lists = broken_sections:LISTS
missing = broken_sections:MISSING
nowhere = broken_sections:NOWHERE
undefined = broken_sections:UNDEFINED
verdict = broken_sections:VERDICT
lost = broken_sections:LOST
renamed = broken_sections:OTHER
<b>Bad = broken_sections:CAPITAL
untitled = broken_sections:UNTITLED
no-id = broken_sections:NO_ID
taken = broken_sections:TAKEN
main = broken_sections:MAIN
no-view = broken_sections:NO_VIEW
coloured = broken_sections:COLOURED
stated = broken_sections:STATED
number = broken_sections:NUMBER
absent = broken_sections:NOTHING
no-module = no_such_module:SECTION
"""
REASONS = {
    "raises": "is not shown: ZeroDivisionError (in /home/somebody/secret.py). Update or uninstall",
    "leaves": "SystemExit (0)",
    "lists": "its view returned list; expected a mapping or None",
    "missing": "template not found (broken_sections:none.html.j2)",
    "nowhere": "template not found (no_such_package:none.html.j2)",
    "undefined": "UndefinedError ('name' is undefined)",
    "verdict": "is provided by several packages",
    "lost": "Did you mean 'effects'",
    "renamed": "that is registered as 'renamed' has the name 'another'",
    "<b>Bad": "small letters, digits and hyphens, found '<b>Bad'",
    "untitled": "The title of the section 'untitled' must be text, found ' '",
    "no-id": "has no element with id='no-id'",
    "taken": "uses the id 'save'",
    "main": "uses the id 'main'",
    "no-view": "The view of the section 'no-view' must be a function, found 3",
    "coloured": "ValueError (its state is 'red'; expected found, undecided, quiet)",
    "stated": "The state of the section 'stated' must be a function or None, found 'found'",
    "number": "must be a Section, found int",
    "absent": "broken_sections:NOTHING cannot be imported",
    "no-module": "no_such_module:SECTION cannot be imported",
}


@pytest.fixture(scope="module")
def broken_installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install every kind of broken section, and two that are not."""
    fine = '<section id="{{ name }}"><h2>{{ name }}</h2></section>'
    return install_plugin(
        tmp_path_factory.mktemp("broken"),
        "broken_sections",
        {
            "broken_sections/__init__.py": BROKEN,
            "broken_sections/fine.html.j2": fine,
            "broken_sections/taken.html.j2": fine.replace("<h2>", '<h2 id="save">'),
        },
        POINTS,
    )


@pytest.fixture
def broken(broken_installed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let this process find them."""
    monkeypatch.syspath_prepend(str(broken_installed))
    monkeypatch.delitem(sys.modules, "broken_sections", raising=False)
    return broken_installed


def test_a_broken_section_gives_one_sentence_and_the_report_is_whole(broken: Path, tmp_path: Path) -> None:
    run = kept_run(tmp_path)
    said: list[str] = []
    text = render_html(run, complain=said.append).read_text(encoding="utf-8")
    assert len(said) == len(REASONS)
    assert set(SECTIONS.foreign()) == {*REASONS, "fine", "silent"}
    for name, reason in REASONS.items():
        (told,) = [line for line in said if reason in line]
        assert repr(name) in told
        assert "\n" not in told
        assert "broken_sections" in told or "no_such_module" in told
        assert f"<li>The section “{escape(name)}” (" in text
    assert text.count("could not be written") == len(REASONS)
    assert "/home/somebody" not in text, "what foreign code says in an error stays with whoever renders the page"
    shown = [(s.name, s.title) for s in OWN if s.view(read_run(run)) is not None]
    assert navigation(text) == [*shown[:-1], ("fine", "Fine"), shown[-1]]
    page = Page(text)
    assert page.open == []
    assert [a.get("id") for a in page.all("section")] == [None, *(name for name, _ in navigation(text))]


def test_the_command_says_which_section_is_missing(broken: Path, tmp_path: Path) -> None:
    run = kept_run(tmp_path)
    done = audit(broken, "report", run)
    assert done.returncode == 0
    assert done.stdout == f"{run / 'report.html'}\n"
    assert len(done.stderr.splitlines()) == len(REASONS)
    assert all(line.startswith("audit: ") for line in done.stderr.splitlines())


def test_a_name_is_registered_once() -> None:
    with pytest.raises(UsageError, match="registered twice"):
        SECTIONS.register("verdict")(OWN[0])


def test_pictures_that_a_budget_drops_are_counted() -> None:
    """The count is derived from the cases: as many as lost a picture, from the first of them on."""
    run = variants()["kept"]
    whole = len(within_budget(run, MAX_BYTES).html)
    for budget in (whole, whole - 1, whole // 2, 0):
        text = within_budget(run, budget).html.decode()
        gone = re.search(r"the pictures of the last (\d+) of (\d+) cases are left out", text)
        left_out = [
            case for case in re.findall(r'<details class="case".*?</details>', text, re.S) if "Left out to" in case
        ]
        assert (int(gone[1]) if gone else 0) == len(left_out)
        assert bool(gone) == (budget < whole)


@given(st.text(alphabet="a <&`'\"é"))
def test_what_stands_between_backticks_is_code_and_all_is_escaped(text: str) -> None:
    marked = commands_marked(text)
    bare = re.sub(r"</?code>", "`", marked)
    assert unescape(bare) == text
    assert ("<code>" in marked) == (text.count("`") % 2 == 0 and "`" in text)
    assert "<" not in re.sub(r"</?code>", "", marked)


def test_groups_of_heatmaps_are_printed_for_every_output_first() -> None:
    from audit.reports.sections.looked_alike import printed_groups

    assert printed_groups(["a"] * 9) == {0, 1, 2, 3}
    assert printed_groups(["a", "a", "a", "b", "b", "c"]) == {0, 1, 3, 5}
    assert printed_groups(["a"] * 5 + ["b"] * 4 + ["c"] * 3) == {0, 1, 5, 9}
    assert printed_groups([]) == set()

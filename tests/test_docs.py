"""The pages: their links and paths lead somewhere, the reference has everything that the code has, the picture is the code's."""

from __future__ import annotations

import re
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from audit.cli.main import app
from audit.gates.judging import EXIT_CODES
from audit.perturbations import PERTURBATIONS
from audit.run.schemas import DOCUMENTS
from audit.run.setting import declared_settings
from audit.run.settings import Settings
from audit.statistics.catalogue import MEASURES
from audit.suites.reader import load_suite, suite_names
from audit.text.finders import FINDERS
from docs.site import architecture
from docs.site.building import build
from docs.site.commands import command_names
from docs.site.offline import foreign_requests
from docs.site.picture import without_implied
from docs.site.records import describe, table
from docs.site.reference import PAGES
from docs.site.staging import home, stage

ROOT = Path(__file__).parents[1]
WRITTEN = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*/*.md"))]
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")
_CODE_PATH = re.compile(r"`((?:audit|training|reports|templates|tests|benchmarks|docs)/[\w./-]*)`")


@pytest.mark.parametrize("page", WRITTEN, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_of_written_pages_lead_to_files(page: Path) -> None:
    for target in _LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


@pytest.mark.parametrize(
    "page", [p for p in WRITTEN if p.name != "CHANGELOG.md"], ids=lambda p: p.relative_to(ROOT).as_posix()
)
def test_paths_that_pages_name_exist(page: Path) -> None:
    for path in _CODE_PATH.findall(page.read_text(encoding="utf-8")):
        assert (ROOT / path).exists(), f"{page.name} names {path}, which is not there"


def test_pages_that_code_names_exist() -> None:
    for folder in ("audit", "training", "reports", "templates", "benchmarks"):
        for source in (ROOT / folder).rglob("*.py"):
            for page in re.findall(r"docs/[\w/-]+\.md", source.read_text(encoding="utf-8")):
                assert (ROOT / page).is_file(), (
                    f"{source.relative_to(ROOT)} sends its reader to {page}, which is not there"
                )


def test_every_written_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:\n")[1]
    named = set(re.findall(r": ([\w/-]+\.md)$", navigation, flags=re.MULTILINE))
    written = {p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").glob("*/*.md")}
    generated = {f"reference/{name}.md" for name in PAGES}
    assert named == written | generated | {"index.md", "changelog.md", "licence.md"}


def test_home_is_the_readme_with_links_of_the_site(tmp_path: Path) -> None:
    staged = home("See [docs/guides/your-gates.md](docs/guides/your-gates.md), [x](LICENSE), ![p](docs/figures/f.jpg).")
    assert staged == "See [your gates](guides/your-gates.md), [x](licence.md), ![p](figures/f.jpg)."
    (tmp_path / "old.md").write_text("left over", encoding="utf-8")
    stage(tmp_path)
    assert not (tmp_path / "old.md").exists()
    for page in tmp_path.rglob("*.md"):
        for target in _LINK.findall(page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), (
                    f"{page.relative_to(tmp_path)} links to {target}, which is not staged"
                )


@cache
def _page(name: str) -> str:
    return PAGES[name][1]()


def _headings(name: str) -> set[str]:
    return set(re.findall(r"^## (.+)$", _page(name), flags=re.MULTILINE))


def _first_cells(text: str) -> set[str]:
    return set(re.findall(r"^\| `([^`|]+)` \|", text, flags=re.MULTILINE))


def _commands_in_help(*path: str) -> Iterator[str]:
    """Yield the commands that `--help` lists, down to those that do something."""
    text = CliRunner().invoke(app, [*path, "--help"]).output
    listed = re.search(r"\nCommands:\n((?:  .+\n)+)", text)
    if listed is None:
        yield " ".join(("audit", *path))
        return
    for name in re.findall(r"^  (\w\S*)", listed[1], flags=re.MULTILINE):
        yield from _commands_in_help(*path, name)


def test_reference_has_every_command_and_every_option_that_help_lists() -> None:
    commands = list(_commands_in_help())
    assert {"audit run", "audit baseline accept"} <= set(commands)
    assert _headings("cli") == set(commands) == set(command_names())
    page = _page("cli")
    for command in commands:
        section = page.split(f"## {command}\n")[1].split("\n## ")[0]
        text = CliRunner().invoke(app, [*command.split()[1:], "--help"]).output
        offered = set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", text, flags=re.MULTILINE)) - {"--help"}
        assert offered == set(re.findall(r"^\| `(--[a-z-]+)", section, flags=re.MULTILINE)) - {"--help"}


def test_reference_has_everything_that_is_registered() -> None:
    assert _first_cells(_page("measures")) >= set(MEASURES)
    assert _headings("perturbations") == set(PERTURBATIONS.names())
    assert _headings("finders") == set(FINDERS)
    assert _headings("suites") == set(suite_names())
    assert _first_cells(_page("suites")) == {c.name for s in suite_names() for c in load_suite(s).conditions}
    assert _headings("schemas") == {kind.FILE for kind in DOCUMENTS}
    assert _first_cells(_page("schemas")) >= {f for kind in DOCUMENTS for f in kind.__struct_fields__}
    assert _first_cells(_page("settings")) == set(declared_settings())


def test_reference_has_every_exit_code() -> None:
    rows = re.findall(r"^\| (\d) \|(.*)\|$", _page("exit-codes"), flags=re.MULTILINE)
    assert {int(number) for number, _ in rows} == {*EXIT_CODES.values(), 2}
    for status, number in EXIT_CODES.items():
        assert f"*{status}*" in dict(rows)[str(number)]


def test_default_rules_on_the_page_are_those_of_a_run() -> None:
    page = _page("gate-rules").split("\n## A rule")[0]
    judged = {c.name for c in load_suite(Settings().suite).conditions if c.judged and c.placebo}
    named = set(re.findall(r"^\| `[^`]+` \| `[^`]+` \| `([^`]+)`", page, flags=re.MULTILINE))
    assert named == judged | {"*", "clean"}


@dataclass(frozen=True, kw_only=True)
class _Described:
    first: int
    """What it is | in words."""
    second: tuple[str, ...] | None = None
    """Another."""


@dataclass(frozen=True, kw_only=True)
class _Silent:
    field: int = 0


def test_records_are_described_by_their_declarations() -> None:
    first, second = describe(_Described)
    assert (first.name, first.kind, first.required, first.help) == ("first", "integer", True, "What it is | in words.")
    assert (second.kind, second.required, second.default) == ("list of strings or none", False, None)
    assert table(["a"], [["x | y\nz"]]).splitlines()[-1] == "| x \\| y z |"

    with pytest.raises(ValueError, match=r"_Silent\.field has no docstring line"):
        describe(_Silent)


# The architecture page


def test_picture_and_tables_are_up_to_date() -> None:
    remedy = "run python -m docs.site.architecture"
    assert architecture.PICTURE.read_text(encoding="utf-8") == architecture.picture(), remedy
    page = architecture.PAGE.read_text(encoding="utf-8")
    assert page == architecture.page(page), remedy


def test_floors_of_the_picture_and_of_the_page_equal_the_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(c["layers"] for c in contracts if c["name"].startswith("Floors"))
    contract = {name.strip(): len(layers) - i for i, row in enumerate(layers) for name in row.split(":")}
    svg = ET.parse(architecture.PICTURE).getroot()
    space = "{http://www.w3.org/2000/svg}"
    bands = [
        (float(r.get("y", 0)), float(r.get("height", 0)), int(r.get("data-floor", 0)))
        for r in svg.iter(f"{space}rect")
        if r.get("class") == "floor"
    ]
    drawn = {
        str(t.text): floor
        for t in svg.iter(f"{space}text")
        for y, height, floor in bands
        if t.get("class") is None and y < float(t.get("y", 0)) < y + height
    }
    assert drawn == contract
    rows = re.findall(
        r"^\| (\d) \| `(\w+)` \| \S.* \|$", architecture.PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    assert {name: int(floor) for floor, name in rows} == contract
    arrows = [str(p.get("data-import")).split() for p in svg.iter(f"{space}path") if p.get("data-import")]
    assert arrows and all(contract[a] >= contract[b] for a, b in arrows)


def test_steps_of_the_picture_are_functions() -> None:
    for step in (*architecture.FLOW, architecture.BRANCH):
        assert callable(getattr(import_module(step.module), step.verb))
    edges = set(architecture.imports())
    assert {("cli", "commands"), ("run", "statistics"), ("commands", "reports")} <= edges
    assert not {("statistics", "run"), ("run", "reports"), ("perturbations", "text")} & edges


@given(st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6)).filter(lambda e: e[0] < e[1])))
def test_imports_that_are_not_drawn_are_implied(pairs: set[tuple[int, int]]) -> None:
    edges = sorted((str(a), str(b)) for a, b in pairs)
    kept = without_implied(edges)
    assert set(kept) <= set(edges)
    assert _closure(kept) == _closure(edges)
    for edge in kept:
        assert _closure([e for e in kept if e != edge]) != _closure(edges), "an arrow that others imply"


def _closure(edges: list[tuple[str, str]]) -> set[tuple[str, str]]:
    reached = set(edges)
    while True:
        more = {(a, d) for a, b in reached for c, d in reached if b == c} - reached
        if not more:
            return reached
        reached |= more


# Faults of the built site


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ("nothing is wrong", ""),
        ("[x](nowhere.md)", "nowhere.md"),
        ("[x](index.md#nowhere)", "#nowhere"),
        ("![x](none.png)", "none.png"),
        ("[x](../elsewhere.txt)", "elsewhere.txt"),
        ("[x][audit.nothing]", "audit.nothing"),
        ("::: audit.nothing", "audit.nothing"),
    ],
)
def test_a_warning_of_the_builder_is_an_error(tmp_path: Path, fault: str, named: str) -> None:
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:\n")[0]
    (tmp_path / "mkdocs.yml").write_text(f"{settings}\nnav: [index.md]\n", encoding="utf-8")
    page = tmp_path / "build" / "docs" / "index.md"
    page.parent.mkdir(parents=True)
    page.write_text(f"# Home\n\n{fault}\n", encoding="utf-8")
    wrong = build(tmp_path / "mkdocs.yml")
    assert named in wrong and bool(wrong) == bool(named)


# Nothing is fetched


@pytest.mark.parametrize(
    "planted",
    [
        '<script src="https://cdn.example/a.js"></script>',
        "<IMG SRC='//cdn.example/a.png'>",
        '<link rel="stylesheet" href="https://fonts.example/css">',
        '<img srcset="https://cdn.example/a.png 2x">',
        "<style>@import 'https://cdn.example/a.css';</style>",
        '<p style="background: url(https://cdn.example/a.png)">',
        '<svg><image xlink:href="https://cdn.example/a.png"/></svg>',
    ],
)
def test_a_page_that_loads_from_elsewhere_is_named(tmp_path: Path, planted: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "page.html").write_text(f"<html><body>{planted}</body></html>", encoding="utf-8")
    (found,) = foreign_requests(tmp_path)
    assert found.startswith("sub/page.html: ") and "example" in found


def test_styles_are_looked_at_and_links_are_no_requests(tmp_path: Path) -> None:
    clean = '<a href="https://doi.org/1"><img src="a.png"></a><script>var x = "https://w3.org"</script>'
    clean += '<img src="data:image/png;base64,AA==">'
    (tmp_path / "page.html").write_text(clean, encoding="utf-8")
    assert foreign_requests(tmp_path) == []
    (tmp_path / "a.css").write_text("p { background: url('https://cdn.example/a.png') }", encoding="utf-8")
    assert foreign_requests(tmp_path) == ["a.css: https://cdn.example/a.png"]

"""Pages of the reference, each generated from what the code declares."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import audit
from audit import errors
from audit.data.conditions import Condition
from audit.gates.defaults import config_for
from audit.gates.judging import EXIT_CODES
from audit.gates.rules import GateConfig, Rule
from audit.perturbations import PERTURBATIONS
from audit.run.setting import declared_settings
from audit.run.settings import Settings
from audit.statistics.catalogue import MEASURES
from audit.statistics.measure import Measure
from audit.statistics.selections import default_tolerances
from audit.suites.reader import load_suite, suite_names
from audit.text.finders import DEFAULT_FINDER, FINDERS, make_finder
from docs.site.commands import command_page
from docs.site.records import catalogue, code, describe, first_paragraph, legend, parameters, shown_default, table
from docs.site.schemas import schemas_page

_MEASURE_COLUMNS = ("words", "unit", "of", "better", "tolerance")


def python_page() -> str:
    """Return the page of the front door from Python; mkdocstrings fills it."""
    parts = [
        "# Python\n",
        "`import audit` provides these names and loads nothing heavy before one of them is used. Everything else may change.\n",
    ]
    for name in audit.__all__:
        thing = getattr(audit, name)
        if thing is Settings:
            parts.append(
                "## audit.Settings\n\n" + first_paragraph(Settings) + " Its fields: [Settings](settings.md).\n"
            )
        elif inspect.isclass(thing) or inspect.isfunction(thing):
            options = (
                f"    options:\n      heading: audit.{name}\n      toc_label: audit.{name}\n      heading_level: 2\n"
            )
            parts.append(f"::: {thing.__module__}.{name}\n{options}")
    parts.append("## audit.errors\n\n" + table(["error", "exit code", "when"], _error_rows()))
    return "\n".join(parts)


def measures_page() -> str:
    """Return the page of measures."""
    return "\n".join(
        [
            "# Measures\n",
            "Gate rules refer to these names, and `effects.json` contains them. How each is estimated: "
            "[Statistics](../concepts/statistics.md). `tolerance` is the limit of a judged measure; `[tolerance]` in `audit.toml` sets "
            "other limits.\n",
            catalogue(MEASURES, _MEASURE_COLUMNS),
            "## Columns\n",
            table(["column", "meaning"], [[f.name, f.help] for f in describe(Measure) if f.name in _MEASURE_COLUMNS]),
        ]
    )


def perturbations_page() -> str:
    """Return the page of perturbations: parameters, what each declares, the conditions that use it."""
    uses: dict[str, list[tuple[str, Condition]]] = {}
    for suite in suite_names():
        for condition in load_suite(suite).conditions:
            uses.setdefault(condition.perturbation, []).append((suite, condition))
    parts = ["# Perturbations\n", "How to add one: [Extend](../guides/extend.md).\n"]
    for name in PERTURBATIONS:
        text, rows = parameters(cast(type, PERTURBATIONS[name]))
        parts += [f"## {name}\n", f"{text}\n"]
        if rows:
            parts.append(table(["parameter", "type", "default", "meaning"], rows))
        used = {c.name: (s, c) for s, c in uses.get(name, [])}
        if used:
            parts.append(
                table(
                    ["condition", "role", "removes", "adds", "keeps", "version"],
                    [_declared(c) for _, c in used.values()],
                )
            )
    return "\n".join(parts)


def suites_page() -> str:
    """Return the page of the suites that ship with the package."""
    parts = ["# Suites\n", "Roles, families and how conditions are drawn: [Suites](../concepts/suites.md).\n"]
    for name in suite_names():
        suite = load_suite(name)
        parts += [
            f"## {name}\n",
            f"{suite.description} {len(suite.conditions)} conditions, {sum(c.draws for c in suite.conditions)} predictions per image.\n",
            table(
                ["condition", "role", "perturbation", "parameters", "placebo", "draws", "question"],
                [
                    [
                        code(c.name),
                        c.role,
                        c.perturbation,
                        _parameters(c.parameters),
                        code(c.placebo or ""),
                        str(c.draws),
                        c.question,
                    ]
                    for c in suite.conditions
                ],
            ),
        ]
    return "\n".join(parts)


def finders_page() -> str:
    """Return the page of text finders: what each is made of, and what it is set to."""
    parts = [
        "# Text finders\n",
        f"`{DEFAULT_FINDER}` is the default. How well each finds text: [Text](../guides/text.md).\n",
    ]
    for name in FINDERS:
        parts.append(f"## {name}\n")
        if name == "annotated":
            parts.append("Boxes that are drawn by hand or known from synthesis, from the file of `--boxes`.\n")
            continue
        try:
            finder = make_finder(name)
        except errors.TextError as error:
            parts.append(f"{error}\n")
            continue
        parts += [
            f"{finder.about[0].upper()}{finder.about[1:]}.\n",
            table(["part", "version"], [[part, code(version)] for part, version in finder.parts]),
            table(
                ["setting", "value"], [[code(key), code(json.dumps(value))] for key, value in finder.config().items()]
            ),
        ]
    return "\n".join(parts)


def gates_page() -> str:
    """Return the page of gates: the default rules, and the keys of a rule and of the table."""
    config = config_for(None, load_suite(Settings().suite), default_tolerances(), asked=True)
    if config is None:
        raise ValueError("The default rules were asked for, and there are none.")
    rows = [
        [
            code(r.id),
            code(r.measure),
            code(r.condition or ""),
            str(r.group),
            f"{r.operator} {r.limit:g}",
            r.inconclusive or config.inconclusive,
            r.reason,
        ]
        for r in config.rules
    ]
    return "\n".join(
        [
            "# Gate rules\n",
            "How to write rules, and what each outcome means: [Gates](../guides/gates.md).\n",
            f"## Default rules of the suite {Settings().suite}\n",
            "`audit run --gate` applies them if no `[[gate.rule]]` is configured.\n",
            table(["id", "measure", "condition", "group", "limit", "if undecided", "reason"], rows),
            "## A rule, as `verdict.json` records it\n",
            legend(Rule),
            "## The table `[gate]`\n",
            legend(GateConfig),
        ]
    )


def settings_page() -> str:
    """Return the page of settings, from their declaration."""
    rows = [
        [
            code(s.name),
            "" if s.is_table else code(s.flag),
            "" if s.is_table else code(s.variable),
            code(s.key),
            s.expected,
            shown_default(s.default),
            s.help,
        ]
        for s in declared_settings().values()
    ]
    return "\n".join(
        [
            "# Settings\n",
            "The command line takes precedence over the environment, then `audit.toml`, then `[tool.audit]` of `pyproject.toml`. An empty "
            "variable counts as not set; a list in a variable is separated by commas. From Python, `audit.run_audit` takes every setting "
            "by its name and reads neither files nor variables. All settings are checked before the first image is read.\n",
            table(["setting", "option", "variable", "in `audit.toml`", "values", "default", "meaning"], rows),
        ]
    )


def exit_codes_page() -> str:
    """Return the page of exit codes, from the verdicts and from the exception tree."""
    codes: dict[int, list[str]] = {}
    for status, number in EXIT_CODES.items():
        codes.setdefault(number, []).append(f"the run is *{status}*")
    for error in _errors(errors.AuditError):
        codes.setdefault(error.exit_code, []).append(f"`{error.__name__}`: {first_paragraph(error).rstrip('.')}")
    rows = [[str(number), "; ".join(meanings)] for number, meanings in sorted(codes.items())]
    rows.append(
        ["128 + n", "ended by signal n: 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP; the same command continues the run"]
    )
    return "\n".join(
        [
            "# Exit codes\n",
            "They do not depend on the output: a closed pipe or a full disk does not change them. "
            "What gates do: [Gates](../guides/gates.md).\n",
            table(["code", "when"], rows),
        ]
    )


PAGES: Mapping[str, tuple[str, Callable[[], str]]] = {
    "cli": ("Command line", command_page),
    "settings": ("Settings", settings_page),
    "python": ("Python", python_page),
    "measures": ("Measures", measures_page),
    "perturbations": ("Perturbations", perturbations_page),
    "suites": ("Suites", suites_page),
    "finders": ("Text finders", finders_page),
    "gate-rules": ("Gate rules", gates_page),
    "schemas": ("JSON documents", schemas_page),
    "exit-codes": ("Exit codes", exit_codes_page),
}
"""File name -> title in the navigation, and what writes the page."""


def _error_rows() -> list[list[str]]:
    return [[code(e.__name__), str(e.exit_code), first_paragraph(e)] for e in _errors(errors.AuditError)]


def _errors(root: type[errors.AuditError]) -> Iterator[type[errors.AuditError]]:
    """Yield the errors that `audit.errors` declares, each before what derives from it."""
    yield root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from _errors(child)


def _declared(condition: Condition) -> list[str]:
    does = condition.declared
    return [
        code(condition.name),
        condition.role,
        ", ".join(does.removes),
        ", ".join(does.adds),
        ", ".join(does.keeps),
        str(condition.version),
    ]


def _parameters(parameters: Mapping[str, Any]) -> str:
    return ", ".join(code(f"{key} = {json.dumps(value)}") for key, value in parameters.items())

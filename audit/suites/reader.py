"""Suites are read from TOML, and bound to their perturbations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from audit.data.conditions import CLEAN, MAX_DRAWS, Condition, Declared, Dose, Role, Suite
from audit.errors import UnknownNameError, UsageError, shown_value
from audit.files import why_unreadable
from audit.perturbations import make_perturbation
from audit.store.documents import parse_toml, read_toml
from audit.store.suspects import MOST_SUSPECTS

_ROLES = ("edit", "sufficiency", "stress", "placebo", "control")
_SUITE_KEYS = {"name", "version", "description", "objects", "condition"}
_KEYS = {"name", "perturbation", "role", "suspect", "draws", "placebo", "parameters", "question", "ladder"}
_MOST_CHARACTERS = {"name": 100, "perturbation": 100, "role": 100, "suspect": 300, "placebo": 100, "question": 1000}
"""Of the texts of a condition: its name stands in every table of it, its question in the report."""
_MOST_TITLE = 1000
"""Of the suite's name and description."""
_MOST_VERSION = 1_000_000
_LADDER_KEYS = {"parameter", "values"}
_LARGEST_DOSE, _MOST_RUNGS = 1e9, 100


def suite_names() -> list[str]:
    """Return the names of the suites that ship with the package."""
    folder = resources.files("audit") / "suites"
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))


def load_suite(name: str) -> Suite:
    """Read a suite by name, or by the path of a TOML file.

    Raises
    ------
    UsageError
        If the suite does not exist, the file does not follow the schema, or a perturbation does not take its parameters.
    """
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise UsageError(
                f"The suite file {name} {why_unreadable(path)}. Give a path to a TOML file or one of {', '.join(suite_names())}."
            )
        try:
            document = read_toml(path)
        except UnicodeDecodeError as error:
            raise UsageError(f"The suite file {name} cannot be read as text in UTF-8: {error}.") from error
        except OSError as error:
            raise UsageError(f"The suite file {name} cannot be read ({error.strerror}).") from error
        except ValueError as error:
            raise UsageError(f"Suite {name} is not valid TOML: {error}.") from error
    elif name in suite_names():
        document = parse_toml((resources.files("audit") / "suites" / f"{name}.toml").read_text(encoding="utf-8"))
    else:
        raise UnknownNameError("suite", name, suite_names(), "A path to a .toml file is accepted too.")
    return _bound(_parse(name, document))


def _parse(name: str, document: Mapping[str, Any]) -> Suite:
    unknown = set(document) - _SUITE_KEYS
    if unknown:
        raise UnknownNameError(f"key of suite {name}", sorted(unknown)[0], sorted(_SUITE_KEYS))
    version, rows = document.get("version", 1), document.get("condition", [])
    if type(version) is not int or not 0 <= version <= _MOST_VERSION:
        raise UsageError(
            f"The version of suite {name} must be an integer from 0 to {_MOST_VERSION}, found {shown_value(version)}."
        )
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise UsageError(f"The conditions of suite {name} must be [[condition]] tables, one for each condition.")
    conditions = [CLEAN]
    for row in rows:
        extra = set(row) - _KEYS
        if extra:
            raise UnknownNameError(f"key of a condition in suite {name}", sorted(extra)[0], _KEYS)
        missing = {"name", "perturbation", "role"} - set(row)
        if missing:
            raise UsageError(
                f"A condition of suite {name} lacks {', '.join(sorted(missing))}: {shown_value(dict(row), 200)}."
            )
        if row["role"] not in _ROLES:
            raise UnknownNameError(f"role in suite {name}", str(row["role"]), _ROLES)
        for key in sorted(set(row) & set(_MOST_CHARACTERS)):
            if not isinstance(row[key], str) or not 0 < len(row[key]) <= _MOST_CHARACTERS[key]:
                raise UsageError(
                    f"In a condition of suite {name} {key} must be a string of 1 to {_MOST_CHARACTERS[key]} characters, found "
                    f"{shown_value(row[key])}."
                )
        if type(row.get("draws", 1)) is not int or not 1 <= row.get("draws", 1) <= MAX_DRAWS:
            raise UsageError(
                f"Condition {row['name']} of suite {name}: draws must be an integer from 1 to {MAX_DRAWS}, found "
                f"{shown_value(row['draws'])}."
            )
        if not isinstance(row.get("parameters", {}), Mapping):
            raise UsageError(
                f"Condition {row['name']} of suite {name}: parameters must be a table, found {shown_value(row['parameters'])}."
            )
        conditions += _expand(name, {"parameters": {}, **row})
    names = [c.name for c in conditions]
    if len(names) != len(set(names)):
        twice = sorted({n for n in names if names.count(n) > 1})
        raise UsageError(f"Suite {name} has a duplicate condition: {', '.join(twice)}. Names must be unique.")
    for condition in conditions:
        if condition.placebo is not None and condition.placebo not in names:
            raise UnknownNameError(f"placebo of {condition.name}", condition.placebo, names)
        if condition.role == "sufficiency" and condition.placebo is None:
            raise UsageError(
                f"Condition {condition.name} of suite {name} has the role sufficiency, which is judged against a placebo. "
                "Name one, or give it the role stress."
            )
    title, description = document.get("name", name), document.get("description", "")
    if not all(isinstance(text, str) and len(text) <= _MOST_TITLE for text in (title, description)):
        raise UsageError(
            f"The name and the description of suite {name} must be strings of at most {_MOST_TITLE} characters."
        )
    return Suite(
        name=title,
        version=version,
        description=description,
        objects=_asked_objects(name, document.get("objects", {})),
        conditions=tuple(conditions),
    )


def _asked_objects(suite: str, table: object) -> int:
    """Return how many objects the suite lets a search propose, of `[objects] propose = 6`."""
    if not isinstance(table, Mapping):
        raise UsageError(
            f"The objects of suite {suite} must be a table such as [objects] with propose = 4, found {shown_value(table)}."
        )
    if set(table) - {"propose"}:
        raise UnknownNameError(f"key of [objects] in suite {suite}", sorted(set(table) - {"propose"})[0], ["propose"])
    asked = table.get("propose", 0)
    if type(asked) is not int or not 0 <= asked <= MOST_SUSPECTS:
        raise UsageError(
            f"The suite {suite} may let a search propose 0 to {MOST_SUSPECTS} objects; found propose = {shown_value(asked)} in its "
            "[objects]."
        )
    return asked


def with_objects(suite: Suite, digests: Sequence[str]) -> Suite:
    """Add the conditions that test the objects which a search proposed, four for each.

    Parameters
    ----------
    suite : Suite
        That asked for them.
    digests : sequence of str
        What names each (`audit.perturbations.suspects.suspect_digest`).

    Raises
    ------
    UsageError
        If the suite has a condition of such a name already.
    """
    rows = [row for number, digest in enumerate(digests, start=1) for row in _object_rows(number, digest)]
    taken = {c.name for c in suite.conditions} & {row.name for row in rows}
    if taken:
        raise UsageError(
            f"The suite {suite.name} has a condition {sorted(taken)[0]}, which is the name of a condition for an object that the search "
            "proposes. Rename it."
        )
    return replace(suite, conditions=(*suite.conditions, *map(_bind, rows)))


def object_draws(n: int) -> int:
    """Return how many predictions of an image the test of n objects takes, where every edit applies."""
    return n * sum(row.draws for row in _object_rows(1, ""))


def _object_rows(number: int, digest: str) -> Iterator[Condition]:
    stem = f"object-{number}"

    def row(name: str, role: Role, action: str, question: str, *, placebo: str | None = None) -> Condition:
        parameters = {"suspect": number, "action": action, "digest": digest}
        return Condition(
            name=f"{stem}-{name}",
            perturbation="object",
            role=role,
            placebo=placebo and f"{stem}-{placebo}",
            draws=1 if role == "edit" else 2,
            parameters=parameters,
            question=question,
        )

    yield row(
        "removed",
        "edit",
        "remove",
        f"Does the prediction change when the object of suspect-{number} is inpainted?",
        placebo="removed-elsewhere",
    )
    yield row(
        "removed-elsewhere",
        "placebo",
        "remove-elsewhere",
        "How much does inpainting the same shape change it elsewhere?",
    )
    yield row(
        "added",
        "edit",
        "add",
        f"Does the prediction change when the object of suspect-{number} is added to images of classes that seldom show it?",
        placebo="added-patch",
    )
    yield row("added-patch", "placebo", "add-patch", "How much does a random patch of the same images change it?")


def _bound(suite: Suite) -> Suite:
    """Make every condition's perturbation once: its version and what it declares are of the instance, not of its maker."""
    return replace(suite, conditions=tuple(c if c.role == "clean" else _bind(c) for c in suite.conditions))


def _bind(condition: Condition) -> Condition:
    try:
        made = make_perturbation(condition.perturbation, condition.parameters)
    except UsageError as error:
        raise UsageError(f"Condition {condition.name}: {error}") from error
    return replace(
        condition,
        suspect=condition.suspect or made.suspect,
        declared=Declared(
            removes=tuple(made.removes), adds=tuple(made.adds), keeps=tuple(made.keeps), seamless=made.seamless
        ),
        version=made.version,
    )


def _expand(suite: str, row: dict[str, Any]) -> Iterator[Condition]:
    """Yield the condition, or one for each rung of its ladder; a rung's placebo is the rung of the same dose."""
    ladder = row.pop("ladder", None)
    if ladder is None:
        yield Condition(**row)
        return
    where = f"ladder of {row['name']} in suite {suite}"
    if not isinstance(ladder, Mapping) or set(ladder) != _LADDER_KEYS:
        raise UsageError(
            f'The {where} must look like {{ parameter = "opacity", values = [0.5, 1.0] }}, found {shown_value(ladder)}.'
        )
    values, parameter = ladder["values"], str(ladder["parameter"])
    numbers = isinstance(values, list) and all(
        isinstance(v, (int, float)) and not isinstance(v, bool) and abs(v) <= _LARGEST_DOSE for v in values
    )
    if not numbers or not 2 <= len(values) <= _MOST_RUNGS or sorted(set(values)) != values:
        raise UsageError(f"The {where} needs 2 to {_MOST_RUNGS} increasing numbers, found {shown_value(values)}.")
    for value in values:
        rung = f"-{value:g}"
        yield Condition(
            **{
                **row,
                "name": row["name"] + rung,
                "placebo": row["placebo"] + rung if "placebo" in row else None,
                "parameters": {**row["parameters"], parameter: value},
                "dose": Dose(ladder=row["name"], parameter=parameter, value=float(value)),
            }
        )

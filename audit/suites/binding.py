"""A condition and its perturbation: the version and the declarations of the one that its parameters make."""

from __future__ import annotations

from dataclasses import replace

from audit.data.conditions import MOST_TITLE, Condition, Declared
from audit.errors import UsageError
from audit.perturbations import Halving, Perturbation, Titled, make_perturbation


def bind(condition: Condition) -> Condition:
    """Return the condition with the version and the declarations of its perturbation.

    Raises
    ------
    UsageError
        If no perturbation has the name, or it does not take these parameters.
    """
    try:
        made = make_perturbation(condition.perturbation, condition.parameters)
    except UsageError as error:
        raise UsageError(f"Condition {condition.name}: {error}") from error
    return replace(
        condition,
        title=_title(condition, made),
        suspect=condition.suspect or made.suspect,
        declared=Declared(
            removes=tuple(made.removes),
            adds=tuple(made.adds),
            keeps=tuple(made.keeps),
            seamless=made.seamless,
            halves=isinstance(made, Halving) and made.halves,
        ),
        version=made.version,
    )


def _title(condition: Condition, made: Perturbation) -> str:
    """Return the suite's words, else the perturbation's, else those of the condition's own name; rungs of a ladder differ by their dose."""
    declared = made.title if isinstance(made, Titled) and isinstance(made.title, str) else ""
    dose = condition.dose
    stem = condition.name if dose is None else dose.ladder
    words = condition.title or " ".join(declared.split())[:MOST_TITLE] or _capital(stem.replace("-", " "))
    return words if dose is None else f"{words}, {dose.parameter.replace('_', ' ')} {dose.value:g}"


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]

"""A condition and its perturbation: the version and the declarations of the one that its parameters make."""

from __future__ import annotations

from dataclasses import replace

from audit.data.conditions import Condition, Declared
from audit.errors import UsageError
from audit.perturbations import make_perturbation


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
        suspect=condition.suspect or made.suspect,
        declared=Declared(
            removes=tuple(made.removes), adds=tuple(made.adds), keeps=tuple(made.keeps), seamless=made.seamless
        ),
        version=made.version,
    )

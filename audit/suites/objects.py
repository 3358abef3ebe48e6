"""The conditions that test an object which the search proposes: four for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from audit.data.conditions import Condition, Role, Suite
from audit.errors import UsageError
from audit.suites.binding import bind


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
    return replace(suite, conditions=(*suite.conditions, *map(bind, rows)))


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
    yield row(
        "added-patch", "placebo", "add-patch", "How much does the same place of an image without the object change it?"
    )

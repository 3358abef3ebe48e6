"""All images of a run in columns, with the predictions under every condition: so small that a page can hold tens of thousands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.data.findings import joined_outputs
from audit.data.groups import UNKNOWN
from audit.data.strings import shown_string
from audit.prediction.table import FinishedRun, stored_cuts
from audit.run.case_choice import movement
from audit.statistics.outputs import probabilities_of
from audit.store.folder import RunFolder

_MOST_CHARACTERS = 200
"""Of a name that somebody else gave a class, a source or a group."""


def image_columns(finished: FinishedRun) -> dict[str, Any]:
    """Return the images of a run in columns, as the page of `audit view` reads them.

    Parameters
    ----------
    finished : FinishedRun
        The run.

    Returns
    -------
    dict
        `names` (n,); `outcomes`, the words of predictions, labels, sources and groups, to which the other columns refer by number;
        `label`, `source` and `clean` (n,) of them; `groups`, name -> (n,) of them; `words`, string -> (n,) 0 or 1; `conditions`, for each
        its name, title, role, the prediction (n,) under the draw that moved it most, -1 where it was not applied, and by how many
        thousandths.
    """
    plan, table = finished.plan, finished.table
    cuts = stored_cuts(plan.model)
    words = _Words()
    rows = list(RunFolder(finished.path).read_rows("records.parquet", ["label", "source"]))
    clean = probabilities_of(table.logits["clean"][0], exclusive=not cuts)
    conditions = []
    for planned in plan.suite.conditions[1:]:
        moved = movement(table, planned.name)
        draw = moved.argmax(axis=0)
        images = np.arange(len(draw))
        most, logits = moved[draw, images], table.logits[planned.name][draw, images]
        applied = most >= 0
        said = words.numbers(_predicted(probabilities_of(logits, exclusive=not cuts), table.classes, cuts))
        conditions.append(
            {
                "name": planned.name,
                "title": shown_string(planned.title, _MOST_CHARACTERS),
                "role": planned.role,
                "judged": planned.judged,
                "predicted": np.where(applied, said, -1).tolist(),
                "change": np.where(applied, np.rint(1000 * most), -1).astype(int).tolist(),
            }
        )
    groups = {
        name: words.numbers([str(value) for value in values.tolist()]).tolist()
        for name, values in table.groups.items()
        if name != "source" and {str(v) for v in values.tolist()} - {"", UNKNOWN}
    }
    return {
        "names": [shown_string(str(name), _MOST_CHARACTERS) for name in table.record_ids.tolist()],
        "label": words.numbers([str(row["label"]) for row in rows]).tolist(),
        "source": words.numbers([str(row["source"]) for row in rows]).tolist(),
        "clean": words.numbers(_predicted(clean, table.classes, cuts)).tolist(),
        "groups": groups,
        "words": {shown_string(word): members.astype(int).tolist() for word, members in (table.words or {}).items()},
        "conditions": conditions,
        "outcomes": words.known,
    }


class _Words:
    """Every word once, by number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def numbers(self, values: Sequence[str]) -> NDArray[np.int64]:
        """Return the number of each word; new ones get the next."""
        return np.array([self._numbers.setdefault(value, len(self._numbers)) for value in values], dtype=np.int64)

    @property
    def known(self) -> list[str]:
        """Return the words by number, fit to be shown."""
        return [shown_string(word, _MOST_CHARACTERS) for word in self._numbers]


def _predicted(probabilities: NDArray[np.float64], classes: Sequence[str], cuts: Sequence[float]) -> list[str]:
    """Return the prediction of each row (n, k) in words, as the run stores it."""
    if not cuts:
        return [classes[i] for i in probabilities.argmax(axis=1).tolist()]
    # Few of the 2^k combinations occur: each is put into words once.
    known: Mapping[tuple[bool, ...], str]
    found = [tuple(row) for row in (probabilities > np.asarray(cuts)).tolist()]
    known = {flags: joined_outputs(list(flags), classes) for flags in set(found)}
    return [known[flags] for flags in found]

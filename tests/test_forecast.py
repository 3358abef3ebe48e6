"""What an audit will take: arithmetic on work and rates whose true answers are known."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from audit.run.forecast import expected_cost
from audit.run.rates import Rates
from audit.run.sizes import Sizes

NOTHING = Sizes(
    n_images=0, n_conditions=3, n_variants=10, n_object_variants=0, n_searched=0, why_no_search="", n_text=0, n_checked=0,
    n_measured=0, n_probed=0, n_probes=0, n_looked_at=0, n_level_probes=0, n_mapped=0, n_cases=0, n_thumbnails=0, workers=1,
    predicting_workers=1,
)  # fmt: skip
SECOND = Rates(**{field.name: 0.0 if "opening" in field.name else 1.0 for field in fields(Rates)})
"""One second for everything; processes start in no time."""


@pytest.mark.parametrize(
    ("work", "stage", "seconds"),
    [
        ({"n_images": 12}, "predicting", 12),
        ({"n_text": 12}, "text", 12),
        ({"n_checked": 5}, "checking", 5),
        ({"n_measured": 7}, "measuring", 7),
        ({"n_searched": 8}, "searching", 16),  # shrunk, and searched
        ({"n_probed": 9, "n_probes": 2}, "probing", 11),
        ({"n_looked_at": 9, "n_level_probes": 3}, "levels", 12),
        ({"n_mapped": 8}, "relevance", 8 + 4 * 4),  # a network and three shuffled ones, on four images
        ({"n_cases": 6, "n_thumbnails": 4}, "examples", 10),
    ],
)
def test_each_stage_takes_what_its_images_take(work: dict[str, int], stage: str, seconds: int) -> None:
    found = expected_cost(replace(NOTHING, **work), SECOND)
    assert getattr(found, f"{stage}_minutes") * 60 == pytest.approx(seconds)
    assert found.minutes * 60 == pytest.approx(seconds), "nothing else costs anything"


def test_two_processes_halve_it_as_far_as_tasks_can_be_divided() -> None:
    four = replace(NOTHING, n_images=100, workers=4, predicting_workers=4)
    assert expected_cost(four, SECOND).minutes * 60 == pytest.approx(26), "50 pairs among four: one has 13"
    assert expected_cost(replace(four, n_images=3), SECOND).minutes * 60 == pytest.approx(2), (
        "a pair and a single image"
    )
    alone = replace(four, predicting_workers=1)
    assert expected_cost(alone, SECOND).minutes * 60 == pytest.approx(100), "a card is filled by one process"
    opens = replace(SECOND, opening=30.0)
    assert expected_cost(four, opens).minutes * 60 == pytest.approx(56), "all open the network at the same time"
    assert expected_cost(alone, opens).minutes * 60 == pytest.approx(100), "this process has opened it"


def test_objects_are_told_apart_from_what_is_certain() -> None:
    asked = replace(NOTHING, n_images=60, n_object_variants=5)
    found = expected_cost(asked, SECOND)
    assert (found.minutes, found.object_minutes) == pytest.approx((1.0, 0.5)), "half as many predictions again"
    assert found.n_passes == 60 * 15

"""A stage reports each of its steps once."""

from __future__ import annotations

import pytest

from audit.run.recording import Clock


@pytest.mark.parametrize(("steps", "made", "told"), [(1, 0, 1), (1, 1, 1), (3, 3, 3), (3, 2, 2), (0, 0, 0)])
def test_a_stage_of_one_step_ends_once(steps: int, made: int, told: int) -> None:
    heard: list[str] = []
    clock = Clock(lambda name, n: lambda: heard.append(name))
    with clock.stage("attributing relevance", steps) as step:
        for _ in range(made):
            step()
    assert heard == ["attributing relevance"] * told
    assert list(clock.timings) == ["attributing relevance"]

"""How many processes a stage gets."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from audit.prediction import concurrency
from audit.prediction.concurrency import count_processes

GB = 1_000_000_000


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Return a patch that stands for a machine of sixteen cores and much memory."""
    monkeypatch.setattr(concurrency, "cpu_count", lambda: 16)
    monkeypatch.setattr(concurrency, "_free_bytes", lambda: 100 * GB)
    return monkeypatch


def test_a_number_is_taken_at_its_word(machine: pytest.MonkeyPatch) -> None:
    assert [count_processes(asked, n) for asked, n in ((1, 10_000), (3, 2), (40, 10_000))] == [1, 3, 40]


def test_auto_is_one_for_each_core_where_the_work_and_the_memory_are_worth_it(machine: pytest.MonkeyPatch) -> None:
    assert count_processes("auto", 10_000) == 16
    assert count_processes("auto", 12) == 1, "starting processes would take longer"
    assert count_processes("auto", 12, concurrency._LEAST_WORK - 1) == 1
    assert count_processes("auto", 12, concurrency._LEAST_WORK) == 16, "few images of a large network"
    for free, expected in ((100 * GB, 16), (6 * GB, 4), (1 * GB, 1), (None, 16)):
        machine.setattr(concurrency, "_free_bytes", lambda free=free: free)
        assert count_processes("auto", 10_000) == expected, free


@pytest.mark.parametrize(
    ("text", "expected"),
    [("import audit\naudit.run()\n", 1), ('if __name__ == "__main__":\n    pass\n', 16), (None, 1)],
)
def test_a_script_that_would_run_again_in_every_process_stays_alone(
    machine: pytest.MonkeyPatch, tmp_path: Path, text: str | None, expected: int
) -> None:
    script, main = tmp_path / "script.py", ModuleType("__main__")
    main.__file__ = str(script)
    if text is not None:
        script.write_text(text)
    machine.setitem(sys.modules, "__main__", main)
    assert count_processes("auto", 10_000) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"/proc/meminfo": ["MemTotal: 9 kB", "MemAvailable:    2000 kB"]}, 2_048_000),
        ({"/sys/fs/cgroup/memory.max": ["max"], "/sys/fs/cgroup/memory.current": ["5"]}, None),
        ({"/sys/fs/cgroup/memory.max": ["900"], "/sys/fs/cgroup/memory.current": ["500"]}, 400),
        ({"/sys/fs/cgroup/memory.max": ["900"], "/sys/fs/cgroup/memory.current": ["1500"]}, 0),
        (
            {
                "/proc/meminfo": ["MemAvailable: 1 kB"],
                "/sys/fs/cgroup/memory.max": ["9000"],
                "/sys/fs/cgroup/memory.current": ["500"],
            },
            1024,
        ),
    ],
)
def test_free_memory_is_the_lesser_of_the_machines_and_the_containers(
    monkeypatch: pytest.MonkeyPatch, files: dict[str, list[str]], expected: int | None
) -> None:
    monkeypatch.setattr(concurrency, "_lines", lambda path: files.get(path, []))
    assert concurrency._free_bytes() == expected

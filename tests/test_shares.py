"""`audit run --shard NUMBER/OF`: jobs that share a run end with the bytes of a single one."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.errors import UsageError
from audit.run.shares import WHOLE, Share, read_share

from .conftest import Audit

SAME = ("effects.json", "controls.json", "conditions.json", "regions.parquet", "records.parquet", "verdict.json")


@given(st.integers(1, 40), st.integers(0, 200))
def test_every_item_belongs_to_one_share(of: int, n: int) -> None:
    own = [Share(number=k, of=of).own(range(n)) for k in range(1, of + 1)]
    assert sorted(item for items in own for item in items) == list(range(n))
    assert max(map(len, own)) - min(map(len, own)) <= 1


def test_shares_are_read() -> None:
    assert read_share("") == WHOLE
    assert read_share("2/8") == Share(number=2, of=8)


@pytest.mark.parametrize(
    "text", ["0/8", "9/8", "2", "2/", "/8", "2/8/1", "-1/8", "a/b", "1/0", "1/99999", "²/3", "2 / 8"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--shard must be NUMBER/OF"):
        read_share(text)


def test_shares_in_any_order_end_with_the_bytes_of_one_run(
    audit: Audit, write_bundle: Callable[..., Path], write_cohort: Callable[..., Path], tmp_path: Path
) -> None:
    bundle, manifest = write_bundle(), write_cohort(18)
    usual = ["run", "--model", bundle, "--data", manifest, "--suite", "quick", "--resamples", 100, "--detector", "annotated",
             "--boxes", manifest.parent / "boxes.json", "--judge-images", 0, "--relevance-images", 0, "--workers", 1]  # fmt: skip
    code, out, err = audit(*usual, "--runs", tmp_path / "one", "--json")
    whole = Path(json.loads(out)["run"])
    order = [1, 2, 3]
    random.Random(3).shuffle(order)
    for place, number in enumerate(order):
        shared = [*usual, "--runs", tmp_path / "many", "--shard", f"{number}/3", "--json"]
        shared_code, out, err = audit(*shared)
        document = json.loads(out)
        if place < 2:
            assert shared_code == 0, err
            assert document["share"] == {"number": number, "of": 3, "missing": sorted(order[place + 1 :])}
            assert not (Path(document["run"]) / "verdict.json").exists()
        else:
            assert shared_code == code
    many = Path(document["run"])
    assert many.name == whole.name, "how work is shared is no part of the plan"
    for name in SAME:
        assert (many / name).read_bytes() == (whole / name).read_bytes(), name
    parts = sorted(p.name for p in (whole / "predictions").iterdir())
    assert len(parts) == 4
    for name in parts:
        assert (many / "predictions" / name).read_bytes() == (whole / "predictions" / name).read_bytes()


def test_one_command_completes_what_shares_began(
    audit: Audit, write_bundle: Callable[..., Path], write_cohort: Callable[..., Path], tmp_path: Path
) -> None:
    bundle, manifest = write_bundle(), write_cohort(12)
    usual = ["run", "--model", bundle, "--data", manifest, "--suite", "quick", "--resamples", 100, "--detector", "annotated",
             "--boxes", manifest.parent / "boxes.json", "--judge-images", 0, "--relevance-images", 0, "--workers", 1,
             "--runs", tmp_path / "runs"]  # fmt: skip
    code, out, _ = audit(*usual, "--shard", "2/2")
    assert code == 0
    assert "Share 2 of 2 is done; 1 of 3 parts" in " ".join(out.split())
    assert "Shares that are not done: 1." in " ".join(out.split())
    (began,) = (p for p in (tmp_path / "runs").iterdir() if p.is_dir())
    before = {p.name: p.stat().st_mtime_ns for p in (began / "predictions").iterdir()}
    code, _, err = audit(*usual)
    assert code in (0, 1, 3), err
    after = {p.name: p.stat().st_mtime_ns for p in (began / "predictions").iterdir()}
    assert before.items() <= after.items(), "what the share predicted was kept"


def test_a_wrong_share_is_refused_before_anything_is_read(audit: Audit) -> None:
    code, _, err = audit("run", "--model", "nowhere", "--data", "nowhere.csv", "--shard", "3/2")
    assert code == 2
    assert "--shard must be NUMBER/OF" in err


@pytest.mark.parametrize(
    "command",
    [["run", "--model", "C", "--data", "d.csv", "--emit", "out"], ["mend", "--model", "C", "--data", "d.csv"]],
)
def test_what_cannot_be_shared_refuses_a_share(audit: Audit, command: list[str]) -> None:
    code, out, err = audit(*command, "--shard", "1/2")
    assert (code, out) == (2, "")
    assert "Omit --shard" in " ".join(err.split())

"""A group is a type: written one way, read one way, whatever its value is."""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.data.strings import normal_string
from audit.gates.groups import EVERY_JUDGED, covers, is_pattern, read_group
from audit.store.group import ALL, Group, parse_group

ROOT = Path(__file__).parents[1]
KINDS = st.sampled_from(["class", "word", "source", "site", "view", "sex", "age"])


@given(st.text())
def test_writing_and_reading_a_group_give_the_same_text(text: str) -> None:
    assert str(parse_group(text)) == text


@given(KINDS, st.text())
def test_a_value_may_hold_anything(kind: str, value: str) -> None:
    group = Group(kind=kind, value=value)
    assert parse_group(str(group)) == group
    assert copy.deepcopy(group) == pickle.loads(pickle.dumps(group)) == group
    assert hash(group) == hash(Group(kind=kind, value=value))
    assert group != str(group)
    with pytest.raises(AttributeError, match="frozen"):
        group.value = "other"  # type: ignore[assignment]
    assert group.label == f"{kind}: {value}", "an equals sign in a value stays"


@given(st.lists(st.tuples(KINDS, st.text())))
def test_groups_are_sorted_as_they_are_written(pairs: list[tuple[str, str]]) -> None:
    groups = [Group(kind=kind, value=value) for kind, value in pairs]
    assert [str(g) for g in sorted(groups)] == sorted(str(g) for g in groups)


@given(KINDS, st.text(), KINDS, st.text())
def test_a_rule_looks_at_its_group_or_at_every_one_of_its_kind(kind: str, value: str, other: str, beside: str) -> None:
    group, another = Group(kind=kind, value=value), Group(kind=other, value=beside)
    asked = read_group(f"{kind}=*")
    assert is_pattern(asked)
    assert covers(asked, group)
    assert covers(asked, another) == (kind == other)
    assert not covers(asked, ALL)
    assert covers(EVERY_JUDGED, group) == (kind in ("class", "word"))
    exact = read_group(str(group))
    assert exact == (Group(kind="word", value=normal_string(value)) if kind == "word" else group)
    if value != "*":
        assert covers(exact, another) == (exact == another)


def test_nothing_else_takes_a_group_apart_or_puts_one_together() -> None:
    apart = re.compile(
        r"""(split|partition)\(\s*["']=["']|group\S*\.(startswith|removeprefix|endswith|replace)\(|"""
        r"""(startswith|removeprefix)\(\(?f?["'](class|word|source|site|view|sex|age)=|f["'](class|word|source|site|\{\w+\})=\{"""
    )
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for folder in ("audit", "reports", "training", "templates")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in (".py", ".j2")
        and path.name not in ("group.py", "provenance.py", "setting_sources.py")  # options of a command have an = too
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if apart.search(line)
    ]
    assert not found

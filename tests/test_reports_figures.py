"""Figures and scores that long names and many classes must not break."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.reports.figures.axis import shortened, text_px, tick_digits, tick_values
from audit.reports.figures.dots import Dots, effect_forest
from audit.reports.reading.folder import read_run
from audit.reports.sections.examples import MOST_SCORES, scored_classes
from audit.store.numbers import number, signed

from .golden.make_report import RUN

LONG = "class: consolidation of the left lower lobe with effusion, second film"


def test_names_are_cut_in_the_middle() -> None:
    assert shortened("text-mask-black", 190) == "text-mask-black"
    cut = shortened(LONG, 190)
    assert text_px(cut) <= 190 < text_px(LONG)
    assert cut.startswith("class: conso")
    assert cut.endswith("film"), "names often differ at their ends"
    assert shortened("W" * 300, 5) == "…"


@pytest.fixture
def forest() -> Dots:
    effect = read_run(RUN).headline()[0]
    names = ["text-mask-black", LONG, "W" * 300]
    drawn = effect_forest([dataclasses.replace(effect, condition=name) for name in names])
    assert drawn is not None
    return drawn


def test_names_have_room_in_both_drawings(forest: Dots) -> None:
    narrow = forest.narrow
    assert narrow is not None
    for drawing in (forest, narrow):
        x, end = drawing.label
        for mark in drawing.marks:
            width = text_px(mark.label)
            assert (x - width if end == "end" else x) >= 0
            assert (x if end == "end" else x + width) <= drawing.numbers[0]
            assert mark.outer is not None
            assert 0 < mark.outer[0] <= mark.outer[1] < drawing.width
        assert all(text_px(line) <= drawing.width for line in drawing.axis)
        assert len(drawing.ticks) > 1
    assert narrow.width < forest.width / 2
    assert len(narrow.axis) == 2, "what the axis measures is said whole"
    x, end = narrow.numbers
    for mark in narrow.marks:
        assert (end, mark.text_y < mark.y) == ("end", True)
        assert x - text_px(mark.numbers) > narrow.label[0] + text_px(mark.label), "name and numbers share a line"


def test_few_of_many_classes_stand_under_a_picture() -> None:
    few = {"clean": {"probabilities": {"a": 0.2, "b": 0.8}}, "edit": {"probabilities": {"a": 0.1, "b": 0.9}}}
    assert scored_classes(few) == ["a", "b"]
    names = [f"c{i:02d}" for i in range(12)]
    before = dict.fromkeys(names, 1 / 12)
    case = {
        "label": "c11",
        "clean": {"predicted": "c10", "probabilities": before},
        "edit": {"predicted": "c09", "probabilities": {**before, "c03": 0.3, "c00": 0.2, "c05": 0.1}},
    }
    assert scored_classes(case) == ["c00", "c03", "c09", "c10", "c11"]
    assert len(scored_classes(case)) == MOST_SCORES
    assert "unknown" not in scored_classes({**case, "label": "unknown"})


@given(st.floats(-5, 5), st.floats(1e-5, 10))
def test_ticks_next_to_each_other_are_told_apart(low: float, span: float) -> None:
    values = tick_values(low, low + span)
    texts = [number(v, tick_digits(values)) for v in values]
    assert len(set(texts)) == len(texts)
    assert all(text.count("0") <= 8 for text in texts)


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.2, 2, "+0.20"),
        (-0.2, 2, "−0.20"),
        (-0.001, 2, "0.00"),
        (0.001, 2, "0.00"),
        (0.0, 2, "0"),
        (-0.0004, 4, "−0.0004"),
    ],
)
def test_a_sign_is_left_out_where_rounding_leaves_nothing(value: float, digits: int, text: str) -> None:
    assert signed(value, digits) == text

"""Relevance inside text: shares by hand, relocations that are a fair null, and their summary over patients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.randomness import generator_for
from audit.records import TextRegion
from audit.relevance.regions import map_boxes, summarise_relevance


def test_mass_share_and_enrichment_by_hand() -> None:
    relevance = np.zeros((20, 20))
    relevance[2:4, 2:6] = 1.0  # 8 inside
    relevance[10, 10] = 2.0
    relevance[3, 3] = -4.0  # inside, negative
    found = summarise_relevance(relevance, [(2, 2, 6, 4)], generator_for(0), 50)
    assert found.mass_in_text == pytest.approx(7 / 9)
    assert found.signed == pytest.approx(3.0)
    assert found.box_masses == (pytest.approx(7 / 9),)
    assert found.box_areas == (pytest.approx(8 / 400),)
    # Nine pixels are positive: 7 of the 8 strongest lie inside, and the other is the one worth 2.
    assert found.rank_accuracy == pytest.approx(7 / 8)
    assert found.area_share == pytest.approx(8 / 400)
    assert found.enrichment == pytest.approx(7 / 9 / 0.02)
    assert found.placebo_high == 0.0
    assert found.placebo_p == pytest.approx(1 / 51)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 20), st.integers(0, 20), st.integers(1, 8), st.integers(1, 8))
def test_inside_plus_outside_is_everything(seed: int, x0: int, y0: int, w: int, h: int) -> None:
    relevance = np.random.default_rng(seed).normal(size=(28, 28))
    box = (x0, y0, x0 + w, y0 + h)
    inside = np.zeros(relevance.shape, bool)
    inside[box[1] : box[3], box[0] : box[2]] = True
    found = summarise_relevance(relevance, [box], generator_for(seed), 20)
    outside = np.clip(relevance[~inside], 0, None).sum() / np.clip(relevance, 0, None).sum()
    assert found.mass_in_text + outside == pytest.approx(1.0)
    again = summarise_relevance(relevance, [box], generator_for(seed), 20)
    assert found == again


def test_placebo_keeps_the_distance_from_the_border() -> None:
    """All relevance sits in a ring 3 px from the border: text and placebo must see it alike."""
    relevance = np.zeros((60, 60))
    relevance[3, 3:57] = relevance[56, 3:57] = relevance[3:57, 3] = relevance[3:57, 56] = 1.0
    found = summarise_relevance(relevance, [(20, 3, 30, 4)], generator_for(1), 200)
    assert found.placebo_low == pytest.approx(found.mass_in_text, rel=0.95)
    assert found.placebo_p > 0.2


def test_null_is_not_significant_too_often() -> None:
    hits = 0
    for seed in range(200):
        relevance = np.random.default_rng(seed).exponential(size=(40, 40))
        hits += (summarise_relevance(relevance, [(3, 2, 12, 6)], generator_for(seed), 99).placebo_p or 1.0) <= 0.05
    assert hits <= 20


def test_edge_cases() -> None:
    relevance = np.ones((10, 10))
    bare = summarise_relevance(relevance, [], generator_for(0))
    assert (bare.mass_in_text, bare.enrichment, bare.placebo_p, bare.area_share) == (None, None, None, 0.0)
    whole = summarise_relevance(relevance, [(0, 0, 10, 10)], generator_for(0))
    assert (whole.mass_in_text, whole.enrichment, whole.placebo_p) == (1.0, 1.0, None)
    negative = summarise_relevance(-relevance, [(0, 0, 2, 2)], generator_for(0))
    assert negative.mass_in_text is None


def test_boxes_are_carried_to_the_map_and_rounded_outwards() -> None:
    regions = [TextRegion(x0=0, y0=10, x1=33, y1=21), TextRegion(x0=639, y0=479, x1=640, y1=480)]
    assert map_boxes(regions, (480, 640), (128, 128)) == ((0, 2, 7, 6), (127, 127, 128, 128))

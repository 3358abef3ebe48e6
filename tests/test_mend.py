"""`audit mend` where the truth is known by construction: a head whose weight on the shortcut is known."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from audit.commands.mending import EXIT_CODES
from audit.data.conditions import Condition, Declared
from audit.data.plan import Plan
from audit.errors import CohortError, ModelError, UnknownNameError
from audit.models import torch_classifier
from audit.models.bodies import Head, body_of, head_of, with_head
from audit.models.bundle import load_bundle
from audit.models.fitting import fit_head
from audit.models.kinds import open_directly, with_kind
from audit.models.networks import build_network
from audit.models.requests import DeclaredInput, ModelRequest
from audit.models.saving import save_changed, save_opened
from audit.run.schemas import schema_of
from audit.store.folder import RunFolder
from audit.store.group import ALL
from audit.store.mend import Compared, MendDocument, Paired
from audit.store.results import Effect, EffectsDocument
from audit.training.mend import copies as copies_module
from audit.training.mend import written
from audit.training.mend.advice import advise_untrained
from audit.training.mend.choosing import HeadSearch, best
from audit.training.mend.copies import Copies
from audit.training.mend.group_dro import _groups, refit_for_worst
from audit.training.mend.honest import HONEST, Moved, compare_right, find_honest
from audit.training.mend.last_layer import refit, source_weights
from audit.training.mend.making import _gaps
from audit.training.mend.measured import (
    Measured,
    honest_images,
    is_affordable,
    is_enough,
    is_shown_loss,
    measure,
    share_left,
)
from audit.training.mend.performance import BREAKS, RIGHT
from audit.training.mend.proof import _cost, _verdict, is_cost, is_woken, judge_change, prove
from audit.training.mend.samples import EditedSamples
from audit.training.mend.suspects import choose_targets

from .conftest import Audit, one_paragraph
from .door_models import network, write_onnx
from .mend_world import CENTRE, MARKER, World, know_world, known_bundle_in, world_in
from .report_runs import check


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    know_world(monkeypatch)
    return world_in(tmp_path)


def edit(name: str = "gone", draws: int = 1) -> Condition:
    return Condition(
        name=name, perturbation="text-mask", role="edit", placebo=f"{name}-placebo", parameters={}, draws=draws
    )


def taken_away(name: str = "gone") -> Condition:
    return replace(edit(name), declared=Declared(removes=("text",)), suspect="the text")


def made_copies(marker: np.ndarray, disease: np.ndarray) -> Copies:
    """Features are the marker and the disease; the edit sets the marker to 0 where there is one, its placebo changes nothing."""
    clean = np.stack([marker, disease], axis=1).astype(np.float32)
    gone = np.stack([np.zeros_like(marker), disease], axis=1).astype(np.float32)
    features = {("clean", 0): clean, ("gone", 0): gone, ("gone-placebo", 0): clean}
    carried = marker > 0
    applied = {("clean", 0): np.ones(len(marker), bool), ("gone", 0): carried, ("gone-placebo", 0): carried}
    return Copies(
        edits=(edit(),), logits={}, features=features, applied=applied, pixels=lambda *_: np.zeros((1, 1), np.uint8)
    )


def answers(copies: Copies, head: Head) -> dict[tuple[str, int], np.ndarray]:
    return {place: (rows @ head.weight.T + head.bias).astype(np.float32) for place, rows in copies.features.items()}


def search_on(copies: Copies, old: Head, labels: np.ndarray, before: Measured) -> HeadSearch:
    """Return a search in which every image is of a patient of its own, and validates."""
    return HeadSearch(
        copies=copies,
        start=old,
        targets=labels,
        patients=np.arange(len(labels)),
        validation=np.ones(len(labels), bool),
        old=before,
        seed=0,
        on_fit=lambda: None,
    )


def drawn(n: int = 400, seed: int = 0) -> tuple[Copies, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    marker = (rng.random(n) < np.where(labels == 1, 0.9, 0.1)).astype(float)
    return made_copies(marker, labels * 1.5 + rng.normal(0, 1, n)), labels


def test_refitting_takes_the_known_weight_off_the_shortcut_and_leaves_the_disease() -> None:
    copies, labels = drawn()
    old = Head(weight=np.array([[-2, -0.75], [2, 0.75]], np.float32), bias=np.array([1.5, -1.5], np.float32))
    everyone = np.ones(len(labels), bool)
    before = measure(copies, answers(copies, old), labels, everyone)
    fitted = refit(search_on(copies, old, labels, before), np.ones(len(labels)))
    after = measure(copies, answers(copies, fitted.head), labels, everyone)

    def apart(head: Head) -> np.ndarray:
        return head.weight[1] - head.weight[0]

    assert abs(apart(fitted.head)[0]) < abs(apart(old)[0]) / 3
    assert apart(fitted.head)[1] > 0.5 * apart(old)[1]
    assert before.effect > 0.3
    assert after.effect < before.effect / 3
    assert after.accuracy_edited >= before.accuracy_edited
    assert is_enough(after, before)
    assert not is_enough(before, before)


def figures(effect: float, accuracy: float) -> Measured:
    return Measured(effects={"gone": effect}, accuracy=accuracy, accuracy_edited=accuracy)


@given(st.lists(st.tuples(st.floats(-0.1, 0.5), st.floats(0.5, 1)), min_size=1, max_size=9))
def test_the_head_that_is_taken_is_enough_if_any_is(found: list[tuple[float, float]]) -> None:
    old = figures(0.3, 0.8)
    tried = [figures(e, a) for e, a in found]
    taken = tried[best(tried, old)]
    enough = [m for m in tried if is_enough(m, old)]
    if enough:
        assert is_enough(taken, old)
        assert taken.accuracy_edited >= max(m.accuracy_edited for m in enough) - 0.01
        near = [m for m in enough if m.accuracy_edited >= max(m.accuracy_edited for m in enough) - 0.01]
        assert share_left(taken, old) == min(share_left(m, old) for m in near)
    elif any(m.accuracy_edited >= old.accuracy_edited - 0.01 for m in tried):
        assert taken.accuracy_edited >= old.accuracy_edited - 0.01


def test_a_head_that_says_nothing_is_not_taken_for_one_that_knows_the_disease() -> None:
    """Where the old network is mostly wrong once edited, a constant costs no accuracy; it is still not the cure."""
    old = figures(0.6, 0.15)
    constant, cured = figures(0.0, 0.5), figures(0.1, 0.65)
    assert is_enough(constant, old)
    assert best([constant, cured], old) == 1


def test_what_is_lost_on_plain_images_is_not_made_up_for_by_copies_that_fooled_the_old_network() -> None:
    """The old network is right on 80 of 100 plain images, and fooled by most copies with another class's text."""

    def known(effect: float, edited: float, right: int) -> Measured:
        honest = np.concatenate([np.ones(right), np.zeros(100 - right)])
        return Measured(effects={"swap": effect}, accuracy=0.8, accuracy_edited=edited, honest=honest)

    old, dear, fair = known(0.3, 0.4, 80), known(0.01, 0.78, 75), known(0.08, 0.7, 80)
    assert dear.accuracy_edited > fair.accuracy_edited > old.accuracy_edited
    assert not is_affordable(dear, old)
    assert not is_enough(dear, old)
    assert is_enough(fair, old)
    assert best([dear, fair], old) == 1
    # Without the guard the dear one would have been taken.
    unasked = [replace(m, honest=np.empty(0)) for m in (dear, fair)]
    assert best(unasked, replace(old, honest=np.empty(0))) == 0
    # One point may be lost, of few images one, and fewer still show nothing.
    assert is_affordable(known(0.01, 0.78, 79), old)
    for lost, affordable in ((1, True), (2, False)):
        few = replace(old, honest=np.concatenate([np.zeros(lost), np.ones(30 - lost)]))
        assert is_affordable(few, replace(old, honest=np.ones(30))) is affordable
    assert is_affordable(replace(dear, honest=dear.honest[-19:]), replace(old, honest=old.honest[-19:]))


def test_a_network_that_may_cost_something_is_taken_before_one_that_mends_nothing_but_not_if_it_is_shown_to_cost() -> (
    None
):
    def known(effect: float, lost: int, gained: int) -> Measured:
        honest = np.array([1.0] * 80 + [0.0] * 20)
        honest[:lost], honest[80 : 80 + gained] = 0, 1
        return Measured(effects={"gone": effect}, accuracy=0.8, accuracy_edited=0.6, honest=honest)

    old, idle = known(0.3, 0, 0), known(0.25, 0, 0)
    # 8 lost and 3 gained of 100: -0.05 +- 0.064; 14 lost: -0.14 +- 0.068.
    undecided, dear = known(0.03, 8, 3), known(0.01, 14, 0)
    assert not any(is_enough(m, old) for m in (idle, undecided, dear))
    assert not is_shown_loss(undecided, old)
    assert is_shown_loss(dear, old)
    assert best([idle, undecided, dear], old) == 1
    assert best([idle, dear], old) == 0
    assert best([dear], old) == 0


def moved(edit: str, by: list[float], *, suspect: str = "text", removes: bool = True, applied: object = True) -> Moved:
    here = np.broadcast_to(np.asarray(applied), (len(by),)).copy()
    return Moved(edit=edit, suspect=suspect, removes=removes, applied=here, by=np.array(by))


def test_images_count_as_they_are_or_without_the_suspect_that_moves_them() -> None:
    found = find_honest(
        [
            moved("gone", [0.0, 0.3, 0.3, 0.04, 0.3, 0.0]),
            moved("swap", [0.0, 0.3, 0.0, 0.00, 0.3, 0.3], removes=False),
            moved("look", [0.0, 0.0, 0.0, 0.00, 0.3, 0.0], suspect="look", removes=False),
        ],
        6,
    )
    assert found.clean.tolist() == [True, False, False, True, False, True]
    assert found.moved.tolist() == [False, True, True, False, True, True]
    assert list(found.copies) == ["gone"]
    # The fifth is moved by the look, too, which no edit takes away; the last would be moved by text that it does not bear.
    assert found.copies["gone"].tolist() == [False, True, True, False, False, False]
    clean, edited = np.array([1.0, 0, 0, 0, 1, 1]), {"gone": np.array([0.0, 1, 0.5, 1, 0, 0])}
    assert np.array_equal(found.right(clean, edited), [1, 1, 0.5, 0, np.nan, 1], equal_nan=True)
    # Where there is nothing to take away, an image counts as it is; of a suspect that no edit takes away, any edit shows its part.
    assert find_honest([moved("gone", [0.3], applied=False), moved("swap", [0.3], removes=False)], 1).clean.all()
    assert np.isnan(find_honest([moved("swap", [0.3], removes=False)], 1).right(np.ones(1), {})).all()
    assert find_honest([], 2).clean.all()


def test_the_change_is_paired_and_its_interval_that_of_theory() -> None:
    """Of 200 patients 12 lose and 4 gain: the variance of the mean is that of the differences, 16 / 200 - 0.04 ** 2, over 200."""
    was = np.array([1.0] * 150 + [0.0] * 50)
    now = was.copy()
    now[:12], now[150:154] = 0, 1
    found = compare_right(was, now, np.arange(200), level=0.95, seed=0)
    assert found is not None
    assert found.change == pytest.approx(-0.04)
    assert (found.before, found.after) == (pytest.approx(0.75), pytest.approx(0.71))
    half = 1.96 * np.sqrt((16 / 200 - 0.04**2) / 200)
    assert (found.low, found.high) == (pytest.approx(-0.04 - half, abs=0.012), pytest.approx(-0.04 + half, abs=0.012))
    # Images that do not count on either side are not compared, and nineteen are too few.
    was[19:] = np.nan
    assert compare_right(was, now, np.arange(200), level=0.95, seed=0) is None


@pytest.mark.parametrize(
    ("change", "low", "high", "said"),
    [
        (-0.033, -0.08, 0.01, "fell by more than a point, though chance alone could explain it"),
        (-0.033, -0.05, -0.02, "fell by more than a point:"),
        (0.0, -0.03, 0.03, "a loss of more than a point is not excluded"),
        (0.02, -0.005, 0.04, "did not fall by more than a point"),
        (-0.01, -0.02, 0.0, "not excluded"),
    ],
)
def test_the_cost_is_said_whatever_it_is(change: float, low: float, high: float, said: str) -> None:
    cost = Paired(
        name=HONEST, n_images=150, n_patients=150, before=0.767, after=0.767 + change, change=change, low=low, high=high, method=""
    )  # fmt: skip
    assert said in _cost(cost)
    assert is_cost(cost) == (change < -0.02)


def test_which_validation_images_count_follows_the_old_network() -> None:
    """The marker moves its carriers: they count by the copy without it, and all others as they are."""
    copies, labels = drawn()
    old = Head(weight=np.array([[-2, -0.75], [2, 0.75]], np.float32), bias=np.array([1.5, -1.5], np.float32))
    known = replace(copies, edits=(taken_away(),), logits=answers(copies, old))
    honest = honest_images(known, exclusive=True)
    carried = copies.applied["gone", 0]
    assert (honest.clean >= ~carried).all()
    assert not (honest.clean & honest.copies["gone"]).any()
    assert (honest.clean | honest.copies["gone"]).all()
    found = measure(known, known.logits, labels, np.ones(len(labels), bool), honest)
    # By hand: the disease alone decides, at the threshold that the old bias sets without the marker.
    disease = copies.features["gone", 0][:, 1]
    right = ((0.75 * disease - 1.5 > 0) == (labels == 1)).astype(float)
    still = honest.clean & carried
    assert found.honest[~still] == pytest.approx(right[~still])
    assert found.accuracy_honest is not None


def two_features(n: int = 2_000, seed: int = 3) -> tuple[Copies, np.ndarray, np.ndarray]:
    """A shortcut that agrees with the class on 95 % of images, and a disease with more noise; no edit changes anything."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    agrees = rng.random(n) < 0.95
    shortcut = np.where(agrees, labels, 1 - labels)
    features = np.stack([2 * shortcut - 1 + rng.normal(0, 0.3, n), 2 * labels - 1 + rng.normal(0, 1, n)], axis=1)
    applied = {("clean", 0): np.ones(n, bool), ("gone", 0): np.zeros(n, bool), ("gone-placebo", 0): np.zeros(n, bool)}
    rows = dict.fromkeys(applied, features.astype(np.float32))
    copies = Copies(
        edits=(edit(),), logits={}, features=rows, applied=applied, pixels=lambda *_: np.zeros((1, 1), np.uint8)
    )
    return copies, labels, shortcut


def test_group_dro_leaves_the_shortcut_where_the_mean_loss_takes_it() -> None:
    """By symmetry the loss of the worst of four groups is least where the shortcut has no weight; the disease's is then 2, by Bayes."""
    copies, labels, shortcut = two_features()
    features = copies.features["clean", 0]

    def weights(head: Head) -> np.ndarray:
        return head.weight[1] - head.weight[0]

    mean = fit_head(features, labels, 2, pull=1e-5)
    groups = 2 * labels + shortcut
    worst = fit_head(features, labels, 2, pull=1e-5, groups=groups)
    assert weights(mean)[0] > 1.3 * weights(mean)[1], "the mean loss takes the shortcut"
    assert abs(weights(worst)[0]) < 0.35
    assert weights(worst)[1] == pytest.approx(2, abs=0.5)

    def accuracies(head: Head) -> list[float]:
        right = head.probabilities(features).argmax(axis=1) == labels
        return [float(right[groups == g].mean()) for g in range(4)]

    assert min(accuracies(mean)) < 0.3
    # The disease alone: Phi(1) of each group.
    assert min(accuracies(worst)) == pytest.approx(0.841, abs=0.07)


def test_the_method_finds_what_the_loss_does() -> None:
    copies, labels, shortcut = two_features(600)
    everyone = np.ones(len(labels), bool)
    old = fit_head(copies.features["clean", 0], labels, 2, pull=1e-5)
    before = measure(copies, answers(copies, old), labels, everyone)
    search = search_on(copies, old, labels, before)
    fitted = refit_for_worst(search, shortcut.astype(np.intp))
    was, now = (head.weight[1] - head.weight[0] for head in (old, fitted.head))
    assert abs(now[0]) < was[0] / 3
    with pytest.raises(ModelError, match="needs groups within a class"):
        refit_for_worst(search, np.zeros(len(labels), np.intp))
    with pytest.raises(ModelError, match="one class for each image"):
        refit_for_worst(replace(search, targets=labels[:, None]), shortcut.astype(np.intp))


def test_groups_are_a_class_and_what_is_shown_and_small_ones_join_the_largest() -> None:
    copies, labels = drawn(200)
    copies = replace(copies, applied=dict.fromkeys(copies.applied, np.ones(200, bool)))
    shown = np.zeros(200, np.intp)
    shown[np.flatnonzero(labels == 1)[:50]] = 1
    shown[np.flatnonzero(labels == 0)[:5]] = 1
    image, group, features = _groups(copies, labels, shown, np.ones(200, bool))
    # The ill show it, or do not, or are edited; of the healthy five show it, which is too few for a group.
    sizes = Counter(zip(labels[image].tolist(), group.tolist(), strict=True))
    assert sorted(n for (k, _), n in sizes.items() if k == 1) == [50, 50, 100]
    assert sorted(n for (k, _), n in sizes.items() if k == 0) == [100, 100]
    assert sorted(set(group.tolist())) == list(range(5)), "no group has two classes, and numbers have no gap"
    assert np.array_equal(features[:200], copies.features["clean", 0])
    assert np.array_equal(features[200:], copies.features["gone", 0])
    half = _groups(copies, labels, shown, np.arange(200) < 100)
    assert set(half[0].tolist()) == set(range(100))


def test_each_effect_must_fall_to_a_third_not_only_the_largest() -> None:
    old = Measured(effects={"text": 0.6, "look": 0.2}, accuracy=1, accuracy_edited=1)
    new = replace(old, effects={"text": 0.1, "look": 0.15})
    assert share_left(new, old) == pytest.approx(0.75)
    assert not is_enough(new, old)
    assert is_enough(replace(old, effects={"text": 0.1, "look": 0.05}), old)
    # A third of next to nothing is noise.
    assert is_enough(replace(old, effects={"text": 0.019}), replace(old, effects={"text": 0.001}))


def test_a_head_that_never_read_the_shortcut_stays_nearly_as_it_is() -> None:
    copies, labels = drawn()
    old = Head(weight=np.array([[0, -0.75], [0, 0.75]], np.float32), bias=np.array([0.6, -0.6], np.float32))
    everyone = np.ones(len(labels), bool)
    before = measure(copies, answers(copies, old), labels, everyone)
    assert before.effect == 0
    fitted = refit(search_on(copies, old, labels, before), np.ones(len(labels)))
    after = measure(copies, answers(copies, fitted.head), labels, everyone)
    assert after.effect < 0.02


@given(st.integers(0, 10_000), st.integers(2, 3), st.integers(1, 3))
def test_measuring_is_what_a_loop_over_images_gives(seed: int, k: int, draws: int) -> None:
    rng = np.random.default_rng(seed)
    n = 12
    places = [("clean", 0), *(("gone", d) for d in range(draws)), ("gone-placebo", 0)]
    logits = {place: rng.normal(0, 2, (n, k)).astype(np.float32) for place in places}
    applied = {place: rng.random(n) < 0.8 for place in places} | {("clean", 0): np.ones(n, bool)}
    labels, rows = rng.integers(0, k, n), rng.random(n) < 0.7
    rows[0] = True
    copies = Copies(edits=(edit(draws=draws),), logits={}, features={}, applied=applied, pixels=lambda *_: None)
    found = measure(copies, logits, labels, rows)

    def soft(values: np.ndarray) -> np.ndarray:
        powers = np.exp(values.astype(float) - values.max())
        return powers / powers.sum()

    shifts, right = [], []
    for i in range(n):
        if not rows[i]:
            continue
        clean = soft(logits["clean", 0][i])
        mine = [("gone", d) for d in range(draws)]
        own = [soft(logits[p][i]).argmax() == labels[i] for p in mine if applied[p][i]]
        right.append(np.mean(own) if own else clean.argmax() == labels[i])
        if all(applied[p][i] for p in mine) and applied["gone-placebo", 0][i]:
            moved = np.mean([np.abs(soft(logits[p][i]) - clean).sum() / 2 for p in mine])
            shifts.append(moved - np.abs(soft(logits["gone-placebo", 0][i]) - clean).sum() / 2)
    if shifts:
        assert found.effects["gone"] == pytest.approx(np.mean(shifts), abs=1e-6)
    else:
        assert not found.effects
    assert found.accuracy_edited == pytest.approx(np.mean(right))


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from("abc")), min_size=1, max_size=40))
def test_weights_make_the_sources_of_a_class_alike_and_leave_classes_as_they_are(drawn: list[tuple[int, str]]) -> None:
    labels, sources = np.array([d[0] for d in drawn]), np.array([d[1] for d in drawn])
    weights = source_weights(labels, sources)
    for label in set(labels.tolist()):
        mine = labels == label
        assert weights[mine].sum() == pytest.approx(mine.sum())
        totals = [weights[mine & (sources == s)].sum() for s in set(sources[mine].tolist())]
        assert totals == pytest.approx([totals[0]] * len(totals))


def effect(
    estimate: float, low: float, high: float, verdict: str, condition: str = "gone", group: object = ALL
) -> Effect:
    return Effect(
        condition=condition, placebo="p", measure="shortcut_sensitivity", group=group, estimate=estimate, low=low, high=high,
        level=0.95, method="", n_images=100, n_patients=100, discordant=0, p=None, p_adjusted=None, tolerance=0.05,
        verdict=verdict, minimum_detectable=None,
    )  # fmt: skip


def compared(before: Effect, after: Effect, change: tuple[float, float, float], **more: bool) -> Compared:
    return Compared(
        title="Gone", suspect="the text", measure="shortcut_sensitivity", group=ALL, before=before, after=after,
        change=effect(*change, "descriptive"), why_not="", newly=more.get("newly", False), worse=more.get("worse", False),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("after", "change", "expected"),
    [
        ((0.05, 0.02, 0.08, "inconclusive"), (-0.25, -0.3, -0.2), "mended"),
        ((0.15, 0.1, 0.2, "sensitive"), (-0.15, -0.2, -0.1), "partly"),
        ((0.15, 0.1, 0.2, "inconclusive"), (-0.15, -0.2, -0.1), "partly"),
        ((0.3, 0.25, 0.35, "sensitive"), (0.0, -0.05, 0.05), "not"),
        ((0.4, 0.35, 0.45, "sensitive"), (0.1, 0.05, 0.15), "worse"),
        ((0.05, 0.02, 0.08, "inconclusive"), (-0.25, -0.6, 0.1), "inconclusive"),
    ],
)
def test_what_became_of_an_effect(after: tuple, change: tuple, expected: str) -> None:
    assert judge_change(compared(effect(0.3, 0.25, 0.35, "sensitive"), effect(*after), change)) == expected


def test_an_effect_is_woken_only_if_its_estimate_was_within_the_limit() -> None:
    now = effect(0.15, 0.09, 0.2, "sensitive")
    assert is_woken(effect(0.01, -0.02, 0.06, "inconclusive"), now)
    assert is_woken(effect(0.0, -0.02, 0.02, "robust"), now)
    assert not is_woken(effect(0.14, 0.04, 0.2, "inconclusive"), now), "undecided, but there"
    assert not is_woken(effect(0.3, 0.2, 0.4, "sensitive"), now)
    assert not is_woken(effect(0.01, -0.02, 0.06, "inconclusive"), effect(0.04, 0.0, 0.09, "inconclusive"))


def test_an_edit_that_one_class_can_take_does_not_teach_that_class() -> None:
    """Its traces, which its placebo leaves too, would become a shortcut of their own, or make up for one that stays."""
    rng = np.random.default_rng(1)
    labels = np.arange(300) % 2
    sharp, disease = np.where(labels == 1, 1.0, 0.0), labels * 1.5 + rng.normal(0, 1, 300)
    trace = np.zeros(300)
    clean = np.stack([sharp, trace, disease], axis=1).astype(np.float32)
    blurred = np.stack([np.zeros(300), trace + 1, disease], axis=1).astype(np.float32)
    traced = np.stack([sharp, trace + 1, disease], axis=1).astype(np.float32)
    features = {("clean", 0): clean, ("gone", 0): blurred, ("gone-placebo", 0): traced}
    can = labels == 1
    applied = {("clean", 0): np.ones(300, bool), ("gone", 0): can, ("gone-placebo", 0): np.ones(300, bool)}
    copies = Copies(edits=(edit(),), logits={}, features=features, applied=applied, pixels=lambda *_: None)
    old = Head(weight=np.array([[-2, 0, -0.75], [2, 0, 0.75]], np.float32), bias=np.array([1.5, -1.5], np.float32))
    everyone = np.ones(300, bool)
    before = measure(copies, answers(copies, old), labels, everyone)
    fitted = refit(search_on(copies, old, labels, before), np.ones(300)).head
    # Healthy images with the trace are not called ill for it.
    healthy = clean[labels == 0].copy()
    healthy[:, 1] = 1
    moved = (fitted.probabilities(healthy) - fitted.probabilities(clean[labels == 0]))[:, 1].mean()
    assert moved < 0.15
    assert abs(fitted.weight[1, 0] - fitted.weight[0, 0]) < 4 / 2


def test_the_verdict_of_all_is_never_better_than_that_of_any() -> None:
    before = effect(0.0, -0.01, 0.01, "robust")
    woken = compared(before, effect(0.2, 0.1, 0.3, "sensitive"), (0.2, 0.1, 0.3), newly=True)
    hurt = compared(before, effect(0.2, 0.1, 0.3, "sensitive"), (0.2, 0.1, 0.3), newly=True, worse=True)
    assert _verdict(["mended", "mended"], [], accuracy_lost=False) == "mended"
    assert _verdict(["mended"], [], accuracy_lost=True) == "partly"
    assert _verdict(["mended"], [woken], accuracy_lost=False) == "partly"
    assert _verdict(["mended"], [hurt], accuracy_lost=False) == "worse"
    assert _verdict(["mended", "not"], [], accuracy_lost=False) == "partly"
    assert _verdict(["not", "not"], [], accuracy_lost=False) == "not"
    assert _verdict(["not", "worse"], [], accuracy_lost=False) == "worse"
    assert _verdict([], [], accuracy_lost=False) == "inconclusive"
    assert EXIT_CODES == {"mended": 0, "partly": 3, "inconclusive": 3, "not": 1, "worse": 1}


def planned(name: str, suspect: str, role: str = "edit", perturbation: str = "text-mask") -> SimpleNamespace:
    return SimpleNamespace(name=name, suspect=suspect, role=role, perturbation=perturbation, judged=True)


def test_suspects_are_those_that_exceed_their_limit_or_those_that_are_named() -> None:
    conditions = [planned("gone", "the text"), planned("look", "the source's look"), planned("noise", "the noise")]
    effects = [
        effect(0.3, 0.2, 0.4, "sensitive"),
        effect(0.04, 0.0, 0.1, "inconclusive", "look"),
        effect(0.0, -0.01, 0.01, "robust", "noise"),
    ]
    assert [t.suspect for t in choose_targets(conditions, effects, ())] == ["the text"]
    assert [t.suspect for t in choose_targets(conditions, effects, ("look", "text"))] == [
        "the source's look",
        "the text",
    ]
    assert [t.suspect for t in choose_targets(conditions, effects, ("noise", "noise"))] == ["the noise"]
    assert choose_targets(conditions, effects[1:], ()) == ()
    for wrong in ("the", "", "rib"):
        with pytest.raises(UnknownNameError):
            choose_targets(conditions, effects, (wrong,))
    with pytest.raises(ModelError, match="no estimate"):
        choose_targets(conditions, effects[:1], ("noise",))


def test_half_of_the_images_are_shown_edited_and_the_same_ones_each_time() -> None:
    n = 300
    samples = EditedSamples(
        ids=tuple(f"r{i}" for i in range(n)),
        images=[np.zeros((2, 2), np.uint8)] * n,
        targets=torch.zeros(n, dtype=torch.int64),
        preprocessing=None,
        augmentation=None,
        copies_of=tuple((0, 1) if i % 3 else () for i in range(n)),
        edited=[np.full((2, 2), 1, np.uint8), np.full((2, 2), 2, np.uint8)],
    )
    shown = [[int(samples.shown(i, seed=s, epoch=1, number=0)[0, 0]) for i in range(n)] for s in (0, 0, 1)]
    assert shown[0] == shown[1] != shown[2]
    assert all(v == 0 for i, v in enumerate(shown[0]) if i % 3 == 0)
    could = [v for i, v in enumerate(shown[0]) if i % 3]
    assert 0.4 < np.mean([v > 0 for v in could]) < 0.6
    assert 0.35 < np.mean([v == 1 for v in could if v]) < 0.65


def files_in(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


@pytest.mark.slow
def test_a_network_is_mended_proved_and_left_as_it_was(audit: Audit, world: World, tmp_path: Path) -> None:
    untouched = files_in(world.bundle)
    out = tmp_path / "models" / "K-mended"
    code, said, complaint = audit("mend", *world.settings(), "--method", "last-layer", "--out", out)
    assert code == 0, said + complaint
    assert said.strip().endswith(str(out))
    assert "MENDED" in said
    assert files_in(world.bundle) == untouched
    document = json.loads((out / "mend.json").read_text())
    check(document, schema_of(MendDocument), "mend.json")
    assert document["verdict"] == "mended"
    (suspect,) = document["suspects"]
    first = suspect["compared"]
    assert first["before"]["estimate"] > 0.3
    assert first["after"]["estimate"] < first["before"]["estimate"] / 3
    assert first["change"]["high"] < 0
    # The weight on the marker was known, and is gone; that on the disease is not.
    old, new = (load_bundle(folder).network.classifier.weight for folder in (world.bundle, out))
    gone, kept = ((new[1] - new[0]) / (old[1] - old[0])).abs().tolist()
    assert gone < 1 / 3 < kept
    story = document["story"]
    assert story["parent_digest"] == load_bundle(world.bundle).digest != document["digest"]
    assert story["n_learnt"] == 120
    assert story["n_validation"] == 40
    # None of the test split was learnt from, and the new bundle knows its images again.
    assert {row.split(",")[1] for row in (out / "splits.csv").read_text().splitlines()[1:]} == {"train", "validation"}
    assert not (tmp_path / "models" / ".K-mended.mend").exists()
    # Where it was learnt: the boxes say which training images of which class bear the word, and those are what teaches it.
    (taught,) = story["taught"]
    boxes = json.loads((world.manifest.parent / "boxes.json").read_text())["images"]
    borne = Counter(
        int(Path(name).stem.split("-")[1]) % 2 for name, found in boxes.items() if "train-" in name and found
    )
    counts = {c["name"]: c["by_class"] for c in taught["carried"]}
    assert taught["images_by_class"] == {"healthy": 40, "ill": 40}
    assert counts["any text"] == counts["“WARD”"] == {"healthy": borne[0], "ill": borne[1]}
    assert 1 <= len(taught["most"]) <= 20
    owed = [m["owed"] for m in taught["most"]]
    assert owed == sorted(owed, reverse=True)
    for m in taught["most"]:
        assert m["label"] == "ill", "the word is what the network calls ill"
        assert m["owed"] > 0
        assert boxes[m["record"]]
    assert "any text" in said
    page = (out / "mend.html").read_text()
    assert "mended" in page
    assert "Where it was learnt" in page
    assert "<script" not in page

    weights = (out / "weights.safetensors").stat().st_mtime_ns
    code, said, _ = audit("mend", *world.settings(), "--method", "last-layer", "--out", out, "--json")
    again = json.loads(said)
    assert code == again["exit_code"] == 0
    assert again["suspects"] == document["suspects"]
    assert (out / "weights.safetensors").stat().st_mtime_ns == weights, "what was finished is not made again"

    runs = sorted(p for p in (tmp_path / "runs").iterdir() if p.is_dir())
    of_new = next(p for p in runs if json.loads((p / "plan.json").read_text())["model"]["name"] == "K-mended")
    code, _, complaint = audit("mend", *world.settings(), "--run", of_new, "--out", tmp_path / "x")
    assert code == 4
    assert "Use a run of this model" in one_paragraph(complaint)
    # The mended network has nothing left to mend.
    options = ["--model", out, *world.settings()[2:]]
    code, said, _ = audit("mend", *options, "--out", tmp_path / "x")
    assert code in (0, 3)
    assert "Nothing to mend" in said
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_the_verdict_is_what_the_known_weights_say(audit: Audit, tmp_path: Path, monkeypatch) -> None:
    """Networks that differ from the old one by their weight on the word alone: gone, less, the same and more of it."""
    know_world(monkeypatch)
    world = world_in(tmp_path, marker=5, carried=(0.3, 0.9))

    def audited(bundle: Path) -> Path:
        code, said, complaint = audit("run", "--model", bundle, *world.settings()[2:])
        assert code in (0, 1, 3), said + complaint
        return Path(said.strip().splitlines()[-1]).parent

    before = audited(world.bundle)
    (target,) = choose_targets(
        RunFolder(before).read(Plan).suite.conditions, RunFolder(before).read(EffectsDocument).effects, ["text"]
    )
    for name, marker, expected in (
        ("gone", 0, "mended"),
        ("less", 3, "partly"),
        ("same", 5.001, "not"),
        ("more", 12, "worse"),
    ):
        after = audited(known_bundle_in(tmp_path / "models", marker=marker, name=name))
        proof = prove(before, after, [target])
        assert (name, proof.verdict) == (name, expected), proof.summary
        (found,) = proof.suspects
        assert found.compared.change is not None
        # The true change: the word whitened out on every image of the test split that bears it, by both networks.
        true = true_effect(world, marker) - true_effect(world, 5)
        assert found.compared.change.estimate == pytest.approx(true, abs=0.03)
        assert found.compared.change.low <= true + 0.03
        assert found.compared.change.high >= true - 0.03
        costs = {row.name: row for row in proof.performance}
        if name == "gone":
            # What the word bought is lost where it was right, and gained where it misled.
            assert costs[RIGHT].change <= 0 <= costs[BREAKS].change
            # A network that reads the disease as the old one does, at its own threshold, has nothing to lose elsewhere.
            assert costs[HONEST].change >= 0
            assert "Where the shortcut plays no part" in proof.summary
    # What taking the word away before the network sees an image would cost is known from pixels and weights.
    said = advise_untrained(before, load_bundle(world.bundle), ())
    assert f"accuracy in this run is {accuracy_without(world, 5):.3f}" in said
    assert advise_untrained(before, load_bundle(tmp_path / "models" / "gone"), ()) == ""
    assert "With --run" in advise_untrained(None, load_bundle(world.bundle), ())
    # The word is gone and so is the disease: what the copies gain does not hide what is lost.
    after = audited(known_bundle_in(tmp_path / "models", marker=0, disease=-12, name="blind"))
    proof = prove(before, after, [target])
    assert proof.verdict == "partly", proof.summary
    assert "accuracy fell by more than a point: " in proof.summary


def accuracy_without(world: World, marker: float) -> float:
    """Return the accuracy on the test images without the word, from pixels and weights alone."""
    right = []
    boxes = json.loads((world.manifest.parent / "boxes.json").read_text())["images"]
    for name in (name for name in boxes if "test-" in name):
        image = np.asarray(Image.open(world.manifest.parent / name), dtype=float) / 255
        centre = image[CENTRE[1] : CENTRE[3], CENTRE[0] : CENTRE[2]].mean()
        logit = marker * 90 / 255 + 12 * centre - 6 - 0.65 * marker
        right.append((logit > 0) == (int(Path(name).stem.split("-")[1]) % 2 == 1))
    return float(np.mean(right))


def true_effect(world: World, marker: float) -> float:
    """Return the mean total variation that taking the word away causes, over test images that bear it, from pixels and weights alone."""
    boxes = json.loads((world.manifest.parent / "boxes.json").read_text())["images"]
    moved = []
    for name, found in boxes.items():
        if "test-" not in name or not found:
            continue
        image = np.asarray(Image.open(world.manifest.parent / name), dtype=float) / 255
        logits = []
        for word in (image[MARKER[1] : MARKER[3], MARKER[0] : MARKER[2]].mean(), 90 / 255):
            centre = image[CENTRE[1] : CENTRE[3], CENTRE[0] : CENTRE[2]].mean()
            logits.append(marker * word + 12 * centre - 6 - 0.65 * marker)
        chances = 1 / (1 + np.exp(-np.array(logits)))
        moved.append(abs(chances[0] - chances[1]))
    return float(np.mean(moved))


@pytest.mark.slow
def test_training_on_edited_images_mends_too(audit: Audit, world: World, tmp_path: Path, monkeypatch) -> None:
    from audit.training.mend import augment

    monkeypatch.setattr(augment, "_FOREIGN", replace(augment._FOREIGN, epochs=12, rate=0.3))
    out = tmp_path / "models" / "K-mended"
    code, said, complaint = audit("mend", *world.settings(), "--method", "augment", "--out", out)
    assert code in (0, 3), said + complaint
    old, new = (load_bundle(folder).network.classifier.weight for folder in (world.bundle, out))
    assert (new[1] - new[0])[0].abs() < (old[1] - old[0])[0].abs() / 2
    document = json.loads((out / "mend.json").read_text())
    assert document["story"]["method"] == "augment"
    assert document["suspects"][0]["compared"]["change"]["high"] < 0


@pytest.mark.slow
def test_what_cannot_be_mended_is_one_sentence(audit: Audit, world: World, tmp_path: Path, monkeypatch) -> None:
    def refused(*options: object) -> tuple[int, str]:
        code, _, complaint = audit("mend", *options)
        return code, one_paragraph(complaint)

    code, said = refused(*world.settings(), "--out", world.bundle)
    assert code == 2
    assert "never changed" in said
    code, said = refused(*world.settings(), "--out", world.manifest.parent)
    assert code == 2
    assert "is not a mended bundle" in said
    code, said = refused(*world.settings(), "--split", "all")
    assert code == 2
    onnx = write_onnx(tmp_path / "m.onnx", network(outputs=2))
    code, said = refused("--model", onnx, "--classes", "healthy,ill", "--scale", "unit", *world.settings()[2:])
    assert code == 4
    assert "cannot be trained here. What can still be done" in said
    code, said = refused(*world.settings(), "--suspect", "ribs")
    assert code == 2
    assert "the text" in said
    # Without a linear head the last layer cannot be fitted, and the message says what still can be done.
    with monkeypatch.context() as patch:
        patch.setattr(torch_classifier, "_reads_features", lambda _: False)
        code, said = refused(*world.settings(), "--method", "last-layer", "--out", tmp_path / "p")
    assert code == 4
    assert "What can still be done: --method augment" in said
    # A bundle that does not answer as the network: nothing appears, and the old one stays.
    untouched = files_in(world.bundle)
    monkeypatch.setattr(written, "SAME", -1.0)
    code, said = refused(*world.settings(), "--method", "last-layer", "--out", tmp_path / "p")
    assert code == 4
    assert "Nothing was written" in said
    assert not (tmp_path / "p").exists()
    assert files_in(world.bundle) == untouched


@pytest.mark.slow
def test_data_without_training_images_or_edits_are_refused(audit: Audit, tmp_path: Path, monkeypatch) -> None:
    know_world(monkeypatch)
    bare = world_in(tmp_path / "bare", splits=False, n=20)
    code, _, complaint = audit("mend", *bare.settings(), "--out", tmp_path / "x")
    assert code == 4
    assert "audited every labelled record" in one_paragraph(complaint)


@pytest.mark.slow
def test_copies_are_made_once_and_a_kill_loses_one_shard(
    audit: Audit, world: World, tmp_path: Path, monkeypatch
) -> None:
    made = []
    real = copies_module._shard

    def counted(*given: object) -> object:
        made.append(given[1])
        if len(made) == 4:
            raise MemoryError
        return real(*given)

    monkeypatch.setattr(copies_module, "_shard", counted)
    out = tmp_path / "K2"
    code, _, complaint = audit("mend", *world.settings(), "--method", "last-layer", "--out", out)
    assert code != 0
    assert "Traceback" not in complaint
    assert not out.exists()
    first = list(made)
    code, said, _ = audit("mend", *world.settings(), "--method", "last-layer", "--out", out)
    assert code == 0, said
    assert set(made[len(first) :]).isdisjoint(first[:3])
    assert sorted({*made}) == list(range(0, 120, 16))


def test_classes_that_cannot_be_edited_are_said() -> None:
    """Where no image of a class can be edited, nothing breaks its association with the suspect; where none can, nothing can be done."""
    copies, labels = drawn(40)
    learnt = SimpleNamespace(records=[SimpleNamespace(label="ab"[k]) for k in labels])
    bundle = SimpleNamespace(classes=("a", "b"))
    assert _gaps(learnt, copies, bundle, multi_label=False) == []
    only_b = {place: where & (labels == 1) for place, where in copies.applied.items()}
    (said,) = _gaps(learnt, replace(copies, applied=only_b), bundle, multi_label=False)
    assert "No training image of class a could be edited" in said
    nothing = {place: where & False for place, where in copies.applied.items()}
    with pytest.raises(CohortError, match="nothing can show the network"):
        _gaps(learnt, replace(copies, applied=nothing), bundle, multi_label=False)


def test_the_world_is_as_it_says(world: World) -> None:
    known = load_bundle(world.bundle).network
    image = torch.zeros(1, 3, 64, 64)
    x0, y0, x1, y1 = MARKER
    marked = image.clone()
    marked[..., y0:y1, x0:x1] = 1
    apart = (known(marked) - known(image))[0]
    assert float(apart[1] - apart[0]) == pytest.approx(12.0, abs=1e-4)


@pytest.mark.parametrize(("n_outputs", "task"), [(3, "single-label"), (1, "single-label"), (3, "multi-label")])
def test_a_bundle_of_another_kind_gets_new_weights_and_answers_as_its_network(
    tmp_path: Path, n_outputs: int, task: str
) -> None:
    """What opens it stays as it is: only its weights, its name and its provenance are others."""
    torch.manual_seed(0)
    torch.save(build_network("mobilenet_v3_small", n_outputs).state_dict(), tmp_path / "weights.pt")
    classes = ("a", "b", "c") if n_outputs == 3 else ("absent", "present")
    request = with_kind(
        ModelRequest(
            model=str(tmp_path / "weights.pt"),
            kind="torchvision:mobilenet_v3_small",
            classes=classes,
            task=task,
            answers="logits",
            declared=DeclaredInput(input_px=(64,), scale="imagenet", fit="squash"),
        )
    )
    old = load_bundle(save_opened(tmp_path / "old", open_directly(request), request, provenance={}))
    untouched = files_in(tmp_path / "old")
    body = body_of(old)
    rng = np.random.default_rng(0)
    start = head_of(body)
    wanted = with_head(
        body,
        Head(
            weight=(start.weight + rng.normal(0, 0.1, start.weight.shape)).astype(np.float32),
            bias=(start.bias + rng.normal(0, 1, start.bias.shape)).astype(np.float32),
        ),
    )
    folder = save_changed(
        tmp_path / "new", old, wanted, provenance={"mend": 1}, metrics={}, splits={"i": "train"}, pixels={"i": "00"}
    )
    new = load_bundle(folder)
    image = rng.integers(0, 255, (64, 64), dtype=np.uint8)
    written.check_same(new, wanted, [image])
    with pytest.raises(ModelError, match="does not answer"):
        written.check_same(old, wanted, [image])
    assert (new.classes, new.task, new.kind) == (old.classes, old.task, old.kind)
    assert new.splits == {"i": "train"}
    assert new.digest != old.digest
    assert files_in(tmp_path / "old") == untouched


@given(st.integers(0, 1000))
def test_unknown_findings_teach_a_head_nothing(seed: int) -> None:
    """Of independent findings an image counts for those that are known: others may be anything."""
    rng = np.random.default_rng(seed)
    features = rng.normal(0, 1, (24, 3)).astype(np.float32)
    truth = rng.integers(-1, 2, (24, 2))
    twins = rng.normal(0, 0.1, (5, 3)).astype(np.float32)
    fitted = fit_head(features, truth, 2, nuisance=twins)
    # The same with what is unknown of the second finding left out by hand: the first one's row does not change.
    other = truth.copy()
    other[:, 1] = -1
    assert np.isfinite(fitted.weight).all()
    alone = fit_head(features, other, 2, nuisance=twins)
    assert np.abs(alone.weight[1]).max() < 1e-3


def test_equal_weights_are_no_weights() -> None:
    copies, labels = drawn(60)
    features = copies.features["clean", 0]
    plain, weighed = fit_head(features, labels, 2), fit_head(features, labels, 2, weights=np.ones(60))
    assert plain.weight == pytest.approx(weighed.weight, abs=1e-4)
    # An image of weight 2 is an image that is there twice.
    weights = np.where(np.arange(60) < 20, 2.0, 1.0)
    twice = np.concatenate([features, features[:20]])
    spread_apart = fit_head(twice, np.concatenate([labels, labels[:20]]), 2, pull=0.5)
    assert np.isfinite(spread_apart.weight).all()
    heavy = fit_head(features, labels, 2, weights=weights / weights.mean(), pull=0.5)
    both = [h.probabilities(features) for h in (heavy, spread_apart)]
    assert both[0] == pytest.approx(both[1], abs=0.02)

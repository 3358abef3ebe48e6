"""Groups that are judged, classes and words: replicas of their effects, which strings become groups, what gates make of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.data.conditions import Dose
from audit.data.groups import age_band
from audit.data.strings import MAX_WORDS, common_words, normal_string, shown_string
from audit.errors import UnknownNameError, UsageError
from audit.gates.defaults import config_for
from audit.gates.groups import read_group
from audit.gates.judging import judge
from audit.gates.rules import GateConfig, rules_from_config
from audit.prediction.table import read_finished
from audit.statistics.alignment import MIN_GROUP_PATIENTS
from audit.statistics.effects import measure_effects
from audit.store.group import ALL, Group, parse_group
from audit.store.results import Effect, PredictionTable
from audit.suites.reader import load_suite

from .conftest import Audit, quick_audit
from .test_effects import CLASSES, SUITE, measure, pick, probabilities, table

HOSTILE = ("<SCRIPT>ALERT('X')</SCRIPT>", "A\x1b[31MB", "\u202eODES", "=CMD|' /C'!A", "W" * 300, "WORD=SITIO", "L\x00R")


def with_words(t: PredictionTable, **words: range) -> PredictionTable:
    """Return a table whose images of the given rows carry the given words."""
    return replace(t, words={word: np.isin(np.arange(len(t.labels)), list(rows)) for word, rows in words.items()})


def sensitivity(t: PredictionTable) -> np.ndarray:
    """Return (n,) total variation under the mask beyond its placebo's draws."""
    p0 = probabilities(t.logits["clean"][0])
    moved = 0.5 * np.abs(probabilities(t.logits["mask"][0]) - p0).sum(-1)
    beside = [0.5 * np.abs(probabilities(draw) - p0).sum(-1) for draw in t.logits["elsewhere"]]
    return moved - np.mean(beside, axis=0)


def pulled(n: int, images: range, *, pull: float = 4.0) -> PredictionTable:
    """Return a table in which masking moves some images only, those that carry SITIO."""
    t = table(n=n, n_patients=n)
    mask = t.logits["mask"].copy()
    mask[0, list(images), t.labels[list(images)]] -= pull
    return with_words(replace(t, logits={**t.logits, "mask": mask}), SITIO=images, PORTABLE=range(n // 2, n))


def test_effects_of_classes_and_words_by_hand() -> None:
    t = with_words(table(pull=1.0), L=range(0, 70), SEDUTO=range(5, 27))
    found, values = measure(t), sensitivity(t)
    members = {f"class={name}": t.labels == c for c, name in enumerate(CLASSES)}
    members |= {f"word={word}": images for word, images in t.words.items()}
    for group, images in members.items():
        entry = pick(found, "mask", "shortcut_sensitivity", group, "elsewhere")
        assert entry.estimate == pytest.approx(values[images].mean(), abs=1e-6)
        assert (entry.n_images, entry.n_patients) == (images.sum(), len(set(t.patients[images])))
        changed = [
            any(
                d[i].argmax() != t.logits["clean"][0, i].argmax()
                for name in ("mask", "elsewhere")
                for d in t.logits[name]
            )
            for i in np.flatnonzero(images)
        ]
        assert entry.discordant == sum(changed)
        assert (entry.family, entry.tolerance) == ("declared", 0.05)
        assert entry.simultaneous_low <= entry.low
    assert not [e for e in found if e.condition == "blur" and e.group.kind == "word"], "blur takes no text away"


def test_what_is_judged_in_groups_costs_what_is_judged_over_all_images_nothing() -> None:
    t = table(pull=1.0)
    words = {f"WORD{letter}": range(i, 60 + i) for i, letter in enumerate("ABCDEFGH")}
    few, many = measure(t), measure(with_words(t, **words))
    for effect in few:
        other = pick(many, effect.condition, effect.measure, str(effect.group), effect.placebo)
        if effect.group == ALL and effect.family == "declared":
            assert effect == other
        elif effect.family == "declared" and effect.estimate is not None:
            assert other.simultaneous_low < effect.simultaneous_low, "the more groups, the wider the intervals of each"
    assert sum(e.family == "declared" for e in many) == sum(e.family == "declared" for e in few) + len(words)


def test_a_word_on_few_images_is_found_where_the_mean_over_all_hides_it() -> None:
    found = measure(pulled(300, range(0, 60, 3)))
    assert pick(found, "mask", "shortcut_sensitivity", placebo="elsewhere").verdict != "sensitive"
    assert [(e.condition, str(e.group)) for e in found if e.verdict == "sensitive"] == [("mask", "word=SITIO")]
    half = measure(pulled(300, range(0, 150, 3)))
    assert pick(half, "mask", "shortcut_sensitivity", "class=normal", "elsewhere").verdict == "sensitive"


def test_the_order_of_rows_changes_no_group() -> None:
    t = with_words(table(pull=1.0), R=range(3, 60), L=range(0, 70))
    order = np.random.default_rng(1).permutation(120)
    shuffled = replace(
        t,
        record_ids=t.record_ids[order],
        labels=t.labels[order],
        patients=t.patients[order],
        groups={k: v[order] for k, v in t.groups.items()},
        logits={k: v[:, order] for k, v in t.logits.items()},
        applied={k: v[:, order] for k, v in t.applied.items()},
        words={k: t.words[k][order] for k in reversed(t.words)},
    )
    assert measure(shuffled) == measure(t)


def test_words_that_nobody_or_too_few_carry_are_no_group() -> None:
    t = with_words(table(), NOBODY=range(0), FEW=range(MIN_GROUP_PATIENTS - 1), ENOUGH=range(MIN_GROUP_PATIENTS))
    assert {str(e.group) for e in measure(t) if e.group.kind == "word"} == {"word=ENOUGH"}
    nowhere = replace(t, applied={**t.applied, "mask": np.zeros((1, 120), bool)})
    assert not [e for e in measure(nowhere) if e.group.kind == "word"]


def test_only_judged_edits_declare_groups() -> None:
    rung = replace(SUITE.conditions[1], dose=Dose(ladder="mask", parameter="opacity", value=0.5))
    for condition in (
        rung,
        replace(SUITE.conditions[1], role="stress"),
        replace(SUITE.conditions[1], role="sufficiency"),
    ):
        suite = replace(SUITE, conditions=(SUITE.conditions[0], condition, *SUITE.conditions[2:]))
        found = measure_effects(with_words(table(), L=range(60)), suite, seed=0, resamples=200)
        groups = [e for e in found if e.condition == "mask" and e.group != ALL and e.placebo is not None]
        assert {e.family for e in groups} == {"exploratory"}, condition.role
        assert any(str(e.group) == "word=L" for e in groups)


def test_hostile_strings_are_names_like_any_other() -> None:
    t = replace(table(), words={word: np.arange(120) < 40 for word in HOSTILE})
    found = {str(e.group): e for e in measure(t) if e.group.kind == "word"}
    assert set(found) == {f"word={word}" for word in HOSTILE}
    assert len({(e.estimate, e.low, e.high, e.n_images) for e in found.values()}) == 1
    for word in HOSTILE:
        shown = shown_string(word)
        assert len(shown) <= 40
        assert shown.isprintable()


@pytest.mark.parametrize("seed", range(3))
def test_small_groups_of_large_cohorts_resample_their_own_patients(seed: int) -> None:
    n = 6_000
    t = with_words(table(n=n, n_patients=n, pull=1.0, seed=seed), RARE=range(0, 3_000, 25))
    alone = t.words["RARE"]
    small = replace(
        t,
        record_ids=t.record_ids[alone],
        labels=t.labels[alone],
        patients=t.patients[alone],
        groups={},
        logits={k: v[:, alone] for k, v in t.logits.items()},
        applied={k: v[:, alone] for k, v in t.applied.items()},
        words={},
    )
    key = ("mask", "shortcut_sensitivity")
    among = pick(measure_effects(t, SUITE, seed=0, resamples=4_000), *key, "word=RARE", "elsewhere")
    by_itself = pick(measure_effects(small, SUITE, seed=0, resamples=4_000), *key, "all", "elsewhere")
    assert among.estimate == pytest.approx(by_itself.estimate, abs=1e-9)
    assert "bootstrap" in among.method
    width = by_itself.high - by_itself.low
    assert among.low == pytest.approx(by_itself.low, abs=0.1 * width)
    assert among.high == pytest.approx(by_itself.high, abs=0.1 * width)


def chosen(strings: list[tuple[int, str]], patients: list[str], least: int = 2) -> dict[str, list[int]]:
    found = common_words(strings, patients, min_patients=least)
    return {word: np.flatnonzero(images).tolist() for word, images in found.items()}


def test_strings_are_chosen_by_patients_ties_by_the_alphabet() -> None:
    patients = ["a", "b", "c", "d", "d"]
    read = [
        (0, "l"),
        (1, " L "),
        (3, "L"),
        (4, "L"),
        (0, "SITIO  AP"),
        (1, "sitio ap"),
        (2, "r"),
        (0, "R"),
        (3, "X"),
        (4, "X"),
    ]
    assert chosen(read, patients) == {"L": [0, 1, 3, 4], "R": [0, 2], "SITIO AP": [0, 1]}
    assert list(chosen(read, patients)) == ["L", "R", "SITIO AP"]
    many = [(i, f"{a}{b}") for i in range(2) for a in "ZYX" for b in "DCBA"]
    assert list(chosen(many, patients)) == sorted({word for _, word in many})[:MAX_WORDS]


def test_strings_with_digits_and_empty_ones_are_no_groups() -> None:
    read = [(i, text) for i in range(4) for text in ("12.03.1950", "ID ٣", "", "  ", "ROOM B2", "AP")]
    assert list(chosen(read, list("abcd"))) == ["AP"]


@given(st.lists(st.tuples(st.integers(0, 11), st.text(max_size=300)), max_size=60), st.randoms())
def test_the_order_of_regions_chooses_nothing(read: list[tuple[int, str]], random: object) -> None:
    patients = [f"p{i // 2}" for i in range(12)]
    mixed = list(read)
    random.shuffle(mixed)
    assert chosen(mixed, patients) == chosen(read, patients)
    for word, images in chosen(read, patients).items():
        assert images == sorted({i for i, text in read if normal_string(text) == word})
        assert not any(c.isdigit() for c in word)


def test_bands_of_age() -> None:
    bands = {
        0.0: "0-17",
        17.9: "0-17",
        18.0: "18-39",
        39.0: "18-39",
        40: "40-59",
        60: "60-79",
        79.5: "60-79",
        80: "80+",
        120: "80+",
    }
    assert {age: age_band(age) for age in bands} == bands
    assert {age_band(age) for age in (None, float("nan"), -1.0)} == {"unknown"}


def test_hundreds_of_sites_are_told_where_enough_patients_are() -> None:
    t = table(n=900, n_patients=900)
    sites = np.array([f"s{i}" if i >= 100 else "large" if i % 2 else "middle" for i in range(900)])
    found = measure(replace(t, groups={"site": sites, "source": np.where(np.arange(900) < 3, "tiny", "rest")}))
    assert {str(e.group) for e in found if e.group.kind == "site"} == {"site=large", "site=middle"}
    assert any(str(e.group) == "source=tiny" and e.measure == "accuracy" for e in found), (
        "a small source is shown, greyed"
    )


def rule(group: str, **changes: object) -> GateConfig:
    row = {"id": "text", "measure": "shortcut_sensitivity", "max": 0.05, "where": {"group": group}, **changes}
    return rules_from_config({"rule": [row]})


def verdicts(effects: list[Effect], config: GateConfig) -> dict[str, tuple[str, str]]:
    return {g.id: (g.status, g.reason) for g in judge(effects, config).gates}


def test_a_gate_on_a_word() -> None:
    found = measure(pulled(300, range(0, 60, 3)))
    ((name, (status, reason)),) = verdicts(found, rule("word=sitio")).items()
    assert (name, status) == ("text-mask", "fail"), "blur takes no text away and is not asked"
    entry = pick(found, "mask", "shortcut_sensitivity", "word=SITIO", "elsewhere")
    assert f"{entry.low:.3f}" in reason
    config = rule("word=SITIO", where={"group": "word=SITIO", "condition": "mask"})
    assert verdicts(found, config)["text"][0] == "fail"
    # Between the two intervals: the single one lies beyond, that which holds over all judged effects does not.
    between = (entry.low + entry.simultaneous_low) / 2
    assert verdicts(found, rule("word=SITIO", max=between))["text-mask"][0] == "inconclusive"
    assert verdicts(found, rule("all"))["text-mask"][0] != "fail", "without a group a rule is about all images"


@pytest.mark.parametrize(
    ("group", "says"),
    [
        ("word=ABSENT", "fewer than 10 patients have images that carry word=ABSENT"),
        ("word=ID 7", "has a digit"),
        ("site=somewhere", "too few patients of site=somewhere"),
    ],
)
def test_what_cannot_be_told_is_never_a_pass(group: str, says: str) -> None:
    results = verdicts(measure(pulled(120, range(0, 60, 3))), rule(group))
    assert results
    for status, reason in results.values():
        assert status == "inconclusive"
        assert says in reason
    with pytest.raises(UnknownNameError, match="group"):
        judge(measure(table()), rule("class=covidd"))


def test_rules_on_words_are_checked_for_all_but_the_word() -> None:
    suite, known = load_suite("quick"), {parse_group(name) for name in ("all", "class=covid", "site=x")}

    def read(**where: str) -> GateConfig | None:
        row = {"id": "text", "measure": "shortcut_sensitivity", "max": 0.05, "where": where}
        return config_for({"rule": [row]}, suite, {}, asked=False, groups=known)

    assert str(read(group="word= any  thing").rules[0].group) == "word=ANY THING"
    masks = [c.name for c in suite.conditions if c.perturbation == "text-mask"]
    assert read(group="word=L", condition=masks[0]) is not None
    with pytest.raises(UsageError, match="words are judged only under edits that remove text"):
        read(group="word=L", condition="letters-other-class")
    for group in ("class=covdi", "site=y", "words=L"):
        with pytest.raises(UnknownNameError, match="group"):
            read(group=group)


@given(st.text(max_size=300))
def test_a_rule_meets_the_word_as_effects_name_it(text: str) -> None:
    assert read_group(f"word={text}") == Group(kind="word", value=normal_string(text))
    assert read_group(f"class={text}") == Group(kind="class", value=text)
    assert normal_string(normal_string(text)) == normal_string(text), "a report's string can be copied into a rule"


@pytest.mark.slow
def test_a_run_tells_its_words_and_a_later_one_is_held_against_them(
    audit: Audit, write_cohort: Callable[..., Path], known_bundle: Path
) -> None:
    manifest = write_cohort(20)
    first, second = (Path(audit(*quick_audit(manifest, "--seed", seed))[1].splitlines()[-1]).parent for seed in (0, 1))
    effects = json.loads((second / "effects.json").read_text())["effects"]
    judged = {e["group"] for e in effects if e["family"] == "declared"}
    assert judged == {"all", *(f"class={c}" for c in CLASSES), *(f"word={c.upper()}" for c in CLASSES)}
    table = read_finished(second).table
    for label, name in enumerate(CLASSES):
        assert (table.words[name.upper()] == (table.labels == label)).all(), "each class carries its own marker"
        by_class, by_word = (
            next(
                e
                for e in effects
                if (e["condition"], e["group"], e["family"]) == ("text-mask-inpaint", group, "declared")
            )
            for group in (f"class={name}", f"word={name.upper()}")
        )
        assert by_class["estimate"] == by_word["estimate"]
    assert set(table.groups) == {"source", "site", "view", "sex", "age"}

    changes = json.loads(audit("diff", second, first, "--json")[1])["changes"]
    told = {c["group"]: c["change"] for c in changes if c["condition"] == "text-mask-inpaint"}
    assert told["word=COVID"]["n_images"] == 20
    assert "Text inpainted, images that carry “COVID”" in audit("diff", second, first)[1]
    rules = [
        ("is", "max = 0.9", "word=covid"),
        ("rose", "max_increase = 0.9", "word=COVID"),
        ("gone", "max_increase = 0.9", "word=X"),
    ]
    Path("audit.toml").write_text(
        "".join(
            f'[[gate.rule]]\nid = "{name}"\nmeasure = "shortcut_sensitivity"\n{limit}\n'
            f'where = {{ condition = "text-mask-inpaint", group = "{group}" }}\n'
            for name, limit, group in rules
        )
    )
    code, out, _ = audit("gate", second, "--baseline", first)
    assert code == 3
    assert [line.split()[0] for line in out.splitlines()[:3]] == ["inconclusive", "pass", "inconclusive"]
    assert "fewer than 10 patients have images that carry word=X" in out

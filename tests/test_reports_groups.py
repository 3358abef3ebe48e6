"""What the report says of groups: where a network reads, which groups are undecided, and strings that are hostile."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace

import pytest
from msgspec import structs
from rich.console import Console

from audit.reports.export.model_card import model_card
from audit.reports.findings.group_effects import (
    drawn,
    group_accuracy,
    judged_groups,
    place,
    sensitive_groups,
    undecided,
)
from audit.reports.findings.headline import headline
from audit.reports.findings.limitations import limitations
from audit.reports.findings.review import findings
from audit.reports.findings.summary import summary_lines
from audit.reports.page.html import MAX_BYTES, within_budget
from audit.reports.reading.folder import read_run
from audit.reports.reading.view import RunView
from audit.reports.terminal import render_terminal
from audit.store.group import ALL, Group, parse_group
from audit.store.results import Effect, EffectVerdict

from .golden.make_report import RUN
from .report_runs import Page, item_of

HOSTILE = "word=<b onload='x'>\x1b[31m\u202eA&\x00" + "W" * 300


@pytest.fixture(scope="module")
def kept() -> RunView:
    return read_run(RUN)


def judged(view: RunView, verdicts: Mapping[str, EffectVerdict], *, others: EffectVerdict = "robust") -> RunView:
    """Return a run whose judged shortcut sensitivities have the verdicts of their groups; sensitive ones are 0.4 and more."""

    def told(e: Effect) -> Effect:
        if e.tolerance is None or e.measure != "shortcut_sensitivity":
            return e
        verdict = verdicts.get(str(e.group), others)
        if verdict != "sensitive":
            return replace(e, verdict=verdict)
        estimate = 0.4 + 0.01 * list(verdicts).index(str(e.group))
        return replace(
            e, verdict=verdict, estimate=estimate, low=0.3, high=0.5, simultaneous_low=0.2, simultaneous_high=0.6
        )

    return replace(view, effects=tuple(told(e) for e in view.effects))


def renamed(view: RunView, group: str, name: str) -> RunView:
    return replace(
        view, effects=tuple(replace(e, group=parse_group(name)) if str(e.group) == group else e for e in view.effects)
    )


def page(view: RunView) -> str:
    return within_budget(view, MAX_BYTES).html.decode()


def on_terminal(view: RunView) -> str:
    out = io.StringIO()
    render_terminal(view, Console(file=out, width=200, force_terminal=False))
    return out.getvalue()


def test_the_kept_run_judges_classes_and_words(kept: RunView) -> None:
    assert [r.name for r in judged_groups(kept, "class")] == list(kept.plan.model.classes)
    assert {r.name for r in judged_groups(kept, "word")} == {"“<NORMAL>”", "“<PNEUMONIA>”", "“<COVID>”"}
    text = page(kept)
    assert "Judged by class" in text
    assert "“&lt;COVID&gt;”" in text
    assert Page(text).open == []


def test_a_class_that_could_not_be_edited_is_named(kept: RunView) -> None:
    evil = "\u202ecovid</script>"
    changed = tuple(
        replace(e, verdict="inconclusive", low=-0.04, high=0.04, classes_absent=(evil,), blind=False)
        if e.tolerance is not None and e.group == ALL
        else e
        for e in kept.effects
    )
    view = replace(kept, effects=changed)
    said = headline(view)
    assert "could be edited this way (“Text covered in black”)" in said
    assert "nothing can be concluded about the text" in said
    assert "too small" not in said
    assert "Within the limit" not in said
    text = page(view)
    assert "\u202e" not in said
    assert "covid</script>" not in text
    assert Page(text).open == []


def test_accuracy_that_falls_is_said_where_probabilities_do_not_show_it(kept: RunView) -> None:
    def fallen(view: RunView) -> RunView:
        changed = tuple(
            replace(e, verdict="sensitive", estimate=-0.2, low=-0.28, high=-0.12)
            if (e.measure, e.condition, e.group) == ("accuracy", "text-mask-black", ALL) and e.placebo
            else e
            for e in view.effects
        )
        return replace(view, effects=changed)

    said = headline(fallen(judged(kept, {"all": "inconclusive"})))
    assert (
        "Accuracy depends on the text. When the text is covered in black, accuracy falls by 20.0 percentage points more than with the "
        "placebo (95 % CI 12.0 to 28.0; limit 2)." in said
    )
    assert "too small to decide" not in said
    assert "Accuracy depends" not in headline(fallen(judged(kept, {"all": "sensitive"}))), (
        "it is said to read it already"
    )


def test_greying_is_stated_wherever_a_run_is_summed_up(kept: RunView) -> None:
    sentence = "60 colour images are read as grey."
    greyed = replace(kept, plan=structs.replace(kept.plan, data=structs.replace(kept.plan.data, n_greyed=60)))
    assert sentence in summary_lines(greyed), "it has a line of its own, and so it has in summary.md"
    assert len(summary_lines(greyed)) <= 10
    assert sentence in on_terminal(greyed).splitlines()
    assert "as grey" not in " ".join((*summary_lines(kept), on_terminal(kept)))


def test_the_verdict_says_where_a_network_reads(kept: RunView) -> None:
    view = judged(kept, {"class=covid": "sensitive", "word=<COVID>": "sensitive"}, others="inconclusive")
    said = headline(view)
    assert said.startswith(
        "The network reads the text in images that carry “<COVID>”. When the text is covered in black, the"
    )
    assert "likewise in images of class covid (40.0)" in said
    assert "Averaged over all images the shift is" in said
    assert "too small" not in said, "a word that is read is no open question"
    assert [str(e.group) for e in sensitive_groups(view)] == ["word=<COVID>", "class=covid"]
    lines = summary_lines(view)
    assert len(lines) <= 10
    assert any(
        line.startswith("Text covered in black, images that carry “<COVID>”: shortcut sensitivity 0.410")
        for line in lines
    )
    assert lines.index(next(line for line in lines if "images that carry" in line and "Verdict" not in line)) == 3
    for told in (page(view), on_terminal(view)):
        assert "images that carry" in told
        assert "0.410" in told


def test_a_reviewer_and_a_model_card_are_told_of_the_groups(kept: RunView) -> None:
    view = renamed(judged(kept, {"word=<COVID>": "sensitive", "class=covid": "sensitive"}), "word=<COVID>", HOSTILE)
    asked = findings(view)
    assert len({f.id for f in asked}) == len(asked)
    assert all(f.id.isprintable() and f.text.isprintable() for f in asked)
    assert sum("images that carry" in f.text or "images of class covid" in f.text for f in asked) == 2
    assert "images of class covid" in model_card(view)
    assert "<b onload" not in model_card(view)


def test_what_is_robust_over_all_images_stays_so_while_groups_are_open(kept: RunView) -> None:
    view = judged(kept, {"all": "robust"}, others="inconclusive")
    assert headline(view).startswith(
        "Within the limit, compared with the placebo, on average over the images that were edited: the text: shift "
    )
    assert "is too small to decide" in undecided(view)
    assert undecided(view) in page(view).replace("&#39;", "'")
    assert sensitive_groups(view) == []


def test_groups_of_what_all_images_show_do_not_drown_it(kept: RunView) -> None:
    view = judged(kept, {"all": "sensitive", "word=<COVID>": "sensitive"})
    assert headline(view).startswith(
        "The network reads the text. When the text is covered in black, the class probabilities shift by 40.0 percentage points"
    )
    assert "images that carry" not in headline(view)
    assert sensitive_groups(view) == []
    assert "1 sensitive" in undecided(view), "but the section of groups tells them all"


def test_hostile_strings_stay_text(kept: RunView) -> None:
    view = renamed(judged(kept, {"word=<COVID>": "sensitive"}), "word=<COVID>", HOSTILE)
    assert place(parse_group(HOSTILE)).isprintable()
    assert len(place(parse_group(HOSTILE))) < 80
    text = page(view)
    assert "<b onload" not in text
    assert Page(text).open == []
    for told in (text, on_terminal(view), headline(view), *summary_lines(view)):
        assert not set("\x1b\x00\u202e") & set(told)


def test_many_sites_are_drawn_in_part_and_told_in_full(kept: RunView) -> None:
    like = next(e for e in kept.effects if e.condition == "clean" and e.group.kind == "source")
    sites = tuple(replace(like, group=Group(kind="site", value=f"s{i}"), n_patients=10 + i) for i in range(150))
    view = replace(kept, effects=(*kept.effects, *sites))
    shown = [str(e.group) for e in drawn(group_accuracy(view)) if e.group.kind == "site"]
    assert shown == [f"site=s{i}" for i in range(130, 150)]
    text = page(view)
    assert "in each column those with the most patients" in text
    assert "site: s0<" in text


def test_what_is_not_known_is_no_column(kept: RunView) -> None:
    unknown = tuple(
        replace(e, group=parse_group("age=unknown")) if e.group.kind == "age" else e
        for e in kept.effects
        if str(e.group) != "sex=F"
    )
    view = replace(kept, effects=unknown)
    assert any("gives no usable sex, age, view" in line for line in limitations(view))
    fairness = item_of(view, "TRIPOD+AI", "14")
    assert (fairness.state, fairness.references) == ("to be filled", ())
    assert "sex and age" in fairness.left
    assert not any("age" in line for line in limitations(kept) if "no usable" in line)

"""Methods and checklist: every sentence is what the plan says, whatever was asked for; every reference leads somewhere."""

from __future__ import annotations

import dataclasses
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from audit.data.planned_model import InputSteps
from audit.errors import UnknownNameError
from audit.relevance.methods import SURROGATES
from audit.relevance.presets import PRESETS, about_method
from audit.reports.findings.methods_facts import Facts, Relevance, read_facts
from audit.reports.findings.methods_sentences import methods, relevance_sentence
from audit.reports.page.html import MAX_BYTES, within_budget
from audit.reports.reading.folder import read_run
from audit.reports.reading.view import RunView
from audit.statistics.multiplicity import DECLARED, DRAWS, EXPLORATORY
from audit.text.annotated import AnnotatedFinder
from audit.text.finders import FINDERS
from audit.text.joined import JoinedFinder
from audit.text.marks import MarksFinder

from .golden.make_report import RUN
from .report_runs import Page

FACTS = Facts(
    n_images=90,
    n_patients=61,
    split_name="test",
    split_told_by="manifest",
    n_seen=0,
    suite="standard (version 2)",
    roles={"edit": 6, "sufficiency": 2, "placebo": 8, "control": 1},
    has_placebo=True,
    seed=7,
    finder="cascade",
    finder_about="PP-OCR and shapes",
    finder_parts=(("cascade", "1"), ("rapidocr", "2")),
    recall={},
    n_outputs=0,
    n_points=0,
    colour=False,
    n_greyed=0,
    preprocessing=InputSteps(size_px=(224, 256), mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2)),
    parity=None,
    is_recorded=False,
    level=0.95,
    resamples=10_000,
    intervals={"bootstrap": 30, "student": 1},
    declared=DECLARED,
    declared_draws=DRAWS,
    exploratory=EXPLORATORY,
    n_declared=40,
    n_in_groups=30,
    n_exploratory=12,
    tolerances={"accuracy": 0.02, "shortcut_sensitivity": 0.05},
    n_rules=11,
    correction="holm",
    n_trends=0,
    relevance=Relevance(
        about=about_method("epsilon-plus-flat"),
        asked=about_method("epsilon-plus-flat"),
        why_other="",
        signs={},
        multi_label=False,
        n_maps=90,
        n_images=90,
        n_relocations=200,
    ),
)
METHOD = {
    "epsilon-plus-flat": "layer-wise relevance propagation (LRP, preset epsilon-plus-flat)",
    "preset-a-flat": "layer-wise relevance propagation (LRP, preset preset-a-flat)",
    "epsilon-alpha2-beta1-flat": "layer-wise relevance propagation (LRP, preset epsilon-alpha2-beta1-flat)",
    "epsilon": "layer-wise relevance propagation (LRP, preset epsilon)",
    "gradient-x-input": "the gradient times the input, which is not LRP",
    "occlusion": "occlusion of one patch after another, which is not LRP",
}
START = {
    "winner": ({}, "the output of the predicted class"),
    "class": ({"covid": 1.0}, "the output of class covid"),
    "contrast": ({"covid-19": 1.0, "no-finding": -1.0}, "the output of class covid-19 minus that of class no-finding"),
}
CORRECTION = {
    "holm": "11 gate rules were applied to the measured effects. A failure is based on an interval corrected for multiple comparisons: for "
    "judged effects the simultaneous one, for other error-level results one widened by Holm's procedure.",
    "none": "11 gate rules were applied to the measured effects. Each is based on its own interval, without correction for multiple "
    "comparisons.",
}
SPLIT = {
    (
        "test",
        "manifest",
    ): "They are the test split, determined by the manifest's split column. No patient is in two splits of the manifest "
    "(checked before the run).",
    (
        "train",
        "bundle",
    ): "They are the train split, determined by the split that the bundle recorded when it was trained.",
    (
        "unlearnt",
        "pixels",
    ): "They are the labelled images that the network was not trained on, determined by the pixels of the training images, "
    "as recorded in the bundle.",
    (
        "test",
        "names",
    ): "They are the test split, determined by the names of the training images, as recorded in the bundle.",
    (
        "all",
        "bundle",
    ): "They are all labelled images of the manifest, of every split (determined by the split that the bundle recorded "
    "when it was trained).",
    (
        "all",
        "nobody",
    ): "They are all labelled images of the manifest; neither the manifest nor the bundle specifies a split.",
}


def said(facts: Facts) -> dict[str, str]:
    return {p.id: p.text for p in methods(facts)}


def finders() -> list[tuple[str, str, tuple[tuple[str, str], ...]]]:
    boxes = AnnotatedFinder({}, "0123abcd")
    made = [MarksFinder(), boxes, JoinedFinder(MarksFinder(), boxes)]
    return [(d.name, d.about, tuple(d.parts)) for d in made]


def test_every_preset_and_start_is_known_here() -> None:
    assert set(METHOD) == {*PRESETS, *SURROGATES}
    with pytest.raises(UnknownNameError):
        about_method("lrp")


@pytest.mark.parametrize(
    ("preset", "start", "correction"), list(itertools.product([*METHOD, "none"], START, CORRECTION)), ids=str
)
def test_methods_say_what_was_asked_for(preset: str, start: str, correction: str) -> None:
    signs, from_what = START[start]
    assert isinstance(FACTS.relevance, Relevance)
    made: Relevance | str = "Relevance is disabled (relevance_images = 0)."
    expected = made
    if preset != "none":
        about = about_method(preset)
        made = dataclasses.replace(FACTS.relevance, about=about, asked=about, signs=signs, n_maps=40)
        expected = (
            f"The heatmaps were made by {METHOD[preset]}, starting from {from_what}. Heatmaps were made for 40 of "
            "90 images, drawn at random. "
            "Relevance inside text was compared with 200 random relocations of each image's text boxes along the border, and with the "
            "same place in heatmaps of images whose text was inpainted."
        )
    for name, about, parts in finders():
        found = said(
            dataclasses.replace(
                FACTS, relevance=made, correction=correction, finder=name, finder_about=about, finder_parts=parts
            )
        )
        assert found["relevance"] == expected
        assert found["gates"] == CORRECTION[correction]
        assert found["text"].startswith(f"Burnt-in text was found by the finder {name} ({about}). Version")
        assert all(f"{part} {version}" in found["text"] for part, version in parts)
        assert ", 1, 2," not in found["text"]


@pytest.mark.parametrize(("name", "told_by"), list(SPLIT), ids=str)
def test_methods_say_who_split_the_data(name: str, told_by: str) -> None:
    found = said(dataclasses.replace(FACTS, split_name=name, split_told_by=told_by))["images"]
    assert found == f"90 images of 61 patients were audited. {SPLIT[name, told_by]}"
    seen = said(dataclasses.replace(FACTS, split_name=name, split_told_by=told_by, n_seen=1))["images"]
    assert seen == f"{found} 1 image of them was used to train the network."


def test_methods_in_full() -> None:
    found = said(FACTS)
    assert found["conditions"] == (
        "Each image was predicted unedited and under 17 conditions of the suite standard (version 2): 6 edits, 2 conditions that keep only "
        "one part, 8 placebos, 1 control. The effect of a condition is its difference from its matched control (placebo), the same "
        "change without the suspected content. Random draws start from seed 7; several draws of a condition are averaged within the image."
    )
    assert found["text"] == (
        "Burnt-in text was found by the finder cascade (PP-OCR and shapes). Versions: cascade 1 and rapidocr 2."
    )
    assert found["network"] == (
        "After each edit, an image was scaled to 256 × 224 px without keeping its aspect ratio and "
        "normalised by channel (mean 0.5, 0.4, 0.3; "
        "standard deviation 0.2, 0.2, 0.2)."
    )
    assert found["intervals"] == (
        "Intervals have a nominal coverage of 95 % and treat the patient, not the image, as the unit. They "
        "were computed for 30 effects by the "
        "percentile bootstrap over patients (10,000 resamples) and 1 effect by Student's t over patients, corrected for skewness."
    )
    assert found["multiplicity"] == (
        "Limits, fixed before the run: accuracy 0.02 and shortcut sensitivity 0.05. Judged effects form two families, over all "
        "images (10) and over groups (30). In each, p-values and simultaneous intervals are corrected for multiple comparisons by the "
        "step-down max-T procedure of Westfall and Young on 20,000 multiplier draws over patients; Holm's p-value is used where it is "
        "smaller. P-values of exploratory effects (12) are adjusted for "
        "the false discovery rate (Benjamini and Hochberg); nothing is concluded from them."
    )
    assert "trends" not in found, "what was not done is not told"
    assert said(dataclasses.replace(FACTS, n_trends=1))["trends"].startswith("1 ladder of doses was tested")
    assert said(dataclasses.replace(FACTS, n_rules=0))["gates"] == "No gate rule was applied."
    assert said(dataclasses.replace(FACTS, n_rules=1))["gates"].startswith("1 gate rule was applied")
    corrected = said(dataclasses.replace(FACTS, recall={"all": (9, 10)}))["text"]
    assert corrected.endswith(
        "On a labelled sample it found 9 of 10 boxes (all); effects of removing text are also reported "
        "corrected for the text that it missed "
        "(shortcut_sensitivity_corrected)."
    )
    further = structs.replace(FACTS.preprocessing, fit="letterbox", library="opencv", clahe=2.0, pad=7)
    assert said(dataclasses.replace(FACTS, preprocessing=further))["network"].endswith(
        "as the network's owner declared: 256 × 224 px, after CLAHE with clip limit 2, the whole image, padded with 7, bilinear (OpenCV), "
        "3 channels, values 0 to 1, mean 0.5, 0.4, 0.3, deviation 0.2, 0.2, 0.2."
    )


def test_another_method_than_the_one_asked_for_is_named() -> None:
    assert isinstance(FACTS.relevance, Relevance)
    made = dataclasses.replace(
        FACTS.relevance, about=about_method("gradient-x-input"), why_other="There is no rule for LSTM."
    )
    assert relevance_sentence(made) == (
        "The heatmaps were made by the gradient times the input, which is not LRP, starting from the output of the predicted class. The "
        "requested method, layer-wise relevance propagation (LRP, preset epsilon-plus-flat), was not used: There is no rule for LSTM."
    )


@given(n=st.integers(0, 3), roles=st.dictionaries(st.sampled_from(("edit", "stress", "control")), st.integers(1, 2)))
def test_counts_agree_with_their_nouns(n: int, roles: dict[str, int]) -> None:
    text = " ".join(p.text for p in methods(dataclasses.replace(FACTS, n_images=n, n_patients=n, roles=roles)))
    assert not re.search(r"\b1 (images|patients|conditions|edits|stresses|controls|effects|gate rules)\b", text)
    assert not re.search(r"\b[02-9] (image|patient|edit|stress|control)\b", text)


def test_facts_are_those_of_the_run() -> None:
    run = read_run(RUN)
    facts = read_facts(run)
    assert facts.n_images == run.plan.data.n_images
    assert sum(facts.intervals.values()) == sum(e.low is not None and e.interval_kind != "exact" for e in run.effects)
    assert facts.n_declared == sum(e.tolerance is not None for e in run.effects)
    assert facts.n_rules == len({g.rule for g in run.verdict.gates})


@pytest.mark.parametrize("name", list(FINDERS))
def test_finders_name_their_parts(name: str) -> None:
    """`parts` and `version` tell the same: whatever changes one changes the other."""
    from audit.errors import TextError
    from audit.text.finders import make_finder

    if name == "annotated":
        made = AnnotatedFinder({}, "0123abcd")
    else:
        try:
            made = make_finder(name)
        except TextError as error:
            pytest.skip(str(error))
    assert made.about
    assert made.parts
    assert all(version in made.version for _, version in made.parts)


def page_of(run: RunView) -> tuple[Page, str]:
    text = within_budget(run, MAX_BYTES).html.decode()
    return Page(text), text


def test_outputs_of_a_multi_label_network_are_told_as_they_were_read() -> None:
    def told(**changed: object) -> str:
        written = methods(dataclasses.replace(FACTS, **changed))  # type: ignore[arg-type]
        return next((paragraph.text for paragraph in written if paragraph.id == "outputs"), "")

    assert told() == ""
    assert "Operating points were set by Youden's index" in told(n_outputs=18)
    some = told(n_outputs=18, n_points=17)
    assert "Operating points were given for 17 outputs. Those of the others were set by Youden's index" in some
    assert "Youden" not in told(n_outputs=18, n_points=18)
    assert isinstance(FACTS.relevance, Relevance)
    made = dataclasses.replace(FACTS.relevance, multi_label=True)
    assert "starting from the output with the highest logit." in relevance_sentence(made)


def test_colours_are_stated_where_there_are_any_and_greying_where_there_was_any() -> None:
    """A run of grey images says nothing of colours: all that is added is there to be read."""
    plain = " ".join(said(FACTS).values())
    assert "colour" not in plain
    coloured = said(dataclasses.replace(FACTS, colour=True))
    assert "Images were read and edited in colour" in coloured["network"]
    assert any("how far colours differ" in part for part in coloured.values())
    greyed = said(dataclasses.replace(FACTS, n_greyed=60))
    assert "60 colour images are read as grey." in greyed["network"]
    assert "1 colour image is read as grey." in said(dataclasses.replace(FACTS, n_greyed=1))["network"]
    product = dataclasses.replace(FACTS, is_recorded=True)
    assert "8-bit grey" in said(product)["network"]
    assert "8-bit colour" in said(dataclasses.replace(product, colour=True))["network"]

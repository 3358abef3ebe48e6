"""What a run says of its design, its results and their limits, for the standards that ask about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from audit.reports.findings.accuracy_worth import worth
from audit.reports.findings.group_effects import attributes, attributes_sentence
from audit.reports.findings.limitations import limitations
from audit.reports.findings.next_steps import next_steps
from audit.reports.findings.recomputed import recomputed_lines, speaks_of
from audit.reports.findings.review import review_sentence, standing_reviews
from audit.reports.findings.statements import statements
from audit.reports.findings.summary import reach, relevance_lines
from audit.reports.standards.input_answers import INPUT_ANSWERS
from audit.reports.standards.references import Answer, Known, joined, refer
from audit.statistics.power import weakest_power
from audit.store.numbers import counted


def _design(known: Known) -> Answer:
    return Answer(references=known.method("conditions"))


def _power(known: Known) -> Answer:
    if weakest_power(known.run.effects) is None or not known.is_complete:
        return Answer(left="the size of the sample; no effect was judged")
    return Answer(references=(refer("verdict", "Verdict", reach(known.run)),))


def _measures(known: Known) -> Answer:
    return Answer(references=known.method("multiplicity", "Limits"))


def _uncertainty(known: Known) -> Answer:
    said = (*known.method("intervals"), *known.method("multiplicity", "Judged effects", "P-values"))
    return Answer(references=said) if len(said) > 1 else Answer(left="measures of uncertainty; nothing was measured")


def _analysis_plan(known: Known) -> Answer:
    rules = (*known.method("multiplicity", "Limits", "Judged effects"), *known.method("gates"))
    return joined(Answer(references=rules), _power(known))


def _lead(known: Known) -> Answer:
    return Answer(references=(refer("verdict", "Verdict", statements(known.run)[0].text),))


def _robustness(known: Known) -> Answer:
    if not known.is_complete or not any(e.estimate is not None for e in known.run.headline()):
        return Answer(left="robustness; no effect was measured")
    return Answer(references=(*known.method("conditions")[:2], *_lead(known).references))


def _stress(known: Known) -> Answer:
    measured = known.run.measured()
    if not measured:
        return joined(_robustness(known), Answer(left="noise, blur and the like; the suite has none"))
    said = refer("stress", "Doses", f"{counted(len(measured), 'condition')}, measured and not judged")
    return joined(_robustness(known), Answer(references=(said,)))


def _explained(known: Known) -> Answer:
    if known.run.relevance_summary is None:
        return Answer(left="whether and how predictions are explained; no heatmaps were made")
    checked = tuple(refer("relevance", "Relevance", line) for line in relevance_lines(known.run))
    if not checked:
        return Answer(references=known.method("relevance"), left="whether the heatmaps were checked")
    return Answer(references=(*known.method("relevance"), *checked))


def _performance(known: Known) -> Answer:
    run = known.run
    measured = run.find("clean", "macro_auc" if run.multi_label else "accuracy")
    if measured is None or measured.estimate is None:
        return Answer(left="performance; it was not measured")
    return Answer(references=(refer("sources", "Sources", worth(run)[0]),))


def _by_source(known: Known) -> Answer:
    said = [line for line in worth(known.run) if line.startswith("Accuracy by source")]
    if not said:
        return Answer(left="performance by source; the manifest names fewer than two sources with enough images")
    return Answer(references=(refer("sources", "Sources", said[0]),))


def _demographics(known: Known) -> Answer:
    missing = [name for name in ("sex", "age") if name not in attributes(known.run)]
    if len(missing) == 2:
        return Answer(left="sex and age of the patients; the manifest gives neither")
    said = (refer("groups", "Groups", attributes_sentence(known.run)),)
    return Answer(references=said, left=f"the {missing[0]} of the patients" if missing else "")


def _subgroups(known: Known) -> Answer:
    said = attributes_sentence(known.run)
    groups = (refer("groups", "Groups", said),) if said else ()
    return joined(_performance(known), Answer(references=groups, left=_demographics(known).left))


def _failures(known: Known) -> Answer:
    if not known.run.examples:
        return Answer(left="images that the model gets wrong")
    cases = refer("examples", "Images", f"{counted(len(known.run.examples), 'case')} with pictures")
    if known.run.multi_label:
        return Answer(references=(cases,))
    counts = refer("groups", "Groups", "Predictions for the unedited images, true classes by rows")
    return Answer(references=(counts, cases))


def _limitations(known: Known) -> Answer:
    return Answer(references=(refer("limits", "Limits", limitations(known.run)[-1]),))


def _next(known: Known) -> Answer:
    steps = next_steps(known.run, statements(known.run))
    return Answer(references=tuple(refer("verdict", "Verdict", step.text) for step in steps[:1]))


def _recomputed(known: Known) -> Answer:
    found = known.run.recomputed
    if found is None or not speaks_of(known.run, found):
        return Answer(left="`audit verify --recompute` has not computed a share of this run again")
    return Answer(references=(refer("provenance", "Provenance", recomputed_lines(known.run)[0]),))


def _signed(known: Known) -> Answer:
    if not standing_reviews(known.run):
        return Answer(left="a signed review")
    return Answer(references=(refer("signoff", "Sign-off", review_sentence(known.run)),))


def _testing(known: Known) -> Answer:
    parts = (INPUT_ANSWERS["data"], _design, _measures, _subgroups, _robustness, _signed)
    return joined(*(part(known) for part in parts))


def _capabilities(known: Known) -> Answer:
    return joined(*(part(known) for part in (_lead, _subgroups, _limitations)))


RESULT_ANSWERS: Mapping[str, Callable[[Known], Answer]] = {
    "analysis-plan": _analysis_plan,
    "by-source": _by_source,
    "capabilities": _capabilities,
    "demographics": _demographics,
    "design": _design,
    "explained": _explained,
    "failures": _failures,
    "lead": _lead,
    "limitations": _limitations,
    "measures": _measures,
    "next": _next,
    "performance": _performance,
    "power": _power,
    "recomputed": _recomputed,
    "robustness": _robustness,
    "stress": _stress,
    "subgroups": _subgroups,
    "testing": _testing,
    "uncertainty": _uncertainty,
}
"""Name in the lists -> what answers it."""

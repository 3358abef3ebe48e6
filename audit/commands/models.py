"""What a model is taken for, as the command line states it before anything runs."""

from __future__ import annotations

from collections.abc import Iterator

from audit.data.bundle_record import OWN_KIND
from audit.data.input_words import greyed_in_words, input_in_words, sample_in_words
from audit.data.records import Cohort
from audit.data.strings import shown_string
from audit.models.bundle import Bundle
from audit.models.classifier import lacking
from audit.models.recorded import WITHOUT_MAPS
from audit.store.numbers import counted

_MOST = 12


def image_lines(cohort: Cohort, bundle: Bundle) -> Iterator[str]:
    """Yield that the images are a sample, how their colours are read, and which back end was chosen; nothing of what is as usual."""
    if cohort.sampled_from:
        yield sample_in_words(len(cohort.records), cohort.sampled_from)
    if cohort.colour:
        yield f"colour: {counted(len(cohort.records), 'image is', 'images are')} read and edited in colour"
    elif cohort.n_greyed:
        yield greyed_in_words(cohort.n_greyed)
        if bundle.folder is None:
            yield "If the network was trained on colours, declare it with --colour rgb."
    yield from backend_lines(bundle)


def backend_lines(bundle: Bundle) -> Iterator[str]:
    """Yield what computes predictions, and why, where that was a choice of the audit's own."""
    if bundle.backend.why:
        yield f"back end: {bundle.backend.name}, because {bundle.backend.why}"


def model_lines(bundle: Bundle) -> Iterator[str]:
    """Yield what a model is taken for, a line each; nothing of a bundle that training wrote, which says it all itself."""
    if bundle.kind != OWN_KIND:
        yield from opened_lines(bundle)


def opened_lines(bundle: Bundle) -> Iterator[str]:
    """Yield what a model is taken for, a line each."""
    names = [shown_string(name) for name in bundle.classes[:_MOST]]
    more = f" and {len(bundle.classes) - _MOST} more" if len(bundle.classes) > _MOST else ""
    yield f"model: {shown_string(bundle.name)} ({shown_string(bundle.architecture)}), {bundle.task}, outputs {', '.join(names)}{more}"
    yield f"input: {input_in_words(bundle.preprocessing)}"
    if bundle.assumed:
        yield f"assumed, because it was not declared: {'; '.join(bundle.assumed)}"
    for sentence in lacking(bundle.classifier):
        yield f"not available: {sentence[0].lower()}{sentence[1:]}"
    if bundle.is_recorded:
        yield f"not available: {WITHOUT_MAPS[0].lower()}{WITHOUT_MAPS[1:]}"

"""Which networks there are: planted ones over every kind, share and dose, and null networks of four sorts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from audit.calibration.corpus import CorpusName
from audit.calibration.kinds import all_kinds, find_kind
from audit.errors import UnknownNameError

Design = Literal["planted", "alike", "unlearnt", "names", "names at random", "none"]
DESIGNS: Mapping[Design, str] = MappingProxyType(
    {
        "planted": "planted on a share of one class",
        "alike": "planted in both classes alike",
        "unlearnt": "planted on one class, but training showed it in both classes alike",
        "names": "names of sources that go with the class, pixels untouched",
        "names at random": "names of sources that do not go with the class, pixels untouched",
        "none": "nothing planted",
    }
)
"""How a plant goes with the class, in words."""
Dose = Literal["weak", "strong"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One network of a zoo: what is planted, and how it is audited."""

    name: str
    """Unique; names its folder."""
    kind: str
    """Key of `all_kinds`."""
    design: Design = "planted"
    """How the plant goes with the class."""
    share: float = 1.0
    """Share of one class that carries it (of every class where both carry it alike)."""
    dose: Dose = "strong"
    """Which of the kind's two doses."""
    seed: int = 0
    """Of the draw of carriers, the plant's places, the head and the audit."""
    corpus: CorpusName = "phantoms"
    """What it is planted into."""
    output: str = ""
    """Output of a multi-label network whose finding the plant goes with; empty where classes exclude each other."""
    finder: str = "annotated"
    """Text finder of the audit; `annotated` has the phantoms' true boxes."""


def small_zoo() -> list[Case]:
    """Return a network of every family, and three null networks: minutes on two idle cores."""
    planted = (
        "word", "electrode", "collimation", "gamma", "exposure", "sharpness", "noise", "resolution", "jpeg-quality", "padding",
        "aspect", "rotation", "source-look", "sex-like", "word-and-electrode", "bit-depth",
    )  # fmt: skip
    cases = [_case(kind, share=0.8, seed=i) for i, kind in enumerate(planted)]
    return [*cases, *_nulls(none=1, alike=["word"], unlearnt=[], names=1, first_seed=len(cases))]


def full_zoo(*, radiographs: bool) -> list[Case]:
    """Return the whole zoo: every kind at two strengths, some at five, and more than half as many null networks.

    Parameters
    ----------
    radiographs : bool
        Whether real ones are there: a quarter of the networks is then planted into them, and audited with the real text finder.
    """
    strengths: list[tuple[float, Dose]] = [(1.0, "strong"), (0.6, "weak")]
    cases: list[Case] = []
    real = [k for k in all_kinds() if k != "source-names"]
    for number, kind in enumerate(real):
        for rank, (share, dose) in enumerate(strengths):
            seed = len(cases)
            # Every fourth printed plant of phantoms is left to the real finder.
            finder = "cascade" if all_kinds()[kind].family == "text" and (number + rank) % 4 == 0 else "annotated"
            cases.append(_case(kind, share=share, dose=dose, seed=seed, finder=finder))
    for kind in ("word", "word-over-lungs", "electrode", "gamma", "resolution", "border-line", "source-look"):
        for share in (0.05, 0.2, 0.4):
            cases.append(_case(kind, share=share, seed=len(cases)))
    alike = ["word", "word-cyrillic", "date", "electrode", "pacemaker", "sticker", "collimation", "gamma", "noise", "resolution",
             "padding", "rotation", "source-look"]  # fmt: skip
    unlearnt = [
        "word",
        "word-chinese",
        "clips",
        "arrow",
        "border-line",
        "contrast",
        "sharpness",
        "jpeg-quality",
        "zoom",
        "sex-like",
    ]
    cases += _nulls(none=12, alike=alike, unlearnt=unlearnt, names=20, first_seed=len(cases))
    if not radiographs:
        return cases
    return [_on_radiographs(case) if number % 4 == 3 else case for number, case in enumerate(cases)]


def make_zoo(name: str, *, radiographs: bool) -> list[Case]:
    """Return a zoo by name.

    Raises
    ------
    UnknownNameError
        If there is none of that name.
    """
    if name == "small":
        return small_zoo()
    if name == "full":
        return full_zoo(radiographs=radiographs)
    raise UnknownNameError("zoo", name, ("small", "full"))


def many_networks(kinds: Sequence[str], n: int, n_null: int) -> list[Case]:
    """Return n networks of each kind, and null networks: enough of few kinds to measure bias and coverage.

    Shares and doses take turns, and so do three sorts of null networks: nothing planted, and a plant of the kinds in both classes alike
    or not learnt.

    Parameters
    ----------
    kinds : sequence of str
        Keys of `all_kinds`.
    n, n_null : int
        Networks of each kind, and null networks.

    Raises
    ------
    UnknownNameError
        If there is no such kind.
    """
    strengths: list[tuple[float, Dose]] = [(1.0, "strong"), (0.8, "strong"), (0.8, "weak"), (0.6, "strong")]
    cases: list[Case] = []
    for kind in kinds:
        for i in range(n):
            share, dose = strengths[i % len(strengths)]
            cases.append(_case(find_kind(kind).name, share=share, dose=dose, seed=len(cases)))
    for i in range(n_null):
        kind, seed = kinds[i // 3 % len(kinds)], len(cases)
        if i % 3 == 0:
            cases.append(_case(kind, share=0.0, seed=seed, design="none"))
        elif i % 3 == 1:
            cases.append(_case(kind, share=0.5, seed=seed, design="alike"))
        else:
            cases.append(_case(kind, share=0.8, seed=seed, design="unlearnt"))
    return cases


def _case(
    kind: str, *, share: float, seed: int, design: Design = "planted", dose: Dose = "strong", finder: str = "annotated"
) -> Case:
    name = "-".join(
        [f"{seed:03d}", kind, *([] if design == "planted" else [design.replace(" ", "-")]), f"{100 * share:.0f}", dose]
    )
    return Case(name=name, kind=kind, design=design, share=share, dose=dose, seed=seed, finder=finder)


def _nulls(*, none: int, alike: list[str], unlearnt: list[str], names: int, first_seed: int) -> list[Case]:
    """Return null networks; of the names of sources every fourth is drawn without regard to the class."""
    return list(_number(_plain_nulls(none, alike, unlearnt, names), first_seed))


def _plain_nulls(none: int, alike: list[str], unlearnt: list[str], names: int) -> Iterator[tuple[str, Design, float]]:
    yield from (("word", "none", 0.0) for _ in range(none))
    yield from ((kind, "alike", 0.5) for kind in alike)
    yield from ((kind, "unlearnt", 0.8) for kind in unlearnt)
    yield from (("source-names", "names at random" if i % 4 == 3 else "names", 0.8) for i in range(names))


def _number(found: Iterator[tuple[str, Design, float]], first_seed: int) -> Iterator[Case]:
    for place, (kind, design, share) in enumerate(found):
        yield _case(kind, share=share, seed=first_seed + place, design=design)


def _on_radiographs(case: Case) -> Case:
    # Nobody knows the boxes of their own text, so the real finder looks for all of it.
    return replace(case, name=f"{case.name}-real", corpus="radiographs", finder="cascade")

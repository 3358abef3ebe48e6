"""The detection rate of this audit, in one sentence for the verdict, read from `calibration.json`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct

from audit.data.strings import shown_string
from audit.errors import StoreError
from audit.store.documents import read_json
from audit.store.numbers import counted
from audit.store.serialise import plain
from audit.store.typed import typed

CALIBRATION_FILE = "calibration.json"
"""Its file name, in a bundle and in the output folder of `audit calibrate`."""
_UNKNOWN_RATE = "This audit's detection rate for this network and data was not measured"
NOT_MEASURED = f"{_UNKNOWN_RATE}; `audit calibrate --model MODEL --data MANIFEST` measures it."
NOT_IN_A_BUNDLE = f"{_UNKNOWN_RATE}; `audit import` makes a bundle of the network, which `audit calibrate` measures."
NOT_MEASURABLE = (
    f"{_UNKNOWN_RATE}: only a network that ends in a linear layer can be trained again on planted shortcuts."
)

_Count = Annotated[int, Meta(ge=0, le=10**9)]
_Share = Annotated[float, Meta(ge=0, le=1)]


class _Rate(Struct, frozen=True, kw_only=True):
    """How often something was found."""

    hits: _Count
    """Times that it was."""
    n: _Count
    """Times that it was there."""
    share: _Share | None = None
    """hits / n; None of none."""
    low: _Share
    """Lower end of its interval."""
    high: _Share
    """Upper end of the same."""


class _Power(Struct, frozen=True, kw_only=True):
    """One shortcut that was planted in the user's own data."""

    about: str
    """What it is."""
    share: _Share
    """On how many images of one class."""
    found: _Rate
    """How often the audit found it."""


class _Family(Struct, frozen=True, kw_only=True):
    """One family of shortcuts of the zoo."""

    found: _Rate
    """How often the audit found them."""


class _Alarms(Struct, frozen=True, kw_only=True):
    """What was raised in networks without a shortcut."""

    alarms: _Rate
    """How often."""


class _Table(Struct, frozen=True, kw_only=True):
    """The error rates of the zoo."""

    families: tuple[_Family, ...]
    """By family."""
    false_alarms: Annotated[tuple[_Alarms, ...], Meta(min_length=1)]
    """By kind; all together last."""


class _Measured(Struct, frozen=True, kw_only=True):
    """What of a calibration stands in the sentence."""

    powers: tuple[_Power, ...] = ()
    """On the user's own network and data."""
    outputs: Annotated[tuple[str, ...], Meta(max_length=100)] = ()
    """Outputs of a multi-label network whose findings the plants went with; empty where classes exclude each other."""


class _OnZoo(Struct, frozen=True, kw_only=True):
    """What of a calibration on the zoo stands in the sentence."""

    table: _Table
    """Its error rates."""
    networks: tuple[Any, ...]
    """Networks that were audited."""


def calibration_of(bundle: Path | None, digest: str, *, has_head: bool) -> str:
    """Return the sentence on a network from the calibration in its bundle, if it was measured with these weights.

    Parameters
    ----------
    bundle : Path or None
        Its folder; None for a model that is no bundle.
    digest : str
        Of its weights, classes and preprocessing.
    has_head : bool
        Whether a linear layer gives its outputs.
    """
    if bundle is None:
        return NOT_IN_A_BUNDLE if has_head else NOT_MEASURABLE
    path = bundle / CALIBRATION_FILE
    try:
        document = read_json(path) if path.is_file() else {}
        same = document.get("model", {}).get("digest") == digest
    except (OSError, ValueError, AttributeError):  # for a verdict, a damaged file counts as no measurement
        same = False
    if same:
        return calibration_sentence(path)
    return NOT_MEASURED if has_head else NOT_MEASURABLE


def calibration_sentence(path: Path) -> str:
    """State the probability with which the audit would have found each shortcut, or that it was not measured.

    Parameters
    ----------
    path : Path
        `calibration.json`; it need not exist.

    Raises
    ------
    StoreError
        If the file exists but is not a calibration.
    """
    if not path.is_file():
        return NOT_MEASURED
    try:
        document = read_json(path)
        return sentence_of(document) or NOT_MEASURED
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{path} is not a calibration ({shown_string(str(error), 200)}). Remove it, or repeat `audit calibrate`."
        ) from error


def sentence_of(document: Mapping[str, Any]) -> str:
    """Return the sentence of a calibration's document; empty where it measured nothing.

    Raises
    ------
    FormatError
        If it is no such document.
    """
    document = plain(document)
    measured = typed(document, _Measured)
    if powers := measured.powers:
        side = "images with or without a finding" if measured.outputs else "one class"
        said = [_power(p, side) for p in powers if p.found.n > 0]
        unlearnt = [_plant(p, side) for p in powers if p.found.n == 0]
        silent = f" The network did not learn {_joined(unlearnt)}, so nothing was measured for it." if unlearnt else ""
        return (
            f"Measured with this network and data: this audit would have found {_joined(said)}.{silent}"
            if said
            else silent.strip()
        )
    zoo = typed(document, _OnZoo)
    alarms = zoo.table.false_alarms[-1].alarms
    hits, n = (sum(getattr(family.found, key) for family in zoo.table.families) for key in ("hits", "n"))
    if n == 0 and alarms.n == 0:
        return ""
    return (
        f"Measured on {counted(len(zoo.networks), 'network')} with known shortcuts: the audit found {hits} of {n} shortcuts that "
        f"must be found, and raised {counted(alarms.hits, 'false alarm')} in {counted(alarms.n, 'null network')} "
        f"(95 % CI of the rate {alarms.low:.2f} to {alarms.high:.2f}). It was not measured with this network and data."
    )


def _power(power: _Power, side: str) -> str:
    found = power.found
    return (
        f"{_plant(power, side)} with probability {found.hits / found.n:.2f} "
        f"({found.hits} of {counted(found.n, 'trial')}, 95 % CI {found.low:.2f} to {found.high:.2f})"
    )


def _plant(power: _Power, side: str) -> str:
    return f"{shown_string(power.about, 60)} on {100 * power.share:.0f} % of {side}"


def _joined(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)

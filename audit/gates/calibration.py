"""The detection rate of this audit, in one sentence for the verdict, read from `calibration.json`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audit.data.strings import shown_string
from audit.errors import StoreError
from audit.store.documents import read_json
from audit.store.numbers import counted

CALIBRATION_FILE = "calibration.json"
"""Its file name, in a bundle and in the output folder of `audit calibrate`."""
NOT_MEASURED = (
    "This audit's detection rate for this network and data was not measured; "
    "`audit calibrate --model MODEL --data MANIFEST` measures it."
)


def calibration_of(bundle: Path, digest: str) -> str:
    """Return the sentence on a network from the calibration in its bundle, if it was measured with these weights.

    Parameters
    ----------
    bundle : Path
        Its folder.
    digest : str
        Of its weights, classes and preprocessing.
    """
    path = bundle / CALIBRATION_FILE
    try:
        document = read_json(path) if path.is_file() else {}
        same = document.get("model", {}).get("digest") == digest
    except (OSError, ValueError, AttributeError):  # for a verdict, a damaged file counts as no measurement
        return NOT_MEASURED
    return calibration_sentence(path) if same else NOT_MEASURED


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
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{path} is not a calibration ({type(error).__name__}: {error}). Remove it, or repeat `audit calibrate`."
        ) from error


def sentence_of(document: Mapping[str, Any]) -> str:
    """Return the sentence of a calibration's document; empty where it measured nothing."""
    powers = document.get("powers", [])
    if powers:
        measured = [p for p in powers if p["found"]["n"] > 0]
        said = [_power(p) for p in measured]
        unlearnt = [_plant(p) for p in powers if p["found"]["n"] == 0]
        silent = f" The network did not learn {_joined(unlearnt)}, so nothing was measured for it." if unlearnt else ""
        return (
            f"Measured with this network and data: this audit would have found {_joined(said)}.{silent}"
            if said
            else silent.strip()
        )
    table = document["table"]
    families, alarms = table["families"], table["false_alarms"][-1]["alarms"]
    hits, n = (sum(int(f["found"][key]) for f in families) for key in ("hits", "n"))
    if n == 0 and alarms["n"] == 0:
        return ""
    return (
        f"Measured on {counted(len(document['networks']), 'network')} with known shortcuts: the audit found {hits} of {n} shortcuts that "
        f"must be found, and raised {counted(alarms['hits'], 'false alarm')} in {counted(alarms['n'], 'null network')} "
        f"(95 % CI of the rate {alarms['low']:.2f} to {alarms['high']:.2f}). It was not measured with this network and data."
    )


def _power(power: Mapping[str, Any]) -> str:
    found = power["found"]
    return (
        f"{_plant(power)} with probability {found['share']:.2f} "
        f"({found['hits']} of {counted(found['n'], 'trial')}, 95 % CI {found['low']:.2f} to {found['high']:.2f})"
    )


def _plant(power: Mapping[str, Any]) -> str:
    return f"{shown_string(str(power['about']), 60)} on {100 * power['share']:.0f} % of one class"


def _joined(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)

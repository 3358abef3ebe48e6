"""Settings of an audit, each declared once: command line over environment over `audit.toml` over `[tool.audit]` in pyproject.toml.

A field of `Settings` is the declaration: its type with the range, its default and its help. Its option, environment variable and
TOML key follow from its name, and so do the checks, the signatures of the front doors, and the table in the documentation.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from msgspec import Meta, Struct, ValidationError, convert, field
from msgspec.structs import asdict, fields

from audit.data.input_choices import Fit, Interpolation, Library
from audit.data.tasks import Task
from audit.errors import UnknownNameError, UsageError, shown_value

# A generator's seed is kept in 64 bits with a sign.
_LARGEST_SEED = 2**63 - 1


_IN_MODEL = {"section": "model"}
"""Marks a setting that stands in [model] of a configuration file: it describes the model, not the run."""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of `audit run`."""

    model: Annotated[
        str,
        Meta(
            description="Bundle (NAME for models/NAME, or a folder), a file (.onnx, .pt2, TorchScript, weights), a Hugging Face folder, or "
            "package.module:function."
        ),
    ] = ""
    kind: Annotated[
        str,
        Meta(
            description="Kind of the model, if it does not show it: torch, callable, onnx, pt2, torchscript, hf; timm:NAME, "
            "torchvision:NAME, torchxrayvision:NAME, monai:NAME or package.module:function for a file of weights.",
            extra={"section": "model", "flag": "--as"},
        ),
    ] = ""
    classes: Annotated[
        tuple[str, ...],
        Meta(
            description="Class of each output in order, a,b,c; for DenseNet checkpoints paper, chexnet, chestxray15 or torchxrayvision.",
            extra=_IN_MODEL,
        ),
    ] = ()
    answers: Annotated[
        Literal["logits", "probabilities", ""],
        Meta(description="What the numbers of the outputs are, if the model does not show it.", extra=_IN_MODEL),
    ] = ""
    checkpoint: Annotated[
        str, Meta(description="File that is handed to the function that builds the network.", extra=_IN_MODEL)
    ] = ""
    trust: Annotated[
        bool,
        Meta(
            description="Run code that the model brings: TorchScript, .pt2, functions named in a bundle.",
            extra=_IN_MODEL,
        ),
    ] = False
    input_px: Annotated[
        tuple[int, ...], Meta(description="Side of the square input, or HEIGHT,WIDTH, in pixels.", extra=_IN_MODEL)
    ] = ()
    channels: Annotated[
        int | None, Meta(description="Channels of the input, 1 or 3, if the model does not show it.", extra=_IN_MODEL)
    ] = None
    scale: Annotated[
        Literal["imagenet", "unit", "symmetric", "torchxrayvision", ""],
        Meta(
            description="Grey values of the input: imagenet (its mean and deviation), unit (0 to 1), symmetric (-1 to 1) or "
            "torchxrayvision (-1024 to 1024).",
            extra=_IN_MODEL,
        ),
    ] = ""
    mean: Annotated[
        tuple[float, ...], Meta(description="Mean that is taken out, of each channel or of all.", extra=_IN_MODEL)
    ] = ()
    std: Annotated[tuple[float, ...], Meta(description="Standard deviation that is divided by.", extra=_IN_MODEL)] = ()
    value_range: Annotated[
        tuple[float, ...],
        Meta(description="Value of black and of white before mean and deviation, such as 0,255.", extra=_IN_MODEL),
    ] = ()
    per_image: Annotated[
        bool | None, Meta(description="Take out each image's own mean and deviation.", extra=_IN_MODEL)
    ] = None
    fit: Annotated[
        Fit | Literal[""],
        Meta(
            description="How an image becomes the input's size: squash (aspect ratio not kept), shorter-side (then the centre), letterbox "
            "(padded) or none.",
            extra=_IN_MODEL,
        ),
    ] = ""
    shorter_px: Annotated[
        int | None,
        Meta(
            description="Length of the shorter side before the centre is taken; default: the input's.", extra=_IN_MODEL
        ),
    ] = None
    interpolation: Annotated[
        Interpolation | Literal[""],
        Meta(description="Interpolation of the scaling: nearest, bilinear, bicubic, lanczos or area.", extra=_IN_MODEL),
    ] = ""
    library: Annotated[
        Library | Literal[""],
        Meta(description="Library whose scaling is used: pil, opencv, torch or torch-antialias.", extra=_IN_MODEL),
    ] = ""
    pad: Annotated[int | None, Meta(description="Grey value of a letterbox's padding, 0 to 255.", extra=_IN_MODEL)] = (
        None
    )
    crop: Annotated[
        tuple[float, ...],
        Meta(
            description="Part of the image that is used: LEFT,TOP,RIGHT,BOTTOM as shares from 0 to 1.", extra=_IN_MODEL
        ),
    ] = ()
    clahe: Annotated[
        float | None,
        Meta(description="Clip limit of CLAHE (OpenCV, 8 x 8 tiles) before scaling; default: none.", extra=_IN_MODEL),
    ] = None
    preprocess: Annotated[
        str,
        Meta(description="package.module:function that prepares an image in place of these settings.", extra=_IN_MODEL),
    ] = ""
    check: Annotated[
        str,
        Meta(
            description="Table of the answers of your own pipeline (image, one probability column per class); differences stop the run.",
            extra=_IN_MODEL,
        ),
    ] = ""
    data: Annotated[
        str, Meta(description="Manifest (CSV or Parquet); default: the manifest that the bundle was trained on.")
    ] = ""
    layout: Annotated[
        str,
        Meta(
            description="Data set in a folder without a manifest: auto, nih, chexpert, mimic-cxr-jpg, padchest, vindr, rsna, or folders "
            "(one for each class)."
        ),
    ] = "auto"
    columns: Annotated[
        Mapping[str, str],
        Meta(description="Names of the manifest's columns, path=Path,label=target,...; the others are recognised."),
    ] = field(default_factory=dict)
    task: Annotated[Task | Literal[""], Meta(description="Task of a model that does not state its own.")] = ""
    split: Annotated[
        Literal["auto", "test", "train", "validation", "all"],
        Meta(description="Split to audit; auto is the test split where there is one."),
    ] = "auto"
    suite: Annotated[str, Meta(description="Suite of conditions: quick, standard, full, or a TOML file.")] = "standard"
    detector: Annotated[str, Meta(description="Text finder: cascade, rapidocr, markers, easyocr or annotated.")] = (
        "cascade"
    )
    boxes: Annotated[
        str,
        Meta(
            description="File of hand-drawn text boxes: the only source of the finder annotated, and added to the regions of "
            "any other finder."
        ),
    ] = ""
    ignore_label: Annotated[tuple[str, ...], Meta(description="Label that is not part of the task; repeatable.")] = ()
    on_bad_image: Annotated[
        Literal["fail", "skip"], Meta(description="Fail at an unreadable image, or skip and count it.")
    ] = "fail"
    seed: Annotated[int, Meta(description="Seed of every draw and resample.", ge=0, le=_LARGEST_SEED)] = 0
    resamples: Annotated[int, Meta(description="Bootstrap resamples of patients.", ge=100)] = 10_000
    level: Annotated[float, Meta(description="Nominal coverage of confidence intervals.", ge=0.5, lt=1)] = 0.95
    relevance_images: Annotated[
        int, Meta(description="Number of images with an LRP heatmap, drawn at random; 0 for none.", ge=0)
    ] = 500
    relevance_preset: Annotated[str, Meta(description="LRP preset, or gradient-x-input or occlusion.")] = (
        "epsilon-plus-flat"
    )
    relevance_start: Annotated[str, Meta(description="Where relevance starts: winner, a class, or a contrast A-B.")] = (
        "winner"
    )
    judge_images: Annotated[
        int, Meta(description="Number of images on which EasyOCR checks the text finder; 0 for none.", ge=0)
    ] = 5
    workers: Annotated[
        int, Meta(description="Number of processes that find text and predict; it changes no result.", ge=1)
    ] = 1
    runs: Annotated[str, Meta(description="Folder for run folders.")] = "runs"
    models: Annotated[str, Meta(description="Folder of bundles.")] = "models"
    cache: Annotated[str, Meta(description="Folder of the text cache.")] = ".audit-cache"
    data_name: Annotated[str, Meta(description="Name of the data in reports; default: first digits of its hash.")] = ""
    plain_ids: Annotated[bool, Meta(description="Use ids instead of pseudonyms for images and patients.")] = False
    show_text: Annotated[bool, Meta(description="Do not cover text that may identify a patient.")] = False
    tolerance: Annotated[
        Mapping[str, Annotated[float, Meta(gt=0, lt=1)]],
        Meta(description="Measure -> the largest effect that counts as small."),
    ] = field(default_factory=dict)
    recall: Annotated[
        Mapping[str, tuple[int, int]],
        Meta(description="Class, or all -> [text boxes found, text boxes] of the finder on a labelled sample."),
    ] = field(default_factory=dict)
    gate: Annotated[Mapping[str, Any] | None, Meta(description="Rules that the effects are judged by.")] = None


_PLURALS: Mapping[type, str] = {str: "strings", int: "integers", float: "numbers"}
_SINGULARS: Mapping[type, str] = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    Mapping: "a table",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One setting, as its field of `Settings` declares it."""

    name: str
    """Name of the field, and of the argument in Python."""
    help: str
    """What it is, in one line."""
    type: Any
    """Its type, without the range."""
    checked: Any
    """Its type with the range, against which a value is checked."""
    default: Any
    """Its default."""
    limits: Meta
    """Its range."""

    @property
    def is_table(self) -> bool:
        """Whether it is a table of its own in a configuration file."""
        return any(get_origin(kind) is Mapping for kind in (self.type, *get_args(self.type)))

    @property
    def section(self) -> str:
        """Section of a configuration file that it stands in."""
        told: str = (self.limits.extra or {}).get("section", "run")
        return self.name if self.is_table else told

    @property
    def is_commas(self) -> bool:
        """Whether an option gives all its values at once, separated by commas."""
        return get_origin(self.type) is tuple and self.section == "model"

    @property
    def is_pairs(self) -> bool:
        """Whether it is a table of names, which an option and a variable can hold as `a=b,c=d`."""
        return get_origin(self.type) is Mapping and get_args(self.type) == (str, str)

    @property
    def has_option(self) -> bool:
        """Whether an option and a variable set it."""
        return self.is_pairs or not self.is_table

    @property
    def flag(self) -> str:
        """Its option on the command line."""
        told: str = (self.limits.extra or {}).get("flag", f"--{self.name.replace('_', '-')}")
        return told

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return f"AUDIT_{self.name.upper()}"

    @property
    def key(self) -> str:
        """Its place in a configuration file."""
        return f"[{self.name}]" if self.is_table else f"[{self.section}] {self.name}"

    @property
    def choices(self) -> tuple[str, ...]:
        """The only values that it takes; empty where there are others."""
        return tuple(choice for choice in _literals(self.type) if choice)

    @property
    def expected(self) -> str:
        """What a value must be, in words."""
        if self.is_pairs:
            return "a table of strings"
        if self.is_table:
            return "a table"
        if self.choices:
            return " or ".join((", ".join(self.choices[:-1]), self.choices[-1]))
        if get_origin(self.type) is tuple:
            return f"a list of {_PLURALS[get_args(self.type)[0]]}"
        if get_origin(self.type) is not None:  # a number or switch that may also be left open
            return _SINGULARS[next(kind for kind in get_args(self.type) if kind is not type(None))]
        return f"{_SINGULARS[self.type]}{_range_in_words(self.limits)}"


@cache
def declared_settings() -> Mapping[str, Setting]:
    """Return every setting by its name, in the order of the declaration."""
    found = {}
    for declared in fields(Settings):
        kind, *about = get_args(declared.type)
        default = declared.default_factory() if callable(declared.default_factory) else declared.default
        found[declared.name] = Setting(
            name=declared.name,
            help=about[0].description,
            type=kind,
            checked=declared.type,
            default=default,
            limits=about[0],
        )
    return found


def load_settings(given: Mapping[str, Any], folder: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """Merge the sources of settings.

    Parameters
    ----------
    given : mapping
        Values from the command line; None means not given.
    folder : Path
        Where audit.toml and pyproject.toml are looked for.
    environment : mapping, optional
        `os.environ` if omitted.

    Raises
    ------
    UnknownNameError
        If a file has a key that no setting has.
    UsageError
        If a value is of the wrong kind or outside its range; the message says where it was set.
    """
    merged = dict(_from_files(folder))
    variables = os.environ if environment is None else environment
    for setting in declared_settings().values():
        text = variables.get(setting.variable, "") if setting.has_option else ""
        if text != "":
            merged[setting.name] = setting.variable, _from_text(setting, text)
        if given.get(setting.name) is not None:
            value = given[setting.name]
            merged[setting.name] = setting.flag, _of_option(setting, value)
    return _checked(merged)


def make_settings(given: Mapping[str, Any]) -> Settings:
    """Make settings from a caller's arguments alone: no file and no variable is read; a path may be given for a string.

    Raises
    ------
    UnknownNameError
        If an argument is not a setting.
    UsageError
        If a value is of the wrong kind or outside its range.
    """
    for name in given:
        if name not in declared_settings():
            raise UnknownNameError("setting", name, declared_settings())
    return _checked(
        {
            name: (f"the setting {name}", os.fspath(value) if isinstance(value, os.PathLike) else value)
            for name, value in given.items()
        }
    )


def check_settings(settings: Settings) -> None:
    """Check every setting that can be checked by itself, before anything is read or computed.

    What depends on the model, the suite or the data is checked by `audit.run.preparation.prepare`.

    Raises
    ------
    UnknownNameError
        If a choice or a tolerance has an unknown name.
    UsageError
        If a value is of the wrong kind or outside its range.
    """
    make_settings(asdict(settings))


def _from_files(folder: Path) -> Iterator[tuple[str, tuple[str, Any]]]:
    """Yield each setting of the first configuration file: its name, and where it stands and its value."""
    from audit.store.documents import read_toml  # not needed for --help

    own, shared = folder / "audit.toml", folder / "pyproject.toml"
    path = own if own.is_file() else shared
    if not path.is_file():
        return
    try:
        document = read_toml(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as TOML: {error}.") from error
    table: Any = document
    for name in () if path is own else ("tool", "audit"):
        table = table.get(name, {}) if isinstance(table, Mapping) else table
    if not isinstance(table, Mapping):
        raise UsageError(f"[tool.audit] in {path} must be a table, found {shown_value(table)}.")
    settings = declared_settings()
    sections = list(dict.fromkeys(s.section for s in settings.values()))
    for section, content in table.items():
        if section not in sections:
            raise UnknownNameError(f"section of {path}", section, sections)
        if not isinstance(content, Mapping):
            raise UsageError(
                f"[{section}] in {path} must be a table, found {type(content).__name__}; rules are [[gate.rule]]."
            )
        if section in settings and settings[section].is_table:
            yield section, (f"{settings[section].key} in {path.name}", content)
            continue
        known = [s.name for s in settings.values() if s.section == section]
        for name, value in content.items():
            if name not in known:
                raise UnknownNameError(f"key of [{section}] in {path}", name, known)
            yield name, (f"{settings[name].key} in {path.name}", value)


def _from_text(setting: Setting, text: str) -> Any:
    """Parse the text of an environment variable; a text that cannot be parsed is returned as it is, and rejected later."""
    if setting.is_pairs:
        return _pairs(text)
    if get_origin(setting.type) is tuple:
        return _listed(setting, text)
    plain = {"yes": "true", "no": "false"}.get(text.lower(), text) if setting.type is bool else text.strip()
    try:
        return convert(plain, setting.type, strict=False)
    except ValidationError:
        return text


def _of_option(setting: Setting, value: Any) -> Any:
    """Return the value of an option, of which some are lists or tables in one text."""
    if setting.is_pairs and isinstance(value, str):
        return _pairs(value)
    return _listed(setting, value) if setting.is_commas and isinstance(value, str) else value


def _listed(setting: Setting, text: str) -> Any:
    """Return `a,b,c` as a list of strings or numbers; a text that is not written so stays, and is refused as such."""
    parts = tuple(part.strip() for part in text.split(","))
    if not setting.is_commas:  # among the names of a model's outputs an empty one has a meaning: its output is dropped
        parts = tuple(part for part in parts if part)
    try:
        return convert(parts, setting.type, strict=False)
    except ValidationError:
        return text


def _pairs(text: str) -> Any:
    """Parse `a=b,c=d` as a table; a text of another form is returned as it is, and rejected later."""
    parts = [part.partition("=") for part in text.split(",")]
    table = {key.strip(): value.strip() for key, mark, value in parts if mark and key.strip() and value.strip()}
    return table if len(table) == len(parts) else text


def _checked(merged: Mapping[str, tuple[str, Any]]) -> Settings:
    """Check values against the declaration; each comes with a description of where it was set."""
    values = {name: _checked_value(declared_settings()[name], *found) for name, found in merged.items()}
    return Settings(**values)


def _checked_value(setting: Setting, where: str, value: Any) -> Any:
    if setting.name == "tolerance":
        return _checked_tolerances(where, value)
    try:
        return convert(value, setting.checked)
    except ValidationError as error:
        subject = where[0].upper() + where[1:]
        if setting.choices and isinstance(value, str):
            raise UnknownNameError(f"value of {where}", value, setting.choices) from error
        if setting.name == "recall" and isinstance(value, Mapping):
            raise UsageError(
                f"{subject} must hold [found, boxes] for each class, two integers as `audit text score` prints them; found "
                f"{shown_value(value)}."
            ) from error
        usual = f" The default is {setting.default}." if setting.default not in ("", (), None) else ""
        raise UsageError(f"{subject} must be {setting.expected}, found {shown_value(value)}.{usual}") from error


def _checked_tolerances(where: str, value: Any) -> dict[str, float]:
    from audit.statistics.catalogue import default_tolerances

    known = default_tolerances()

    if not isinstance(value, Mapping):
        raise UsageError(f"{where[0].upper()}{where[1:]} must be a table of measures, found {shown_value(value)}.")
    one = get_args(declared_settings()["tolerance"].type)[1]
    checked: dict[str, float] = {}
    for measure, limit in value.items():
        if measure not in known:
            raise UnknownNameError("judged measure in [tolerance]", measure, known)
        try:
            checked[measure] = convert(limit, one)
        except ValidationError as error:
            expected = f"{_SINGULARS[float]}{_range_in_words(get_args(one)[1])}"
            raise UsageError(f"The tolerance of {measure} must be {expected}; found {shown_value(limit)}.") from error
    return checked


def _range_in_words(limits: Meta) -> str:
    match (limits.ge, limits.gt, limits.le, limits.lt):
        case (None, None, None, None):
            return ""
        case (least, None, None, None):
            return f" of at least {least}"
        case (least, None, most, None):
            return f" from {least} to {most}"
        case (least, None, None, below):
            return f" of at least {least} and below {below}"
        case (None, above, None, below):
            return f" between {above} and {below}, both excluded"
    raise TypeError(f"No words are known for the range {limits!r}.")


def _literals(kind: Any) -> tuple[str, ...]:
    """Return the values of a Literal, or of a union of them."""
    if get_origin(kind) is Literal:
        return tuple(get_args(kind))
    parts = [_literals(part) for part in get_args(kind)]
    return tuple(value for part in parts for value in part) if parts and all(parts) else ()

"""Settings of an audit, each declared once.

A field of `Settings` is the declaration: its type with the range, its default and its help. Its option, environment variable and
TOML key follow from its name (`audit.run.setting`), and so do the checks (`audit.run.setting_checks`), the sources
(`audit.run.setting_sources`), the signatures of the front doors, and the table in the documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from audit.data.input_choices import Colour, Fit, Interpolation, Library, Scale
from audit.data.tasks import Task

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
            description="Class of each output in order, a,b,c; or a published order: paper, chexnet, chestxray15 or torchxrayvision.",
            extra=_IN_MODEL,
        ),
    ] = ()
    answers: Annotated[
        Literal["logits", "probabilities", ""],
        Meta(description="What the numbers of the outputs are, if the model does not show it.", extra=_IN_MODEL),
    ] = ""
    operating_points: Annotated[
        tuple[float, ...],
        Meta(
            description="Probability above which each output of a multi-label network counts as found, in order, or one for all; default: "
            "as the model states, or by Youden's index on the unedited images.",
            extra=_IN_MODEL,
        ),
    ] = ()
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
    colour: Annotated[
        Colour | Literal[""],
        Meta(
            description="Whether the network is shown colours: rgb or bgr (the order of its channels), or grey (three equal channels); "
            "default: as the model's library states, else grey.",
            extra=_IN_MODEL,
        ),
    ] = ""
    scale: Annotated[
        Scale | Literal[""],
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
    remote: Annotated[
        tuple[str, ...],
        Meta(description="Addresses below which a manifest may name images: s3://bucket,https://host/folder."),
    ] = ()
    task: Annotated[
        Task | Literal[""],
        Meta(
            description="Task of a model that does not state its own: single-label, binary or multi-label (a sigmoid for each output)."
        ),
    ] = ""
    emit: Annotated[
        str,
        Meta(
            description="For a product that cannot be loaded: folder to write every edited image to, with a table for its answers. The run "
            "ends there; --model is then only the product's name."
        ),
    ] = ""
    emit_as: Annotated[
        Literal["png", "dicom"],
        Meta(
            description="Form of the images written: png, or dicom where the original is DICOM, with its tags that identify nobody."
        ),
    ] = "png"
    predictions: Annotated[
        str,
        Meta(
            description="Table of the product's answers to the images of --emit (image, one column per class); finishes the audit."
        ),
    ] = ""
    split: Annotated[
        Literal["auto", "test", "train", "validation", "all"],
        Meta(description="Split to audit; auto is the test split where there is one."),
    ] = "auto"
    max_images: Annotated[
        int,
        Meta(
            description="Audit a sample of at most this many images, drawn from the seed: classes in proportion, as many patients as "
            "possible; 0 for all.",
            ge=0,
        ),
    ] = 0
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
        Annotated[int, Meta(ge=0)] | Literal["auto"],
        Meta(
            description="Number of images with a heatmap, drawn at random; 0 for none; auto: 500, or where only occlusion is possible as "
            "many as take no more predictions than the audit, at least 4."
        ),
    ] = "auto"
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
        Annotated[int, Meta(ge=1)] | Literal["auto"],
        Meta(description="Number of processes; it changes no result. auto: one for each core."),
    ] = "auto"
    engine: Annotated[
        Literal["auto", "serial", "processes", "ray"],
        Meta(
            description="What finds text and predicts; it changes no result. serial: this process; processes: --workers of them; ray: a "
            "Ray cluster; auto: processes where they pay."
        ),
    ] = "auto"
    address: Annotated[
        str, Meta(description="HOST:PORT of the Ray cluster, or auto; default: RAY_ADDRESS or this machine.")
    ] = ""
    shard: Annotated[
        str,
        Meta(
            description="NUMBER/OF: do one share of the predictions, such as 2/8, beside other jobs with the same command, folders and "
            "cache; the last one to finish completes the audit."
        ),
    ] = ""
    backend: Annotated[
        Literal["auto", "torch", "onnxruntime"],
        Meta(
            description="What computes predictions: torch, onnxruntime, or auto: onnxruntime where the audit is large enough and its "
            "probabilities are those of torch within 0.0001, otherwise torch."
        ),
    ] = "auto"
    device: Annotated[
        str,
        Meta(
            description="Where the network computes predictions: cpu, cuda, cuda:N, mps, or auto: a CUDA device where there is one, "
            "otherwise the CPU."
        ),
    ] = "auto"
    batch_size: Annotated[
        Annotated[int, Meta(ge=1)] | Literal["auto"],
        Meta(
            description="Inputs that pass through the network together; auto: 16 of one image on the CPU, up to 256 of several images on "
            "another device, half as many each time that its memory does not suffice."
        ),
    ] = "auto"
    runs: Annotated[str, Meta(description="Folder for run folders.")] = "runs"
    models: Annotated[str, Meta(description="Folder of bundles.")] = "models"
    cache: Annotated[str, Meta(description="Folder of the cache of text regions and exported networks.")] = (
        ".audit-cache"
    )
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

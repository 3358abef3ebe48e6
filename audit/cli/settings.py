"""Settings on the command line: an option for each, made from its declaration."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_origin

import typer

from audit.run.setting import Setting, declared_settings
from audit.run.setting_sources import load_settings

if TYPE_CHECKING:  # pyarrow is not needed for --help
    from audit.data.reading import TableOptions
    from audit.run.settings import Settings


def setting_help(name: str) -> str:
    """Return the help of a setting, for a command that takes this one alone."""
    return declared_settings()[name].help


ColumnsOption = Annotated[str | None, typer.Option(help=setting_help("columns"), metavar="COLUMN=NAME,...")]
LayoutOption = Annotated[str | None, typer.Option(help=setting_help("layout"))]
"""For commands that read a manifest, and have no other setting of it."""


def table_options(columns: str | None, layout: str | None) -> TableOptions:
    """Return how a command without settings of its own reads its manifest: its options, over those of `audit run`."""
    from audit.data.columns import check_given
    from audit.data.reading import TableOptions

    settings = load_settings({"columns": columns, "layout": layout}, Path())
    check_given(settings.columns)
    return TableOptions(columns=settings.columns, layout=settings.layout, remote=settings.remote)


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each setting, and make sure that a model is named; see `with_some_settings`."""

    @wraps(command)
    def named(settings: Settings, **own: Any) -> None:
        if not (settings.model or settings.emit or settings.predictions):
            raise typer.BadParameter(
                "no model is named; use --model NAME, or set model in [run] of audit.toml; for a product that cannot be loaded use --emit "
                "FOLDER"
            )
        command(settings, **own)

    return with_some_settings(named, lambda _: True)


def with_some_settings(command: Callable[..., None], chosen: Callable[[Setting], bool]) -> Callable[..., None]:
    """Give a command an option for some settings, in front of its own, in place of its first parameter `settings`.

    Parameters
    ----------
    command : callable
        It gets the settings of all sources, checked.
    chosen : callable
        Says of a setting whether it is offered.

    Returns
    -------
    callable
        What typer reads its options from.
    """
    offered = [setting for setting in declared_settings().values() if setting.has_option and chosen(setting)]
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    parameters = [_parameter(setting) for setting in offered] + [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own
    ]

    @wraps(command)
    def run(**given: Any) -> None:
        named = {setting.name: given.pop(setting.name) for setting in offered}
        # typer gives an empty list for an option that is repeatable and was not given.
        command(load_settings({name: value for name, value in named.items() if value != []}, Path()), **given)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _parameter(setting: Setting) -> inspect.Parameter:
    is_silent = setting.default in ("", (), {}, None) or setting.type is bool
    shown = setting.help if is_silent else f"{setting.help} [default: {setting.default}]"
    choices = f"<{'|'.join(setting.choices)}>" if setting.choices else "COLUMN=NAME,..." if setting.is_pairs else None
    if setting.words:
        choices = "|".join(("INTEGER", *setting.words))
    in_one = setting.choices or setting.is_pairs or setting.is_commas or setting.words
    kind = str if in_one else list[str] if get_origin(setting.type) is tuple else setting.type
    # An option under its own name is named by typer, which gives a switch its opposite.
    named = () if setting.flag == f"--{setting.name.replace('_', '-')}" else (setting.flag,)
    option = typer.Option(*named, help=shown, metavar=choices, show_default=False)
    return inspect.Parameter(
        setting.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, option],
    )

"""The command line: it reads what is asked for, and leaves the work to `audit.commands`."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from audit.cli.auditing import plan_command, run_command
from audit.cli.baselines import baseline_app
from audit.cli.calibrating import calibrate_command
from audit.cli.case import case_command
from audit.cli.history import history_command
from audit.cli.looking import look_command
from audit.cli.mending import mend_command
from audit.cli.runs import diff_command, export_command, gate_command, report_command
from audit.cli.text import text_app
from audit.cli.training import curves_command, data_app, demo_command, import_command, train_command
from audit.cli.verifying import verify_command
from audit.cli.view import view_command
from audit.commands.streams import flush_streams, guard_streams
from audit.errors import AuditError, shown_message, shown_string
from audit.prediction.interrupts import Interrupted, interruptible

# rich strips colours for NO_COLOR by itself, but typer forces terminal codes on some CI machines.
if os.environ.get("NO_COLOR"):
    os.environ.setdefault("_TYPER_FORCE_DISABLE_TERMINAL", "1")

app = typer.Typer(
    help="Does the network rely on the image, or on the text printed on it and the place where it was acquired?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="Exit codes: 0 pass, 1 a gate failed, 2 wrong use, 3 inconclusive, 4 could not complete, 5 not comparable with the "
    "baseline, 128 + n ended by signal n (130: Ctrl-C).",
)

for name, command in (
    ("run", run_command),
    ("plan", plan_command),
    ("train", train_command),
    ("import", import_command),
    ("look", look_command),
    ("demo", demo_command),
    ("report", report_command),
    ("export", export_command),
    ("curves", curves_command),
    ("gate", gate_command),
    ("diff", diff_command),
    ("history", history_command),
    ("verify", verify_command),
    ("calibrate", calibrate_command),
    ("view", view_command),
    ("case", case_command),
    ("mend", mend_command),
):
    app.command(name)(command)
for name, group in (("data", data_app), ("text", text_app), ("baseline", baseline_app)):
    app.add_typer(group, name=name)


@app.command("list")
def list_command(
    kind: Annotated[
        str, typer.Argument(help="models, perturbations, suites, detectors, recipes, measures or sections.")
    ],
) -> None:
    """List the available models, perturbations, suites, text finders, recipes, measures or sections of the report."""
    from audit.commands import looking

    raise typer.Exit(looking.list_names(kind))


@app.command("doctor")
def doctor_command() -> None:
    """Check the installation and list what is missing."""
    from audit.commands import looking

    raise typer.Exit(looking.doctor())


_USAGE_ERROR: type[Exception] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")
"""What typer raises for wrong use; it brings its own copy of click or not, by its version."""


def main() -> None:
    """Run the command line; every failure becomes one paragraph and its exit code, whatever happens to the streams."""
    guard_streams()
    with interruptible():
        code, complaint, said = _run()
        complaint = shown_message(complaint)
        if complaint and not said:
            sys.stderr.write(f"audit: {complaint}\n")
        if complaint and _wants_json(sys.argv[1:]):
            sys.stdout.write(json.dumps({"error": complaint, "exit_code": code}, indent=2, sort_keys=True) + "\n")
        flush_streams(complained=bool(complaint))
    raise SystemExit(code)


def _run() -> tuple[int, str, bool]:
    """Return the exit code, a message for it (empty where the command printed everything), and whether it was printed."""
    try:
        try:
            app()
        except SystemExit as end:
            return _ended(end)
    except AuditError as error:
        return error.exit_code, str(error), False
    except Interrupted as end:
        kept = f"Interrupted by {end.name}. The results so far are kept; repeat the command to continue."
        return end.exit_code, kept, False
    except MemoryError:
        said = "This machine does not have enough memory. Use smaller files or fewer --workers. The results so far are kept."
        return 4, said, False
    except OSError as error:
        if os.environ.get("AUDIT_DEBUG"):
            traceback.print_exc()
        about = shown_string(os.fsdecode(error.filename), 200) if isinstance(error.filename, (str, bytes)) else "a file"
        said = (
            f"The audit could not be completed: {about}: {error.strerror or error}. Check the file and its folder. The results so far "
            "are kept."
        )
        return 4, said, False
    except Exception as error:  # an uncaught error must never read as "gate failed", which is exit code 1
        if os.environ.get("AUDIT_DEBUG"):
            traceback.print_exc()
        fault = (
            f"The audit could not be completed: {type(error).__name__}: {error}. This is a bug in audit; set "
            "AUDIT_DEBUG=1 to see where. The results so far are kept."
        )
        return 4, fault, False
    return 0, "", True


def _ended(end: SystemExit) -> tuple[int, str, bool]:
    """Return what typer ended with; raise what it took for a closed terminal, or what somebody else ended us with.

    It answers any EOFError and broken pipe, such as those of a damaged file or a dead server, with exit code 1; and code that is
    audited, or plugged in, may call `sys.exit` too. None of these is a verdict.
    """
    told: BaseException | None = end.__context__
    if isinstance(told, typer.Abort):
        told = told.__cause__ or told
    if isinstance(told, _USAGE_ERROR):
        return 2, str(getattr(told, "message", told)), True
    if isinstance(told, typer.Exit) or "_AUDIT_COMPLETE" in os.environ:
        return (end.code if isinstance(end.code, int) else 0), "", True
    if isinstance(told, Exception):
        raise told
    raise AuditError(f"The audit could not be completed: a library ended the process (code {end.code}).")


def _wants_json(arguments: Sequence[str]) -> bool:
    """Say whether the caller reads JSON on standard output; it gets the failure there too."""
    return "--json" in (arguments[: arguments.index("--")] if "--" in arguments else arguments)


if __name__ == "__main__":
    main()

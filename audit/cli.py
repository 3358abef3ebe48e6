"""The command line: it reads what is asked for, and leaves the work to `audit.commands`."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from types import FrameType
from typing import Annotated, NoReturn

import typer

from audit.cli_audit import plan_command, run_command
from audit.cli_baseline import baseline_app
from audit.cli_case import case_command
from audit.cli_look import look_command
from audit.cli_runs import diff_command, export_command, gate_command, report_command, verify_command
from audit.cli_text import text_app
from audit.cli_training import curves_command, data_app, demo_command, import_command, train_command
from audit.errors import AuditError

# rich strips colours for NO_COLOR by itself, but typer forces terminal codes on some CI machines.
if os.environ.get("NO_COLOR"):
    os.environ.setdefault("_TYPER_FORCE_DISABLE_TERMINAL", "1")

app = typer.Typer(
    help="Does the network read the picture, or the labels printed on it and the place where it was taken?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="Exit codes: 0 pass, 1 a gate failed, 2 wrong use, 3 inconclusive, 4 could not complete, 130 interrupted.",
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
    ("verify", verify_command),
    ("case", case_command),
):
    app.command(name)(command)
for name, group in (("data", data_app), ("text", text_app), ("baseline", baseline_app)):
    app.add_typer(group, name=name)


@app.command("list")
def list_command(
    kind: Annotated[str, typer.Argument(help="models, perturbations, suites, detectors, recipes or metrics.")],
) -> None:
    """List what is known by name."""
    from audit.commands import looking

    raise typer.Exit(looking.list_names(kind))


@app.command("doctor")
def doctor_command() -> None:
    """Say what is installed, and what an audit would lack."""
    from audit.commands import looking

    raise typer.Exit(looking.doctor())


class _Interrupted(BaseException):
    """Ctrl-C. Not KeyboardInterrupt, which the command line's library would answer in its own words."""


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise _Interrupted


def main() -> None:
    """Run the command line; every failure becomes one paragraph and its exit code."""
    before = signal.signal(signal.SIGINT, _interrupt)
    try:
        app()
    except AuditError as error:
        _complain(str(error))
        raise SystemExit(error.exit_code) from None
    except _Interrupted:
        _complain("Interrupted. What was computed is kept; the same command goes on from there.")
        raise SystemExit(130) from None
    except BrokenPipeError:
        # The reader of our output went away; that is its right.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except Exception as error:  # an uncaught error must never read as "gate failed", which is exit code 1
        if os.environ.get("AUDIT_DEBUG"):
            traceback.print_exc()
        _complain(
            f"The audit could not be completed: {type(error).__name__}: {error}. This is a fault of the program; with "
            "AUDIT_DEBUG=1 it prints where. What was computed is kept."
        )
        raise SystemExit(4) from None
    finally:
        signal.signal(signal.SIGINT, before)


def _complain(message: str) -> None:
    sys.stderr.write(f"audit: {message}\n")


if __name__ == "__main__":
    main()

"""A share of an audit: one of several jobs that work on the same run, such as those of a cluster's job array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from audit.errors import AuditError, UsageError
from audit.run.settings import Settings

T = TypeVar("T")
MOST_SHARES = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """Which part of the work a job does."""

    number: int = 1
    """Of the job, from 1."""
    of: int = 1
    """Jobs in all."""

    def own(self, items: Sequence[T]) -> list[T]:
        """Return the items that are this job's: every item belongs to exactly one."""
        return list(items[self.number - 1 :: self.of])


WHOLE = Share()
"""The only job."""


class OtherSharesMissingError(AuditError):
    """A job has done its share, and the run waits for others: no fault, and the command line says so with exit code 0.

    Parameters
    ----------
    run : Path
        The run folder.
    share : Share
        What was done.
    missing : sequence of int
        Numbers of the jobs whose predictions are not there yet.
    n_parts : (int, int)
        Parts of the predictions that are there, and all.
    """

    exit_code = 0

    def __init__(self, *, run: Path, share: Share, missing: Sequence[int], n_parts: tuple[int, int]) -> None:
        self.run, self.share, self.missing, self.n_parts = run, share, tuple(missing), n_parts
        shown = ", ".join(map(str, self.missing[:20])) + (", …" if len(self.missing) > 20 else "")
        super().__init__(
            f"Share {share.number} of {share.of} is done; {n_parts[0]} of {n_parts[1]} parts of the predictions of {run} are there. "
            f"Shares that are not done: {shown}. The last one to finish completes the audit; so does the same command without --shard."
        )


def read_share(text: str) -> Share:
    """Read `NUMBER/OF`, such as 2/8; empty means the whole.

    Raises
    ------
    UsageError
        If it is not of this form, or the number is beyond the number of jobs.
    """
    if not text:
        return WHOLE
    number, _, of = text.partition("/")
    if number.isdecimal() and of.isdecimal() and len(text) <= 11 and 1 <= int(number) <= int(of) <= MOST_SHARES:
        return Share(number=int(number), of=int(of))
    raise UsageError(
        f"--shard must be NUMBER/OF, such as 2/8, with a number from 1 to OF and at most {MOST_SHARES:,} shares; found {text[:40]!r}."
    )


def check_whole(settings: Settings, doing: str) -> None:
    """Refuse a share of what cannot be shared.

    Raises
    ------
    UsageError
        If the settings ask for a share.
    """
    if settings.shard:
        raise UsageError(f"--shard divides the predictions of `audit run`; {doing} is done by one job. Omit --shard.")

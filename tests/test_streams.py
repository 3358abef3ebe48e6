"""Exit codes, whatever happens to the streams; signals; locales without our letters: each in a process of its own."""

from __future__ import annotations

import codecs
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.cli import main as cli
from audit.commands import streams
from audit.errors import AuditError
from audit.prediction.shards import SHARD_RECORDS

from .conftest import Audit, one_paragraph, quick_audit
from .forked_commands import said_by, started_anew, wait_until

AUDIT = f"{sys.executable} -m audit"
# Of the clean images: the outputs of a random network hardly vary, so nothing can be concluded about what edits do to them.
RULE = '[[gate.rule]]\nid = "own"\nmeasure = "accuracy"\nwhere = {{ condition = "clean" }}\n{limit}\n'
STREAMS = (
    "| true", "> /dev/full", "2> /dev/full", "> /dev/full 2>&1", ">&-", "2>&-", "<&- >&- 2>&-", "> /dev/null", "2>&1 | head -c 1",
)  # fmt: skip
LIMITS = {0: "min = 0.0", 1: "max = 0.0", 3: "min = 0.0\n[gate]\nmin_images = 99999"}
ASCII = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def shell(script: str, folder: Path, **variables: str) -> tuple[int, str, str]:
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
        capture_output=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout.decode("utf-8", "surrogateescape"), done.stderr.decode("utf-8", "replace")


def write_rule(folder: Path, code: int) -> None:
    limit, _, table = LIMITS[code].partition("\n")
    (folder / "audit.toml").write_text(f"{table}\n{RULE.format(limit=limit)}")


@pytest.mark.parametrize("code", LIMITS)
@pytest.mark.parametrize("streams", STREAMS)
def test_a_verdict_is_its_exit_code_whatever_becomes_of_the_streams(
    kept: Path, tmp_path: Path, code: int, streams: str
) -> None:
    write_rule(tmp_path, code)
    # Every code with every stream, and both forms of output with every code and stream: a process starts in half a second.
    options = "--json" if (code + STREAMS.index(streams)) % 2 else ""
    found, _, err = shell(f"{AUDIT} gate {kept} {options} {streams}; exit ${{PIPESTATUS[0]}}", tmp_path)
    assert found == code, (options, err)
    assert "Traceback" not in err
    assert "Exception ignored" not in err
    if streams == "> /dev/full":
        assert "Standard output could not be written (No space left on device)" in one_paragraph(err)
    elif "2>" not in streams:
        assert err == ""


@pytest.mark.parametrize("streams", ["| true", "> /dev/full", "2> /dev/full", ">&- 2>&-"])
def test_mistakes_and_help_keep_theirs(tmp_path: Path, streams: str) -> None:
    for arguments, code in (
        ("gate nowhere", 4),
        ("gate", 2),
        ("run --modle x", 2),
        ("list odd --json", 2),
        ("--help", 0),
    ):
        found, _, err = shell(f"{AUDIT} {arguments} {streams}; exit ${{PIPESTATUS[0]}}", tmp_path)
        assert found == code, (arguments, err)
        assert "Traceback" not in err


def test_a_lost_export_is_no_success(kept: Path, tmp_path: Path) -> None:
    code, _, err = shell(f"{AUDIT} export model-card {kept} > /dev/full", tmp_path)
    assert code == 4
    assert "No space left" in one_paragraph(err)
    assert shell(f"{AUDIT} export model-card {kept} | head -1; exit ${{PIPESTATUS[0]}}", tmp_path)[0] == 0


def test_nothing_is_written_into_files_that_take_a_closed_streams_number(kept: Path, tmp_path: Path) -> None:
    write_rule(tmp_path, 0)
    script = f"{AUDIT} gate {kept} --junit j.xml --sarif s.sarif --github >&- 2>&-"
    assert shell(script, tmp_path)[0] == 0
    assert json.loads((tmp_path / "s.sarif").read_text())["version"] == "2.1.0"
    assert (tmp_path / "j.xml").read_text().endswith("</testsuite>")


COMMANDS = (
    "gate {run}", "gate {run} --github", "gate {run} --json", "diff {run} {run}", "diff {run} {run} --md", "verify {run}",
    "report {run}", "export model-card {run}", "export cyclonedx {run}", "list measures", "list suites", "doctor", "run --help",
    "baseline accept {run}", "baseline show", "baseline show --json", "plan --help", "gate /nowhere/Ünïcode−",
)  # fmt: skip


ONE_AFTER_THE_OTHER = """
import os, sys
from audit.cli.main import main
for number, line in enumerate(os.fsdecode(sys.stdin.buffer.read()).split("\\n")):
    sys.argv = ["audit", *line.split()]
    code = 99
    try:
        main()
    except SystemExit as end:
        code = end.code
    sys.stdout.flush()
    sys.stderr.flush()
    for descriptor in (1, 2):
        os.write(descriptor, f"\\0{code}\\0".encode())
"""


def test_a_locale_without_our_letters_prints_every_command(audit: Audit, kept: Path, tmp_path: Path) -> None:
    write_rule(tmp_path, 0)
    asked = [command.format(run=kept) for command in COMMANDS]
    done = subprocess.run(
        [sys.executable, "-c", ONE_AFTER_THE_OTHER],
        input="\n".join(asked).encode(),
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", **ASCII},
        capture_output=True,
        check=True,
        timeout=120,
    )
    told = [stream.split(b"\0") for stream in (done.stdout, done.stderr)]
    assert [len(pieces) for pieces in told] == [2 * len(asked) + 1] * 2
    for number, command in enumerate(asked):
        plain = audit(*command.split())
        out, err = (pieces[2 * number].decode("ascii") for pieces in told)
        assert int(told[0][2 * number + 1]) == plain[0], (command, err)
        assert "Traceback" not in err
        assert "UnicodeEncodeError" not in err
        assert bool(out) == bool(plain[1])


def test_an_audit_ends_well_in_an_ascii_locale_and_a_folder_that_is_no_text(
    write_cohort: Any, known_bundle: Path, tmp_path: Path
) -> None:
    write_cohort(3)
    (tmp_path / "data").rename(os.fsdecode(os.fsencode(tmp_path) + b"/d\xff"))
    asked = " ".join(map(str, quick_audit(Path("DATA/manifest.csv"), "--runs", "RUNS")))
    asked = asked.replace("DATA", r"$'d\xff'").replace("RUNS", r"$'r\xff'")
    for variables in (ASCII, {}):
        code, out, err = shell(f"{AUDIT} {asked}", tmp_path, **variables)
        assert code == 0, err
        (report,) = Path(os.fsdecode(os.fsencode(tmp_path) + b"/r\xff")).glob("*/report.html")

        assert f"r\\udcff/{report.parent.name}/report.html" in out.splitlines()[-1]
        run = f"$'r\\xff'/{report.parent.name}"
        code, out, err = shell(f"{AUDIT} gate {run} --junit j.xml", tmp_path, **variables)
        assert code == 2, "no rule is configured"
        assert "r\\udcff" in one_paragraph(err)
        assert shell(f"{AUDIT} verify {run}", tmp_path, **variables)[0] == 0


def test_a_terminal_is_still_a_terminal(kept: Path, tmp_path: Path) -> None:
    write_rule(tmp_path, 0)
    leader, follower = pty.openpty()
    done = subprocess.Popen([*AUDIT.split(), "gate", kept], cwd=tmp_path, stdout=follower, stderr=follower)
    os.close(follower)
    told = b""
    try:
        while piece := os.read(leader, 4096):
            told += piece
    except OSError:  # the other end was closed
        pass
    assert done.wait(timeout=60) == 0
    assert told.splitlines()[-1].startswith(b"PASS. ")


@given(st.text())
def test_any_text_is_spelled_out_in_any_encoding(text: str) -> None:
    codecs.register_error(streams._HANDLER, streams._spell_out)
    for encoding in ("ascii", "latin-1", "cp1252", "utf-8", "euc-jp"):
        spelled = text.encode(encoding, streams._HANDLER)
        assert spelled.decode(encoding) is not None
    assert (text + "−0.1 ≤ 0.2").encode("ascii", streams._HANDLER).endswith(b"-0.1 <= 0.2")


def test_what_is_no_verdict_never_ends_as_one(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Typer ends with exit code 1, a failed gate, at any EOFError and broken pipe."""
    for error in (EOFError("Ran out of input"), BrokenPipeError(32, "Broken pipe"), SystemExit(0), SystemExit(1)):

        def fail(*_: object, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr("audit.commands.looking.list_names", fail)
        code, _, err = audit("list", "metrics")
        assert code == 4, error
        one_paragraph(err)


def test_a_failure_is_json_too_where_json_was_asked_for(audit: Audit, tmp_path: Path) -> None:
    for arguments, code in (
        (["gate", "nowhere", "--json"], 4),
        (["run", "--json", "--model", "none"], 2),
        (["run", "--json", "--odd"], 2),
    ):
        found, out, err = audit(*arguments)
        document = json.loads(out)
        assert (found, document["exit_code"]) == (code, code)
        assert document["error"].split("'")[0] in " ".join(err.split())
    assert audit("gate", "nowhere")[1] == ""
    assert cli._wants_json(["gate", "--json"])
    assert not cli._wants_json(["gate", "--", "--json"])


def _group(leader: int) -> list[int]:
    """List the processes of a group that live on after some seconds."""
    deadline, found = time.monotonic() + 5, [leader]
    while found and time.monotonic() < deadline:
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue
            if int(group) == leader and state != "Z":
                found.append(int(stat.parent.name))
        time.sleep(0.02)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "workers", "group"),
    [
        (signal.SIGTERM, 1, False),
        (signal.SIGTERM, 2, False),
        (signal.SIGHUP, 2, True),
        (signal.SIGINT, 2, True),
    ],
)
def test_signals_end_a_run_that_goes_on_from_there(
    write_cohort: Any,
    known_bundle: Path,
    audit: Audit,
    tmp_path: Path,
    number: signal.Signals,
    workers: int,
    group: bool,
) -> None:
    asked = quick_audit(write_cohort(22), "--workers", workers)
    victim = started_anew(asked, tmp_path, {"OMP_NUM_THREADS": "1"})
    wait_until(victim.poll, lambda: bool(list(tmp_path.glob("runs/*/predictions/part-*.parquet"))))
    (os.killpg if group else os.kill)(victim.pid, number)
    code, told = victim.wait(), said_by(tmp_path)
    assert code == 128 + number, told
    assert f"Interrupted by {number.name}" in one_paragraph(told)
    assert told.splitlines()[-1].startswith("audit: ")
    assert not _group(victim.pid), "a process outlived the one that started it"
    (run,) = (tmp_path / "runs").iterdir()
    assert not [p for p in run.rglob("*") if p.name.endswith(".part")], "no half file stays"
    kept = {p: p.stat().st_mtime_ns for p in run.glob("predictions/*")}
    assert 0 < len(kept) < len(range(0, 66, SHARD_RECORDS)), "it ended at once, not with its work"
    # `test_workers` goes on with as many processes; here the first process does, as in the run that had no other.
    code, _, err_again = audit(*asked[:-1], 1)
    assert code == 0, err_again
    assert list((tmp_path / "runs").iterdir()) == [run]
    assert {p: p.stat().st_mtime_ns for p in kept} == kept, "what was done stays"


SWALLOWED = """
import signal, time
from audit.prediction.interrupts import Interrupted, interruptible
class Last:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)
with interruptible():
    try:
        last = Last()
        del last
        time.sleep(20)
    except Interrupted as end:
        raise SystemExit(end.exit_code)
"""


def test_a_signal_in_a_finaliser_is_not_lost() -> None:
    """Python prints what is raised there and goes on: the signal is sent once more."""
    started = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", SWALLOWED], capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stderr) == (128 + signal.SIGTERM, "")
    assert time.monotonic() - started < 15


IMPORTED = """
import signal, sys
from audit.prediction.interrupts import Interrupted, interruptible
sys.path.insert(0, sys.argv[1])
try:
    with interruptible():
        import printing
        import time
        time.sleep(20)
except Interrupted as end:
    sys.exit(end.exit_code)
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_in_an_import_ends_the_program_after_it(tmp_path: Path, name: str) -> None:
    """Modules in C import others, print what stops them, and name another reason: numpy's own macro does."""
    (tmp_path / "stopped.py").write_text(f"import signal\nsignal.raise_signal(signal.{name})\nWHOLE = True\n")
    (tmp_path / "printing.py").write_text(
        "import traceback\ntry:\n    from stopped import WHOLE\nexcept BaseException:\n    traceback.print_exc()\n"
        "    raise ImportError('a module failed to import')\n"
    )
    started = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", IMPORTED, tmp_path], capture_output=True, text=True, timeout=30, check=False
    )
    assert (ended.returncode, ended.stderr) == (128 + signal.Signals[name], "")
    assert time.monotonic() - started < 15


WRITING = """
import os, signal, sys
from pathlib import Path
from audit import files
from audit.prediction.interrupts import end_on_sigterm
end_on_sigterm()
class Last:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)
files.os.fsync = lambda number: Last()
files.write_atomically(Path(sys.argv[1]) / "whole.bin", b"half")
"""


def test_a_worker_ends_at_once_and_leaves_no_half_file(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WRITING, tmp_path], capture_output=True, text=True, timeout=30, check=False
    )
    assert (ended.returncode, ended.stderr) == (128 + signal.SIGTERM, "")
    assert list(tmp_path.iterdir()) == []


def test_what_is_ignored_stays_ignored_and_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    program = (
        "import signal, time, sys\n"
        "from audit.prediction.interrupts import Interrupted, interruptible\n"
        "with interruptible():\n"
        "    print('ready', flush=True)\n"
        "    try:\n"
        "        time.sleep(30)\n"
        "    except Interrupted:\n"
        "        print('first', flush=True)\n"
        "        time.sleep(30)\n"
    )
    ignoring = f"trap '' HUP; exec {sys.executable} -c \"$PROGRAM\""
    child = subprocess.Popen(["bash", "-c", ignoring], env={**os.environ, "PROGRAM": program}, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    child.send_signal(signal.SIGHUP)  # as under nohup
    time.sleep(0.2)
    assert child.poll() is None
    child.send_signal(signal.SIGTERM)
    assert child.stdout.readline() == b"first\n"
    child.send_signal(signal.SIGTERM)  # the same one, passed on by a parent
    time.sleep(1.2)
    assert child.poll() is None
    child.send_signal(signal.SIGTERM)
    assert child.wait(timeout=5) == 143
    child.stdout.close()


def test_the_program_explains_itself_in_one_line_of_exit_codes() -> None:
    code, out, _ = shell(f"{AUDIT} --help | tail -3", Path())
    assert code == 0
    assert "5 not comparable" in " ".join(out.split())
    assert issubclass(AuditError, Exception)

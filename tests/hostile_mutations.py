"""Files as no honest program leaves them: good ones with bytes, values, columns or their very kind changed, from a seeded generator."""

from __future__ import annotations

import copy
import io
import json
import os
import random
import struct
import tomllib
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from audit.errors import AuditError
from audit.store.folder import RunFolder

from .hostile_images import changed_image

Mutation = Callable[[Path, random.Random], str]
"""Changes a file in place and returns what it did, in a word or two."""

HOSTILE_TEXT = (
    "",
    " ",
    "x" * 100_000,
    "\x1b[2J\x1b[1;1H\x07",
    "\u202egnp.exe",
    "\u2066\u200b\u2069",
    "a\nb\r\nc\0d",
    "../outside/secret.png",
    "/dev/zero",
    "<script>alert(1)</script>",
    "{{ 7 * 7 }}",
    "=1+1",
    "café \N{SNOWMAN}",
    "clean",
    "class=covid",
    "1e400",
    "%s%n{0}",
    "[bold red]x[/]",
)
HOSTILE_VALUES: tuple[Any, ...] = (
    *HOSTILE_TEXT,
    None,
    True,
    False,
    0,
    -1,
    2**31,
    2**63,
    10**30,
    -1e308,
    1e-320,
    0.5,
    [],
    {},
    [None],
    ["a", ["b", {"c": 1}]],
    {"": ""},
    "\ud800",
    10**400,
    1e308,
    [[[[[[[[]]]]]]]] * 3,
    ["x"] * 2000,
    {"x": {"x": {"x": {"x": []}}}},
    "_RAW_",
)
RAW = (
    "NaN",
    "Infinity",
    "1e999",
    "-1e999",
    "9" * 5000,
    "[" * 100_000,
    '{"a":' * 2000,
    "1E+400",
    "0x10",
    "01",
    "tru",
    "'a'",
)
"""What JSON does not have, or only beyond its bounds, put in the place of a value."""
BINARY_RUNS = (b"\0" * 8, b"\xff" * 8, b"\xff\x7f", b"\x1b[2J", "\u202e".encode(), b"\xef\xbb\xbf", b"\xff\xfe")


def mutated_bytes(data: bytes, rng: random.Random) -> bytes:
    """Return a file with bytes changed, cut out, put in, repeated, or its end missing; the head is hit more often than the rest."""
    found = bytearray(data or b"x")
    for _ in range(rng.choice((1, 1, 1, 2, 5, 20))):
        at = rng.randrange(min(len(found), rng.choice((64, 400, 4000, len(found)))))
        match rng.randrange(7):
            case 0 | 1:
                found[at] = rng.choice((0, 1, 255, 127, 128, rng.randrange(256)))
            case 2:
                del found[at : at + rng.randrange(1, 50)]
            case 3:
                found[at:at] = rng.randbytes(rng.randrange(1, 20))
            case 4:
                found[at : at + 8] = rng.choice(BINARY_RUNS)
            case 5:
                found[at:at] = found[at : at + rng.randrange(1, 200)]
            case 6:
                del found[rng.randrange(len(found)) :]
        found = found or bytearray(b"x")
    return bytes(found)


def damaged(path: Path, rng: random.Random) -> str:
    """Change bytes."""
    replace(path, mutated_bytes(path.read_bytes(), rng))
    return "bytes"


def replace(path: Path, data: bytes) -> None:
    """Write a file anew: it may be a hard link that others rest on."""
    path.unlink()
    path.write_bytes(data)


def of_another_kind(path: Path, rng: random.Random) -> str:
    """Put something else in a file's place: a pipe, a device, a folder, a link, nothing, or far too much."""
    kind = rng.choice(
        ("pipe", "endless", "loop", "folder", "dangling", "link out", "missing", "empty", "sparse", "spaces")
    )
    put_instead(path, kind)
    return kind


def put_instead(path: Path, kind: str) -> None:
    """Put something else, of the given kind, in a file's place; `missing` puts nothing there."""
    data = path.read_bytes() if path.is_file() else b""
    path.unlink(missing_ok=True)
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "endless":
            path.symlink_to("/dev/zero")
        case "loop":
            path.symlink_to(path.name)
        case "folder":
            path.mkdir()
        case "dangling":
            path.symlink_to("nowhere")
        case "link out":
            outside = _case(path) / "outside" / path.name
            outside.write_bytes(data)
            path.symlink_to(outside)
        case "empty":
            path.touch()
        case "sparse":
            with path.open("wb") as file:
                file.truncate(3 << 30)
        case "spaces":
            path.write_bytes(b" \n" * 1000)


def _case(path: Path) -> Path:
    """Return the folder of the case that a file belongs to: the nearest above it that has a folder `outside`."""
    return next(folder for folder in path.parents if (folder / "outside").is_dir())


# JSON


def changed_json(path: Path, rng: random.Random) -> str:
    """Change values of a JSON document at random places; what it says of itself may then be untrue."""
    document = json.loads(path.read_bytes())
    told = " ".join(_change(document, rng) for _ in range(rng.choice((1, 1, 1, 2, 4))))
    text = json.dumps(document, ensure_ascii=rng.random() < 0.5)
    while '"_RAW_"' in text:
        text = text.replace('"_RAW_"', rng.choice(RAW), 1)
    if rng.random() < 0.03:
        at = rng.randrange(len(text))
        text = text[:at] + rng.choice(RAW) + text[at:]
    replace(path, text.encode("utf-8", "surrogatepass"))
    return told


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container of a document with each of its keys or indices."""
    steps: Sequence[Any] = (
        list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for step in steps:
        yield value, step
        yield from places(value[step])


def _change(document: Any, rng: random.Random) -> str:
    found = list(places(document))
    if not found:
        return "nothing"
    # Documents are mostly rows; what stands outside them is rarer and weighs more.
    container, step = rng.choice(found[: rng.choice((30, len(found), len(found)))])
    match rng.randrange(8):
        case 0 | 1 | 2:
            container[step] = copy.deepcopy(rng.choice(HOSTILE_VALUES))
            return f"{step}=hostile"
        case 3:
            del container[step]
            return f"{step} removed"
        case 4:
            other, key = rng.choice(found)
            with suppress(KeyError, IndexError):  # it may be the one that was just taken out
                container[step] = copy.deepcopy(other[key])
            return f"{step} from elsewhere"
        case 5 if isinstance(container, dict):
            container[rng.choice(HOSTILE_TEXT)[:50] or "new"] = container.pop(step)
            return f"{step} renamed"
        case 6 if isinstance(container, list):
            container[step:step] = [copy.deepcopy(container[step])] * rng.choice((1, 2, 300))
            return f"{step} repeated"
        case 7 if isinstance(container, dict):
            container[rng.choice(("new", "id", *HOSTILE_TEXT))[:50]] = rng.choice(HOSTILE_VALUES)
            return "field added"
    value = container[step]
    if isinstance(value, bool) or value is None:
        container[step] = not value
    elif isinstance(value, (int, float)):
        container[step] = rng.choice((-value, value * 1e6, value + 1, value / 7))
    elif isinstance(value, str):
        container[step] = rng.choice(
            (value[::-1], value + "x", value.upper(), value + "\u202e", value[:-1], value * 50)
        )
    else:
        container[step] = type(value)()
    return f"{step} altered"


def vouch_for(run: Path) -> None:
    """Make the hashes in `run.json` true again where it can still be read: a hash is no defence against whoever writes it."""
    path = run / "run.json"
    try:
        document = json.loads(path.read_bytes()) if path.is_file() and path.stat().st_size < 10_000_000 else None
        if isinstance(document, dict):
            text = json.dumps({**document, "files": RunFolder(run).hashes()}, indent=2, sort_keys=True)
            replace(path, text.encode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError, OSError, AuditError):  # what is no file has no hash
        return


# Tables and settings


def changed_lines(path: Path, rng: random.Random) -> str:
    """Change cells, lines or the encoding of a text file: a table, settings, a suite."""
    text = path.read_bytes().decode("utf-8", "replace")
    lines = text.splitlines()
    match rng.randrange(9):
        case 0:
            replace(path, text.encode(rng.choice(("utf-16", "utf-32", "utf-8-sig", "utf-7"))))
            return "encoding"
        case 1:
            replace(path, text.replace(",", rng.choice((";", "\t", "|", ",,", ", "))).encode())
            return "separator"
        case 2:
            at = rng.randrange(len(lines))
            lines[at:at] = [lines[at]] * rng.choice((1, 3, 500))
            told = "lines repeated"
        case 3:
            del lines[rng.randrange(len(lines))]
            told = "line removed"
        case 4:
            rng.shuffle(lines)
            told = "shuffled"
        case 5:
            lines[0] = rng.choice(HOSTILE_TEXT)
            told = "first line"
        case _:
            for _ in range(rng.choice((1, 1, 3, 30))):
                at = rng.randrange(len(lines))
                sign = "=" if "=" in lines[at] else ","
                cells = lines[at].split(sign)
                value = rng.choice(
                    (*HOSTILE_TEXT, "[", '"', "'", '"""', "nan", "-1", "[1, 2]", "{a = 1}", "1979-05-27", "0x1F")
                )
                cells[rng.randrange(len(cells))] = (
                    value.replace("\n", " ") if sign == "," and rng.random() < 0.5 else value
                )
                lines[at] = sign.join(cells)
            told = "cells"
    replace(path, "\n".join(lines).encode("utf-8", "surrogatepass"))
    return told


def changed_parquet(path: Path, rng: random.Random) -> str:
    """Change columns of a Parquet table: their names, types, values and number of rows."""
    table = pq.read_table(io.BytesIO(path.read_bytes()))
    at = rng.randrange(table.num_columns)
    field, n = table.schema.field(at), table.num_rows

    def put(values: Any) -> pa.Table:
        return table.set_column(at, field.name, values)

    if rng.random() < 0.5:
        told, table = _changed_values(table, at, rng)
        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        replace(path, buffer.getvalue())
        return f"{field.name}: {told}"
    match rng.randrange(10):
        case 0:
            told, table = "column removed", table.remove_column(at)
        case 1:
            names = list(table.column_names)
            names[at] = rng.choice((*HOSTILE_TEXT, names[0]))[:200]
            told, table = "column renamed", table.rename_columns(names)
        case 2:
            told, table = "all null", put(pa.nulls(n, field.type))
        case 3:
            told, table = "typed null", put(pa.nulls(n))
        case 4:
            told, table = "text", put(pa.array([rng.choice(HOSTILE_TEXT) for _ in range(n)]))
        case 5:
            told, table = (
                "numbers",
                put(pa.array([rng.choice((0.0, -1.0, float("nan"), float("inf"), 1e300)) for _ in range(n)])),
            )
        case 6:
            told, table = "lists", put(pa.array([[1.0] * rng.choice((0, 1, 2, 50)) for _ in range(n)]))
        case 7:
            told, table = "no rows", table.slice(0, 0)
        case 8:
            told, table = "rows repeated", pa.concat_tables([table] * rng.choice((2, 50)))
        case _:
            told, table = "rows removed", table.slice(rng.randrange(n or 1), rng.choice((1, n or 1)))
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    replace(path, buffer.getvalue())
    return f"{field.name}: {told}"


def _changed_values(table: pa.Table, at: int, rng: random.Random) -> tuple[str, pa.Table]:
    """Change some values of a column whose type stays as it is, so that what is refused is the value."""
    field = table.schema.field(at)
    values = table.column(at).to_pylist()
    for _ in range(rng.choice((1, 1, 3, len(values)))):
        if values:
            i = rng.randrange(len(values))
            values[i] = _value_of(field.type, values[i], rng)
    try:
        made = pa.array(values, field.type)
    except (pa.ArrowException, UnicodeEncodeError, OverflowError):
        return "unchanged", table
    return "values", table.set_column(at, field.with_nullable(True), made)


def _value_of(kind: pa.DataType, value: Any, rng: random.Random) -> Any:
    if rng.random() < 0.08:
        return None
    if pa.types.is_list(kind):
        items = list(value or ())
        match rng.randrange(4):
            case 0:
                return items[:-1]
            case 1:
                return [*items, *items[:1]] * rng.choice((1, 1, 400))
            case 2:
                return []
        return [_value_of(kind.value_type, item, rng) if rng.random() < 0.6 else item for item in items]
    if pa.types.is_floating(kind):
        return rng.choice((float("nan"), float("inf"), -1.0, 0.0, 1.5, 3e38, 1e-45))
    if pa.types.is_integer(kind):
        return rng.choice((0, -1, 1, 2**31 - 1, -(2**31)))
    return (not value) if pa.types.is_boolean(kind) else rng.choice(HOSTILE_TEXT)


def changed_toml(path: Path, rng: random.Random) -> str:
    """Change values of a TOML document; keys and tables may move, vanish, repeat or be of another kind."""
    document = tomllib.loads(path.read_text())
    told = " ".join(_change(document, rng) for _ in range(rng.choice((1, 1, 2))))
    replace(
        path,
        "".join(f"{json.dumps(k)} = {_toml(v, rng)}\n" for k, v in document.items()).encode("utf-8", "surrogatepass"),
    )
    return told


def _toml(value: Any, rng: random.Random) -> str:
    """Return a value as TOML writes it in one line; what JSON alone has becomes something that only TOML has."""
    match value:
        case "_RAW_":
            return rng.choice(
                ("nan", "-inf", "1e400", "1979-05-27T07:32:00Z", "07:32:00", "9" * 5000, "[" * 100_000, "{}", "0o17")
            )
        case dict():
            return "{" + ", ".join(f"{json.dumps(str(k))} = {_toml(v, rng)}" for k, v in value.items()) + "}"
        case list():
            return "[" + ", ".join(_toml(item, rng) for item in value) + "]"
        case None:
            return "nan"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value).lower()


def changed_archive(path: Path, rng: random.Random) -> str:
    """Change the members of a zip, such as a checkpoint is: their names, number, bytes, or what the directory says of them."""
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as file:
        members = [(info.filename, file.read(info)) for info in file.infolist()]
    i = rng.choice(
        (0, rng.randrange(len(members)), next(n for n, (name, _) in enumerate(members) if name.endswith(".pkl")))
    )
    name, data = members[i]
    match rng.randrange(7):
        case 0:
            told = "removed"
            del members[i]
        case 1:
            told = "renamed"
            members[i] = (
                rng.choice(("../x", "/x", "", name.upper(), "x" * 60_000, "archive/code/x.py", "\u202ex", "data.pkl")),
                data,
            )
        case 2:
            told = "repeated"
            members[i:i] = [members[i]] * rng.choice((1, 3000))
        case 3:
            told = "cut"
            members[i] = (name, data[: rng.randrange(len(data) or 1)])
        case 4:
            told = "inflated"
            members[i] = (name, data + b"\0" * rng.choice((1, 300_000_000)))
        case _:
            told = "bytes"
            members[i] = (name, mutated_bytes(data, rng))
    buffer = io.BytesIO()
    with (
        warnings.catch_warnings(),
        zipfile.ZipFile(buffer, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as file,
    ):
        warnings.simplefilter("ignore")  # names that stand twice are meant
        for member, content in members:
            file.writestr(member or "?", content)
    replace(path, buffer.getvalue())
    return f"{name[-20:]} {told}"


def changed_picture(path: Path, rng: random.Random) -> str:
    """Change a part of an image, or bytes of one whose parts are not known."""
    found = changed_image(path.read_bytes(), rng)
    if found is None:
        return damaged(path, rng)
    replace(path, found[0])
    return found[1]


def changed_tensors(path: Path, rng: random.Random) -> str:
    """Change the header of a safetensors file, its length put right; or some numbers of its tensors."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + length]), bytearray(data[8 + length :])
    if rng.random() < 0.3:
        for _ in range(rng.choice((1, 50))):
            at = rng.randrange(len(body) // 4) * 4
            body[at : at + 4] = struct.pack("<f", rng.choice((float("nan"), float("inf"), 0.0, -1e38, 1e-40)))
        told = "numbers"
    else:
        told = _change(header, rng)
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    replace(path, struct.pack("<Q", len(text)) + text + bytes(body))
    return f"tensors: {told}"


def mutation_for(path: Path, rng: random.Random) -> Mutation:
    """Draw a mutation that suits a file by the end of its name."""
    if rng.random() < 0.08:
        return of_another_kind
    if rng.random() < 0.15:
        return damaged
    return {
        ".json": changed_json,
        ".parquet": changed_parquet,
        ".csv": changed_lines,
        ".txt": changed_lines,
        ".toml": changed_toml if rng.random() < 0.7 else changed_lines,
        ".safetensors": changed_tensors,
        ".pt": changed_archive,
        ".pth": damaged,
    }.get(path.suffix, changed_picture)

"""The local page of a run: to this machine alone, to whoever holds the token, and without writing anything.

Another page in the same browser can send requests to a local server. It is kept out by the token in the address, which it cannot
guess; by the Host header, which tells a name that was rebound to 127.0.0.1; and by a policy that runs no script but ours.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from audit.errors import AuditError, UsageError
from audit.prediction.table import FinishedRun
from audit.viewing.cases import Case, CaseRow, read_case
from audit.viewing.images import image_columns
from audit.viewing.pages import case_page, images_page
from audit.viewing.pictures import KINDS, CasePictures, NotDrawnError

HOST = "127.0.0.1"
_TOKEN_BYTES = 32
_CASES_KEPT = 64
_MOST_FIELDS = 20
_IDLE_S = 30
"""How long a connection may stay silent: one that is opened and left would hold its thread."""
_ASSETS = {"report.css": "text/css", "view.css": "text/css", "view.js": "text/javascript", "case.js": "text/javascript"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a request gets."""

    body: bytes
    """The content."""
    kind: str
    """Its media type."""
    status: HTTPStatus = HTTPStatus.OK
    """Its status."""


class RunPages:
    """Everything that the page of a run consists of, by its path below the token.

    Parameters
    ----------
    finished : FinishedRun
        The run.
    pictures : CasePictures
        Draws its images.
    """

    def __init__(self, finished: FinishedRun, pictures: CasePictures) -> None:
        self._finished, self._pictures = finished, pictures
        columns = image_columns(finished)
        self._names: Mapping[str, int] = {name: i for i, name in enumerate(columns["names"])}
        self._images = json.dumps(columns, separators=(",", ":")).encode()
        # A page asks for its image again with every picture.
        self._case = lru_cache(maxsize=_CASES_KEPT)(partial(read_case, finished.path))

    def answer(self, path: str, query: Mapping[str, str]) -> Answer:
        """Return what lies at a path. No path is one of a file: images are found by their names in the run, the rest by its word."""
        first, *rest = path.split("/")
        name = unquote(rest[0]) if rest else ""
        if not rest and first == "":
            return _page(images_page(self._finished, len(self._names)))
        if not rest and first == "images.json":
            return Answer(body=self._images, kind="application/json")
        if not rest and first in _ASSETS:
            return Answer(body=_asset(first), kind=f"{_ASSETS[first]}; charset=utf-8")
        if name not in self._names:
            return _said(HTTPStatus.NOT_FOUND, "There is no such page, or no image of this name in the run.")
        case = self._case(name)
        row = _row(case, query)
        if first == "case" and len(rest) == 1:
            return _page(case_page(self._finished, case, row, list(self._names)))
        if first == "check" and len(rest) == 1:
            same, said = self._pictures.check(case, row)
            return Answer(body=json.dumps({"same": same, "said": said}).encode(), kind="application/json")
        if first == "picture" and len(rest) == 2 and rest[1] in KINDS:
            try:
                return Answer(body=self._pictures.draw(case, rest[1], row), kind="image/png")
            except NotDrawnError as error:
                return _said(HTTPStatus.CONFLICT, str(error))
        return _said(HTTPStatus.NOT_FOUND, "There is no such page.")


class ViewServer(ThreadingHTTPServer):
    """Serves the pages of one run to this machine.

    Parameters
    ----------
    pages : RunPages
        What is served.
    port : int
        Where; 0 for any that is free.
    tell : callable
        Called with the full reason of what failed.

    Raises
    ------
    UsageError
        If the port is taken.
    """

    daemon_threads = True

    def __init__(self, pages: RunPages, port: int, tell: Callable[[str], object] = lambda reason: None) -> None:
        self.pages, self.tell = pages, tell
        self.token = secrets.token_urlsafe(_TOKEN_BYTES)
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise UsageError(
                f"Port {port} of {HOST} cannot be used ({error.strerror}). Choose another with --port, or omit it."
            ) from error
        self.hosts = frozenset(f"{name}:{self.server_address[1]}" for name in (HOST, "localhost"))

    def url(self, path: str = "", **query: str) -> str:
        """Return the address of a page, with the token."""
        asked = urlencode({key: value for key, value in query.items() if value}, quote_via=quote, safe="")
        return f"http://{HOST}:{self.server_address[1]}/{self.token}/{path}{'?' if asked else ''}{asked}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a reader that left, and nothing to it of what else went wrong."""
        if os.environ.get("AUDIT_DEBUG"):
            traceback.print_exc()


class _Handler(BaseHTTPRequestHandler):
    server: ViewServer
    timeout = _IDLE_S
    server_version = "audit"
    sys_version = ""

    def do_GET(self) -> None:  # the name is the library's
        """Answer a request, if it may be answered."""
        self._send(self._answer())

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        """Refuse to write."""
        self.close_connection = True
        self._send(
            self._refused() or _said(HTTPStatus.METHOD_NOT_ALLOWED, "This page only shows a run. It writes nothing.")
        )

    do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_POST  # noqa: N815

    def _answer(self) -> Answer:
        refused = self._refused()
        if refused is not None:
            return refused
        parts = urlsplit(self.path)
        _, _, below = parts.path.lstrip("/").partition("/")
        try:
            query = {key: values[0] for key, values in parse_qs(parts.query, max_num_fields=_MOST_FIELDS).items()}
        except ValueError:
            return _said(HTTPStatus.BAD_REQUEST, "This address has too many parts.")
        try:
            return self.server.pages.answer(below, query)
        except AuditError as error:
            self.server.tell(str(error))
            return _said(
                HTTPStatus.CONFLICT,
                "The run cannot be read any more. The terminal in which this page was started says why.",
            )
        except Exception as error:  # a fault of ours: never a traceback on a page
            self.server.tell(f"A page could not be made: {type(error).__name__}: {error}. This is a bug in audit.")
            if os.environ.get("AUDIT_DEBUG"):
                traceback.print_exc()
            return _said(
                HTTPStatus.INTERNAL_SERVER_ERROR,
                "This page could not be made. The terminal in which it was started says more.",
            )

    def _refused(self) -> Answer | None:
        """Refuse a request that does not come from a page with the printed address."""
        if self.headers.get_all("Host", []) not in ([host] for host in self.server.hosts):
            return _said(
                HTTPStatus.MISDIRECTED_REQUEST,
                "This address is not served here. Use the one that `audit view` printed.",
            )
        given = urlsplit(self.path).path.lstrip("/").partition("/")[0]
        if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self.server.token.encode()):
            return _said(
                HTTPStatus.FORBIDDEN, "This address has no valid token. Use the one that `audit view` printed."
            )
        return None

    def _send(self, answer: Answer) -> None:
        try:
            self.send_response(answer.status)
            for name, value in {
                **_HEADERS,
                "Content-Type": answer.kind,
                "Content-Length": str(len(answer.body)),
            }.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)
        except ConnectionError:  # the reader left
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Log nothing: addresses hold the token."""


def _row(case: Case, query: Mapping[str, str]) -> CaseRow | None:
    """Return the condition and draw that are asked for, else the edit that moved the image most."""
    draw = query.get("draw", "")
    asked = case.row(
        query.get("condition", ""), int(draw) if draw.isascii() and draw.isdigit() and len(draw) < 6 else None
    )
    return asked or case.most_moved()


def _page(text: str) -> Answer:
    return Answer(body=text.encode("utf-8", "xmlcharrefreplace"), kind="text/html; charset=utf-8")


def _said(status: HTTPStatus, sentence: str) -> Answer:
    return Answer(body=f"{sentence}\n".encode(), kind="text/plain; charset=utf-8", status=status)


def _asset(name: str) -> bytes:
    return (resources.files("audit.templates") / name).read_bytes()

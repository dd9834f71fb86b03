"""A hub with one commit of some repositories: as much of its interface as its own client needs to fetch."""

from __future__ import annotations

import hashlib
import json
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Serves folders as repositories.

    Args:
        folders: `owner/name` to folder.

    Attributes:
        fetched: paths of files that were sent, each as often as it was.
    """

    def __init__(self, folders: dict[str, Path]) -> None:
        self.folders = folders
        self.fetched: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hub._answer(self, body=True)

            def do_HEAD(self) -> None:
                hub._answer(self, body=False)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler, *, body: bool) -> None:
        path = unquote(urlsplit(request.path).path)
        for repository, folder in self.folders.items():
            if path.startswith(f"/api/models/{repository}/revision/{COMMIT}"):
                return self._json(request, self._info(repository, folder))
            if path.startswith(f"/api/models/{repository}/tree/{COMMIT}"):
                return self._json(request, self._tree(folder))
            start = f"/{repository}/resolve/{COMMIT}/"
            if path.startswith(start) and (folder / path.removeprefix(start)).is_file():
                if body:
                    self.fetched.append(path)
                return self._file(request, folder / path.removeprefix(start), body=body)
        return self._send(request, HTTPStatus.NOT_FOUND, {"X-Error-Code": "EntryNotFound"}, b"")

    def _info(self, repository: str, folder: Path) -> dict[str, object]:
        names = [{"rfilename": one["path"]} for one in self._tree(folder)]
        return {"id": repository, "sha": COMMIT, "siblings": names, "tags": [], "private": False}

    @staticmethod
    def _tree(folder: Path) -> list[dict[str, object]]:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return [
            {
                "type": "file",
                "path": str(path.relative_to(folder)),
                "size": path.stat().st_size,
                "oid": hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest(),
            }
            for path in files
        ]

    def _file(self, request: BaseHTTPRequestHandler, path: Path, *, body: bool) -> None:
        content = path.read_bytes()
        mark = hashlib.sha256(content).hexdigest() if path.suffix == ".safetensors" else ""
        mark = mark or hashlib.sha1(content, usedforsecurity=False).hexdigest()
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{mark}"', "Accept-Ranges": "bytes"}
        self._send(request, HTTPStatus.OK, headers, content, body=body)

    def _json(self, request: BaseHTTPRequestHandler, value: object) -> None:
        headers = {"Content-Type": "application/json", "X-Repo-Commit": COMMIT}
        self._send(request, HTTPStatus.OK, headers, json.dumps(value).encode())

    @staticmethod
    def _send(
        request: BaseHTTPRequestHandler,
        status: HTTPStatus,
        headers: dict[str, str],
        content: bytes,
        *,
        body: bool = True,
    ) -> None:
        request.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            request.send_header(name, value)
        request.end_headers()
        if body:
            request.wfile.write(content)

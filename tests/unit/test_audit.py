"""`make audit` against a service of advisories that knows one, none, too little, or does not answer."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from tests import audit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HASH = "sha256:" + "0" * 64
ADVISORY = {
    "id": "PYSEC-1",
    "aliases": [],
    "details": "bad",
    "affected": [
        {
            "package": {"name": "vine", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "5.1.1"}]}],
        }
    ],
}
NONE, ONE, SILENT = 0, 1, 2


class Advisories(BaseHTTPRequestHandler):
    """Answers as OSV does; knows an advisory of vine 5.1.0."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = asked == {"package": {"name": "vine", "ecosystem": "PyPI"}, "version": "5.1.0"}
        body = json.dumps({"vulns": [ADVISORY]} if known else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture
def service() -> Iterator[list[str]]:
    """Options of pip-audit that lead to the service."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Advisories)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield ["--vulnerability-service", "osv", "--osv-url", f"http://127.0.0.1:{server.server_port}/v1/query"]
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def quiet_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "node", lambda _: audit.Answer())


def locked(folder: Path, monkeypatch: pytest.MonkeyPatch, vine: str) -> None:
    lock, torch = folder / "requirements.lock", folder / "torch.txt"
    lock.write_text(f"amqp==5.4.2 \\\n    --hash={HASH}\nvine=={vine} \\\n    --hash={HASH}\n")
    torch.write_text("torch==2.13.0\n")
    monkeypatch.setattr(audit, "LOCK", lock)
    monkeypatch.setattr(audit, "TORCH", torch)


def test_an_open_advisory_is_named_and_is_red(
    service: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    locked(tmp_path, monkeypatch, vine="5.1.0")
    assert audit.audit(service) == ONE
    assert "vine 5.1.0: PYSEC-1, mended in 5.1.1" in capsys.readouterr().out


def test_no_open_advisory_is_green(
    service: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    locked(tmp_path, monkeypatch, vine="5.1.1")
    assert audit.audit(service) == NONE
    assert capsys.readouterr().out.count(": 0 open advisories") == 2


def test_silence_is_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    locked(tmp_path, monkeypatch, vine="5.1.1")
    nobody = ["--vulnerability-service", "osv", "--osv-url", "http://127.0.0.1:9/v1/query"]
    assert audit.audit(nobody) == SILENT
    assert capsys.readouterr().out.count("NOT AUDITED") == 1

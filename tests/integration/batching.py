"""Asking a real API for batches, for tests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from latentfarm.repository import phases
from latentfarm.states import Stage
from tests.integration.packer import Packer
from tests.pieces import pieces
from worker.seal.shard import Layout

if TYPE_CHECKING:
    import httpx

    from latentfarm.records import Claimed
    from latentfarm.repository import sealing
    from scheduler.duties import Duties
    from tests.integration.ground import Ground
    from worker.seal.piece import Piece

URL = "/v1/images/generations"
SMALL = {"model": "tiny", "size": "64x64", "num_inference_steps": 4}


def canary_batch(http: httpx.Client, headers: dict[str, str], canary: str, **body: Any) -> dict[str, str]:
    """A file, and a batch that was made of it: their ids."""
    content = jsonl(line(canary, **body))
    files = {"file": ("canaries.jsonl", content)}
    sent = http.post("/v1/files", data={"purpose": "batch"}, files=files, headers=headers).json()["id"]
    asked = {"input_file_id": sent, "endpoint": URL, "completion_window": "24h"}
    return {"file_id": sent, "batch_id": http.post("/v1/batches", json=asked, headers=headers).json()["id"]}


def line(custom_id: str, **body: Any) -> dict[str, Any]:
    return {
        "custom_id": custom_id,
        "method": "POST",
        "url": URL,
        "body": {"prompt": custom_id, **SMALL, **body},
    }


def jsonl(*lines: Any) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in lines)


@dataclass
class Desk:
    """A client, and whoever works for it."""

    http: httpx.Client
    ground: Ground
    duties: Duties

    def upload(self, content: bytes, **fields: str) -> httpx.Response:
        files = {"file": ("requests.jsonl", content, "application/jsonl")}
        return self.http.post("/v1/files", data={"purpose": "batch", **fields}, files=files)

    def ask(self, content: bytes, headers: dict[str, str] | None = None, **fields: Any) -> dict[str, Any]:
        asked = {
            "input_file_id": self.upload(content).json()["id"],
            "endpoint": URL,
            "completion_window": "24h",
        }
        answer = self.http.post("/v1/batches", json={**asked, **fields}, headers=headers)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def show(self, batch: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get(f"/v1/batches/{batch['id']}").json()
        return found

    def check(self) -> None:
        ground = self.ground
        for dataset in ground.repository.transact(lambda c: phases.busy(c, "checking")):
            ground.arrivals.check(dataset)
        ground.come_in()

    def lines(self, file_id: str) -> list[dict[str, Any]]:
        answer = self.http.get(f"/v1/files/{file_id}/content")
        assert answer.status_code == 200, answer.text
        assert self.http.get(f"/v1/files/{file_id}").json()["bytes"] == len(answer.content)
        return [json.loads(one) for one in answer.text.splitlines()]

    def sql(self, statement: str) -> Any:
        return self.ground.repository.transact(lambda c: c.execute(text(statement)).scalar())

    def change(self, statement: str) -> None:
        self.ground.repository.transact(lambda c: c.execute(text(statement)))


class Choosy(Packer):
    """Packs what has succeeded alone."""

    def pieces(self, task: sealing.Task) -> list[Piece]:
        sql = f"SELECT ordinal FROM renders WHERE shard_id = {task.shard_id} AND ordinal >= 0 AND state = 3 ORDER BY 1"
        return pieces(*(row.ordinal for row in self.ground.rows(sql)))


def pack(desk: Desk) -> None:
    Choosy(desk.ground, Layout.IMAGEFOLDER).pack_all()


def finish(desk: Desk, *failed: int) -> None:
    """Ends all images, those of some ordinals badly."""
    claimed: list[Claimed] = desk.ground.claim(Stage.BASE)
    desk.ground.finish([one for one in claimed if one.ordinal not in failed])
    desk.ground.fail([one for one in claimed if one.ordinal in failed])

"""A packer without a process: shards for tests of what reads them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from latentfarm.keys import dataset_prefix
from latentfarm.repository import sealing
from latentfarm.states import Stage
from tests.pieces import pieces
from worker.seal import looks
from worker.seal.looks import Looks
from worker.seal.manifest import Manifest, NearFile
from worker.seal.packing import pack
from worker.seal.run import Run
from worker.seal.shard import Layout, Shard
from worker.sealing.top import file_of

if TYPE_CHECKING:
    from latentfarm.records import Claimed
    from tests.integration.ground import Ground
    from worker.seal.piece import Piece


class Packer:
    """Packs shards as the seal worker does, with pictures of its own."""

    def __init__(self, ground: Ground, layout: Layout) -> None:
        self.ground = ground
        self.layout = layout
        self.marks: list[bytes] = []
        self.looks = Looks()

    def pack_all(self) -> None:
        for _ in range(2):  # the shards, then the files at the top
            for one in self.ground.claim(Stage.SEAL):
                self.pack_one(one)

    def pack_one(self, one: Claimed) -> None:
        ground = self.ground
        task = ground.repository.transact(lambda c: sealing.task_of(c, one.render_id, one.fence))
        assert task is not None
        files, images = self.top() if task.number < 0 else self.shard(task)
        kept = []
        for path, data in files.items():
            ref = ground.store.put(f"{dataset_prefix(task.dataset_id)}{path}", data, "x/x")
            kept.append({"path": path, "key": ref.key, "size": ref.size, "sha256": ref.sha256.hex()})
        packed = sealing.Packed(
            render_id=one.render_id,
            fence=one.fence,
            shard_id=task.shard_id,
            dataset_id=task.dataset_id,
            number=task.number,
            images=images,
            seconds=1.5,
            files=tuple(kept),
        )
        assert ground.repository.transact(lambda c: sealing.seal(c, [packed]))

    def pieces(self, task: sealing.Task) -> list[Piece]:
        """What is packed."""
        return pieces(*range(task.first, task.first + task.count))

    def shard(self, task: sealing.Task) -> tuple[dict[str, bytes], int]:
        data, index = io.BytesIO(), io.BytesIO()
        shard = Shard(self.layout, task.number, task.part)
        sealed = pack(shard, iter(self.pieces(task)), data, index)
        self.marks.append(sealed.stats())
        self.looks.add(shard.name, index.getvalue())
        files = {shard.data_path: data.getvalue(), shard.index_path: index.getvalue()}
        return files | {shard.stats_path: self.marks[-1]}, sealed.images

    def top(self) -> tuple[dict[str, bytes], int]:
        made = Run("birds", self.layout, 7, "f" * 64, "d" * 64, images=4, shard_samples=3)
        rows = looks.content(self.looks.near_duplicates(lambda: None))
        near = NearFile(0, file_of(looks.PATH, rows))
        manifest = Manifest(made, self.marks, near).content()
        return {"manifest.json": manifest, "README.md": b"# birds\n", looks.PATH: rows}, 4

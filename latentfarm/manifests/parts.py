"""The spool between the two passes: samples in parts of up to 10,000 and 16 MiB, each a gzip file of lines.

A line is `json meta TAB picture`. Neither half can hold a raw TAB or newline, since JSON escapes both; so
the picture, which is most of a line, is never parsed here.
"""

from __future__ import annotations

import gzip
import io
import json
from typing import TYPE_CHECKING

from latentfarm.errors import InvalidInput
from latentfarm.manifests.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PART_SAMPLES = 10_000
"""Of one part, at most. Where long prompts fill it earlier it has fewer: each part is told with its first one."""
PART_BYTES = 16 * 1024**2
"""Of its lines: whoever writes, inserts or packs has one or two parts in memory. The last line may go beyond."""
CONTENT_TYPE = "application/gzip"
_LEVEL = 1
"""Lines repeat each other: the fastest level leaves a tenth already, and pass 1 waits for it."""
_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def line_of(sample: Sample) -> bytes:
    """The line of a sample, with its newline."""
    meta = _encoder.encode(
        {
            "ordinal": sample.ordinal,
            "id": sample.id,
            "seed": sample.seed,
            "digest": sample.digest.hex(),
            "line": sample.line,
            "metadata": sample.metadata,
        }
    )
    return f"{meta}\t{sample.picture}\n".encode()


def write_part(samples: Iterable[Sample]) -> bytes:
    """A part: equal samples give equal bytes, as long as zlib is the same."""
    return pack(map(line_of, samples))


def pack(lines: Iterable[bytes]) -> bytes:
    """A part, from lines that are made already."""
    return gzip.compress(b"".join(lines), _LEVEL, mtime=0)


def read_part(data: bytes) -> Iterator[Sample]:
    """The samples of a part, in order; a line at a time, since parts were once bounded by samples alone.

    Raises:
        InvalidInput: the bytes are no part.
    """
    if not data:  # for gzip a file of no members, and no error
        raise InvalidInput("part", "is no part of a spool: it is empty")
    try:
        with gzip.open(io.BytesIO(data)) as lines:
            for line in lines:
                meta, picture = line.removesuffix(b"\n").split(b"\t")
                yield _sample(json.loads(meta), picture.decode())
    except (EOFError, KeyError, OSError, TypeError, ValueError) as error:
        raise InvalidInput("part", f"is no part of a spool: {error}") from error


def first_of(samples: Iterable[Sample]) -> list[Sample]:
    """The first samples, as many as have `PART_BYTES` of pictures; one at least where there is one."""
    found, left = list[Sample](), PART_BYTES
    for sample in samples:
        found.append(sample)
        left -= len(sample.picture.encode())
        if left <= 0:
            break
    return found


def _sample(meta: dict[str, object], picture: str) -> Sample:
    digest = bytes.fromhex(str(meta.pop("digest")))
    return Sample(picture=picture, digest=digest, **meta)  # type: ignore[arg-type]  # as written above

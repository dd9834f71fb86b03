"""Files that are no pictures, or pictures that cost more than they show. Made here; none is kept as a file."""

from __future__ import annotations

import io
import random
import struct
import zlib
from typing import TYPE_CHECKING

from PIL import Image
from PIL.PngImagePlugin import PngInfo

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MEBIBYTE = bytes(2**20)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def header(width: int, height: int, depth: int = 8, colour: int = 2, interlace: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


def zeros(mebibytes: int) -> bytes:
    """So much of nothing, packed a thousandfold."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(_MEBIBYTE) for _ in range(mebibytes)) + packer.flush()


def png(*chunks: bytes) -> bytes:
    return SIGNATURE + b"".join(chunks) + chunk(b"IEND", b"")


def made(kind: str, size: tuple[int, int] = (64, 64), mode: str = "RGB", **options: object) -> bytes:
    file = io.BytesIO()
    noise = random.Random(7).randbytes(size[0] * size[1])
    image = Image.frombytes("L", size, noise).convert(mode)
    image.save(file, kind, **options)
    return file.getvalue()


def frames(kind: str, count: int, size: int = 64) -> bytes:
    file = io.BytesIO()
    shown = [
        Image.new("RGB", (size, size), (number * 60 % 256, number % 7 * 30, 0)) for number in range(count)
    ]
    shown[0].save(file, kind, save_all=True, append_images=shown[1:])
    return file.getvalue()


def bombs() -> Iterator[tuple[str, bytes]]:
    """Small files that ask for much memory or much time; all must be refused."""
    claims = [
        (13_000, 13_000),
        (65_535, 65_535),
        (2**31 - 1, 2**31 - 1),
        (2**31 - 1, 1),
        (1, 2**31 - 1),
        (4_097, 4_096),
    ]
    claims += [(100_000, 200), (16_777_217, 1), (5_000, 5_000), (2**24, 2**24), (40_000, 500), (9_000, 9_000)]
    rows = chunk(b"IDAT", zeros(4))
    for width, height in claims:
        yield f"png claims {width}x{height}", png(header(width, height), rows)
    for depth, colour in ((1, 0), (8, 0), (16, 0), (16, 2), (8, 3), (8, 4), (16, 6), (8, 6)):
        palette = chunk(b"PLTE", bytes(768)) if colour == 3 else b""
        yield (
            f"png of depth {depth}, colour {colour}",
            png(header(12_000, 12_000, depth, colour), palette, rows),
        )
        yield (
            f"interlaced, depth {depth}, colour {colour}",
            png(header(8_000, 8_000, depth, colour, 1), palette, rows),
        )
    whole = chunk(b"IDAT", zeros(200))
    yield "png that is really there", png(header(12_000, 5_800), whole)
    yield "png with more rows than it claims", png(header(8_192, 4_096), whole)
    yield "png of one long row", png(header(2**24 + 8, 4, 8, 0), whole)
    text = b"k\0\0" + zeros(64)
    for name in (b"zTXt", b"iCCP"):
        yield (
            f"png with a bomb in {name.decode()}",
            png(header(64, 64), chunk(name, text), chunk(b"IDAT", zlib.compress(bytes(64 * 193)))),
        )
    yield (
        "png with a bomb in iTXt",
        png(
            header(64, 64),
            chunk(b"iTXt", b"k\0\1\0\0\0" + zeros(64)),
            chunk(b"IDAT", zlib.compress(bytes(64 * 193))),
        ),
    )
    many = PngInfo()
    for number in range(100):
        many.add_text(f"t{number}", "x" * 900_000, zip=True)
    yield "png with a hundred texts of a megabyte", made("png", pnginfo=many)
    for length in (2**31 - 1, 2**31, 2**32 - 1):
        yield (
            f"png whose chunk has {length} bytes",
            SIGNATURE + header(64, 64) + struct.pack(">I", length) + b"IDAT" + bytes(64),
        )
    for kind, count in (("png", 200), ("png", 2), ("webp", 100), ("webp", 2)):
        yield f"{kind} of {count} frames", frames(kind, count)
    jpeg = bytearray(made("jpeg"))
    at = jpeg.index(b"\xff\xc0") + 5
    for height, width in ((65_535, 65_535), (65_500, 300), (300, 65_500), (5_000, 5_000)):
        jpeg[at : at + 4] = struct.pack(">HH", height, width)
        yield f"jpeg claims {width}x{height}", bytes(jpeg)
    for canvas in (16_383, 8_191, 5_000):
        size = struct.pack("<I", canvas)[:3]
        body = b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + size + size
        yield f"webp claims {canvas + 1} squared", b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
    lossless = b"VP8L" + struct.pack("<I", 5) + b"\x2f" + struct.pack("<I", 0x3FFF | 0x3FFF << 14) + b"\0"
    yield (
        "webp without loss claims 16384 squared",
        b"RIFF" + struct.pack("<I", len(lossless) + 4) + b"WEBP" + lossless,
    )
    yield from _other_bombs()


def _other_bombs() -> Iterator[tuple[str, bytes]]:
    """In formats that are not even opened."""
    gif = (
        b"GIF89a"
        + struct.pack("<HH", 65_535, 65_535)
        + b"\xf7\0\0"
        + bytes(768)
        + b"\x2c\0\0\0\0\xff\xff\xff\xff\0\x08\x02\x4c\x01\0;"
    )
    yield "gif claims 65535 squared", gif
    yield (
        "bmp claims 2^31",
        b"BM"
        + struct.pack("<IHHI", 54, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, 2**31 - 1, 2**31 - 1, 1, 24, 0, 0, 0, 0, 0, 0),
    )
    yield (
        "tiff whose directory leads to itself",
        b"II*\0\x08\0\0\0\x01\0\x00\x01\x03\0\x01\0\0\0\x01\0\0\0\x08\0\0\0",
    )
    yield (
        "psd claims 300000 squared",
        b"8BPS\0\x01" + bytes(6) + struct.pack(">HIIHH", 3, 300_000, 300_000, 8, 3),
    )
    yield "eps that loops", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99999 99999\n{ } loop\n"
    yield (
        "fits claims much",
        b"SIMPLE  =                    T".ljust(80) + b"NAXIS1  =           1000000000".ljust(80),
    )
    yield (
        "svg with a million uses",
        b"<svg xmlns='http://www.w3.org/2000/svg'>" + b"<use href='#a'/>" * 20_000 + b"</svg>",
    )
    yield (
        "svg of entities",
        b"<!DOCTYPE s [<!ENTITY a 'aaaaaaaaaa'>"
        + b"".join(b"<!ENTITY %c '%s'>" % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(8))
        + b"]><svg>&i;</svg>",
    )
    yield "jpeg 2000 claims much", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(64)
    yield "zeros", bytes(500_000)


def broken() -> Iterator[tuple[str, bytes]]:
    """Files that begin well, or nearly; all must be refused."""
    for kind in ("png", "jpeg", "webp"):
        whole = made(kind)
        for share in (1, 3, 10, 20, 30, 40, 50, 60, 70, 80, 90):
            yield f"{kind}, {share} % of it", whole[: len(whole) * share // 100]
        yield f"{kind} with a letter before it", b"x" + whole
        yield f"{kind} backwards", whole[::-1]
        yield f"{kind} as base64", b"data:image/" + kind.encode() + b";base64," + whole[:64]
        yield f"{kind} behind a page", b"<html><script>alert(1)</script></html>" + whole
        yield f"{kind} behind a document", b"%PDF-1.7\n" + whole
        yield f"{kind} behind an archive", b"PK\x03\x04" + bytes(26) + whole
    body = chunk(b"IDAT", zlib.compress(bytes(64 * 193)))
    good = header(64, 64)
    spoiled = bytearray(good)
    spoiled[-1] ^= 0xFF
    yield "png without a header", png(body)
    yield "png with its header last", png(body, good)
    yield "png without data", png(good)
    yield "png with a wrong checksum", png(bytes(spoiled), body)
    yield "png whose data is no zlib", png(good, chunk(b"IDAT", b"nothing" * 40))
    yield "png of two rows", png(good, chunk(b"IDAT", zlib.compress(bytes(2 * 193))[:-6]))
    yield "png with two headers of two sizes", png(good, header(8_000, 8_000), body)
    yield "png of an unknown filter", png(good, chunk(b"IDAT", zlib.compress(b"\xff" * 64 * 193)))
    for depth, colour in ((3, 0), (0, 2), (255, 2), (8, 1), (8, 7), (16, 3)):
        yield f"png of depth {depth} and colour {colour}", png(header(64, 64, depth, colour), body)
    for width, height in ((0, 0), (0, 64), (64, 0), (2**31, 64), (2**32 - 1, 2**32 - 1)):
        yield f"png of {width}x{height}", png(header(width, height), body)
    yield "jpeg that ends after its start", b"\xff\xd8\xff\xd9"
    yield "jpeg of markers", b"\xff\xd8" + b"\xff\xe0\x00\x02" * 500 + b"\xff\xd9"
    yield "jpeg with a length of zero", b"\xff\xd8\xff\xe0\x00\x00" + bytes(64)
    yield "webp of nothing", b"RIFF\x04\0\0\0WEBP"
    yield "webp with a wrong length", b"RIFF\xff\xff\xff\xffWEBPVP8 " + bytes(32)
    yield "webp with an unknown part", b"RIFF\x14\0\0\0WEBPXXXX" + bytes(12)
    yield "jpeg without tables", made("jpeg").replace(b"\xff\xdb", b"\xff\xe9")
    yield "jpeg of three bits", made("jpeg").replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x03", 1)
    yield "nothing but a signature", SIGNATURE
    yield "text", b"hello"

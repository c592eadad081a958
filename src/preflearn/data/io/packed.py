"""Bytes of a file, unpacked where it is gzip or zstd (seen from its first bytes), with a guard on size."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import zstandard

from preflearn.errors import InputError

GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
PACKED_SUFFIXES = (".gz", ".zst", ".zstd")

FREE_BYTES = 256 * 2**20
"""Unpacked bytes allowed whatever the packed size."""
RATIO = 200
"""Unpacked bytes allowed per packed byte; text of the most repetitive vote files stays below 100."""

_CHUNK = 2**20


class Unpacked(NamedTuple):
    """A file's content; `broken` says why it ends early (None = complete)."""

    data: bytes
    broken: str | None


def unpacked(path: Path) -> Unpacked:
    """The content of a file, unpacked if it is gzip or zstd.

    A packed stream that breaks off gives what came before the break, with the reason.

    Raises:
        InputError: the file cannot be opened, or unpacks to more than max(256 MiB, 200 times its size).
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"the file cannot be read: {error.strerror or error}.", path=path) from error
    if raw.startswith(GZIP):
        return _collect(_gunzip(raw), path, len(raw))
    if raw.startswith(ZSTD):
        return _collect(_unzstd(raw), path, len(raw))
    if path.suffix in PACKED_SUFFIXES and raw:
        raise InputError(f"the content is not {path.suffix[1:]} data.", path=path, cure="Rename or repack the file.")
    return Unpacked(raw, None)


def _collect(chunks: Iterator[bytes], path: Path, packed: int) -> Unpacked:
    limit = max(FREE_BYTES, RATIO * packed)
    parts: list[bytes] = []
    total = 0
    broken = None
    try:
        for chunk in chunks:
            total += len(chunk)
            if total > limit:
                raise InputError(
                    f"{packed:,} packed bytes unpack to more than {limit:,}, which looks like a decompression bomb.",
                    path=path,
                    cure="If you trust the file, unpack it yourself and read the result.",
                )
            parts.append(chunk)
    except (zlib.error, zstandard.ZstdError, EOFError) as error:
        broken = f"the packed data breaks off or is damaged ({error})"
    return Unpacked(b"".join(parts), broken)


def _gunzip(raw: bytes) -> Iterator[bytes]:
    rest = raw
    while rest.startswith(GZIP):  # members follow each other in concatenated files
        stream = zlib.decompressobj(wbits=31)
        while not stream.eof:
            chunk = stream.decompress(rest, _CHUNK)
            rest = stream.unconsumed_tail
            if chunk:
                yield chunk
            elif not stream.eof and not rest:
                raise EOFError("the stream has no end")
        rest = stream.unused_data
    if rest.strip(b"\0"):
        raise EOFError("something that is not gzip follows")


def _unzstd(raw: bytes) -> Iterator[bytes]:
    step = 1024  # a packed byte can stand for 32 KiB: small steps keep one bomb's step below 32 MiB
    view = memoryview(raw)
    stream = zstandard.ZstdDecompressor().decompressobj()
    for start in range(0, len(raw), step):
        piece = bytes(view[start : start + step])
        while piece:
            if stream.eof:
                stream = zstandard.ZstdDecompressor().decompressobj()
            chunk = stream.decompress(piece)
            piece = stream.unused_data if stream.eof else b""
            if chunk:
                yield chunk
    if not stream.eof:
        raise EOFError("the stream has no end")

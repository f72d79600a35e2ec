"""Identifiers: minted in order of time, derived from content, or hiding a person."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time


def mint_id() -> str:
    """Return a new UUIDv7 (RFC 9562, section 5.7): 48 bits of milliseconds, then 74 random bits.

    >>> import uuid
    >>> uuid.UUID(mint_id()).version
    7
    """
    return _uuid7(time.time_ns() // 1_000_000, secrets.randbits(80))


def content_id(*parts: object, at: float = 0.0) -> str:
    """Return an id that the same content always gets, so that importing twice adds nothing.

    It has UUIDv7's layout with the content's hash in place of randomness; ``at`` (seconds since
    the epoch, part of the content) comes first so that ids sort by event time and land side by
    side in an index.

    >>> content_id("user", "item", at=1.0) == content_id("user", "item", at=1.0)
    True
    >>> content_id("a", "bc") == content_id("ab", "c")
    False
    """
    content = "\x1f".join(map(str, parts)) + f"\x1f{at!r}"
    digest = hashlib.blake2b(content.encode(), digest_size=10).digest()
    return _uuid7(max(0, int(at * 1000)), int.from_bytes(digest, "big"))


def _uuid7(milliseconds: int, noise: int) -> str:
    number = (
        (milliseconds & 0xFFFF_FFFF_FFFF) << 80
        | 0x7 << 76
        | (noise >> 62 & 0xFFF) << 64
        | 0b10 << 62
        | (noise & 0x3FFF_FFFF_FFFF_FFFF)
    )
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def pseudonym(user: str, key: bytes) -> str:
    """Return the name a person has in the log: HMAC-SHA256 of the user id, 128 bits in hex.

    Without the workspace's key nobody can go back, or test a guess.

    Args:
        user: the raw user id; it is not kept.
        key: the workspace's secret, at least 16 bytes.

    Raises:
        ValueError: the key is shorter than 16 bytes.
    """
    if len(key) < 16:
        raise ValueError(f"the pseudonym key has {len(key)} bytes; use at least 16")
    return hmac.new(key, user.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]

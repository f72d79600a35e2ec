"""Who may ask: keys that are shown once and kept as hashes."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from heedful.record.errors import check_id

Role = Literal["client", "reviewer", "admin"]

FILE_NAME = "keys.json"
PREFIX = "heedful_"


class KeysError(ValueError):
    """The file of keys cannot be used; the message says where and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key as it is kept.

    Attributes:
        name: whose it is, for the log of requests and for taking it back.
        role: ``client``: asks and tells; ``reviewer``: sees the decisions that wait and answers
            them, nothing else; ``admin``: may do both, and reads the metrics.
        sha256: hash of the token, in hex. The token has 256 random bits, so a plain hash will do.
        created_at: seconds since the epoch.
    """

    name: str
    role: Role
    sha256: str
    created_at: float


class Keys:
    """The keys of a workspace, in one file that only its owner can read.

    A key that is made or taken back counts at once, in running services too.
    """

    def __init__(self, path: str | Path) -> None:
        """Keep keys in ``path``; a file that is not there holds none.

        Raises:
            KeysError: the file holds something else.
        """
        self._path = Path(path)
        self._mutex = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._keys: tuple[Key, ...] = ()
        self.all()

    def all(self) -> tuple[Key, ...]:
        """Return all keys.

        Raises:
            KeysError: the file was replaced by something else.
        """
        with self._mutex:
            stamp = self._stamp_now()
            if stamp != self._stamp:
                self._keys = _read(self._path) if stamp is not None else ()
                self._stamp = stamp
            return self._keys

    def new(self, name: str, role: Role = "client") -> str:
        """Make a key and return its token, which is kept nowhere.

        Raises:
            KeysError: the name is taken.
            RecordError: the name is empty, too long, or no valid text.
        """
        check_id("name", name)
        if role not in get_args(Role):
            raise KeysError(f"role: is {role!r}; choose one of {', '.join(get_args(Role))}")
        known = self.all()
        if any(key.name == name for key in known):
            raise KeysError(
                f"{self._path}: there is a key named {name!r}; revoke it, or choose another"
            )
        token = PREFIX + secrets.token_urlsafe(32)
        key = Key(name=name, role=role, sha256=_hash(token), created_at=time.time())
        self._write((*known, key))
        return token

    def revoke(self, name: str) -> None:
        """Take a key back.

        Raises:
            KeysError: there is none of this name.
        """
        known = self.all()
        kept = tuple(key for key in known if key.name != name)
        if len(kept) == len(known):
            names = ", ".join(key.name for key in known) or "none"
            raise KeysError(f"{self._path}: there is no key named {name!r}; there are: {names}")
        self._write(kept)

    def find(self, token: str) -> Key | None:
        """Return the key of a token, in a time that does not depend on how near a guess came."""
        digest, found = _hash(token), None
        for key in self.all():
            if hmac.compare_digest(key.sha256, digest):
                found = key
        return found

    def _stamp_now(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _write(self, keys: tuple[Key, ...]) -> None:
        """Replace the file as a whole: a reader sees the old keys or the new ones."""
        text = json.dumps({"keys": [asdict(key) for key in keys]}, indent=2) + "\n"
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=".keys-")  # made with 0600
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self._path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _read(path: Path) -> tuple[Key, ...]:
    try:
        return tuple(Key(**fields) for fields in json.loads(path.read_text("utf-8"))["keys"])
    except (ValueError, KeyError, TypeError) as error:
        raise KeysError(
            f"{path}: holds no keys that can be read ({error}); restore it from a copy, or remove "
            "it and make new keys"
        ) from error

"""Ed25519 keys of nodes (extra `secure`): kept beside the state, used by core/security."""

import os
from pathlib import Path
from typing import Any

from scuttled.core.security import Check, Seal, id_of_key
from scuttled.core.update import NodeId
from scuttled.errors import StorageError
from scuttled.extras import not_installed

FILE = "key"
SEED_BYTES = 32


def _ed25519() -> Any:
    """Raises Unavailable if the extra is not installed."""
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise not_installed("signing", "secure") from None
    return ed25519


def check_with_ed25519() -> Check:
    """Checks signatures. Raises Unavailable."""
    public_key = _ed25519().Ed25519PublicKey.from_public_bytes
    from cryptography.exceptions import InvalidSignature

    def check(key: bytes, signature: bytes, message: bytes) -> bool:
        try:
            public_key(key).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True

    return check


def make_seal(seed: bytes) -> Seal:
    """What signs with the key of that seed. Raises Unavailable."""
    private = _ed25519().Ed25519PrivateKey.from_private_bytes(seed)
    return Seal(private.public_key().public_bytes_raw(), private.sign)


def read_key(directory: Path) -> bytes | None:
    """The seed of the key that is kept there, if one is. Raises StorageError."""
    path = directory / FILE
    try:
        seed = bytes.fromhex(path.read_text("ascii").strip())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"can't read {path}: {error.strerror}") from error
    except ValueError:
        seed = b""
    if len(seed) != SEED_BYTES:
        raise StorageError(f"{path} is damaged: expected {2 * SEED_BYTES} hexadecimal digits")
    return seed


def write_key(directory: Path, seed: bytes) -> None:
    """Keep it there, for nobody else to read. Raises StorageError."""
    path = directory / FILE
    part = path.with_name(f"{FILE}.new")
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(seed.hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise StorageError(f"can't write {path}: {error.strerror}") from error


def node_id(seal: Seal) -> NodeId:
    """The id of the node that signs so."""
    return id_of_key(seal.key)

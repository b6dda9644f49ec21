"""Ed25519 keys of nodes (extra `secure`): kept beside the state, used by replica/signatures.

    key          the seed, 64 hexadecimal digits
    key.check    its crc32, 8 of them

Any 32 bytes are a seed, so a flipped bit would make another node of this one. The check stands
in a file of its own, since the version before takes more than a seed in `key` for damage.
"""

from pathlib import Path
from typing import Any
from zlib import crc32

from scuttled.errors import StorageError, not_installed
from scuttled.replica.signatures import Check, Signer, id_of_key
from scuttled.replica.update import NodeId
from scuttled.runtime.whole_file import replacing

FILE = "key"
CHECK_FILE = "key.check"
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


def make_seal(seed: bytes) -> Signer:
    """Signer with the key of that seed. Raises Unavailable."""
    private = _ed25519().Ed25519PrivateKey.from_private_bytes(seed)
    return Signer(private.public_key().public_bytes_raw(), private.sign)


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
    check = _read_check(directory)
    if check not in (None, _check(seed)):
        raise StorageError(
            f"{path} is damaged: it is not the key that {CHECK_FILE} beside it tells of",
            hint=f"put it back from a backup; if it is the right one: rm {directory / CHECK_FILE}",
        )
    return seed


def has_check(directory: Path) -> bool:
    """True if a key there can be checked; one that an older version wrote can't."""
    return (directory / CHECK_FILE).exists()


def write_check(directory: Path, seed: bytes) -> None:
    """Keep what tells whether the key that is kept there is that seed. Raises StorageError."""
    _replace(directory, CHECK_FILE, _check(seed))


def _check(seed: bytes) -> str:
    return f"{crc32(seed):08x}"


def _read_check(directory: Path) -> str | None:
    path = directory / CHECK_FILE
    try:
        return path.read_bytes().decode("ascii", "replace").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"can't read {path}: {error.strerror}") from error


def write_key(directory: Path, seed: bytes) -> None:
    """Keep it there, for nobody else to read. Raises StorageError."""
    try:
        (directory / CHECK_FILE).unlink(missing_ok=True)  # that of the key before
    except OSError as error:
        raise StorageError(f"can't write {directory / CHECK_FILE}: {error.strerror}") from error
    _replace(directory, FILE, seed.hex())
    write_check(directory, seed)


def _replace(directory: Path, name: str, line: str) -> None:
    path = directory / name
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with replacing(path, directory / f"{name}.new", mode=0o600) as file:
            file.write(f"{line}\n".encode())
    except OSError as error:
        raise StorageError(f"can't write {path}: {error.strerror}") from error


def node_id(seal: Signer) -> NodeId:
    """The id of the node that signs so."""
    return id_of_key(seal.key)

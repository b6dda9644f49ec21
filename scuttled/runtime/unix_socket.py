"""The control socket: made where no other daemon listens, with the rights that were asked for."""

import errno
import grp
import os
import socket
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio

from scuttled.errors import CantCreate, ConfigError

BACKLOG = 64


@asynccontextmanager
async def open_control_socket(
    path: str, mode: int, group: str
) -> AsyncIterator[trio.SocketListener]:
    """Listen at `path`, where no other daemon does; the socket is removed at the end.

    Raises CantCreate, or ConfigError at an unknown group.
    """
    with _bound(path, mode, group) as sock:
        async with trio.SocketListener(trio.socket.from_stdlib_socket(sock)) as listener:
            yield listener


@contextmanager
def _bound(path: str, mode: int, group: str) -> Iterator[socket.socket]:
    try:
        gid = grp.getgrnam(group).gr_gid if group else -1
    except KeyError:
        raise ConfigError(f"[control] group: there is no group '{group}'") from None
    path = _behind_links(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.makedirs(os.path.dirname(path) or ".", mode=0o750, exist_ok=True)
        _clear(path)
        before = os.umask(0o177)  # so that there is no moment at which others may connect
        try:
            sock.bind(path)
        finally:
            os.umask(before)
        if gid >= 0:
            os.chown(path, -1, gid)
        os.chmod(path, mode)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        why = error.strerror or str(error)
        raise CantCreate(
            f"can't make the control socket {path}: {why}",
            hint="name another one with --socket PATH",
        ) from error
    except CantCreate:
        sock.close()
        raise
    mine = os.stat(path).st_ino
    sock.setblocking(False)
    try:
        yield sock
    finally:
        _unlink_if(path, mine)


def _behind_links(path: str) -> str:
    """Path to which callers who connect to `path` get: a link stays, and its target is our socket.

    Raises CantCreate: where somebody else has it lead to, nothing is made but the socket.
    """
    if not os.path.islink(path):
        return path
    target = os.path.realpath(path)
    if not os.path.isdir(os.path.dirname(target)):
        raise CantCreate(
            f"can't make the control socket {path}: it is a link to {target}, "
            "whose directory is not there",
            hint="remove the link, or name another --socket PATH",
        )
    return target


def _clear(path: str) -> None:
    """Make way for our socket: a stale one is removed, a live one or anything else is not."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise CantCreate(f"can't make the control socket {path}: it is not a socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except OSError as error:
            if error.errno == errno.ENOENT:
                return
    raise CantCreate(
        f"another daemon answers at the control socket {path}",
        hint="stop it, or give this one a socket of its own with --socket PATH",
    )


def _unlink_if(path: str, inode: int) -> None:
    try:
        if os.stat(path).st_ino == inode:
            os.unlink(path)
    except OSError:
        pass  # gone already, which is what was wanted

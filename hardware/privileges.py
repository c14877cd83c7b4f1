"""What the worker may do on its host: nothing but what its drivers need. Linux; by prctl(2), capset(2), setuid(2).

Capabilities belong to threads: drop them before the process has a second one.
"""

import ctypes
import os
import pwd
import struct
import sys
from collections.abc import Collection
from enum import IntEnum
from pathlib import Path

import structlog

from hardware.errors import Condition, HardwareError

log = structlog.get_logger()

_PR_SET_KEEPCAPS = 8
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAP_VERSION_3 = 0x20080522
_MOST_CAPABILITIES = 64


class Capability(IntEnum):
    """Capabilities that a driver may need, by their numbers (capabilities(7))."""

    KILL = 5
    """Send signals to other users' processes."""
    SYS_PTRACE = 19
    """Read the environment and the open files of other users' processes."""
    SYS_ADMIN = 21
    """What the NVIDIA driver asks of whoever sets a power limit."""


def drop(keep: Collection[Capability] = (), *, user: str | None = None) -> None:
    """Give up every capability but ``keep``, the way to new ones, and with ``user`` the user that we are.

    Who is not root has nothing to give up but the way to more. Raises ``HardwareError`` where ``user`` cannot be had,
    or a capability could not be given up, as with a second thread about.
    """
    if sys.platform != "linux":
        log.info("privileges_kept", reason="capabilities are Linux's")
        return
    if os.geteuid() == 0 and len(list(Path("/proc/self/task").iterdir())) > 1:
        raise HardwareError("privileges cannot be given up: a library has started a thread, which would keep them")
    libc = ctypes.CDLL(None, use_errno=True)

    def call(*arguments: int) -> bool:
        return int(libc.prctl(*map(ctypes.c_ulong, (*arguments, *(0,) * (5 - len(arguments)))))) == 0

    for capability in range(_MOST_CAPABILITIES):
        # Fails above the last that the kernel knows, and for who may not; the proof is in /proc/self/status.
        if capability not in keep:
            call(_PR_CAPBSET_DROP, capability)
    if user is not None:
        call(_PR_SET_KEEPCAPS, 1)
        _become(user)
    _have_only(libc, keep)
    call(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    if not call(_PR_SET_NO_NEW_PRIVS, 1):
        raise HardwareError(f"privileges cannot be given up: {os.strerror(ctypes.get_errno())}")


def check_program(user: str) -> None:
    """Raise ``HardwareError`` where ``user``, whom we are now, may not read the program: drivers are read later on."""
    for needed in (os.__file__, __file__):
        if not os.access(needed, os.R_OK):
            raise HardwareError(
                f"the worker cannot run as {user!r}, who may not read {needed}",
                condition=Condition.NO_PERMISSION,
                cure="install Python and gridgate where every user may read them (not in root's home)",
            )


def _become(user: str) -> None:
    try:
        entry = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    except (KeyError, OSError) as cause:
        raise HardwareError(
            f"the worker cannot run as {user!r}: {cause}",
            condition=Condition.NO_PERMISSION,
            cure="start the agent as root, and let worker_user name a user of this host",
        ) from cause


def _have_only(libc: ctypes.CDLL, keep: Collection[Capability]) -> None:
    """Permitted and effective: what we keep of what we have; inheritable: nothing."""
    header = struct.pack("@Ii", _CAP_VERSION_3, 0)
    data = ctypes.create_string_buffer(24)
    if libc.capget(header, data) != 0:
        raise HardwareError(f"capabilities cannot be read: {os.strerror(ctypes.get_errno())}")
    _, low, _, _, high, _ = struct.unpack("@6I", data.raw)
    mask = (low | high << 32) & sum(1 << capability for capability in keep)
    halves = (mask & 0xFFFFFFFF, mask >> 32)
    wanted = struct.pack("@6I", halves[0], halves[0], 0, halves[1], halves[1], 0)
    if libc.capset(header, wanted) != 0:
        raise HardwareError(f"capabilities cannot be given up: {os.strerror(ctypes.get_errno())}")

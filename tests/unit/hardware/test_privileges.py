"""Privileges given up, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hardware.errors import Condition, HardwareError
from hardware.privileges import Capability, check_program

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root on Linux has privileges to give up"
)

TRY = """
import sys
from hardware.privileges import Capability, drop
from hardware.errors import HardwareError
try:
    drop([Capability.SYS_ADMIN], user=sys.argv[1] or None)
except HardwareError as fault:
    print(fault)
else:
    print(open("/proc/self/status").read())
"""


def after(user: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-c", TRY, user], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30.0
    )
    return done.stdout


@pytest.mark.parametrize("user", ["", "nobody"])
def test_only_what_is_needed_is_kept(user):
    lines = dict(line.partition(":\t")[::2] for line in after(user).splitlines())
    mine = dict(line.partition(":\t")[::2] for line in Path("/proc/self/status").read_text().splitlines())
    only = f"{int(mine['CapBnd'], 16) & 1 << Capability.SYS_ADMIN:016x}"
    assert {lines[name] for name in ("CapPrm", "CapEff", "CapBnd")} == {only}
    assert {lines[name] for name in ("CapInh", "CapAmb")} == {"0" * 16}
    assert lines["NoNewPrivs"] == "1"
    assert (lines["Uid"].split()[0] == "0") is not bool(user)


def test_a_user_that_there_is_not_is_named():
    assert "cannot run as 'nobody-of-this-host'" in after("nobody-of-this-host")


def test_a_user_who_cannot_read_the_program_is_told_at_once(monkeypatch):
    check_program("root")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(HardwareError, match=r"cannot run as 'gridgate', who may not read .*; install Python") as said:
        check_program("gridgate")
    assert said.value.condition is Condition.NO_PERMISSION

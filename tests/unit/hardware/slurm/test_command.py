import os
import time
from pathlib import Path

import pytest

from hardware.errors import CallHangs, Condition, HardwareError, SchedulerLost, WriteRefused
from hardware.slurm.command import Done, SlurmCommands, run
from hardware.slurm.outputs import Outputs
from tests.lab import eventually

ENVIRONMENT = {"PATH": os.defpath}


def soon_s(within_s: float = 1.5) -> float:
    return time.monotonic() + within_s


def test_program_ends_at_its_deadline_with_all_that_it_started(tmp_path: Path) -> None:
    mark = tmp_path / "child"
    script = f"(sleep 60 & echo $! > {mark}; wait) & wait"
    with pytest.raises(CallHangs):
        run(["sh", "-c", script], ENVIRONMENT, soon_s(0.5))
    child = int(mark.read_text(encoding="ascii"))
    state = Path(f"/proc/{child}/stat")

    def has_ended() -> bool:
        try:
            return state.read_text(encoding="ascii").split()[2] == "Z"
        except OSError:
            return True

    eventually("what it started has ended", has_ended, within_s=5.0, every_s=0.01)


def test_nothing_of_the_callers_environment_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQUEUE_FORMAT", "%i")
    assert b"SQUEUE_FORMAT" not in run(["env"], ENVIRONMENT, soon_s()).printed


def commands(folder: Path, script: str) -> SlurmCommands:
    for name in ("squeue", "scontrol"):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
        (folder / name).chmod(0o755)
    return SlurmCommands(folder=folder)


def test_words_reach_the_program_as_they_are(tmp_path: Path) -> None:
    way = commands(tmp_path, f'printf "%s\\n" "$@" > {tmp_path}/words')
    way.drain("gpu1", "a $(touch x); 'b'", soon_s())
    words = (tmp_path / "words").read_text(encoding="ascii").splitlines()
    assert words == ["update", "NodeName=gpu1", "State=DRAIN", "Reason=a $(touch x); 'b'"]


@pytest.mark.parametrize(
    ("script", "kind", "says"),
    [
        ("echo no json", HardwareError, "did not print JSON"),
        ('echo "{\\"errors\\": [{\\"error\\": \\"x\\"}], \\"jobs\\": []}"', WriteRefused, "list the jobs"),
        ("exit 3", WriteRefused, "squeue ended with 3"),
        ("echo Unable to contact slurm controller >&2; exit 1", SchedulerLost, "scontrol ping"),
    ],
)
def test_listing_that_failed_is_no_empty_listing(
    tmp_path: Path, script: str, kind: type[HardwareError], says: str
) -> None:
    with pytest.raises(kind, match=says):
        commands(tmp_path, script).list_jobs(soon_s())


def test_missing_settings_file_is_named_before_a_command_waits_for_it(tmp_path: Path) -> None:
    with pytest.raises(SchedulerLost) as caught:
        SlurmCommands(conf=tmp_path / "slurm.conf").list_jobs(soon_s())
    assert caught.value.condition is Condition.NO_DRIVER


def test_outputs_are_plain_files_that_can_be_seen(tmp_path: Path) -> None:
    plain = tmp_path / "a b.out"
    plain.write_text("four", encoding="ascii")
    found = Outputs(within_s=1.5, rest_s=60.0).look([str(plain), str(tmp_path), "/dev/null", str(tmp_path / "none")])
    assert {path: seen.size_bytes for path, seen in found.items()} == {str(plain): 4}


def test_file_server_that_hangs_is_left_alone_for_a_while(tmp_path: Path) -> None:
    now_s = 0.0
    outputs = Outputs(within_s=0.0, rest_s=60.0, clock_s=lambda: now_s)
    file = tmp_path / "out"
    file.write_text("x", encoding="ascii")
    assert outputs.look([str(file)]) == {}
    outputs._within_s = 1.5
    assert outputs.look([str(file)]) == {}
    now_s = 60.0
    assert list(outputs.look([str(file)])) == [str(file)]


def test_program_that_writes_without_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hardware.slurm.command.MAX_OUTPUT_BYTES", 100_000)
    began_s = time.monotonic()
    with pytest.raises(HardwareError, match="more than 100000 bytes"):
        run(["sh", "-c", "while true; do echo noise; echo noise >&2; done"], ENVIRONMENT, soon_s(60.0))
    assert time.monotonic() - began_s < 30.0
    assert run(["sh", "-c", "echo out; echo err >&2; exit 4"], ENVIRONMENT, soon_s()) == Done(
        code=4, printed=b"out\n", complained="err\n"
    )

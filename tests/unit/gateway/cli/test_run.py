"""``serve`` ends each fault with its exit code and one line; a bug with its trace in the log."""

import fcntl
import socket
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner, Result

from gateway import serving
from gateway.cli.main import app as commands
from gateway.ledger import LedgerNotUpgraded, LedgerTooNew, LedgerUnavailable
from hardware.errors import JournalUnreadable

CONFIG = """
[gateway]
listen = "127.0.0.1:8099"
state_dir = "{folder}/state"
[site]
id = "a"
[[hardware]]
kind = "simulated"
"""


@pytest.fixture(autouse=True)
def logging_as_it_was():
    yield
    structlog.reset_defaults()


def serve(folder: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException) -> Result:
    async def failing(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr(serving, "serve", failing)
    config = folder / "gridgate.toml"
    config.write_text(CONFIG.format(folder=folder))
    return CliRunner().invoke(commands, ["serve", "--config", str(config)])


@pytest.mark.parametrize(
    ("fault", "code", "says"),
    [
        (LedgerNotUpgraded("run `gridgate db upgrade`"), 2, "gridgate: run `gridgate db upgrade`"),
        (LedgerTooNew("written by a newer gridgate"), 1, "gridgate: written by a newer gridgate"),
        (LedgerUnavailable("another process holds the database"), 1, "gridgate: another process holds the database"),
        (JournalUnreadable("the journal is damaged"), 1, "gridgate: the journal is damaged"),
        (FileNotFoundError(2, "No such file or directory", "x/y"), 1, "gridgate: x/y: No such file or directory"),
        (OSError(98, "address already in use"), 1, "gridgate: listen = 127.0.0.1:8099: address already in use"),
        (
            socket.gaierror(-2, "Name or service not known"),
            1,
            "gridgate: listen = 127.0.0.1:8099: Name or service not known",
        ),
        (TimeoutError("too late"), 1, "gridgate: too late"),
    ],
)
def test_an_expected_fault_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception, code: int, says: str
) -> None:
    done = serve(tmp_path, monkeypatch, fault)

    assert done.exit_code == code
    assert (done.stdout, done.stderr) == ("", says + "\n")


def test_a_bug_in_a_service_leaves_its_trace_in_the_log_and_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = serve(tmp_path, monkeypatch, ExceptionGroup("services", [RuntimeError("a bug")]))

    assert done.exit_code == 1
    assert done.stdout == ""
    *log, last = done.stderr.splitlines()
    assert "RuntimeError: a bug" in "".join(log)
    assert last.startswith("gridgate: a service failed")


def test_the_folder_of_state_is_held_by_one_gateway_and_free_again_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "state").mkdir()
    with (tmp_path / "state" / "gateway.lock").open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        held = serve(tmp_path, monkeypatch, OSError("was not to be reached"))
    free = serve(tmp_path, monkeypatch, JournalUnreadable("was reached"))

    assert held.exit_code == 1
    assert held.stderr == f"gridgate: another gridgate serves already with state_dir = {tmp_path}/state\n"
    assert free.stderr == "gridgate: was reached\n"

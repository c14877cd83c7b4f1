"""The commands as a user types them: exit codes 0, 1 and 2, and standard output that carries only the result."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.__main__ import main
from gateway.demo.once import Shown, run_once
from gateway.demo.utility import Schedule
from hardware.agent_links import SocketLink
from hardware.fleet import AgentFleet
from tests.lab import Gateway, eventually, free_port

ROOT = Path(__file__).parents[2]
SHORT = Schedule(first_s=5.0, notice_s=60.0, duration_s=60.0, again_after_s=None)

CONFIG = """
[gateway]
database = "sqlite+aiosqlite:///{folder}/site.db"
listen = "127.0.0.1:{port}"
state_dir = "{folder}/state"
[site]
id = "demo-site"
timezone = "America/Phoenix"
interval_s = 60
[[program]]
id = "demo-peak"
levels = {{ 2 = 0.25 }}
baseline = "caiso-10-in-10"
price_per_kwh = "{price}"
"""
HARDWARE = '[[hardware]]\nkind = "simulated"\nhosts = 1\ndevices_per_host = 4\n'

FLEET = {
    "fixed_w": 100,
    "jobs": [
        {
            "job_id": "train",
            "weight": 1.0,
            "devices": 8,
            "min_throughput": 0.5,
            "can_pause": False,
            "curve": [[200, 190, 0.7], [300, 290, 0.9], [400, 390, 1.0]],
        }
    ],
}
READINGS = "timestamp,kw\n" + "".join(f"2026-07-01T12:{minute:02d}:00Z,{50 + minute}\n" for minute in range(60))
EVENT = "2026-07-01T12:30:00Z/2026-07-01T12:45:00Z"


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GRIDGATE_GATEWAY")}
    return {**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}


def run(*words: str | Path, cwd: Path) -> Done:
    """A command in a process of its own, from another directory than the checkout."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *map(str, words)],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return seen(Done(code=done.returncode, out=done.stdout, err=done.stderr))


def seen(done: Done) -> Done:
    """Whatever happens, a user sees no traceback."""
    assert "Traceback" not in done.err + done.out
    assert "internal error" not in done.err
    return done


def refused(done: Done, code: int, *says: str) -> None:
    """One clear line on standard error and nothing on standard output."""
    assert done.code == code, done.err
    assert done.out == ""
    assert done.err.startswith("gridgate: ")
    assert done.err.count("\n") == 1
    for text in says:
        assert text in done.err


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Shown]:
    """A folder with the record of one event, and what was shown of it."""
    folder = tmp_path_factory.mktemp("played")
    return folder, asyncio.run(run_once(folder, schedule=SHORT, afterwards_s=5.0))


@pytest.fixture
def folder(played: tuple[Path, Shown], tmp_path: Path) -> Path:
    """A working directory with that record, a config file that names it, and inputs for the offline commands."""
    shutil.copy(played[0] / "site.db", tmp_path / "site.db")
    (tmp_path / "gridgate.toml").write_text(CONFIG.format(folder=tmp_path, port=free_port(), price="0.75"))
    (tmp_path / "fleet.json").write_text(json.dumps(FLEET))
    (tmp_path / "readings.csv").write_text(READINGS)
    return tmp_path


@pytest.fixture
def typed(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """A command typed in ``folder``, through the entry point in this process: starting one takes a second or two."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "120")

    def typed(*words: str) -> Done:
        monkeypatch.setattr("sys.argv", ["gridgate", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return seen(Done(code=ended.value.code, out=captured.out, err=captured.err))

    return typed


CONFIG_FILE = ("--config", "gridgate.toml")


@pytest.mark.parametrize(
    ("words", "shows"),
    [
        (("event", "list", *CONFIG_FILE), "demo-20260715-1"),
        (("event", "show", "EVENT", *CONFIG_FILE), "every limit is put back"),
        (("statement", "list", *CONFIG_FILE), "caiso-10-in-10"),
        (("statement", "show", "STATEMENT", *CONFIG_FILE), "delivered"),
        (("db", "check", *CONFIG_FILE), "the newest"),
        (("db", "upgrade", *CONFIG_FILE), "revision"),
        (("allocate", "--fleet", "fleet.json", "--target-w", "2500"), "train"),
        (("baseline", "--list"), "caiso-10-in-10"),
        (("tariff", "list"), "flat-energy"),
        (("tariff", "show", "ercot-ers"), "pass_mark 0.95"),
        (("baseline", "meter-before-after", "--readings", "readings.csv", "--event", EVENT), "reduction"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else "",
)
def test_a_result_stands_alone_on_standard_output(
    typed: Callable[..., Done], played: tuple[Path, Shown], words: Sequence[str], shows: str
) -> None:
    statement = played[1].statement
    names = {"EVENT": statement.verified.event_id, "STATEMENT": statement.statement_id}
    said = [names.get(word, word) for word in words]
    text = typed(*said)
    data = typed(*said, "--json")

    assert (text.code, text.err) == (0, "")
    assert shows in text.out
    assert (data.code, data.err) == (0, "")
    assert data.json


def test_a_sample_of_another_implementation_is_decoded(shared: Path, typed: Callable[..., Done]) -> None:
    sample = shared / "data" / "openadr2b" / "samples" / "avob" / "eievent" / "oadrDistributeEvent.xml"
    text = typed("decode", str(sample))
    data = typed("decode", str(sample), "--json")

    assert (text.code, text.err) == (0, "")
    assert (data.code, data.err) == (0, "")
    assert data.json["message"] == "oadrDistributeEvent"
    for event in data.json["events"]:
        assert event["event_id"] in text.out
        assert event["starts_at"].endswith("Z")


def test_events_and_statements_on_record_are_those_that_were_played(
    typed: Callable[..., Done], played: tuple[Path, Shown]
) -> None:
    statement = played[1].statement
    (event,) = typed("event", "list", *CONFIG_FILE, "--json").json
    shown = typed("statement", "show", statement.statement_id, *CONFIG_FILE, "--json").json

    assert event["state"] == "completed"
    assert event["event"]["event_id"] == statement.verified.event_id
    assert shown["amount"] == str(statement.amount)
    assert shown["delivered_kwh"] == str(statement.delivered_kwh)


def test_a_statement_is_computed_again_from_the_record(
    folder: Path, typed: Callable[..., Done], played: tuple[Path, Shown]
) -> None:
    name = played[1].statement.statement_id
    right = typed("statement", "show", name, "--check", *CONFIG_FILE, "--json")
    (folder / "other.toml").write_text(CONFIG.format(folder=folder, port=free_port(), price="7.50"))
    wrong = typed("statement", "show", name, "--check", "--config", "other.toml")

    assert right.code == 0, right.err
    assert right.json["statement_id"] == name
    assert right.err == f"every figure of {name} follows from the record\n"
    refused(wrong, 1, "does not follow from the record", "price_per_kwh")


def test_a_report_with_its_rule_and_days_is_written_from_the_record(
    folder: Path, typed: Callable[..., Done], played: tuple[Path, Shown]
) -> None:
    statement = played[1].statement
    ask = ("statement", "report", statement.statement_id, "--format", "json", "--json", *CONFIG_FILE)
    first = typed(*ask, "--out", "first-report.json")
    again = typed(*ask, "--out", "again-report.json")

    assert (first.code, again.code) == (0, 0), first.err + again.err
    assert first.json["sha256"] == again.json["sha256"]
    report = json.loads((folder / "first-report.json").read_bytes())
    names = {table["name"] for section in report["sections"] for table in section["tables"]}
    assert {"parameters", "timeline", "controls", "intervals", "days", "money"} <= names
    assert any(span["metered_w"] is not None for span in report["chart"]["spans"])


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("event", "list"), 1, "there is no gridgate.db"),
        (("event", "list", "--config", "absent.toml"), 2, "cannot read absent.toml: No such file"),
        (("event", "list", "--config", "unknown.toml"), 2, "did you mean 'timezone'?"),
        (("event", "show", "nope", *CONFIG_FILE), 1, "gridgate event list"),
        (("statement", "list", "--database", "sqlite+aiosqlite:///fleet.json"), 1, "not an SQLite database"),
        (("statement", "show", "nope", *CONFIG_FILE), 1, "gridgate statement list"),
        (("statement", "show", "nope", "--check"), 2, "--check needs --config"),
        (("db", "upgrade", "--database", "sqlite+aiosqlite:////nowhere/x.db"), 1, "no folder /nowhere"),
        (("decode", "absent.xml"), 2, "cannot read absent.xml"),
        (("decode", "fleet.json"), 2, "fleet.json"),
        (("allocate", "--fleet", "readings.csv", "--target-w", "1"), 2, "not JSON"),
        (("allocate", "--fleet", "fleet.json", "--target-w", "nan"), 2, "0 or more watts"),
        (("baseline", "caiso", "--readings", "readings.csv", "--event", EVENT), 2, "did you mean caiso-5-in-10?"),
        (("baseline", "meter-before-after", "--readings", "fleet.json", "--event", EVENT), 2, "fleet.json"),
        (("tariff", "show", "ercot"), 2, "did you mean ercot-ers?"),
        (("tariff", "try", "flat-energy", "--delivery", "fleet.json"), 2, "fleet.json"),
    ],
    ids=lambda value: " ".join(value[:3]) if isinstance(value, tuple) else "",
)
def test_a_refusal_is_one_line_and_in_json_an_error(
    folder: Path, typed: Callable[..., Done], words: Sequence[str], code: int, says: str
) -> None:
    (folder / "unknown.toml").write_text('[site]\nid = "a"\ntimezon = "UTC"\n')
    text = typed(*words)
    data = typed(*words, "--json")

    refused(text, code, says)
    assert data.code == code
    assert says in data.json["error"]


def test_an_honest_cannot_say_is_a_result_with_exit_code_1(typed: Callable[..., Done]) -> None:
    words = ("baseline", "caiso-10-in-10", "--readings", "readings.csv", "--event", EVENT, "--timezone", "UTC")
    text = typed(*words)
    data = typed(*words, "--json")

    assert (text.code, text.err) == (1, "")
    assert text.out.startswith("insufficient: ")
    assert (data.code, data.err) == (1, "")
    assert data.json["insufficient"]


@pytest.mark.parametrize(
    "words", [("serve",), ("frobnicate",), ("allocate", "--fleet", "x", "--target-w", "much"), ("event",), ()]
)
def test_wrong_usage_is_exit_code_2(typed: Callable[..., Done], words: Sequence[str]) -> None:
    assert typed(*words).code == 2


HELP_OF_EVERYTHING = """
import sys
import typer
from typer.testing import CliRunner
from gateway.cli.main import app

def ask(command, words):
    done = CliRunner().invoke(app, [*words, "--help"], prog_name="gridgate")
    assert done.exit_code == 0, words
    assert done.stderr == "", words
    print(" ".join(words), "|", len(done.stdout.splitlines()))
    for name, below in getattr(command, "commands", {}).items():
        ask(below, [*words, name])

ask(typer.main.get_command(app), [])
# Pydantic is not among them: typer itself reads the options with it.
heavy = {"numpy", "aiohttp", "sqlalchemy", "alembic", "plotly", "lxml", "jinja2", "aiosqlite", "holidays"}
print("loaded:", sorted(heavy & set(sys.modules)))
"""


def test_the_help_of_every_command_loads_nothing_heavy(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HELP_OF_EVERYTHING],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    helped = {line.split("|")[0].strip() for line in done.stdout.splitlines() if "|" in line}
    assert {"", "demo", "serve", "agent", "event list", "statement show", "db upgrade"} <= helped
    assert done.stdout.splitlines()[-1] == "loaded: []"


@pytest.mark.parametrize("command", ["serve", "agent"])
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[site", "is not TOML"),
        ('[site]\nid = "a"\n', "declare [[hardware]]"),
        ('[site]\nid = "a"\ntimezon = "UTC"\n' + HARDWARE, "did you mean 'timezone'?"),
        (f'[gateway]\nstate_dir = "/tmp/{"x" * 100}"\n[site]\nid = "a"\n' + HARDWARE, "use a shorter path"),
        (
            '[site]\nid = "a"\n[[program]]\nid = "p"\nbaseline = "nope"\n' + HARDWARE,
            "no baseline rule is called 'nope'",
        ),
    ],
    ids=["not TOML", "no hardware", "unknown key", "long path", "unknown rule"],
)
def test_a_config_that_cannot_be_used_is_exit_code_2(
    folder: Path, typed: Callable[..., Done], command: str, text: str, says: str
) -> None:
    (folder / "bad.toml").write_text(text)

    refused(typed(command, "--config", "bad.toml"), 2, "bad.toml", says)


def test_a_command_starts_in_a_process_of_its_own_from_any_folder(folder: Path) -> None:
    listed = run("event", "list", *CONFIG_FILE, cwd=folder)
    missing = run("event", "list", "--config", "absent.toml", "--json", cwd=folder)

    assert (listed.code, listed.err) == (0, "")
    assert "demo-20260715-1" in listed.out
    assert (missing.code, missing.json) == (2, {"error": "cannot read absent.toml: No such file or directory"})


@pytest.fixture
def short_folder() -> Iterator[Path]:
    # A socket's path may be no longer than about a hundred characters.
    path = Path(tempfile.mkdtemp(prefix="gg-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def serving(folder: Path, *, port: int, **settings: str) -> Done:
    text = CONFIG.format(folder=folder, port=port, price="0.75") + HARDWARE
    for key, value in settings.items():
        lines = [f'{key} = "{value}"' if line.startswith(f"{key} =") else line for line in text.splitlines()]
        text = "\n".join(lines)
    (folder / "serve.toml").write_text(text)
    return run("serve", "--config", "serve.toml", cwd=folder)


def test_a_port_in_use_is_named_with_the_setting_that_chose_it(short_folder: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        done = serving(short_folder, port=port)

    assert (done.code, done.out) == (1, "")
    # Before it the log tells of the agent.
    assert done.err.splitlines()[-1].startswith(f"gridgate: listen = 127.0.0.1:{port}: ")
    assert "in use" in done.err.splitlines()[-1]


def test_a_demo_on_a_port_in_use_names_the_option(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        done = run("demo", "--port", str(port), cwd=tmp_path)

    refused(done, 1, f"--port {port}: ", "in use")


def test_a_state_folder_that_cannot_be_made_is_named(short_folder: Path) -> None:
    (short_folder / "file").touch()

    done = serving(short_folder, port=free_port(), state_dir=f"{short_folder}/file/state")

    refused(done, 1, f"state_dir = {short_folder}/file/state: Not a directory")


def test_a_record_that_cannot_be_read_is_left_alone(short_folder: Path) -> None:
    damaged = short_folder / "site.db"
    damaged.write_text("not a database at all, " * 1000)

    refused(serving(short_folder, port=free_port()), 1, "not an SQLite database")
    assert damaged.read_text().startswith("not a database")


def test_a_postgresql_that_is_not_there_is_one_line(short_folder: Path) -> None:
    address = f"postgresql+asyncpg://nobody@127.0.0.1:{free_port()}/x"

    refused(serving(short_folder, port=free_port(), database=address), 1, "the connection to the database is lost")


def test_a_second_gateway_on_one_folder_leaves_the_first_its_fleet(short_folder: Path) -> None:
    first = Gateway(short_folder, vtn_port=free_port())

    async def highest_epoch() -> int:
        fleet = AgentFleet([SocketLink(short_folder / "state" / "agent.sock")])
        try:
            await fleet.refresh()
            return fleet.highest_epoch
        finally:
            await fleet.close()

    try:
        first.start()
        before = eventually("the agent has heard of its gateway", lambda: asyncio.run(highest_epoch()), within_s=15)
        other = first.config.read_text().replace(str(first.port), str(free_port()))
        (short_folder / "second.toml").write_text(other)
        second = run("serve", "--config", "second.toml", cwd=short_folder)

        refused(second, 1, "another gridgate serves already", f"{short_folder}/state")
        assert asyncio.run(highest_epoch()) == before
        assert first.get("/health/live")
        rival = run("agent", "--config", "second.toml", cwd=short_folder)
        assert (rival.code, rival.out) == (1, "")
        assert "is in use: another agent has it open" in rival.err.splitlines()[-1]
        assert first.stop() == 0
    finally:
        first.end()


def started(*words: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "gateway", *words],
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell has what it runs in the background ignore Ctrl-C, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509 - no threads here
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_names_its_page_and_stops_when_told(tmp_path: Path, number: signal.Signals) -> None:
    process = started("demo", "--port", "0", "--speed", "10", cwd=tmp_path)
    try:
        assert process.stderr is not None
        page = next(word for line in process.stderr if "open http" in line for word in line.split() if "://" in word)
        with urllib.request.urlopen(page, timeout=10) as answer:
            shown = answer.read().decode()
        process.send_signal(number)
        out, err = process.communicate(timeout=15)
    finally:
        process.kill()

    assert "demo-site" in shown
    assert (process.returncode, out) == (0, "")
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_played_event_that_is_interrupted_says_so(tmp_path: Path) -> None:
    process = started("demo", "--once", "--out", "out", cwd=tmp_path)
    try:
        while not (tmp_path / "out" / "utility.db").exists():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=15)
    finally:
        process.kill()

    assert (process.returncode, out) == (1, "")
    assert err == "gridgate: interrupted\n"
    assert not (tmp_path / "out" / "statement.json").exists()


def test_a_folder_that_cannot_be_written_is_found_before_the_event_is_played(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    refused(run("demo", "--once", "--out", "file", cwd=tmp_path), 2, "cannot write to file")
    refused(run("demo", "--out", "x", cwd=tmp_path), 2, "--out goes with --once")

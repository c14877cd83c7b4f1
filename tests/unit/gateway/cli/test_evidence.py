"""``gridgate evidence``: heads, the public key, a proof that others can check, and what was changed."""

import asyncio
import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner, Result

from gateway.cli.main import app as commands
from gateway.cli.verify_text import trusted_key_id
from gateway.domain.merkle import MerkleLog, check_inclusion
from gateway.domain.tree_head import TreeHead, key_id_of, sign
from gateway.ledger import LogEntry
from gateway.storage.evidence_key import read_or_make_key
from gateway.storage.sql_evidence import SqlEvidenceStore
from gateway.storage.sql_ledger import open_ledger

CONFIG = """
[gateway]
database = "sqlite+aiosqlite:///{folder}/record.db"
state_dir = "{folder}/state"
[site]
id = "a"
timezone = "UTC"
[[hardware]]
kind = "simulated"
"""
NOT_COVERED = (
    "event_log 3 is entry 2, which no head covers yet: one is made when the day is over, "
    "or now by: gridgate evidence head"
)
NIGHT = datetime(2026, 7, 1, tzinfo=UTC)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A record with three logged lines, a head over the first two, and one line that no head covers."""

    async def fill() -> None:
        key = read_or_make_key(tmp_path / "state" / "evidence-key.pem")
        async with open_ledger(f"sqlite+aiosqlite:///{tmp_path}/record.db", migrate=True) as ledger:
            store = SqlEvidenceStore(ledger)
            for number, what in enumerate(("received", "planned", "settled")):
                await ledger.record_log(LogEntry(connection_id="u", event_id="e1", at=NIGHT, what=what))
                await store.log_new(NIGHT + timedelta(minutes=number))
                if number == 1:
                    await store.record_head(_head(MerkleLog(await store.leaves()), key))

    asyncio.run(fill())
    path = tmp_path / "gridgate.toml"
    path.write_text(CONFIG.format(folder=tmp_path))
    return path


def _head(tree: MerkleLog, key: Ed25519PrivateKey):
    head = TreeHead(
        format=1,
        log_id="a",
        size=len(tree),
        root_sha256=tree.root().hex(),
        made_at=NIGHT + timedelta(days=1),
        day="2026-07-01",
        previous_sha256="",
    )
    return sign(head, key)


def run(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(commands, ["evidence", *arguments, "--config", str(config)])


def test_heads_name_the_key_that_the_key_command_shows(config: Path) -> None:
    (head,) = json.loads(run(config, "heads", "--json").stdout)
    key = json.loads(run(config, "key", "--json").stdout)
    assert (head["head"]["day"], head["head"]["size"]) == ("2026-07-01", 2)
    assert head["key_id"] == key["key_id"] == key_id_of(bytes.fromhex(key["public_key"]))
    assert "-----BEGIN PUBLIC KEY-----" in key["pem"]
    assert run(config, "heads").stdout.startswith("2026-07-01          2 entries  root ")


def test_what_the_key_command_prints_is_a_key_to_verify_by(config: Path, tmp_path: Path) -> None:
    printed = run(config, "key").stdout
    (tmp_path / "key.pem").write_text(printed)
    known = json.loads(run(config, "key", "--json").stdout)["key_id"]
    assert trusted_key_id(str(tmp_path / "key.pem")) == known
    assert printed.endswith(f"key id {known}\n")


def test_a_head_on_demand_is_over_everything_and_told_with_who_got_it(config: Path, tmp_path: Path) -> None:
    heads_dir = tmp_path / "heads"
    config.write_text(config.read_text() + f'[evidence]\nheads_dir = "{heads_dir}"\n')
    found = json.loads(run(config, "head", "--json").stdout)
    assert (found["made"], found["signed"]["head"]["size"]) == (True, 3)
    assert found["given_to"] == [str(heads_dir)]
    assert found["key_id"] == json.loads(run(config, "key", "--json").stdout)["key_id"]
    assert len(list(heads_dir.glob("*.json"))) == 2
    again = run(config, "head")
    assert again.exit_code == 0
    assert "over 3 entries stands: nothing is new since" in again.stdout
    assert f"given to {heads_dir}" in again.stdout
    assert run(config, "check").stdout.startswith("3 entries and 2 heads")
    # Now it can be proven.
    assert run(config, "prove", "event_log", "3").exit_code == 0


def test_a_head_that_somebody_does_not_take_is_made_and_said(config: Path, tmp_path: Path) -> None:
    (tmp_path / "heads").write_text("no folder")
    config.write_text(config.read_text() + f'[evidence]\nheads_dir = "{tmp_path}/heads"\n')
    found = run(config, "head")
    assert found.exit_code == 1
    assert "over 3 entries is made" in found.stdout
    assert f"heads were not taken: {tmp_path}/heads" in found.stderr
    assert "the gateway gives it again when it runs" in found.stderr


def test_without_the_key_or_with_another_no_head_is_made(config: Path, tmp_path: Path) -> None:
    key = tmp_path / "state" / "evidence-key.pem"
    key.unlink()
    found = run(config, "head")
    assert found.exit_code == 1
    assert "no head is made: the gateway's key is not here" in found.stderr
    assert not key.exists()
    read_or_make_key(key)
    found = run(config, "head")
    assert found.exit_code == 1
    assert "make the head where the gateway keeps its key" in found.stderr
    assert len(json.loads(run(config, "heads", "--json").stdout)) == 1


def test_a_proof_can_be_checked_by_others(config: Path) -> None:
    proof = json.loads(run(config, "prove", "event_log", "1", "--json").stdout)
    check_inclusion(
        bytes.fromhex(proof["leaf"]),
        proof["entry"]["number"],
        proof["head"]["size"],
        [bytes.fromhex(step) for step in proof["path"]],
        bytes.fromhex(proof["head"]["root_sha256"]),
    )
    assert "entry 0 of 2, logged at 2026-07-01 00:00:00Z" in run(config, "prove", "event_log", "1").stdout


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("3", NOT_COVERED),
        ("9", "the log has no event_log '9'; what was recorded in the last minute may not be logged yet"),
    ],
)
def test_what_cannot_be_proven_is_said_in_a_line(config: Path, key: str, says: str) -> None:
    found = run(config, "prove", "event_log", key)
    assert (found.exit_code, found.stderr) == (1, f"gridgate: {says}\n")


def test_a_record_that_is_what_was_logged_is_said_to_be(config: Path) -> None:
    found = run(config, "check")
    assert (found.exit_code, found.stdout) == (0, "3 entries and 1 heads: every record is what was logged\n")


def test_a_changed_record_and_a_rewritten_log_are_named(config: Path, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "record.db") as database:
        database.execute("DROP TRIGGER event_log_no_update")
        database.execute("UPDATE event_log SET what = 'never' WHERE id = 2")
    database.close()
    found = run(config, "check")
    assert (found.exit_code, found.stdout) == (1, "event_log 2 (entry 1) is not what it was when it was logged\n")
    with sqlite3.connect(tmp_path / "record.db") as database:
        database.execute("DROP TRIGGER evidence_entry_no_update")
        database.execute("UPDATE evidence_entry SET leaf = printf('%064d', 0) WHERE number = 1")
    database.close()
    found = json.loads(run(config, "check", "--json").stdout)
    assert found["heads"] == ["the head of 2026-07-02 00:00Z is not of this log: entries were changed"]
    assert "the entry itself was changed" in found["mismatches"][0]["what"]


def test_before_the_first_start_there_is_no_key(config: Path, tmp_path: Path) -> None:
    (tmp_path / "state" / "evidence-key.pem").unlink()
    found = run(config, "key")
    assert found.exit_code == 1
    assert found.stderr.startswith("gridgate: there is no key yet: it is made at the first start of the gateway")

"""A bundle of what the demonstration played, written and verified by the command line."""

import asyncio
import io
import json
import shutil
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from typer.testing import CliRunner

from gateway.app import open_record
from gateway.bundle_file import FORMAT, read_bundle, write_bundle
from gateway.cli.main import app
from gateway.demo.once import STARTS_AT, run_once
from gateway.demo.utility import Schedule
from gateway.domain.evidence import canonical_json
from tests.bundle_record import KEY, KEY_ID, a_head

SHORT = Schedule(first_s=5.0, notice_s=60.0, duration_s=180.0, again_after_s=None)

CONFIG = """
[site]
id = "demo-site"
timezone = "America/Phoenix"
interval_s = 60

[[program]]
id = "demo-peak"
levels = { 1 = 0.10, 2 = 0.25, 3 = 0.40 }
baseline = "caiso-10-in-10"
price_per_kwh = "0.75"

[[hardware]]
kind = "simulated"
hosts = 8
devices_per_host = 8
"""


@dataclass(frozen=True)
class Site:
    """A folder with what a site's auditor was given."""

    folder: Path
    statement_id: str

    def run(self, *words: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, [*words])
        return done.exit_code, done.output

    def bundle(self, out: Path) -> tuple[int, str]:
        database = f"sqlite+aiosqlite:///{self.folder}/site.db"
        config = str(self.folder / "site.toml")
        return self.run(
            "statement", "bundle", self.statement_id, "--config", config, "--database", database, "--out", str(out)
        )

    def file(self, name: str) -> str:
        return str(self.folder / name)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    shown = asyncio.run(run_once(folder, schedule=SHORT, afterwards_s=30.0))
    (folder / "site.toml").write_text(CONFIG)
    public = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "key.pem").write_bytes(public)
    yield Site(folder, shown.statement.statement_id)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def logged(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The same with everything logged, and a head over it."""
    folder = tmp_path_factory.mktemp("logged")
    for name in ("site.toml", "site.db", "key.pem"):
        shutil.copy(site.folder / name, folder / name)
    asyncio.run(make_head(folder))
    yield replace(site, folder=folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def bundled(logged: Site) -> Path:
    """The bundle of its statement."""
    path = logged.folder / "bundle.zip"
    code, said = logged.bundle(path)
    assert code == 0, said
    return path


async def make_head(folder: Path) -> None:
    async with open_record(f"sqlite+aiosqlite:///{folder}/site.db", migrate=False) as record:
        at = STARTS_AT + timedelta(days=1)
        while await record.evidence.log_new(at):
            pass
        head = a_head(await record.evidence.leaves(), at, None)
        await record.evidence.record_head(head)
        (folder / "head.json").write_bytes(canonical_json(head))


def test_without_a_head_and_without_the_key_it_is_said_how_to_get_one(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "bundle.zip"
    code, said = site.bundle(path)
    assert (code, path.exists()) == (1, False)
    assert "has no head yet, and no head is made here: the gateway's key is not here" in said
    assert "gridgate evidence head --config FILE" in said


def test_a_statement_is_bundled_and_verified(logged: Site, bundled: Path) -> None:
    code, said = logged.run("verify", str(bundled), "--head", logged.file("head.json"), "--key", logged.file("key.pem"))
    assert (code, "everything holds" in said, "FAILS" in said) == (0, True, False)
    assert "taken on trust:" in said
    assert len(said.splitlines()) < 24
    code, said = logged.run("verify", str(bundled), "--key", "0" * 64)
    assert code == 1
    assert "FAILS  heads" in said


def test_a_reading_that_was_changed_in_a_bundle_is_found(logged: Site, bundled: Path, tmp_path: Path) -> None:
    bundle = read_bundle(bundled.read_bytes())
    readings = bundle.files["records/reading.txt"].replace(b"T22:42:00Z", b"T22:42:00.5Z")
    changed = tmp_path / "changed.zip"
    changed.write_bytes(write_bundle(replace(bundle, files={**bundle.files, "records/reading.txt": readings})))
    code, said = logged.run("verify", str(changed), "--json", "--key", KEY_ID)
    found = json.loads(said)
    assert (code, found["holds"]) == (1, False)
    (records,) = [one for one in found["checks"] if one["name"] == "records"]
    assert "the hour of readings from 2026-07-15T22:00:00Z of meter site" in records["faults"][0]


def test_a_bundle_of_a_record_that_was_changed_says_so_to_the_one_who_makes_it(logged: Site, tmp_path: Path) -> None:
    """Behind the triggers' back, by whoever has the file."""
    changed = replace(logged, folder=tmp_path)
    for name in ("site.toml", "site.db"):
        shutil.copy(logged.folder / name, tmp_path / name)
    with closing(sqlite3.connect(tmp_path / "site.db")) as connection, connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f'DROP TRIGGER "{name}"')
        connection.execute("UPDATE reading SET power_w = power_w - 1 WHERE meter_id = 'site'")
    code, said = changed.bundle(tmp_path / "bundle.zip")
    assert code == 1
    assert "is written and does not hold: records: the hour of readings from 2026-07-15T22:00:00Z" in said


def test_a_statement_newer_than_the_last_head_is_bundled_under_a_new_one_where_the_key_is(
    logged: Site, tmp_path: Path
) -> None:
    ours = replace(logged, folder=tmp_path)
    shutil.copy(logged.folder / "site.db", tmp_path / "site.db")
    with closing(sqlite3.connect(tmp_path / "site.db")) as connection, connection:
        # As it was before any head was made.
        connection.execute("DROP TRIGGER tree_head_no_delete")
        connection.execute("DELETE FROM tree_head")
    given = f'[evidence]\nheads_dir = "{tmp_path}/heads"\n[gateway]\nstate_dir = "{tmp_path}/state"\n'
    (tmp_path / "site.toml").write_text(given + CONFIG)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "evidence-key.pem").write_bytes(
        KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    code, said = ours.bundle(tmp_path / "bundle.zip")
    assert code == 0
    assert "was signed for it, and given to" in said
    code, said = ours.run(
        "verify", str(tmp_path / "bundle.zip"), "--head", ours.file("heads"), "--key", KEY_ID, "--json"
    )
    assert (code, json.loads(said)["holds"]) == (0, True)
    assert len(list((tmp_path / "heads").iterdir())) == 1


def test_what_is_no_bundle_or_too_new_is_said_with_exit_code_2(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "newer.zip"
    path.write_bytes(b"nothing")
    assert site.run("verify", str(path))[0] == 2
    newer = write_bundle_of_format(FORMAT + 1)
    path.write_bytes(newer)
    code, said = site.run("verify", str(path))
    assert code == 2
    assert "of format 2" in said
    assert path.read_bytes() == newer
    assert site.run("verify", str(tmp_path / "none.zip"))[0] == 2
    for word in ("--head", "--key"):
        code, said = site.run("verify", str(path), word, str(tmp_path / "none.json"))
        assert (code, f"cannot read {tmp_path}/none.json: No such file" in said) == (2, True)
    assert site.run("verify", str(path), "--key", site.file("site.toml"))[0] == 2


def test_a_statement_that_is_not_there_has_no_bundle(site: Site, tmp_path: Path) -> None:
    code, said = replace(site, statement_id="none").bundle(tmp_path / "x.zip")
    assert code == 1
    assert "gridgate statement list" in said


def write_bundle_of_format(number: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("manifest.json", json.dumps({"format": number, "product_version": "9.0"}))
    return out.getvalue()

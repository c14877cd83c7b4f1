"""A utility's gateway without hardware and a site's, as processes: mutual TLS, signatures, pull and push, commands."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from protocols.openadr2b.certificate import fingerprint
from tests.certificates import Identity, authority
from tests.lab import Gateway, capped, eventually, free_port, rows

pytestmark = pytest.mark.timeout(180)

UTILITY = """
[gateway]
database = "sqlite+aiosqlite:///{{folder}}/gridgate.db"
listen = "127.0.0.1:{{port}}"
state_dir = "{{folder}}/state"
[site]
id = "utility"
[[connection]]
kind = "openadr2b"
role = "vtn"
name = "below"
listen = "127.0.0.1:{vtn_port}"
poll_s = 1
report_s = 2
certificate = "{files}/vtn.pem"
key = "{files}/vtn.key"
ca = "{files}/ca.pem"
tls = "openadr2b"
sign = true
[[connection.party]]
name = "site-1"
fingerprint = "{fingerprint}"
groups = ["west"]
"""

SITE = """
[gateway]
database = "sqlite+aiosqlite:///{{folder}}/gridgate.db"
listen = "127.0.0.1:{{port}}"
state_dir = "{{folder}}/state"
[site]
id = "site-1"
interval_s = 60
[[connection]]
kind = "openadr2b"
url = "https://127.0.0.1:{vtn_port}/OpenADR2/Simple/2.0b"
name = "site-1"
poll_s = 1
certificate = "{files}/ven.pem"
key = "{files}/ven.key"
ca = "{files}/ca.pem"
tls = "openadr2b"
sign = true
groups = ["west"]
reports = ["power", "reduction"]
{push}
[[program]]
id = "peak"
levels = {{{{ 1 = 0.10, 2 = 0.25, 3 = 0.40 }}}}
[[hardware]]
kind = "simulated"
hosts = 1
devices_per_host = 8
seed = 3
"""

PUSH = """
[connection.push]
listen = "127.0.0.1:{port}"
url = "https://127.0.0.1:{port}"
"""


def identity(folder: Path, root: Identity, name: str) -> Identity:
    made = root.vouch(name, begins_at=datetime.now(UTC) - timedelta(days=1), hosts=("127.0.0.1",))
    (folder / f"{name}.pem").write_bytes(made.pem)
    (folder / f"{name}.key").write_bytes(made.key_pem)
    return made


@pytest.fixture(params=[pytest.param("pull", marks=pytest.mark.soak), "push"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Gateway, Gateway]]:
    files = tmp_path / "files"
    files.mkdir()
    root = authority(begins_at=datetime.now(UTC) - timedelta(days=2))
    (files / "ca.pem").write_bytes(root.pem)
    identity(files, root, "vtn")
    ours = identity(files, root, "ven")
    facts = {
        "vtn_port": free_port(),
        "files": files,
        "fingerprint": fingerprint(ours.der),
        "push": PUSH.format(port=free_port()) if request.param == "push" else "",
    }
    gateways = []
    for name, text in (("utility", UTILITY), ("site", SITE)):
        (tmp_path / name).mkdir()
        gateways.append(Gateway(tmp_path / name, vtn_port=0, config=text.format(**facts)))
    utility, site = gateways
    try:
        utility.start()
        yield utility, site
    finally:
        for gateway in gateways:
            if gateway.process is not None:
                gateway.end()


def test_a_utility_asks_by_commands_and_a_site_that_is_known_by_its_certificate_delivers(
    pair: tuple[Gateway, Gateway],
) -> None:
    utility, site = pair
    found = {finding["step"]: finding for finding in site.ask("connection", "test", "site-1")}
    assert all(finding["well"] for finding in found.values()), found
    assert "TLSv1.2" in found["TLS"]["detail"]

    site.start()
    eventually("the site is registered", lambda: rows(utility.folder, "SELECT 1 FROM party"), within_s=30)
    asked = ("--connection", "below", "--by", "ann")
    created = utility.ask(
        "vtn", "event", "create", *asked, "--id", "peak-1", "--program", "peak", "--signal", "level", "--value", "2",
        "--duration", "10m", "--target", "group=west", "--starts", "+2s",
    )  # fmt: skip
    assert created["outcome"]["done"]
    eventually("the site answers", lambda: rows(utility.folder, "SELECT 1 FROM party_answer"), within_s=20)
    eventually("caps are down", lambda: capped(site.folder), within_s=20)

    utility.ask("vtn", "event", "change", "peak-1", *asked, "--signal", "level", "--value", "1")
    eventually(
        "the change has come",
        lambda: rows(site.folder, "SELECT 1 FROM event_revision WHERE revision = 1"),
        within_s=20,
    )
    utility.ask("vtn", "event", "cancel", "peak-1", *asked)
    eventually("every cap is off", lambda: capped(site.folder) == 0, within_s=30)
    eventually("power was reported", lambda: rows(utility.folder, "SELECT 1 FROM received_report"), within_s=20)

    trace = site.ask("connection", "trace", "site-1", "--last", "200")
    names = {line["name"] for line in trace}
    assert {"oadrCreatePartyRegistration", "oadrDistributeEvent", "oadrCreatedEvent", "oadrUpdateReport"} <= names
    assert all(line["took_s"] is not None for line in trace if line["name"] == "oadrUpdatedReport")
    assert all(line["well"] for line in trace), [line for line in trace if not line["well"]]
    assert site.stop() == 0
    assert utility.stop() == 0


def test_a_site_says_when_it_stays_out_and_a_utility_asks_for_reports_and_a_new_registration(
    pair: tuple[Gateway, Gateway],
) -> None:
    utility, site = pair
    site.start()
    below = ("--connection", "below")
    eventually(
        "the site is registered and offers reports",
        lambda: [one for one in utility.ask("vtn", "party", "list", *below) if one["offers"]],
        within_s=30,
    )
    made = site.ask(
        "opt", "create", "--connection", "site-1", "--out", "--start", "+1h", "--duration", "1h",
        "--reason", "maintenance", "--by", "ann",
    )  # fmt: skip
    opt_id = made["command"]["schedule"]["opt_id"]
    assert made["outcome"]["done"]
    eventually("the utility hears of it", lambda: utility.ask("vtn", "opt", "list", *below), within_s=20)
    (told,) = utility.ask("vtn", "opt", "list", *below)
    assert (told["party"], told["opt"]["opt_id"], told["opt"]["opt"]) == ("site-1", opt_id, "out")
    eventually("it is told", lambda: site.ask("opt", "list")[0]["state"] == "told", within_s=10)

    utility.ask(
        "vtn", "event", "create", *below, "--by", "bob", "--id", "in-it", "--program", "peak", "--signal", "level",
        "--value", "2", "--duration", "10m", "--starts", "+90m",
    )  # fmt: skip
    eventually("the site answers", lambda: rows(utility.folder, "SELECT 1 FROM party_answer"), within_s=20)
    ((answer,),) = rows(utility.folder, "SELECT document FROM party_answer WHERE event_id = 'in-it'")
    assert '"opt":"out"' in answer
    ended = site.ask("opt", "cancel", opt_id, "--by", "ann")
    assert ended["outcome"]["detail"] == f"schedule {opt_id} is cancelled"
    eventually("the utility forgets it", lambda: not utility.ask("vtn", "opt", "list", *below), within_s=20)
    eventually(
        "the site takes part again",
        lambda: '"opt":"in"' in rows(utility.folder, "SELECT document FROM party_answer")[0][0],
        within_s=20,
    )

    ordered = utility.ask(
        "vtn", "report", "order", *below, "--party", "site-1", "--quantity", "reduction",
        "--granularity", "2s", "--every", "2s",
    )  # fmt: skip
    order_id = ordered["command"]["asked"]["order_id"]
    eventually("data comes", lambda: utility.ask("vtn", "report", "show", order_id, *below), within_s=40)
    assert utility.ask("vtn", "report", "show", order_id, *below)[0]["reduction_w"] is not None
    assert utility.ask("vtn", "report", "cancel", order_id, *below)["outcome"]["done"]

    for word in ("reregister", "cancel"):
        before = utility.ask("vtn", "party", "show", "site-1", *below)["party"]["registration_id"]
        assert utility.ask("vtn", "party", word, "site-1", *below)["outcome"]["done"]
        asked = "oadrRequestReregistration" if word == "reregister" else "oadrCancelPartyRegistration"
        eventually(
            f"{word}: the site has heard it and is registered",
            lambda: (
                (shown := utility.ask("vtn", "party", "show", "site-1", *below))["waiting"] == []
                and shown["party"]["registration_id"]
            ),
            within_s=40,
        )
        assert any(line["name"] == asked for line in site.ask("connection", "trace", "site-1", "--last", "200"))
        after = utility.ask("vtn", "party", "show", "site-1", *below)["party"]["registration_id"]
        assert (after != before) == (word == "cancel")
    assert site.stop() == 0
    assert utility.stop() == 0

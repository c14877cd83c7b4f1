"""A utility's gateway and a site's over OpenADR 3.1, as processes: a report is ordered by command, and data comes."""

from pathlib import Path

import pytest

from gateway import app
from tests.lab import Gateway, eventually, free_port

pytestmark = pytest.mark.timeout(120)

HEAD = """
[gateway]
database = "sqlite+aiosqlite:///{{folder}}/gridgate.db"
listen = "127.0.0.1:{{port}}"
state_dir = "{{folder}}/state"
[site]
id = "{site}"
[[connection]]
kind = "openadr3"
"""

UTILITY = (
    HEAD
    + """
role = "vtn"
name = "below"
listen = "127.0.0.1:{vtn_port}"
url = "http://127.0.0.1:{vtn_port}"
[[connection.client]]
client_id = "client-a"
secret_hash = "{secret_hash}"
role = "ven"
"""
)

SITE = (
    HEAD
    + """
url = "http://127.0.0.1:{vtn_port}/openadr3/3.1"
name = "site-1"
poll_s = 1
reports = ["power", "reduction"]
client_id = "client-a"
client_secret_file = "{{folder}}/secret"
[[program]]
id = "peak"
levels = {{{{ 1 = 0.10, 2 = 0.25, 3 = 0.40 }}}}
[[hardware]]
kind = "simulated"
hosts = 1
devices_per_host = 8
seed = 3
"""
)
BELOW = ("--connection", "below")


def test_a_report_is_ordered_of_a_ven_and_its_data_comes_until_it_is_cancelled(tmp_path: Path) -> None:
    secret, secret_hash = app.new_secret()
    facts = {"vtn_port": free_port(), "secret_hash": secret_hash}
    gateways = []
    for name, text in (("utility", UTILITY), ("site-1", SITE)):
        (tmp_path / name).mkdir()
        gateways.append(Gateway(tmp_path / name, vtn_port=0, config=text.format(site=name, **facts)))
    utility, site = gateways
    (site.folder / "secret").write_text(secret)
    (site.folder / "secret").chmod(0o600)
    try:
        utility.start()
        site.start()
        eventually("the ven is there", lambda: utility.ask("vtn", "party", "list", *BELOW), within_s=30)
        ordered = utility.ask(
            "vtn", "report", "order", *BELOW, "--party", "site-1", "--quantity", "power",
            "--granularity", "2s", "--every", "2s",
        )  # fmt: skip
        order_id = ordered["command"]["asked"]["order_id"]
        eventually("data comes", lambda: utility.ask("vtn", "report", "show", order_id, *BELOW), within_s=50)
        assert utility.ask("vtn", "report", "show", order_id, *BELOW)[0]["power_w"] is not None
        assert utility.ask("vtn", "report", "cancel", order_id, *BELOW)["outcome"]["done"]
        assert utility.ask("vtn", "report", "list", *BELOW)[0]["ended_at"] is not None
        assert site.stop() == 0
        assert utility.stop() == 0
    finally:
        for gateway in gateways:
            if gateway.process is not None:
                gateway.end()

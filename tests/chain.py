"""Three gateways on loopback, each a process: one under a utility's VTN and over two sites with simulated GPUs."""

from datetime import datetime
from pathlib import Path
from typing import Any

from gateway import app
from tests.lab import Gateway, OpenleadrVtn, eventually, free_port

PROGRAM = "http://utility.example/peak"

HEAD = """
[gateway]
database = "sqlite+aiosqlite:///{{folder}}/gridgate.db"
listen = "127.0.0.1:{{port}}"
state_dir = "{{folder}}/state"
[site]
id = "{site}"
interval_s = 60
[control]
lease_s = {{lease_s}}
"""

ABOVE = (
    HEAD
    + """
[[connection]]
kind = "openadr2b"
url = "http://127.0.0.1:{{vtn_port}}/OpenADR2/Simple/2.0b"
name = "portfolio"
poll_s = 1
reports = ["power", "baseline", "reduction"]
[[program]]
id = "http://utility.example/peak"
levels = {{{{ 1 = 0.10, 2 = 0.25, 3 = 0.40 }}}}
verification = "sites"
sites_patience_s = 95

[[connection]]
kind = "openadr2b"
role = "vtn"
name = "below"
listen = "127.0.0.1:{below_port}"
poll_s = 1
report_s = 2
verified_s = 2
[[connection.party]]
name = "site-b"

[[connection]]
kind = "openadr3"
role = "vtn"
name = "below-3"
listen = "127.0.0.1:{third_port}"
url = "http://127.0.0.1:{third_port}"
report_s = 2
verified_s = 2
[[connection.client]]
client_id = "client-a"
secret_hash = "{secret_hash}"
role = "ven"

[[hardware]]
kind = "sites"
program = "portfolio-limit"
hold_s = 30
silent_after_s = 10
[[hardware.site]]
party = "site-a"
connection = "below-3"
min_kw = 2.2
max_kw = 6.0
[[hardware.site]]
party = "site-b"
connection = "below"
min_kw = 2.2
max_kw = 6.0
"""
)

BY_2B = """
[[connection]]
kind = "openadr2b"
url = "http://127.0.0.1:{below_port}/OpenADR2/Simple/2.0b"
name = "{site}"
poll_s = 1
reports = ["power", "baseline", "reduction"]
"""

BY_3 = """
[[connection]]
kind = "openadr3"
url = "http://127.0.0.1:{third_port}/openadr3/3.1"
name = "{site}"
poll_s = 1
reports = ["power", "baseline", "reduction"]
client_id = "client-a"
client_secret_file = "{{folder}}/secret"
"""

BELOW = """
[[program]]
id = "portfolio-limit"
[[hardware]]
kind = "simulated"
hosts = 1
devices_per_host = 8
seed = {seed}
"""


class Chain:
    """All of it, over one folder."""

    floor_w = 2200.0

    def __init__(self, folder: Path) -> None:
        self.vtn_port = free_port()
        secret, secret_hash = app.new_secret()
        ports = {"below_port": free_port(), "third_port": free_port()}
        self.vtn: OpenleadrVtn | None = None
        self.above = self._gateway(folder / "above", ABOVE, site="portfolio", secret_hash=secret_hash, **ports)
        self.sites = {
            name: self._gateway(folder / name, HEAD + way + BELOW, site=name, seed=seed, secret=secret, **ports)
            for name, seed, way in (("site-a", 3, BY_3), ("site-b", 4, BY_2B))
        }

    def _gateway(self, folder: Path, text: str, **facts: Any) -> Gateway:
        folder.mkdir()
        if "secret" in facts:
            (folder / "secret").write_text(facts["secret"])
        return Gateway(folder, vtn_port=self.vtn_port, config=text.format(**facts))

    def open(self) -> None:
        """Start all, and wait until the sites report to the gateway above, and that is registered with the utility."""
        self.vtn = OpenleadrVtn(self.vtn_port, "0")
        self.above.start()
        for site in self.sites.values():
            site.start()
        eventually("both sites report", lambda: len(self.reporting()) == 2, within_s=60)
        self.vtn.wait_for("registered", within_s=30)

    def reporting(self) -> list[str]:
        """The sites that the gateway above hears."""
        now = self.above.get("/api/now") or {}
        hosts = now.get("devices", {}).get("hosts", [])
        return [host["host_id"] for host in hosts if host["state"] != "absent"]

    def total_w(self) -> float | None:
        """What the portfolio draws, as the gateway above shows it."""
        return (self.above.get("/api/now") or {}).get("power", {}).get("power_w")

    def measured_w(self) -> float | None:
        """The same, once no site counts with the most that it could draw."""
        total_w = self.total_w()
        return total_w if total_w is not None and total_w < 7500.0 else None

    def is_under(self, target_w: float) -> bool:
        """Whether both sites are limited and the portfolio draws no more."""
        total_w = self.total_w()
        return total_w is not None and total_w <= target_w and all(self.limit_w(name) for name in self.sites)

    def limit_w(self, name: str) -> float | None:
        """To what the gateway above holds a site now, ``None`` where it does not."""
        hosts = (self.above.get("/api/now") or {}).get("devices", {}).get("hosts", [])
        (host,) = (host for host in hosts if host["host_id"] == name)
        return host["limit_w"] if host["state"] == "capped" else None

    def vtn_heard_w(self) -> float:
        """The last power that the utility was told."""
        return list(self.vtn_heard("usage").values())[-1]

    def vtn_heard(self, report_type: str) -> dict[float, float]:
        """What the utility was told of each interval of two seconds, by its start: the last word."""
        self.vtn.count("report data")
        return {
            datetime.fromisoformat(at).timestamp(): value
            for item in self.vtn.heard
            if item["what"] == "report data" and item["report_type"] == report_type
            for at, value in item["data"]
        }

    def close(self) -> None:
        for gateway in (*self.sites.values(), self.above):
            if gateway.process is not None:
                gateway.end()
        if self.vtn is not None:
            self.vtn.end()

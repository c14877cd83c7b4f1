import re
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.config import ConfigError, Settings, load_config, settings_from
from gateway.domain.tariff.terms import Part

FULL = """
[gateway]
database = "sqlite+aiosqlite:///x.db"
listen = "127.0.0.1:8080"
[site]
id = "phx-1"
timezone = "America/Phoenix"
import_limit_kw = 120
[[connection]]
kind = "openadr2b"
role = "ven"
url = "http://127.0.0.1:8081/OpenADR2/Simple/2.0b"
name = "ven-phx-1"
poll_s = 10
[[program]]
id = "srp-peak"
levels = { 1 = 0.10, 2 = 0.25, 3 = 0.40 }
baseline = "caiso-10-in-10"
price_per_kwh = "0.75"
[[hardware]]
kind = "simulated"
hosts = 32
devices_per_host = 8
seed = 1
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "gridgate.toml"
    path.write_text(text)
    return path


def test_the_file_of_the_design_is_understood(tmp_path: Path) -> None:
    settings = load_config(written(tmp_path, FULL))
    site = settings.site.site()
    assert site.import_limit_w == 120_000.0
    assert site.timezone.key == "America/Phoenix"
    program = settings.programs()["srp-peak"]
    assert program.levels == {1: 0.10, 2: 0.25, 3: 0.40}
    assert program.price_per_kwh == Decimal("0.75")
    assert settings.hardware[0].hosts == 32


@pytest.mark.parametrize(("own", "capacity_w"), [("", 120_000.0), ("capacity_kw = 80\n", 80_000.0)])
def test_a_share_of_a_capacity_is_of_the_import_limit_unless_the_program_says_more(
    tmp_path: Path, own: str, capacity_w: float
) -> None:
    settings = load_config(written(tmp_path, FULL.replace('id = "srp-peak"\n', f'id = "srp-peak"\n{own}')))
    assert settings.programs()["srp-peak"].capacity_w == capacity_w


def test_without_either_nobody_said_what_a_capacity_is_of(tmp_path: Path) -> None:
    settings = load_config(written(tmp_path, '[site]\nid = "a"\n[[program]]\nid = "p"'))
    assert settings.programs()["p"].capacity_w is None


@pytest.mark.parametrize(
    ("bad", "where", "nearest"),
    [
        ('[site]\nid = "a"\ntimezon = "UTC"', "site.timezon", "timezone"),
        ('[site]\nid = "a"\n[gatway]\nlisten = "x:1"', "gatway", "gateway"),
        (
            '[site]\nid = "a"\n[[connection]]\nkind = "openadr2b"\nurl = "http://x"\nname = "n"\npol_s = 3',
            "connection.0.pol_s",
            "poll_s",
        ),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(tmp_path: Path, bad: str, where: str, nearest: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(where)) as caught:
        load_config(written(tmp_path, bad))
    assert f"did you mean {nearest!r}?" in str(caught.value)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("[site", "is not TOML"),
        ("", "site: Field required"),
        ('[site]\nid = "a"\ntimezone = "Mars/Olympus"', "no time zone is called 'Mars/Olympus'"),
        ('[site]\nid = "a"\n[gateway]\nlisten = "8080"', "is not host:port"),
        ('[site]\nid = "a"\n[[program]]\nid = "p"\n[[program]]\nid = "p"', "[[program]] id 'p' is used twice"),
        ('[site]\nid = "a"\n[[program]]\nid = "p"\nlevels = { 1 = 1.5 }', "program.0.levels.1"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, bad: str, says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        load_config(written(tmp_path, bad))


def test_a_missing_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_config(tmp_path / "absent.toml")


def test_the_environment_overrides_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDGATE_GATEWAY__LISTEN", "127.0.0.1:9999")
    settings = load_config(written(tmp_path, FULL))
    assert settings.gateway.listen == "127.0.0.1:9999"
    assert settings.gateway.database == "sqlite+aiosqlite:///x.db"


def test_settings_cannot_be_changed_once_checked() -> None:
    settings: Settings = settings_from({"site": {"id": "a"}}, source="test")
    with pytest.raises(ValueError, match="frozen"):
        settings.site.id = "b"  # type: ignore[misc]  # frozen, and that is what is tested


def test_gpus_of_this_host_are_found_not_declared(tmp_path: Path) -> None:
    settings = load_config(written(tmp_path, '[site]\nid = "a"\n[[hardware]]\nkind = "nvml"'))
    assert settings.hardware[0].kind == "nvml"
    with pytest.raises(ConfigError, match=r"hardware\.0\.nvml\.hosts: unknown key"):
        load_config(written(tmp_path, '[site]\nid = "a"\n[[hardware]]\nkind = "nvml"\nhosts = 2'))


METERS = """
[site]
id = "a"
[site.overhead]
min_kw = 1
max_kw = 3
[[hardware]]
kind = "simulated"
[[hardware]]
kind = "modbus"
name = "main"
host = "10.0.0.5"
map = "schneider-pm5000"
max_kw = 5000
[[hardware]]
kind = "prometheus"
name = "pdus"
server = "http://127.0.0.1:9090"
metric = "pdu_watts"
expected = 12
"""


def test_site_meters_stand_beside_the_fleet_in_order_of_preference(tmp_path: Path) -> None:
    settings = load_config(written(tmp_path, METERS))
    assert [meter.name for meter in settings.meters] == ["main", "pdus"]
    assert [fleet.kind for fleet in settings.fleets] == ["simulated"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("map =", "mop ="), "hardware.1.modbus.mop: unknown key; did you mean 'map'?"),
        (('map = "schneider-pm5000"', ""), "give either map (a shipped one) or power (a register)"),
        (('server = "http://127.0.0.1:9090"', ""), "give either urls (of exporters) or server (a Prometheus)"),
        (('name = "pdus"', 'name = "main"'), "[[hardware]] name 'main' is used twice"),
        (('kind = "modbus"', 'kind = "modbas"'), "hardware.1"),
    ],
)
def test_a_meter_that_is_declared_wrong_is_said_to_be(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        load_config(written(tmp_path, METERS.replace(*change)))


TREE = """
[site]
id = "phx-1"
import_limit_kw = 100
overshoot_fraction = 0.02
[site.overhead]
min_kw = 2
max_kw = 10
max_fraction = 0.1
[[site.node]]
id = "r1"
kind = "rack"
parent = "feed-a"
limit_kw = 20
overhead_kw = 1.5
hosts = ["gpu-01", "gpu-02"]
[[site.node]]
id = "feed-a"
kind = "feed"
limit_kw = 60
overhead_kw = 0.5
devices = ["GPU-1234"]
"""


def test_the_electrical_tree_is_read_in_any_order(tmp_path: Path) -> None:
    tree = load_config(written(tmp_path, TREE)).site.site().tree
    assert tree is not None
    assert tree.overshoot_fraction == 0.02
    site, feed, rack = tree.nodes
    assert (site.node_id, site.limit_w, site.overhead_fraction) == ("phx-1", 100_000.0, 0.1)
    assert (feed.node_id, feed.parent_id, feed.device_ids) == ("feed-a", "phx-1", {"GPU-1234"})
    assert (rack.node_id, rack.parent_id, rack.limit_w, rack.host_ids) == (
        "r1",
        "feed-a",
        20_000.0,
        {"gpu-01", "gpu-02"},
    )
    # What the site draws beside its devices is declared as a whole; what the nodes declare is a part of it.
    assert tree.overhead_w() == {"phx-1": 10_000.0, "feed-a": 2000.0, "r1": 1500.0}


def test_a_site_without_any_limit_has_no_tree() -> None:
    settings = settings_from({"site": {"id": "a", "node": [{"id": "r1", "kind": "rack"}]}}, source="test")
    assert settings.site.site().tree is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (('parent = "feed-a"', 'parent = "feed-b"'), "no node is called 'feed-b'; did you mean 'feed-a'?"),
        (('id = "feed-a"', 'id = "feed-a"\nparent = "r1"'), "feed-a, r1 hang on each other and not on the site"),
        (('id = "feed-a"', 'id = "phx-1"'), "two are called 'phx-1'"),
        (('devices = ["GPU-1234"]', 'hosts = ["gpu-02"]'), "host 'gpu-02' hangs on two nodes"),
        (('hosts = ["gpu-01", "gpu-02"]', 'devices = ["GPU-1234"]'), "device 'GPU-1234' hangs on two nodes"),
        (("limit_kw = 60", "limit_kw = 1.9"), "feed 'feed-a': an overhead of 2 kW (nodes under it included) is over"),
        (("import_limit_kw = 100", "import_limit_kw = 9"), "site 'phx-1': an overhead of 10 kW"),
        (("limit_kw = 20", "limit_kw = 0"), "site.node.0.limit_kw"),
        (('kind = "rack"', 'kind = "row"'), "site.node.0.kind"),
        (("overhead_kw = 1.5", "overhed_kw = 1.5"), "site.node.0.overhed_kw: unknown key; did you mean 'overhead_kw'?"),
    ],
)
def test_nodes_that_make_no_tree_are_said_to(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        load_config(written(tmp_path, TREE.replace(*change)))


def test_a_generator_s_meter_is_named_by_the_site_and_is_no_site_meter(tmp_path: Path) -> None:
    text = METERS.replace("[site]\n", '[site]\ngenerator_meter = "pdus"\n', 1)
    settings = load_config(written(tmp_path, text))
    assert [meter.name for meter in settings.meters] == ["main"]
    assert settings.generator_meter is not None
    assert settings.generator_meter.name == "pdus"
    assert settings.site.site().generator_meter_id == "generator"
    assert load_config(written(tmp_path, METERS)).site.site().generator_meter_id is None
    with pytest.raises(ConfigError, match="generator_meter 'chp' names no"):
        load_config(written(tmp_path, text.replace('generator_meter = "pdus"', 'generator_meter = "chp"')))


def test_a_level_declared_to_a_program_is_in_kilowatts(tmp_path: Path) -> None:
    program = '[[program]]\nid = "peak"\nbaseline = "maximum-base-load"\ndeclared_kw = 60.5\n'
    settings = load_config(written(tmp_path, METERS + program))
    assert settings.programs()["peak"].declared_w == 60_500.0
    with pytest.raises(ConfigError, match="declared_kw"):
        load_config(written(tmp_path, METERS + program.replace("60.5", "-1")))


def test_the_program_in_the_readme_is_one(tmp_path: Path):
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    section = readme.partition("\n## Settlement\n")[2].partition("\n## ")[0]
    example = "\n".join(line.removeprefix("    ") for line in section.splitlines() if line.startswith("    "))
    site = '[site]\nid = "phx-1"\ntimezone = "America/Phoenix"\n[[hardware]]\nkind = "simulated"\n'
    program = load_config(written(tmp_path, site + example)).programs()["peak"]
    assert program.baseline_rule == "caiso-10-in-10"
    assert program.agreed == {Part.AVAILABILITY: Decimal("0.012")}


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ('tariff = "flat-enrgy"', "did you mean flat-energy?"),
        ('tariff = "capacity-with-tiers"', "tariff capacity-with-tiers is in CNY: give currency"),
        ('agreed = { energy = "1" }', "agreed: the price of energy is price_per_kwh"),
    ],
)
def test_a_tariff_that_cannot_be_used_is_refused_with_what_to_do(tmp_path: Path, declared: str, says: str):
    whole = FULL.replace('price_per_kwh = "0.75"', f'price_per_kwh = "0.75"\n{declared}')
    with pytest.raises(ConfigError, match=re.escape(says)):
        load_config(written(tmp_path, whole))

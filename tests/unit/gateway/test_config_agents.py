"""``[[hardware]]`` of kind ``agents`` and ``[agent]``."""

import pytest

from gateway.config import ConfigError, settings_from
from gateway.site_meters import draws
from hardware.device import CapRange, DeviceView, Fault
from hardware.errors import Condition

AGENTS = {"kind": "agents", "servers": ["tls://nats.example:4222", "tls://second.example:4222"]}


def settings(*hardware: dict[str, object], site: str = "lab-1", **more: object):
    return settings_from({"site": {"id": site}, "hardware": list(hardware), **more}, source="test")


def test_where_hosts_enrol_by_default():
    agents = settings({**AGENTS, "enrol_listen": "0.0.0.0:8443"}).agents
    assert agents is not None
    assert agents.url == "https://nats.example:8443"
    assert agents.server_names == ("nats.example", "second.example")


def test_name_that_hosts_use_for_the_gateway_is_in_the_certificate():
    agents = settings({**AGENTS, "enrol_listen": "0.0.0.0:8443", "enrol_url": "https://gate.example:9000"}).agents
    assert agents is not None
    assert agents.url == "https://gate.example:9000"
    assert agents.server_names == ("nats.example", "second.example", "gate.example")


def test_devices_here_and_agents_elsewhere():
    both = settings({"kind": "simulated"}, AGENTS)
    assert both.of_this_host
    assert both.agents is not None
    assert not settings(AGENTS).of_this_host


@pytest.mark.parametrize(
    ("hardware", "site", "reason"),
    [
        ([{**AGENTS, "servers": []}], "lab-1", "at least 1"),
        ([{**AGENTS, "servers": ["nats://plain.example:4222"]}], "lab-1", "pattern"),
        ([AGENTS, AGENTS], "lab-1", "one .* of kind"),
        ([AGENTS], "my site.example", "cannot name a fleet"),
        ([{**AGENTS, "enrol_url": "http://gate.example"}], "lab-1", "pattern"),
    ],
)
def test_what_cannot_be(hardware, site, reason):
    with pytest.raises(ConfigError, match=reason):
        settings(*hardware, site=site)


def test_name_that_a_host_may_not_have():
    with pytest.raises(ConfigError, match="no name for a host"):
        settings(agent={"host_id": "gpu.01"})


@pytest.mark.parametrize(
    ("present", "condition", "counts"),
    [(True, None, True), (False, Condition.LOST, False), (False, None, False), (False, Condition.SILENT, True)],
)
def test_device_whose_agent_is_away_draws_on(present, condition, counts):
    view = DeviceView(
        device_id="d",
        host_id="h",
        model="m",
        cap_range=CapRange(min_w=1.0, default_w=2.0, max_w=2.0),
        limit_w=2.0,
        present=present,
        fault=None if condition is None else Fault(condition=condition, detail=""),
    )
    assert draws(view) is counts

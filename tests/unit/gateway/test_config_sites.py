"""Settings of a gateway over other gateways, whose programs may be verified by the sites below."""

import re
import tomllib

import pytest

from gateway.config import ConfigError, settings_from

ABOVE = """
[site]
id = "portfolio"
[[program]]
id = "peak"
verification = "sites"
sites_patience_s = 600
[[connection]]
kind = "openadr2b"
role = "vtn"
name = "below"
listen = "127.0.0.1:8443"
verified_s = 60
[[connection.party]]
name = "site-a"
[[hardware]]
kind = "sites"
program = "limit"
[[hardware.site]]
party = "site-a"
connection = "below"
min_kw = 1
max_kw = 2
"""


def test_a_program_may_be_verified_by_the_sites_below() -> None:
    program = settings_from(tomllib.loads(ABOVE), source="test").programs()["peak"]
    assert (program.by_sites, program.sites_patience_s) == (True, 600.0)
    of_meter = settings_from(tomllib.loads(ABOVE.replace('verification = "sites"', "")), source="test")
    assert not of_meter.programs()["peak"].by_sites


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (ABOVE.replace("verified_s = 60", ""), "is verified by sites: give [[connection]] 'below' a verified_s"),
        (ABOVE[: ABOVE.index("[[hardware]]")], 'is verified by sites: that wants [[hardware]] of kind "sites"'),
    ],
)
def test_a_program_that_its_sites_cannot_verify_is_said_to_be(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        settings_from(tomllib.loads(text), source="test")

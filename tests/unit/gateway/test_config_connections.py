"""``[[connection]]``: the four kinds, and what is wrong with one said where it stands."""

import re

import pytest

from gateway.config import (
    ConfigError,
    Settings,
    Ven2bSettings,
    Ven3Settings,
    Vtn2bSettings,
    Vtn3Settings,
    settings_from,
)

VEN2B = {"kind": "openadr2b", "url": "https://vtn.example/OpenADR2/Simple/2.0b", "name": "utility"}
VTN2B = {"kind": "openadr2b", "role": "vtn", "listen": "127.0.0.1:0", "name": "below", "party": [{"name": "site-1"}]}
VEN3 = {"kind": "openadr3", "url": "https://vtn.example/openadr3", "name": "market"}
CLIENT = {"client_id": "site-1", "secret_hash": "scrypt$16384$ab$cd", "role": "ven"}
VTN3 = {
    "kind": "openadr3",
    "role": "vtn",
    "listen": "127.0.0.1:0",
    "url": "http://127.0.0.1",
    "name": "below-3",
    "client": [CLIENT],
}


def settings(*connections: dict[str, object]) -> Settings:
    return settings_from({"site": {"id": "a"}, "connection": list(connections)}, source="file")


def test_each_kind_and_role_has_settings_of_its_own() -> None:
    found = settings(VEN2B, VTN2B, VEN3, VTN3)
    assert [type(one) for one in found.connection] == [Ven2bSettings, Vtn2bSettings, Ven3Settings, Vtn3Settings]
    assert [one.name for one in found.vens] == ["utility", "market"]
    assert [one.name for one in found.vtns] == ["below", "below-3"]
    assert found.connection[0].poll_s == 10.0


def test_secrets_are_not_shown() -> None:
    found = settings({**VEN3, "client_id": "a", "client_secret": "very-secret"})
    assert "very-secret" not in repr(found)
    assert found.connection[0].client_secret.get_secret_value() == "very-secret"


@pytest.mark.parametrize(
    ("connection", "says"),
    [
        ({**VEN2B, "kind": "openadr4"}, 'connection.0: kind is "openadr2b" or "openadr3", role "ven" or "vtn"'),
        ({**VEN2B, "role": "van"}, 'connection.0: kind is "openadr2b" or "openadr3", role "ven" or "vtn"'),
        ({**VTN2B, "lisen": "x"}, "connection.0.lisen: unknown key; did you mean 'listen'?"),
        (
            {**VTN2B, "party": [{"name": "a", "grups": ["b"]}]},
            "connection.0.party.0.grups: unknown key; did you mean 'groups'?",
        ),
        ({**VTN2B, "party": []}, "nobody could register: declare [[connection.party]], or say open = true"),
        ({**VTN2B, "vtn_id": "vtn"}, "no capital letter"),
        ({**VEN2B, "sign": True}, "sign = true needs certificate, key and ca"),
        ({**VEN2B, "key": "a.pem"}, "key without a certificate"),
        ({**VEN2B, "vtn_fingerprint": "AB:CD:E"}, "connection.0.vtn_fingerprint"),
        ({**VEN3, "token": "t", "client_id": "a", "client_secret": "b"}, "choose one"),
        ({**VEN3, "client_id": "a"}, "client_id and client_secret (or client_secret_file) go together"),
        ({**VTN3, "client": [{**CLIENT, "secret_hash": "secret"}]}, "connection.0.client.0.secret_hash"),
        ({**VTN3, "mqtt": {"url": "http://broker"}}, "connection.0.mqtt.url"),
    ],
)
def test_what_is_wrong_is_said_where_it_stands(connection: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        settings(connection)

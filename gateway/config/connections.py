"""``[[connection]]``: the counterparties, above us (``ven``: we are asked) and below us (``vtn``: we ask)."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, SecretStr, Tag, model_validator

from gateway.config.parts import Section, address
from protocols.grid_report import ReportQuantity

HttpUrl = Annotated[str, Field(pattern=r"^https?://[^\s/]+")]
HttpsUrl = Annotated[str, Field(pattern=r"^https://[^\s/]+")]
Fingerprint = Annotated[str, Field(pattern=r"^([0-9A-Fa-f]{2}:)*[0-9A-Fa-f]{2}$")]
"""Of a certificate: the last ten bytes of its SHA-256, as OpenADR 2.0b shows it, or all of them."""


class TlsSettings(Section):
    """Certificates of a connection.

    ``tls`` "openadr2b" also offers what the 2.0b profile asks for and today's defaults leave out, on TLS 1.2:
    TLS_RSA_WITH_AES_128_CBC_SHA256. Choose it for a counterparty that has nothing newer.
    """

    certificate: Path | None = None
    """Ours, with the chain up to the authority's, in PEM."""
    key: Path | None = None
    """By default in the file of the certificate."""
    ca: Path | None = None
    """Whom we trust; by default the system's authorities."""
    tls: Literal["modern", "openadr2b"] = "modern"

    @model_validator(mode="after")
    def _key_has_a_certificate(self) -> "TlsSettings":
        if self.key is not None and self.certificate is None:
            raise ValueError("key without a certificate: name both")
        return self


class NamedSettings(TlsSettings):
    """What every connection has. Its ``name`` stands for it on the page, in commands and on the record."""

    name: str = Field(min_length=1)


class ReportingSettings(NamedSettings):
    """A connection on which we report."""

    reports: tuple[ReportQuantity, ...] = Field(default=(ReportQuantity.POWER,), min_length=1)
    """What we offer to report of the site. Some VTNs order all that there is: more than power is for who asks."""


class PushSettings(Section):
    """``[connection.push]``: the counterparty calls us instead of waiting for our next poll."""

    listen: Annotated[str, AfterValidator(address)]
    url: HttpUrl
    """Where it reaches us: what it is told when we register."""


class SignedSettings(TlsSettings):
    """OpenADR 2.0b, either role."""

    sign: bool = False
    """Sign what we say with our certificate's key, and take only what is signed (the high security of 2.0b)."""
    clock_window_s: float = Field(default=300.0, ge=1.0, le=3600.0)
    """How far the clock of who signed may be from ours, either way."""

    @model_validator(mode="after")
    def _signs_with_a_certificate(self) -> "SignedSettings":
        if self.sign and (self.certificate is None or self.ca is None):
            raise ValueError("sign = true needs certificate, key and ca")
        return self


class Ven2bSettings(SignedSettings, ReportingSettings):
    """``kind = "openadr2b"``, ``role = "ven"``."""

    kind: Literal["openadr2b"]
    role: Literal["ven"] = "ven"
    url: HttpUrl
    poll_s: float = Field(default=10.0, ge=0.1, le=3600)
    vtn_fingerprint: Fingerprint | None = None
    """Whose signature counts; by default any certificate of the ``ca``."""
    groups: tuple[str, ...] = ()
    """Names by which events may mean us, beside our venID and the site's id."""
    push: PushSettings | None = None


class PartySettings(Section):
    """``[[connection.party]]``: a VEN that may register, and by what names events may mean it."""

    name: str = Field(min_length=1)
    fingerprint: Fingerprint | None = None
    """Of its certificate: that is who it is, whatever it says. Without one it is known by its name."""
    groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    areas: tuple[str, ...] = ()


class ProxySettings(Section):
    """``[connection.proxy]``: TLS ends before us, and a header says whose certificate it was."""

    addresses: tuple[str, ...] = Field(min_length=1)
    """From where the header is believed."""
    header: str = "X-SSL-Client-Cert"


class Vtn2bSettings(SignedSettings, NamedSettings):
    """``kind = "openadr2b"``, ``role = "vtn"``."""

    kind: Literal["openadr2b"]
    role: Literal["vtn"]
    listen: Annotated[str, AfterValidator(address)]
    vtn_id: str = Field(default="Gridgate-VTN", min_length=1)
    """Holds a capital letter: some VENs refuse others."""
    poll_s: float = Field(default=10.0, ge=0.1, le=3600)
    report_s: float = Field(default=60.0, ge=1.0, le=3600)
    """How often VENs report their power, in intervals of the same length."""
    verified_s: float | None = Field(default=None, ge=1.0, le=3600)
    """How often VENs are asked for their baseline and reduction, where they offer them, in intervals of that length."""
    open: bool = False
    """Let anybody register, not only the parties that are declared."""
    party: tuple[PartySettings, ...] = ()
    proxy: ProxySettings | None = None

    @model_validator(mode="after")
    def _somebody_may_come(self) -> "Vtn2bSettings":
        if not self.open and not self.party:
            raise ValueError("nobody could register: declare [[connection.party]], or say open = true")
        if self.vtn_id == self.vtn_id.lower():
            raise ValueError(f"vtn_id {self.vtn_id!r} has no capital letter, and some VENs refuse such an id")
        return self


class MqttSettings(TlsSettings):
    """``[connection.mqtt]``: the broker over which our VTN tells of changes, and how we are known to it.

    Who may read what there, the broker decides: ``gridgate connection acl`` prints the rules for Mosquitto.
    """

    url: Annotated[str, Field(pattern=r"^mqtts?://[^\s/]+$")]
    public_url: Annotated[str, Field(pattern=r"^mqtts?://[^\s/]+$")] | None = None
    """Where clients reach it, where that is elsewhere."""
    username: str | None = None
    password: SecretStr | None = None
    by_token: bool = True
    """Clients show their id and their token; else the broker asks for nothing."""


class Ven3Settings(ReportingSettings):
    """``kind = "openadr3"``, ``role = "ven"``. A token, or id and secret of a client, whichever the VTN gave us."""

    kind: Literal["openadr3"]
    role: Literal["ven"] = "ven"
    version: Literal["3.1", "3.0.1"] = "3.1"
    url: HttpUrl
    poll_s: float = Field(default=30.0, ge=0.1, le=3600)
    client_id: str | None = None
    client_secret: SecretStr | None = None
    client_secret_file: Path | None = None
    """A file that holds it, so that it need not stand here."""
    token: SecretStr | None = None
    token_url: HttpUrl | None = None
    """By default what the VTN says at ``/auth/server``."""
    scope: str = ""
    targets: tuple[str, ...] = ()
    """Names that events may be aimed at to mean us, beside those that the VTN grants."""
    programs: tuple[str, ...] = ()
    """Names of the programs that we take part in; empty: all that we may see."""
    webhook: PushSettings | None = None
    mqtt: bool = False
    """Hear of changes over MQTT, where the VTN offers it."""

    @model_validator(mode="after")
    def _one_way_to_a_token(self) -> "Ven3Settings":
        if self.token is not None and self.client_id is not None:
            raise ValueError("token and client_id are two ways to the same: choose one")
        secrets = [one for one in (self.client_secret, self.client_secret_file) if one is not None]
        if len(secrets) != (0 if self.client_id is None else 1):
            raise ValueError("client_id and client_secret (or client_secret_file) go together")
        return self


class ClientSettings(Section):
    """``[[connection.client]]``: who may use our VTN.

    ``secret_hash`` is what ``gridgate connection secret`` prints beside a new secret: the secret is nowhere kept.
    """

    client_id: str = Field(min_length=1)
    secret_hash: str = Field(pattern=r"^scrypt\$\d+\$[0-9a-f]+\$[0-9a-f]+$")
    role: Literal["bl", "ven"]
    scopes: tuple[str, ...] | None = None
    """By default those of the role."""
    webhook_key: SecretStr | None = None
    """Signs what it is told by webhook."""


class Vtn3Settings(NamedSettings):
    """``kind = "openadr3"``, ``role = "vtn"``."""

    kind: Literal["openadr3"]
    role: Literal["vtn"]
    listen: Annotated[str, AfterValidator(address)]
    url: HttpUrl
    """Where clients reach us, up to the path: what they are told at ``/auth/server``."""
    client: tuple[ClientSettings, ...] = Field(min_length=1)
    report_s: float | None = Field(default=60.0, ge=1.0, le=3600)
    """How often VENs are asked to report their power, by an event that asks for nothing else."""
    verified_s: float | None = Field(default=None, ge=1.0, le=3600)
    """How often VENs are asked for their baseline and reduction, where they offer them, in intervals of that length."""
    callback_hosts: tuple[str, ...] = ()
    """Hosts of our own network that may be called back; by default only public addresses are."""
    mqtt: MqttSettings | None = None


def _which(declared: Any) -> str | None:
    """The dialect and the role of a connection, as the tag of its settings."""
    if not isinstance(declared, dict):
        return f"{declared.kind} {declared.role}"
    return f"{declared.get('kind')} {declared.get('role', 'ven')}"


ConnectionSettings = Annotated[
    Annotated[Ven2bSettings, Tag("openadr2b ven")]
    | Annotated[Vtn2bSettings, Tag("openadr2b vtn")]
    | Annotated[Ven3Settings, Tag("openadr3 ven")]
    | Annotated[Vtn3Settings, Tag("openadr3 vtn")],
    Discriminator(
        _which,
        custom_error_type="connection_kind",
        custom_error_message='kind is "openadr2b" or "openadr3", role "ven" or "vtn"',
    ),
]
VenSettings = Ven2bSettings | Ven3Settings
VtnSettings = Vtn2bSettings | Vtn3Settings

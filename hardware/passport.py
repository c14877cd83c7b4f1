"""What a host keeps to be let into the fleet: its key, its certificate, and whose authority it trusts.

    agent.pem    the key and its certificate
    ca.pem       the authority of the fleet
    fleet.json   which fleet that is

The key is made here and never leaves.
"""

import base64
import binascii
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from hardware.errors import EnrolmentRefused
from hardware.fleet_ca import fingerprint, is_renewal_due, key_bytes, new_key, signing_request, write_private

MOST_TOKEN_BYTES = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A one-time word that lets one host in. ``ca_sha256`` tells the host whom to trust, before it says the secret."""

    host_id: str
    url: str
    ca_sha256: str
    secret: str

    @property
    def text(self) -> str:
        """The token as one word."""
        return base64.urlsafe_b64encode(json.dumps(asdict(self)).encode()).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> "Token":
        """The token from its word. Raises ``EnrolmentRefused`` for what is none."""
        word = text.strip()
        try:
            if len(word) > MOST_TOKEN_BYTES:
                raise ValueError("too long")
            return _TOKEN.validate_json(base64.urlsafe_b64decode(word + "=" * (-len(word) % 4)), strict=True)
        except (ValueError, binascii.Error) as cause:
            raise EnrolmentRefused(
                "this is no token for enrolment", cure="copy it whole from `gridgate asset enrol`, which prints it"
            ) from cause


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """Of which fleet a host is part: where its NATS servers are, and where certificates are renewed."""

    host_id: str
    site_id: str
    servers: tuple[str, ...]
    url: str


_TOKEN = TypeAdapter(Token)
_MEMBERSHIP = TypeAdapter(Membership)


class Passport:
    """A host's folder of certificates."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificate_path = folder / "agent.pem"
        self.ca_path = folder / "ca.pem"

    def membership(self) -> Membership | None:
        """The fleet this host is part of, ``None`` before it was enrolled. Raises ``EnrolmentRefused``."""
        try:
            return _MEMBERSHIP.validate_json((self.folder / "fleet.json").read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as cause:
            raise EnrolmentRefused(
                f"{self.folder / 'fleet.json'} cannot be read: {cause}", cure="enrol this host again"
            ) from cause

    def request(self, host_id: str) -> tuple[bytes, bytes]:
        """A new key and its signing request, both PEM. The key is kept once its certificate has come."""
        key = new_key()
        return key_bytes(key), signing_request(key, host_id)

    def keep(self, *, key_pem: bytes, certificate_pem: bytes, ca_pem: bytes, membership: Membership) -> None:
        """Put the key, its certificate and what belongs to them in place."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # One file for both: there is no moment at which a key lies beside another's certificate.
        write_private(self.certificate_path, key_pem + certificate_pem)
        write_private(self.ca_path, ca_pem)
        write_private(self.folder / "fleet.json", _MEMBERSHIP.dump_json(membership))

    def is_renewal_due(self, now: datetime) -> bool:
        """Whether the certificate is near its end."""
        return is_renewal_due(self.certificate_path.read_bytes(), now)


def check_authority(ca_pem: bytes, token: Token) -> None:
    """See that this is the authority that the token names. Raises ``EnrolmentRefused``."""
    try:
        found = fingerprint(ca_pem)
    except ValueError as cause:
        raise EnrolmentRefused("what answers there is no enrolment listener of gridgate") from cause
    if found != token.ca_sha256:
        raise EnrolmentRefused(
            f"the authority at {token.url} is not the one that made the token ({found[:16]}..., expected"
            f" {token.ca_sha256[:16]}...)",
            cure="somebody else answers there, or the gateway's fleet was made anew: see who, and take a new token",
        )

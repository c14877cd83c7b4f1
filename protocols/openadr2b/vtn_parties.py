"""Who may talk to a VTN, and what its events may name them by: plain data, declared beside the protocol.

A VEN is known by its certificate's fingerprint, as 2.0b writes it (the last ten bytes of the SHA-256) or whole. The
fingerprint comes from the TLS connection, or from a proxy that ends TLS for us; it decides which venID is whose.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from protocols.grid import Party, Target
from protocols.openadr2b import model

_AREAS = frozenset({"serviceArea", "serviceLocation"})
_LENGTHS = (20, 64)
"""Hexadecimal digits of the short fingerprint and of the whole one."""


def plain_fingerprint(text: str) -> str:
    """A fingerprint in lower-case hexadecimal without colons. Raises ``ValueError`` for what is none."""
    plain = text.replace(":", "").strip().lower()
    if len(plain) not in _LENGTHS or not set(plain) <= set("0123456789abcdef"):
        raise ValueError(f"{text[:100]!r} is no fingerprint: expected 10 or 32 bytes in hexadecimal")
    return plain


def same_certificate(one: str, other: str) -> bool:
    """Whether two plain fingerprints, whole or short, are of the same certificate."""
    return bool(one and other) and (one.endswith(other) or other.endswith(one))


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who has sent a message, as far as the connection proves it.

    ``certificate`` (DER) where it is known; ``fingerprint`` is plain, whole or short, and empty for somebody unproven.
    """

    certificate: bytes | None = None
    fingerprint: str = ""

    @classmethod
    def with_certificate(cls, der: bytes) -> "Caller":
        return cls(certificate=der, fingerprint=sha256(der).hexdigest())


ANYBODY = Caller()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredParty:
    """A VEN as it is declared: its name, its certificates (two while one replaces the other), perhaps a venID.

    ``targets`` are the groups, resources, service areas and the like that it belongs to: an event for one of them is
    for it.
    """

    name: str
    fingerprints: tuple[str, ...] = ()
    ven_id: str = ""
    targets: tuple[Target, ...] = ()


class Refused(Exception):
    """A message that is not taken from this caller; ``code`` is 2.0b's."""

    def __init__(self, text: str, *, code: str) -> None:
        super().__init__(text)
        self.code = code


class VtnParties:
    """The declared VENs. ``closed``: nobody else may register. ``certificates``: nobody may talk without one.

    Raises ``ValueError`` for a fingerprint that is none, and where two parties share a name, a venID or a certificate.
    """

    def __init__(
        self, declared: Iterable[DeclaredParty] = (), *, closed: bool = False, certificates: bool = False
    ) -> None:
        self.closed = closed
        self.certificates = certificates
        self._declared = tuple(declared)
        self._by_name = {party.name: party for party in self._declared}
        self._prints = [(plain_fingerprint(text), party) for party in self._declared for text in party.fingerprints]
        ids = [party.ven_id for party in self._declared if party.ven_id]
        # The last ten bytes are part of the whole: two ways of writing one certificate are one.
        ends = [text[-_LENGTHS[0] :] for text, _ in self._prints]
        for what, values in (("name", [party.name for party in self._declared]), ("venID", ids), ("fingerprint", ends)):
            twice = next((value for value in values if values.count(value) > 1), None)
            if twice is not None:
                raise ValueError(f"two declared parties have the {what} {twice!r}")

    def named(self, name: str) -> DeclaredParty | None:
        return self._by_name.get(name)

    def with_fingerprint(self, fingerprint: str) -> DeclaredParty | None:
        return next((party for known, party in self._prints if same_certificate(known, fingerprint)), None)

    def fingerprints_of(self, party: Party) -> tuple[str, ...]:
        """The certificates that prove a party: those declared, else the one that it registered with."""
        declared = self.named(party.name)
        if declared is not None and declared.fingerprints:
            return tuple(known for known, owner in self._prints if owner is declared)
        return (party.fingerprint,) if party.fingerprint else ()

    def belongs_to(self, party: Party) -> frozenset[tuple[str, str]]:
        """The kinds and values of every target that means a party, beside its venID."""
        declared = self.named(party.name)
        targets = () if declared is None else declared.targets
        return frozenset(
            [meant(target) for target in targets] + [("resource", offer.resource_id) for offer in party.offers]
        )

    def check(self, party: Party, caller: Caller) -> None:
        """Raise ``Refused`` unless the caller has shown what proves it to be the party."""
        expected = self.fingerprints_of(party)
        if caller.fingerprint and any(same_certificate(known, caller.fingerprint) for known in expected):
            return
        if expected or (self.certificates and not caller.fingerprint):
            shown = _written(caller.fingerprint) if caller.fingerprint else "none"
            raise Refused(f"the certificate of this connection ({shown}) is not that of {party.party_id}", code="452")
        owner = self.with_fingerprint(caller.fingerprint) if caller.fingerprint else None
        if owner is not None and owner.name != party.name:
            raise Refused(f"the certificate {_written(caller.fingerprint)} is not that of {party.party_id}", code="452")

    def who_registers(
        self, message: model.CreatePartyRegistration, caller: Caller, known: Iterable[Party]
    ) -> tuple[str, str, Party | None]:
        """Name, declared venID (or empty) and earlier record of who registers. Raises ``Refused``.

        A certificate that is declared or was seen before decides; else the venID that we gave, else the name.
        """
        parties = tuple(known)
        declared = self.with_fingerprint(caller.fingerprint) if caller.fingerprint else None
        if declared is not None:
            name = declared.name
            party = next((one for one in parties if one.name == name), None)
        else:
            party = (
                next((one for one in parties if same_certificate(one.fingerprint, caller.fingerprint)), None)
                or next((one for one in parties if message.ven_id and one.party_id == message.ven_id), None)
                or next((one for one in parties if message.ven_name and one.name == message.ven_name), None)
            )
            name = (message.ven_name or "") if party is None else party.name
            declared = self.named(name)
            if declared is None and self.closed:
                raise Refused(f"{name[:60] or 'a VEN without a name'} is not declared here", code="452")
            if declared is not None and declared.fingerprints:
                raise Refused(f"{name} must show its own certificate", code="452")
        if self.certificates and not caller.fingerprint:
            raise Refused("a certificate is needed to register", code="452")
        if party is not None:
            self.check(party, caller)
        ven_id = "" if declared is None else declared.ven_id
        own_id = ven_id or ("" if party is None else party.party_id)
        if caller.fingerprint and message.ven_id and own_id and message.ven_id != own_id:
            raise Refused(f"venID {message.ven_id[:60]} does not belong to this certificate", code="452")
        return name, ven_id, party


def meant(target: Target) -> tuple[str, str]:
    """A target's kind and value, the coordinates of an area in one way of writing."""
    if target.kind not in _AREAS:
        return target.kind, target.value
    try:
        return target.kind, " ".join(repr(float(item)) for item in target.value.split())
    except ValueError:
        return target.kind, target.value


def _written(fingerprint: str) -> str:
    """As 2.0b writes it."""
    return bytes.fromhex(fingerprint[-_LENGTHS[0] :]).hex(":").upper()

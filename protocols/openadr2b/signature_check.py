"""A signed message that was kept, long after it came: by which certificate, and whether it is as it was signed.

The replay window and who was trusted were questions of the day that it came. Here only the message is asked, and its
certificate had to be valid then.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from protocols.errors import NotAuthentic
from protocols.openadr2b.certificate import Anybody, fingerprint
from protocols.openadr2b.codec import is_signed
from protocols.openadr2b.names import DS
from protocols.openadr2b.signature import Verifier
from protocols.openadr2b.signature_parts import certificates
from protocols.replay import MemoryNonces, ReplayWindow
from protocols.xml import parse


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptSignature:
    """A good signature: ``certificate`` (DER) made it, at ``signed_at`` by the signer's own clock.

    Both are ``None`` where it cannot be checked, since the message does not carry the certificate and none is known.
    """

    certificate: bytes | None
    signed_at: datetime | None

    @property
    def name(self) -> str:
        """Of the signer: its fingerprint, and what its certificate is made out to; empty where that is not known."""
        if self.certificate is None:
            return ""
        subject = x509.load_der_x509_certificate(self.certificate).subject.rfc4514_string()
        return f"{fingerprint(self.certificate)} ({subject})"


def check_kept(body: bytes, known: Sequence[bytes], received_at: datetime) -> KeptSignature | None:
    """What a message's signature shows, ``None`` where it has none.

    A message that does not carry its signer's certificate is tried with those ``known`` (DER). Raises ``NotAuthentic``
    for a signature that is broken, or by a certificate that was not valid at ``received_at``, and any ``MessageError``
    for what cannot be read.
    """
    payload = parse(body)
    if not is_signed(payload):
        return None
    carried = certificates(payload[0].find(DS + "KeyInfo"))
    tried = carried[:1] or known
    if not tried:
        return KeptSignature(certificate=None, signed_at=None)
    fault = NotAuthentic("")
    for certificate in tried:
        verifier = Verifier(Anybody(), ReplayWindow(MemoryNonces(), past_s=math.inf, future_s=math.inf))
        try:
            proven = verifier.prove(parse(body), received_at, None if carried else certificate)
        except NotAuthentic as cause:
            fault = cause
        else:
            return KeptSignature(certificate=certificate, signed_at=proven.stamp.signed_at)
    raise fault

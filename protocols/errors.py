"""What can go wrong between us and a counterparty. These are expected faults, never bugs.

* ProtocolError
  + MessageError             these bytes cannot be taken as a message; nothing was changed by them
    - MessageTooLarge        larger or deeper than we read
    - MalformedMessage       not well formed, or against the schema (order, cardinality, enumerations)
    - UnsupportedMessage     well formed, but of a kind, version or namespace that we do not speak
    - NotAuthentic           not proven to be from whom it should be: not signed, or by a signature that does not hold
      . UntrustedCertificate     signed by somebody else than expected, or by a certificate that is not valid now
      . OutOfTime                signed too long ago, or ahead of our clock
      . Replayed                 signed well, but taken once already
  + Unreachable              no connection, no answer in time, or an answer that is no message of the protocol
  + NotRegistered            the counterparty does not know us, or no longer: register anew
  + Rejected                 the counterparty answered with an error code
  + QueueFull                a counterparty has left more messages untaken than we keep for it
"""


class ProtocolError(Exception):
    """Root of the tree. ``connection_id`` names the connection where it is known."""

    def __init__(self, text: str, *, connection_id: str | None = None) -> None:
        super().__init__(text)
        self.connection_id = connection_id


class MessageError(ProtocolError):
    """The bytes cannot be taken as a message.

    ``line`` is the source line (from 1) where it is known; ``request_id`` is the sender's, where it could still be
    read, so that the answer can name it. ``raw_sha256`` names the bytes where they were kept, else it is empty.
    """

    def __init__(
        self, text: str, *, line: int | None = None, request_id: str | None = None, connection_id: str | None = None
    ) -> None:
        super().__init__(text if line is None else f"line {line}: {text}", connection_id=connection_id)
        self.line = line
        self.request_id = request_id
        self.raw_sha256 = ""


class MessageTooLarge(MessageError):
    """More bytes, elements or levels than we read."""


class MalformedMessage(MessageError):
    """Not well formed, or against the schema."""


class UnsupportedMessage(MessageError):
    """A kind, version or namespace that we do not speak."""


class NotAuthentic(MessageError):
    """Not proven to be from whom it should be. ``signer`` is the certificate's fingerprint, ``""`` if unknown."""

    def __init__(self, text: str, *, signer: str = "", line: int | None = None) -> None:
        super().__init__(text, line=line)
        self.signer = signer


class UntrustedCertificate(NotAuthentic):
    """Signed by a certificate that was not expected, that nobody we trust vouches for, or that is not valid now."""


class OutOfTime(NotAuthentic):
    """Signed outside the replay window. ``ahead_s`` is the stamp less our clock: negative for an old message."""

    def __init__(self, text: str, *, signer: str, ahead_s: float) -> None:
        super().__init__(text, signer=signer)
        self.ahead_s = ahead_s


class Replayed(NotAuthentic):
    """Signed well, but taken once already."""


class Unreachable(ProtocolError):
    """The counterparty could not be reached, or did not answer in time, or did not answer in the protocol."""


class NotRegistered(ProtocolError):
    """The counterparty does not know us (any more)."""


class Rejected(ProtocolError):
    """The counterparty answered with an error; ``code`` is its own (an OpenADR response code, an HTTP status)."""

    def __init__(self, text: str, *, code: str, connection_id: str | None = None) -> None:
        super().__init__(text, connection_id=connection_id)
        self.code = code


class QueueFull(ProtocolError):
    """A party has left as many messages untaken as are kept for it."""

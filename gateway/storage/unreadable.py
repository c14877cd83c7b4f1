"""How much is kept of what cannot be read: whoever may send to us must not be able to fill the disk with it."""

from datetime import datetime, timedelta

import structlog

from protocols.party_store import Direction, RawMessage

log = structlog.get_logger()

KEPT_BYTES = 64 * 1024 * 1024
"""Of one connection at once, and again over a day. A counterparty gone wrong is well known after a few of them."""

LEAST_BYTES = 4096
"""A message counts with no less: its row, its indices and its pages cost as much."""

_REFILLED_IN = timedelta(days=1)


class UnreadableAllowance:
    """A bucket for each connection, full at first and filled again over a day; time is the messages' own."""

    def __init__(self) -> None:
        self._left: dict[str, tuple[float, datetime]] = {}
        self._turned_away: dict[str, int] = {}

    def keeps(self, message: RawMessage) -> bool:
        """Whether a message is to be kept. One that was read, or is ours, always is."""
        if message.name or message.direction is Direction.OUT:
            return True
        connection_id, size = message.connection_id, max(LEAST_BYTES, len(message.body))
        left, since = self._left.get(connection_id, (float(KEPT_BYTES), message.at))
        now = max(since, message.at)
        left = min(float(KEPT_BYTES), left + KEPT_BYTES * ((now - since) / _REFILLED_IN))
        enough = left >= size
        self._left[connection_id] = (left - size if enough else left, now)
        self._tell(connection_id, message, enough=enough)
        return enough

    def _tell(self, connection_id: str, message: RawMessage, *, enough: bool) -> None:
        """One line when it begins and one when it ends."""
        before = self._turned_away.get(connection_id, 0)
        if not enough:
            self._turned_away[connection_id] = before + 1
            if not before:
                log.warning(
                    "unreadable_messages_not_kept",
                    connection=connection_id,
                    sha256=message.sha256,
                    bytes=len(message.body),
                    cure="see who sends them; what can be read is kept as ever",
                )
        elif before:
            del self._turned_away[connection_id]
            log.warning("unreadable_messages_kept_again", connection=connection_id, not_kept=before)

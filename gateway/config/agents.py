"""``[[hardware]]`` of kind ``agents``: hosts elsewhere, over NATS; and ``[agent]``, this host's own agent."""

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from gateway.config.parts import Section, address
from hardware.nats_names import WHAT_A_NAME_IS, is_name


def host_name(text: str) -> str:
    """A host's name. Raises ``ValueError`` for one that cannot be part of a NATS subject."""
    if not is_name(text):
        raise ValueError(f"{text!r} is no name for a host: a name is {WHAT_A_NAME_IS}")
    return text


class AgentsSettings(Section):
    """``[[hardware]]`` of kind ``agents``: every host that was enrolled, through a NATS server with mutual TLS."""

    kind: Literal["agents"]
    servers: tuple[Annotated[str, Field(pattern=r"^tls://[^\s/:]+(:\d+)?$")], ...] = Field(min_length=1)
    enrol_listen: Annotated[str, AfterValidator(address)] | None = None
    """Where hosts enrol and renew their certificates; ``None``: here nobody does."""
    enrol_url: str | None = Field(default=None, pattern=r"^https://[^\s/]+$")
    """The same as hosts reach it; by default the first server's host name and the port of ``enrol_listen``."""
    certificate_days: int = Field(default=90, ge=1, le=825)
    timeout_s: float = Field(default=2.0, ge=0.1, le=10.0)
    reload: tuple[str, ...] = ()
    """A command, run after users or certificates changed, that has the NATS server read them anew."""

    @property
    def url(self) -> str:
        """Where hosts enrol, as they reach it."""
        if self.enrol_url is not None:
            return self.enrol_url
        port = "8443" if self.enrol_listen is None else self.enrol_listen.rpartition(":")[2]
        return f"https://{urlsplit(self.servers[0]).hostname}:{port}"

    @property
    def server_names(self) -> tuple[str, ...]:
        """The host names in the certificate of the NATS servers and of the enrolment listener."""
        names = [urlsplit(one).hostname for one in (*self.servers, self.url)]
        return tuple(dict.fromkeys(name for name in names if name))


class AgentSettings(Section):
    """``[agent]``: the agent of this host."""

    host_id: Annotated[str, AfterValidator(host_name)] | None = None
    """This host's name in the fleet; by default its host name up to the first dot."""
    certificates: Path | None = None
    """Where its certificate is kept; by default ``agent`` in ``state_dir``."""
    restore_spread_s: float = Field(default=2.0, ge=0, le=60)
    """Limits whose lease ended go back up after a delay from 0 to this, each host its own: sites do not jump."""
    restore_ramp_s: float = Field(default=2.0, ge=0, le=60)
    """Then they go up evenly within this."""
    ceiling_w: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """What no limit of ours may be above, of any device; ``ceilings_w`` for single ones, by their ids."""
    ceilings_w: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(default_factory=dict)
    worker_user: str | None = None
    """The user that the worker becomes, keeping only the capabilities that its drivers need; by default the agent's."""

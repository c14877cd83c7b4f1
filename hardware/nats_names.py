"""Subjects of the fleet over NATS. Whose a message is stands in its subject, which the server checks by permission.

    gridgate.SITE.host.HOST.ask         a request, to the agent of one host
    gridgate.SITE.host.HOST.hello       the agent is there (again)
    gridgate.SITE.host.HOST.bye         the agent goes
    gridgate.SITE.reply.LIFE.HOST.N     the answer to request N of one life of a gateway

``LIFE`` is random, so that two gateways do not take each other's answers. An agent may publish its own host's subjects
only, so that no agent can answer for another.
"""

import re

HELLO = "hello"
BYE = "bye"

_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,63}")

WHAT_A_NAME_IS = "up to 63 letters, digits, - and _ (no dots: it is one part of a NATS subject)"


def is_name(text: str) -> bool:
    """Whether a site's or a host's name can stand in a subject."""
    return _TOKEN.fullmatch(text) is not None


def ask_subject(site_id: str, host_id: str) -> str:
    """Where the agent of a host is asked; ``*`` for any host."""
    return f"gridgate.{site_id}.host.{host_id}.ask"


def hello_subject(site_id: str, host_id: str) -> str:
    """Where the agent of a host says that it is there; ``*`` for any host."""
    return f"gridgate.{site_id}.host.{host_id}.{HELLO}"


def bye_subject(site_id: str, host_id: str) -> str:
    """Where the agent of a host says that it goes; ``*`` for any host."""
    return f"gridgate.{site_id}.host.{host_id}.{BYE}"


def reply_prefix(site_id: str, life: str) -> str:
    """What every answer to one life of a gateway begins with, its dot included."""
    return f"gridgate.{site_id}.reply.{life}."


def agent_may_publish(site_id: str, host_id: str) -> tuple[str, ...]:
    """All that the agent of a host may publish."""
    return (
        hello_subject(site_id, host_id),
        bye_subject(site_id, host_id),
        f"gridgate.{site_id}.reply.*.{host_id}.*",
    )


def agent_may_subscribe(site_id: str, host_id: str) -> tuple[str, ...]:
    """All that the agent of a host may hear."""
    return (ask_subject(site_id, host_id),)


def gateway_may_publish(site_id: str) -> tuple[str, ...]:
    """All that the gateway may publish."""
    return (ask_subject(site_id, "*"),)


def gateway_may_subscribe(site_id: str) -> tuple[str, ...]:
    """All that the gateway may hear."""
    return (hello_subject(site_id, "*"), bye_subject(site_id, "*"), f"gridgate.{site_id}.reply.>")


def host_of_news(subject: str) -> tuple[str, str]:
    """The host and the word (``HELLO`` or ``BYE``) of a subject that the gateway subscribed to."""
    _, _, _, host_id, word = subject.split(".")
    return host_id, word

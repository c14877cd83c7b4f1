"""An MQTT broker, as a VTN publishes on it. The only module that imports aiomqtt."""

import ssl

import aiomqtt

from protocols.errors import Unreachable

TIMEOUT_S = 10.0


class MqttPublisher:
    """A connection that is opened when it is needed and opened anew when it broke. Messages are taken at least once.

    ``client_certificates`` in ``tls`` say who we are, or ``username`` and ``password`` do.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int = 8883,
        tls: ssl.SSLContext | None,
        username: str | None = None,
        password: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._username = username
        self._password = password
        self._timeout_s = timeout_s
        self._client: aiomqtt.Client | None = None

    async def publish(self, topic: str, body: bytes) -> None:
        """Publish with quality of service 1. Raises ``Unreachable`` where the broker has not taken it."""
        try:
            if self._client is None:
                self._client = await self._connected()
            await self._client.publish(topic, body, qos=1, retain=False)
        except (aiomqtt.MqttError, OSError, TimeoutError) as cause:
            await self.close()
            raise Unreachable(f"the MQTT broker {self._host}:{self._port}: {cause}") from cause

    async def close(self) -> None:
        """End the connection, if there is one."""
        client, self._client = self._client, None
        if client is not None:
            try:
                await client.__aexit__(None, None, None)
            except (aiomqtt.MqttError, OSError, TimeoutError):
                # It was broken already.
                return

    async def _connected(self) -> aiomqtt.Client:
        client = aiomqtt.Client(
            self._host,
            self._port,
            username=self._username,
            password=self._password,
            tls_context=self._tls,
            timeout=self._timeout_s,
        )
        await client.__aenter__()
        return client

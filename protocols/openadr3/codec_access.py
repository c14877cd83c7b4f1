"""Tables of tokens, errors and notifiers. They are the same in both versions, but that 3.0 has no notifiers."""

from collections.abc import Mapping

from protocols.openadr3 import model_access as model
from protocols.openadr3.codec_parts import boolean, text
from protocols.openadr3.schema import ByWord, Content, Inside, Leaf, ListOf, Object, maybe, one
from protocols.openadr3.values import SECRET, URI, one_of, uri, whole
from protocols.openadr3.values import text as text_of

AUTH_ERRORS = (
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "invalid_scope",
    "unauthorized_client",
    "unsupported_grant_type",
)

_secret = Leaf(SECRET)
_uri = Leaf(URI)
_scope = maybe("scope", "scope", Leaf(text_of(0, 4096)))
_METHODS = {
    model.Anonymous: "ANONYMOUS",
    model.BearerToken: "OAUTH2_BEARER_TOKEN",
    model.ClientCertificate: "CERTIFICATE",
}

_authentication = ByWord(
    "method",
    {
        "ANONYMOUS": Object(model.Anonymous, said={"method": "ANONYMOUS"}),
        "OAUTH2_BEARER_TOKEN": Object(
            model.BearerToken, one("username", "username", text), said={"method": "OAUTH2_BEARER_TOKEN"}
        ),
        "CERTIFICATE": Object(
            model.ClientCertificate,
            one("ca_certificate", "caCert", text),
            one("certificate", "clientCert", text),
            one("key", "clientKey", text),
            said={"method": "CERTIFICATE"},
        ),
    },
    lambda value: _METHODS[type(value)],
)
_mqtt = Object(
    model.Mqtt,
    one("uris", "URIS", ListOf(_uri)),
    one("serialization", "serialization", Leaf(one_of("JSON"))),
    one("authentication", "authentication", _authentication),
)

TABLES: Mapping[type, Content] = {
    model.TokenRequest: Object(
        model.TokenRequest,
        one("client_id", "client_id", _secret),
        one("client_secret", "client_secret", _secret),
        _scope,
        said={"grant_type": "client_credentials"},
    ),
    model.Token: Object(
        model.Token,
        one("access_token", "access_token", _secret),
        maybe("expires_in_s", "expires_in", Leaf(whole(0))),
        maybe("refresh_token", "refresh_token", _secret),
        # RFC 6749, 5.1: in any case of letters.
        one("token_type", "token_type", Leaf(one_of("Bearer", also={"bearer": "Bearer", "BEARER": "Bearer"}))),
        _scope,
    ),
    model.AuthError: Object(
        model.AuthError,
        one("error", "error", Leaf(one_of(*AUTH_ERRORS))),
        maybe("description", "error_description", text),
        # For people, and by the definition's own example more than a URI.
        maybe("uri", "error_uri", Leaf(text_of(2, 8000))),
    ),
    model.AuthServer: Object(model.AuthServer, one("token_url", "tokenURL", _uri)),
    model.Problem: Object(
        model.Problem,
        maybe("type", "type", _uri),
        maybe("title", "title", text),
        maybe("status", "status", Leaf(whole(100, 599))),
        maybe("detail", "detail", text),
        maybe("instance", "instance", Leaf(uri(3))),
    ),
    model.Notifiers: Object(
        model.Notifiers,
        one("webhook", "WEBHOOK", boolean),
        maybe("mqtt", "MQTT", _mqtt),
    ),
    model.Topics: Inside(
        "topics",
        Object(
            model.Topics,
            maybe("create", "CREATE", text),
            one("update", "UPDATE", text),
            one("delete", "DELETE", text),
            maybe("all", "ALL", text),
        ),
    ),
}

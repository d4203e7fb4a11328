"""The certificates of the gateway's addresses, for mail programs that look for them by HTTPS: a Web
Key Directory (draft-koch-openpgp-webkey-service), in both of its forms.

For strangers too, so that a first mail can be encrypted. Lists by invitation, which strangers hear
nothing of, are not in it.
"""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Iterator
from hashlib import sha1

from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gateway.app import App
from gateway.posting.directory import Service
from gateway.store import mailing_list
from gateway.store.mailing_list import GatewayKey, MailingList, Purpose

_BASE32 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_Z_BASE32 = b"ybndrfg8ejkmcpqxot1uwisza345h769"
_FOR_ALL = {
    # Mail programs within a page, such as Mailvelope, ask from an origin of their own.
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
}


def hashed(local_part: str) -> str:
    """What a local part is asked for by (draft-koch-openpgp-webkey-service 3.1): 32 letters."""
    digest = sha1(local_part.lower().encode(), usedforsecurity=False).digest()
    return b32encode(digest).translate(bytes.maketrans(_BASE32, _Z_BASE32)).decode()


def _certificate(request: Request) -> Response:
    """Binary, with all addresses that it serves. 404 where there is none under that hash."""
    app = _of_domain(request)
    with app.database.reading() as session:
        for local_part, key in _published(session):
            if hashed(local_part) == request.path_params["hashed"]:
                return Response(key.certificate, 200, _FOR_ALL, "application/octet-stream")
    raise HTTPException(404)


def _policy(request: Request) -> Response:
    """Empty: nothing but keys to be fetched is offered (4.5). That it is there says that this is a
    directory."""
    _of_domain(request)
    return PlainTextResponse("", headers=_FOR_ALL)


def _of_domain(request: Request) -> App:
    app: App = request.app.state.gateway
    if request.path_params.get("domain", app.config.domain) != app.config.domain:
        raise HTTPException(404)
    return app


def _published(session: Session) -> Iterator[tuple[str, GatewayKey]]:
    """Local part and key of each address that strangers may know of."""
    own = mailing_list.own_key(session, Purpose.COMMAND)
    yield from ((one.value, own) for one in Service)
    lists = mailing_list.all_lists(session)
    yield from (
        (one.local_part, one.key)
        for one in (*lists, *mailing_list.desks(session))
        if one.closed_at is None and not _is_secret(one)
    )


def _is_secret(one: MailingList) -> bool:
    return one.by_invitation or (one.parent is not None and one.parent.by_invitation)


_PATH = "/.well-known/openpgpkey"
ROUTES = (
    # Of the host openpgpkey.DOMAIN, and of the domain's own.
    Route(f"{_PATH}/{{domain}}/hu/{{hashed}}", _certificate),
    Route(f"{_PATH}/{{domain}}/policy", _policy),
    Route(f"{_PATH}/hu/{{hashed}}", _certificate),
    Route(f"{_PATH}/policy", _policy),
)

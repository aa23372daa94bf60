"""Environs of requests that nobody has sent."""

from __future__ import annotations

from wsgiref.validate import check_environ

from uwsgi_ws.testing import environ


def test_it_is_what_pep_3333_wants() -> None:
    made = environ("/ä%20b?x=1", method="POST", body="é", headers=[("X-A", "1"), ("X-A", "2")], REMOTE_USER="ada")
    check_environ(made)
    assert made["PATH_INFO"].encode("latin-1").decode() == "/ä b"
    assert (made["QUERY_STRING"], made["REQUEST_URI"]) == ("x=1", "/ä%20b?x=1")
    assert (made["CONTENT_LENGTH"], made["wsgi.input"].read()) == ("2", "é".encode())
    assert (made["HTTP_X_A"], made["REMOTE_USER"]) == ("1, 2", "ada")


def test_json_and_websockets() -> None:
    made = environ(json={"a": 1})
    assert (made["CONTENT_TYPE"], made["wsgi.input"].read()) == ("application/json", b'{"a": 1}')
    made = environ(websocket=True, subprotocols=["a", "b"])
    assert (made["HTTP_UPGRADE"], made["HTTP_SEC_WEBSOCKET_PROTOCOL"]) == ("websocket", "a, b")

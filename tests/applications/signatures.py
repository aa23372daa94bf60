"""Tells what the modules that applications import hold: each function's signature, and each other name's type."""

import inspect
import json
from typing import Any

from uwsgi_ws.api import decorators


def described(names):
    """Return by name what a function takes (name, kind, default, annotation) and returns, of others their type's."""
    found: dict[str, Any] = {}
    for name, value in names.items():
        if name.startswith("_"):
            continue
        if isinstance(value, type) or not callable(value):
            found[name] = "type" if isinstance(value, type) else type(value).__name__
            continue
        signature = inspect.signature(value)
        parameters = signature.parameters.values()
        found[name] = {
            "takes": [[each.name, each.kind.name, repr(each.default), str(each.annotation)] for each in parameters],
            "returns": str(signature.return_annotation),
        }
    return found


def application(environ, start_response):
    import uwsgi

    names = {
        "uwsgi": described({**vars(uwsgi), "env": uwsgi.env}),
        "uwsgidecorators": described({name: getattr(decorators, name) for name in decorators.__all__}),
        "worker": described(dict(uwsgi.workers()[0])),
    }
    start_response("200 OK", [])
    return [json.dumps(names).encode()]

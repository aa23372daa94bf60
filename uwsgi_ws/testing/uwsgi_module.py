"""``import uwsgi`` in a process that tests applications: one module for all servers that it runs one after another.

An application is imported once, whatever serves it later, so what it has imported from ``uwsgi`` stays valid. What
belongs to a request says so outside of one, as uWSGI does; what belongs to a server does it by the server of that time.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

from uwsgi_ws.api.offered import offer
from uwsgi_ws.options import Options, opt_dict, parse

if TYPE_CHECKING:
    from uwsgi_ws.api.instance import Instance
    from uwsgi_ws.process.sockets import Sockets

__all__ = ["instance", "offer_uwsgi", "use_options"]

_instance: Instance | None = None


def instance() -> Instance:
    """Return what this process is to applications, made once."""
    global _instance
    if _instance is None:
        from uwsgi_ws.api.instance import Instance

        _instance = Instance(0, threads=True)
        _instance.enter(1)
    return _instance


def offer_uwsgi() -> None:
    """Have ``import uwsgi`` and what goes with it find modules where there are no others."""
    offer("uwsgi", _fill)
    from uwsgi_ws.api.decorators import offer_decorators

    offer_decorators()


def use_options(options: Options, sockets: Sockets | None = None) -> None:
    """Have ``uwsgi`` tell of these options, and serve their caches and the like, from now on."""
    from uwsgi_ws.api import uwsgi as api
    from uwsgi_ws.api.memories import shared_functions

    known = sys.modules.get("uwsgi")
    api.install(
        instance(),
        opt_dict(options),
        [sock.fileno() for sock in sockets or ()],
        processes=1,
        cores=options.places,
        greenlets=options.gevent > 0,
        buffer_size=options.buffer_size,
        functions=shared_functions(options, instance()),
    )
    if known is not None:
        # The same object, which applications have imported, with what is new.
        spec = known.__spec__
        known.__dict__.update(sys.modules["uwsgi"].__dict__)
        known.__spec__ = spec
        sys.modules["uwsgi"] = known


def _fill(module: ModuleType) -> None:
    """Make a module what ``uwsgi`` is without a server; the import system has put it among the others already."""
    use_options(parse([]))

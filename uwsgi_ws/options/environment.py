"""Environment variables as a source of settings: ``UWSGI_HTTP_SOCKET`` is ``http-socket``."""

from __future__ import annotations

from collections.abc import Mapping

from uwsgi_ws.options.setting import Setting

__all__ = ["environment"]

#: Variables that a server sets for itself, or that an emperor sets; and all of our own.
_OTHERS = (
    "UWSGI_WS_",
    "UWSGI_RELOADS",
    "UWSGI_VASSAL",
    "UWSGI_EMPEROR",
    "UWSGI_BROODLORD_NUM",
    "UWSGI_JAIL_PID",
    "UWSGI_ORIGINAL_PROC_NAME",
)


def environment(environ: Mapping[str, str]) -> list[Setting]:
    """Return the settings of an environment, in its order; the same option from any other source wins.

    Source: uWSGI's core/utils.c (``parse_sys_envs``).
    """
    settings = []
    for variable, value in environ.items():
        if variable.startswith("UWSGI_") and not variable.startswith(_OTHERS):
            name = variable[len("UWSGI_") :].lower().replace("_", "-")
            settings.append(Setting(name, value, variable))
    return settings

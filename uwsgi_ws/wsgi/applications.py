"""Which application a request goes to, or which other server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from uwsgi_ws.wsgi.runner import Application

__all__ = ["Applications", "https_url"]


class Applications:
    """The loaded applications by mount point; the one at ``""`` answers what no other claims.

    Args:
        manage_script_name: Move the longest mount point that matches from PATH_INFO to SCRIPT_NAME. Without it only
            the default application is ever found, as in uWSGI when no proxy sets SCRIPT_NAME.
    """

    def __init__(self, *, manage_script_name: bool) -> None:
        self._manage_script_name = manage_script_name
        self._by_mount: dict[str, Application] = {}
        self._default: Application | None = None

    def __len__(self) -> int:
        return len(self._by_mount)

    def add(self, mount: str, application: Application) -> None:
        """Put an application under ``mount``; the first becomes the default until one comes for ``""``."""
        mount = mount.rstrip("/")
        self._by_mount[mount] = application
        if self._default is None or not mount:
            self._default = application

    def find(self, environ: dict[str, Any]) -> Application | None:
        """Return the application for a request, its SCRIPT_NAME and PATH_INFO set; None when none is loaded."""
        if self._manage_script_name:
            path: str = environ["PATH_INFO"]
            mount = path
            while mount:
                # Whole segments only: /app claims /app and /app/x, never /apple.
                application = self._by_mount.get(mount)
                if application is not None:
                    environ["SCRIPT_NAME"] = mount
                    environ["PATH_INFO"] = path[len(mount) :]
                    return application
                mount = mount.rpartition("/")[0]
        return self._default


def https_url(variables: Mapping[str, str], port: str) -> str | None:
    """Return the request's own URL with https as its scheme.

    Args:
        variables: The request's CGI variables.
        port: Of the URL; empty for https's own.

    Returns:
        None when the client has not said how it calls this server.
    """
    host = re.sub(r":[0-9]*$", "", variables.get("HTTP_HOST", ""))
    if not host:
        return None
    target = variables["REQUEST_URI"]
    if not target.startswith("/"):  # RFC 9112 3.2: absolute-form, or *
        target = "/" + target.partition("://")[2].partition("/")[2]
    return f"https://{host}{f':{port}' if port else ''}{target}"

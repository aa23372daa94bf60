"""Which application a request goes to."""

from __future__ import annotations

from typing import Any

from uwsgi_ws.wsgi.runner import Application

__all__ = ["Applications"]


class Applications:
    """The loaded applications by mount point; the one at ``""`` answers what no other claims.

    Args:
        has_default: Whether one of them answers what no mount point matches.
        manage_script_name: Move the longest mount point that matches from PATH_INFO to SCRIPT_NAME. Without it the
            default application is found, unless a front server has set SCRIPT_NAME to a mount point.
    """

    def __init__(self, *, manage_script_name: bool, has_default: bool = True) -> None:
        self._has_default = has_default
        self._manage_script_name = manage_script_name
        self._by_mount: dict[str, Application] = {}
        self._default: Application | None = None

    def __len__(self) -> int:
        return len(self._by_mount)

    def add(self, mount: str, application: Application) -> None:
        """Put an application under ``mount``; the first becomes the default until one comes for ``""``."""
        mount = mount.rstrip("/")
        self._by_mount[mount] = application
        if self._has_default and (self._default is None or not mount):
            self._default = application

    def find(self, environ: dict[str, Any]) -> Application | None:
        """Return the application for a request, its SCRIPT_NAME and PATH_INFO set; None when none is loaded."""
        script_name: str = environ["SCRIPT_NAME"]
        if script_name and (named := self._by_mount.get(script_name.rstrip("/"))) is not None:
            return named
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

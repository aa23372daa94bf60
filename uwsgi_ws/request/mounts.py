"""What a request leads to, by its path."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar

from uwsgi_ws.request.answers import respond_as_uwsgi
from uwsgi_ws.request.base import Request
from uwsgi_ws.request.steps import Handler
from uwsgi_ws.stats import Stats

__all__ = ["MODIFIER1", "PERL", "Mounts", "Runner", "run_mounted"]

Mounted = TypeVar("Mounted")
Other = TypeVar("Other")


class Runner(Protocol):
    """Runs what is mounted: an application of some kind."""

    def run(self, request: Request) -> bool:
        """Answer a request. Errors of the application's own are logged and answered, not raised.

        Returns:
            False when such an error ended it.
        """


class Mounts(Generic[Mounted]):
    """What is mounted where; what is mounted at ``""`` is the default, for requests that match no mount point.

    Args:
        has_default: Whether there is a default.
        manage_script_name: Move the longest mount point that matches from PATH_INFO to SCRIPT_NAME. Without it the
            default is found, unless a front server has set SCRIPT_NAME to a mount point.
    """

    def __init__(self, *, manage_script_name: bool, has_default: bool = True) -> None:
        self._has_default = has_default
        self._manage_script_name = manage_script_name
        self._by_mount: dict[str, Mounted] = {}
        self._default: Mounted | None = None

    @property
    def default(self) -> Mounted | None:
        """What has the requests that match no mount point."""
        return self._default

    def __len__(self) -> int:
        return len(self._by_mount)

    @property
    def mount_points(self) -> Iterable[str]:
        """The paths that something is mounted at, the empty one among them."""
        return self._by_mount.keys()

    def add(self, mount: str, what: Mounted) -> None:
        """Put something at ``mount``; the first becomes the default until another comes for ``""``."""
        mount = mount.rstrip("/")
        self._by_mount[mount] = what
        if self._has_default and (self._default is None or not mount):
            self._default = what

    def map(self, make: Callable[[Mounted], Other]) -> Mounts[Other]:
        """Return the same mount points with what ``make`` makes of each thing mounted; called once for each."""
        others: Mounts[Other] = Mounts(manage_script_name=self._manage_script_name, has_default=self._has_default)
        for mount, what in self._by_mount.items():
            others.add(mount, make(what))
        return others

    def find(self, environ: dict[str, Any]) -> Mounted | None:
        """Return what a request leads to, its SCRIPT_NAME and PATH_INFO set; None when it leads nowhere."""
        script_name: str = environ["SCRIPT_NAME"]
        if script_name and (named := self._by_mount.get(script_name.rstrip("/"))) is not None:
            return named
        if self._manage_script_name:
            path: str = environ["PATH_INFO"]
            mount = path
            while mount:
                # Whole segments only: /app claims /app and /app/x, never /apple.
                found = self._by_mount.get(mount)
                if found is not None:
                    environ["SCRIPT_NAME"] = mount
                    environ["PATH_INFO"] = path[len(mount) :]
                    return found
                mount = mount.rpartition("/")[0]
        return self._default


#: uWSGI's number of Perl.
PERL = 5
#: In the environ of a request from a front server that has named the language it wants: uWSGI's number of it.
MODIFIER1 = "uwsgi.modifier1"


def run_mounted(mounts: Mounts[Runner], stats: Stats, perl: Runner | None = None) -> Handler:
    """Return what runs what a request leads to: what is left when all steps have let the request pass.

    Args:
        mounts: By the request's path.
        stats: Where the errors of applications are counted.
        perl: Has requests for Perl that would lead to Python; None where there are not both.
    """
    find = mounts.find if perl is None else _perl_first(mounts, perl)

    def answer(request: Request) -> None:
        runner = find(request.environ)
        if runner is None:
            respond_as_uwsgi(request, 500)
        elif not runner.run(request):
            stats.exceptions += 1

    return answer


def _perl_first(mounts: Mounts[Runner], perl: Runner) -> Callable[[dict[str, Any]], Runner | None]:
    """Return what finds runners, and ``perl`` for requests for Perl to which no mount point of their own leads."""
    default = mounts.default

    def find(environ: dict[str, Any]) -> Runner | None:
        found = mounts.find(environ)
        return perl if found is default and environ.pop(MODIFIER1, "") == str(PERL) else found

    return find

"""Which of an instance's settings give rules: known without the router, which most instances do without."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from uwsgi_ws.options import BY_NAME, Setting, settings_of

__all__ = ["RouteSettings"]


class RouteSettings(NamedTuple):
    """The settings that give rules, each chain's in their order.

    Args:
        request: ``--route`` and its relatives (``--route-host`` ...); so the next three of theirs.
        error: ``--error-route``.
        response: ``--response-route``.
        final: ``--final-route``.
        removed_headers: ``--rem-header``.
        added_headers: ``--add-header``.
        collected_headers: ``--collect-header`` and ``--pull-header``.
        has_auto_gzip: ``--http-auto-gzip``.
    """

    request: Sequence[Setting] = ()
    error: Sequence[Setting] = ()
    response: Sequence[Setting] = ()
    final: Sequence[Setting] = ()
    removed_headers: Sequence[Setting] = ()
    added_headers: Sequence[Setting] = ()
    collected_headers: Sequence[Setting] = ()
    has_auto_gzip: bool = False

    @classmethod
    def of(cls, settings: Sequence[Setting]) -> RouteSettings:
        """Return the rules among an instance's settings."""
        switches = settings_of(settings, "http-auto-gzip")
        return cls(
            request=settings_of(settings, "route"),
            error=settings_of(settings, "error-route"),
            response=settings_of(settings, "response-route"),
            final=settings_of(settings, "final-route"),
            removed_headers=settings_of(settings, "rem-header"),
            added_headers=settings_of(settings, "add-header"),
            collected_headers=settings_of(settings, "collect-header"),
            has_auto_gzip=bool(switches) and BY_NAME["http-auto-gzip"].value(switches[-1]),
        )

    def __bool__(self) -> bool:
        return any(self)

    def for_every_response(self) -> Iterator[Setting]:
        """Yield the rules for which ``--rem-header`` and ``--add-header`` stand."""
        for setting in self.removed_headers:
            yield Setting("response-route-run", f"remheader:{setting.value}", setting.source)
        for setting in self.added_headers:
            if (setting.value or "").partition(":")[0].lower() != "connection":  # that one is the server's
                yield Setting("response-route-run", f"addheader:{setting.value}", setting.source)

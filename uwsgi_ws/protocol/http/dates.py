"""Dates as HTTP writes them."""

from __future__ import annotations

from datetime import datetime, timezone

__all__ = ["http_date"]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def http_date(seconds: float) -> str:
    """Return a point in time as an IMF-fixdate, such as ``Sun, 06 Nov 1994 08:49:37 GMT``.

    ``email.utils.formatdate`` does the same, but takes a fiftieth of a start to be imported.

    Args:
        seconds: Since the epoch.

    Raises:
        OSError, OverflowError, ValueError: the year has not one to four digits.

    Source: RFC 9110 5.6.7. ``strftime`` would use the language of the locale.
    """
    date = datetime.fromtimestamp(seconds, timezone.utc)
    day, month = _DAYS[date.weekday()], _MONTHS[date.month - 1]
    return f"{day}, {date.day:02} {month} {date.year:04} {date.hour:02}:{date.minute:02}:{date.second:02} GMT"

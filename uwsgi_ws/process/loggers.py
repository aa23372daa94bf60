"""Opens what the options send the log to: before the privileges fall, and in each generation again."""

from __future__ import annotations

from pathlib import Path

from uwsgi_ws.log import FileRules, Sink, open_sink, use_loggers
from uwsgi_ws.options import Options
from uwsgi_ws.users import group_id, owners, user_id

__all__ = ["file_rules", "set_up_loggers"]


def file_rules(options: Options, started_in: str) -> FileRules:
    """Return how the log's files are kept."""
    owner = None
    if options.logfile_chown:
        uid = -1 if options.uid is None else options.checked("uid", user_id, options.uid)
        gid = -1 if options.gid is None else options.checked("gid", group_id, options.gid)
        owner = uid, gid
    return FileRules(
        users=owners(options.uid),
        mode=options.logfile_chmod,
        owner=owner,
        truncates=options.log_truncate,
        max_size=options.log_maxsize,
        backup=Path(started_in, options.log_backupname) if options.log_backupname else None,
    )


def set_up_loggers(options: Options, started_in: str) -> None:
    """Have lines go where the options say.

    Args:
        options: Checked already.
        started_in: The directory that paths start in.

    Raises:
        OptionError: A logger cannot be opened.
    """
    sinks = [sink for name in ("logger", "log-syslog", "log-socket") for sink in _open(options, name, started_in)]
    use_loggers(
        sinks,
        _open(options, "req-logger", started_in),
        options.log_encoder,
        options.log_req_encoder,
        options.log_route,
        options.log_req_route,
        options.log_drain,
        options.log_filter,
    )


def _open(options: Options, name: str, started_in: str) -> list[Sink]:
    rules = file_rules(options, started_in)
    sinks = []
    for setting, logger in zip(options.settings_of(name), getattr(options, name.replace("-", "_")), strict=True):
        try:
            sinks.append(
                open_sink(
                    logger,
                    rules,
                    started_in,
                    packet_size=options.rsyslog_packet_size,
                    splits=options.rsyslog_split_messages,
                )
            )
        except OSError as exc:
            raise setting.error(f"cannot open {setting.value!r}: {exc.strerror}") from exc
    return sinks

"""What the files of a TLS identity hold. The process that reads them may be another than the one that uses them."""

from __future__ import annotations

from collections.abc import Mapping

from uwsgi_ws.certificates import CertificateFiles

__all__ = ["Contents", "paths_of", "read_files"]

#: Of files, by their path as it is written in an option.
Contents = Mapping[str, bytes]


def paths_of(files: CertificateFiles) -> list[str]:
    """Return the paths of those that there are."""
    return [path for path in (files.cert, files.key, files.client_ca) if path]


def read_files(files: CertificateFiles) -> dict[str, bytes]:
    """Return what the files hold.

    Raises:
        OSError: one cannot be read; ``str`` names it and says why.
    """
    contents = {}
    for path in paths_of(files):
        try:
            with open(path, "rb") as file:
                contents[path] = file.read()
        except OSError as exc:
            raise type(exc)(f"cannot read {path!r}: {exc.strerror}") from exc
    return contents

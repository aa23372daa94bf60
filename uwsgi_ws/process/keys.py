"""Certificates and private keys, read while the process may: before ``--uid`` makes it another user's.

What was read is kept for processes that start later and may not read the files any more: workers after a reload, or the
program that replaces this one by ``exec``. That program gets it in memory that has no name; its descriptor is in an
environment variable.
"""

from __future__ import annotations

import json
import os

from uwsgi_ws.certificates import CertificateFiles
from uwsgi_ws.net.pem import Contents, paths_of, read_files
from uwsgi_ws.options import Options

__all__ = ["hand_on_files", "hand_on_keys", "handed_on_files", "read_keys"]

_KEYS, _FILES = "UWSGI_WS_KEYS", "UWSGI_WS_FILES"


def read_keys(options: Options) -> Contents:
    """Return what the files hold that the options name; of those that may not be read, what was handed on.

    Raises:
        OptionError: a file cannot be read, and what it held was not handed on.
    """
    handed_on = _handed_on(_KEYS)
    contents: dict[str, bytes] = {}
    named = [("sni", each.files) for each in options.sni]
    named += [("https", each.files) for each in options.https]
    named += [("https-socket", each.files) for each in options.https_socket]
    for name, files in named:
        try:
            contents.update(read_files(files))
        except OSError as exc:
            if not isinstance(exc, PermissionError) or not handed_on.keys() >= {*paths_of(files)}:
                raise options.error(name, str(exc)) from exc
            contents.update({path: handed_on[path] for path in paths_of(files)})
    if options.sni_dir is not None and options.uid is not None:
        contents.update(_read_folder(options.sni_dir, handed_on))
    return contents


def _read_folder(folder: str, handed_on: Contents) -> dict[str, bytes]:
    """Return what the certificates and keys in a folder hold; what is wrong with one is said when it is asked for."""
    contents = {path: content for path, content in handed_on.items() if os.path.dirname(path) == folder}
    try:
        names = os.listdir(folder)
    except OSError:
        return contents
    for name in names:
        base, extension = os.path.splitext(os.path.join(folder, name))
        if extension == ".crt":
            try:
                contents.update(read_files(CertificateFiles(f"{base}.crt", f"{base}.key")))
            except OSError:
                pass
    return contents


def hand_on_keys(keys: Contents) -> None:
    """Leave them to the program that this process is about to become by ``exec``."""
    _hand_on(_KEYS, keys)


def hand_on_files(files: Contents) -> None:
    """Leave what configuration files hold to that program."""
    _hand_on(_FILES, files)


def handed_on_files() -> dict[str, bytes]:
    """Return what the program before this one has left; once."""
    return _handed_on(_FILES)


def _hand_on(variable: str, contents: Contents) -> None:
    if not contents:
        return
    fd = os.memfd_create("uwsgi_ws.keys", 0)
    with open(fd, "w", encoding="ascii", closefd=False) as file:
        json.dump({path: content.decode("latin-1") for path, content in contents.items()}, file)
    os.environ[variable] = str(fd)


def _handed_on(variable: str) -> dict[str, bytes]:
    fd = os.environ.pop(variable, None)
    if fd is None:
        return {}
    os.lseek(int(fd), 0, os.SEEK_SET)
    with open(int(fd), encoding="ascii") as file:
        return {path: content.encode("latin-1") for path, content in json.load(file).items()}

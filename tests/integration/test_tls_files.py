"""The files of certificates: who may read them and when, and what a reload makes of new ones."""

from __future__ import annotations

import os
import pwd
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from support.eventually import eventually
from support.peers import require_program
from support.server import UWSGI_WS, Program, Server, ServerFailed
from support.tls import READY, Authority, https, names_of
from support.workers import APPLICATION, wait_for_workers

Serve = Callable[..., Server]

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
PROCESSES = pytest.mark.parametrize("options", [[], ["-p", "2"]], ids=["alone", "master"])


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def without_privileges(program: Program) -> Program:
    """The same for a root who may read only what is root's: as any user is, but for being able to start here."""
    drop = ("--bounding-set", "-dac_override,-dac_read_search")
    return Program((require_program("setpriv"), *drop, *program.command), program.ready)


@AS_ROOT
def test_keys_are_read_before_the_user_changes(serve: Serve, authority: Authority, tmp_path: Path) -> None:
    files = authority.issue()
    (tmp_path / "server.key").chmod(0o600)
    assert tmp_path.stat().st_mode & 0o077 == 0  # the folder cannot even be entered
    options = ["--module", "examples.seed", "--uid", "nobody"]
    server = serve(None, *options, program=https(files))
    assert f"Uid:\t{pwd.getpwnam('nobody').pw_uid}\t" in Path(f"/proc/{server.pid}/status").read_text()
    assert names_of(server, authority) == {"127.0.0.1", "localhost"}


@AS_ROOT
def test_keys_in_a_folder_are_read_before_the_user_changes(serve: Serve, authority: Authority) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        cert, key = authority.issue("in-folder.example", stem="other").split(",")
        Path(cert).rename(folder / "in-folder.example.crt")
        Path(key).rename(folder / "in-folder.example.key")
        (folder / "in-folder.example.key").chmod(0o600)
        options = ["--module", "examples.seed", "--uid", "nobody", "--sni-dir", name]
        server = serve(None, *options, program=https(authority.issue()))
        assert names_of(server, authority, "in-folder.example") == {"in-folder.example"}


@AS_ROOT
@PROCESSES
def test_a_key_that_may_not_be_read_any_more_leaves_the_certificate_as_it_is(
    serve: Serve, authority: Authority, tmp_path: Path, options: list[str]
) -> None:
    """Neither a changed file nor a reload ends what works; the log says what is the matter."""
    server = serve(APPLICATION, *options, program=without_privileges(https(authority.issue("before.example"))))
    authority.issue("after.example")
    key = tmp_path / "server.key"
    key.chmod(0o600)
    os.chown(key, pwd.getpwnam("nobody").pw_uid, -1)
    assert names_of(server, authority) == {"before.example"}
    server.wait_for_log(r"cannot read '.*server\.key': Permission denied; the certificate in use stays")
    os.kill(server.pid, signal.SIGHUP)
    words = r"cannot read '.*server\.key': Permission denied; the certificate that was read at the start is used"
    server.wait_for_log(words, 20)
    wait_for_workers(server, 4 if options else 2)
    assert names_of(server, authority) == {"before.example"}
    assert server.log.count("the certificate that was read at the start is used") == 1
    # As soon as it may be read, it is.
    os.chown(key, 0, -1)
    key.touch()
    assert names_of(server, authority) == {"after.example"}


@PROCESSES
def test_a_reload_takes_the_certificate_that_its_options_name_now(
    serve: Serve, authority: Authority, tmp_path: Path, options: list[str]
) -> None:
    ini = tmp_path / "server.ini"
    ini.write_text(f"[uwsgi]\nhttps = 127.0.0.1:0,{authority.issue('one.example', stem='one')}\n")
    program = Program((sys.executable, "-m", "uwsgi_ws", str(ini)), READY)
    server = serve(APPLICATION, *options, program=program)
    assert names_of(server, authority) == {"one.example"}
    ini.write_text(f"[uwsgi]\nhttps = 127.0.0.1:0,{authority.issue('two.example', stem='two')}\n")
    os.kill(server.pid, signal.SIGHUP)
    eventually(lambda: names_of(server, authority) == {"two.example"}, 20)
    ini.write_text("[uwsgi]\n" if options else ini.read_text())  # the address stays, and what was known for it
    os.kill(server.pid, signal.SIGHUP)
    wait_for_workers(server, 6 if options else 3)
    eventually(lambda: names_of(server, authority) == {"one.example" if options else "two.example"}, 20)


def test_a_reload_whose_certificate_will_not_do_changes_nothing(
    serve_many: Serve, authority: Authority, tmp_path: Path
) -> None:
    server = serve_many(APPLICATION, program=https(authority.issue("before.example")))
    (tmp_path / "server.pem").write_text("no certificate")
    os.kill(server.pid, signal.SIGHUP)
    server.wait_for_log("reload failed", 20)
    assert server.log.count("uwsgi_ws: --https: ") == 1
    assert names_of(server, authority) == {"before.example"}


@PROCESSES
def test_a_file_that_cannot_be_read_at_the_start_is_named(
    serve: Serve, authority: Authority, tmp_path: Path, options: list[str]
) -> None:
    cert, _ = authority.issue().split(",")
    with pytest.raises(ServerFailed, match=f"--sni: cannot read '{tmp_path}': Is a directory"):
        serve(APPLICATION, "--sni", f"a.example {cert},{tmp_path}", *options, program=UWSGI_WS)

"""Certificates and keys that are read once, and handed on to those who may read them no more."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support.child import in_child

from uwsgi_ws.errors import OptionError
from uwsgi_ws.options import Options, parse
from uwsgi_ws.process.keys import hand_on_files, hand_on_keys, handed_on_files, read_keys

NOBODY = 65_534


def options_of(folder: Path, *more: str) -> Options:
    (folder / "cert").write_bytes(b"a certificate")
    (folder / "key").write_bytes(b"a key\xff")
    return parse(["--https", f"127.0.0.1:0,{folder}/cert,{folder}/key", *more])


def test_the_files_that_options_name_are_read(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"another")
    options = options_of(tmp_path, "--sni", f"example.org {tmp_path}/other,{tmp_path}/key")
    assert read_keys(options) == {
        f"{tmp_path}/cert": b"a certificate",
        f"{tmp_path}/key": b"a key\xff",
        f"{tmp_path}/other": b"another",
    }


def test_a_file_that_is_not_there_is_an_error_of_its_option(tmp_path: Path) -> None:
    options = options_of(tmp_path)
    (tmp_path / "key").unlink()
    with pytest.raises(OptionError, match=r"^--https: cannot read '.*/key': No such file"):
        read_keys(options)


def test_of_a_folder_the_pairs_are_read_if_another_user_will_need_them(tmp_path: Path) -> None:
    folder = tmp_path / "sni"
    folder.mkdir()
    for name in ("example.org.crt", "example.org.key", "example.net.crt", "README"):  # one has no key
        (folder / name).write_text(name)
    options = options_of(tmp_path, "--sni-dir", str(folder))
    assert not [path for path in read_keys(options) if path.startswith(str(folder))]
    options = options_of(tmp_path, "--sni-dir", str(folder), "--uid", str(os.getuid()))
    found = {path: content for path, content in read_keys(options).items() if path.startswith(str(folder))}
    assert found == {f"{folder}/example.org.crt": b"example.org.crt", f"{folder}/example.org.key": b"example.org.key"}


def test_what_is_handed_on_reaches_the_next_program_once_and_through_no_file() -> None:
    program = (
        "from uwsgi_ws.process.keys import handed_on_files as files, hand_on_files\n"
        "import os; print(files(), files(), [name for name in os.environ if name.startswith('UWSGI_WS_FILES')])"
    )

    handed_on = {"a": b"\x00\xff text", "b": b""}

    def work() -> str:
        hand_on_files(handed_on)
        (name,) = (name for name in os.environ if name.startswith("UWSGI_WS_FILES"))
        assert os.readlink(f"/proc/self/fd/{os.environ[name]}").startswith("/memfd:")
        kept = [int(os.environ[name])]
        run = subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, pass_fds=kept)
        return run.stdout.decode()

    assert in_child(work).strip() == f"{handed_on} {{}} []"


def test_nothing_is_handed_on_where_there_is_nothing() -> None:
    def work() -> str:
        before = dict(os.environ)
        hand_on_files({})
        hand_on_keys({})
        assert dict(os.environ) == before
        return str(handed_on_files())

    assert in_child(work) == "{}"


@pytest.mark.skipif(os.geteuid() != 0, reason="root becomes another user")
@pytest.mark.parametrize("handed_on", [True, False])
def test_a_user_who_may_not_read_a_file_has_what_was_handed_on(handed_on: bool) -> None:
    def work(options: Options) -> str:
        keys = read_keys(options)
        if handed_on:
            hand_on_keys(keys)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        if handed_on:
            return str(read_keys(options) == keys)
        with pytest.raises(OptionError, match="Permission denied"):
            read_keys(options)
        return "refused"

    with tempfile.TemporaryDirectory() as folder:  # that others may enter, as pytest's own they may not
        os.chmod(folder, 0o755)
        options = options_of(Path(folder))
        (Path(folder) / "key").chmod(0o600)
        assert in_child(lambda: work(options)) == ("True" if handed_on else "refused")

"""A worker that is the whole instance: it takes the signals that users send, and starts again by itself."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import NoReturn

from uwsgi_ws import __version__, _build
from uwsgi_ws.api.instance import Instance
from uwsgi_ws.log import hand_on_log, reopen, rotate_full, say
from uwsgi_ws.net.pem import Contents
from uwsgi_ws.options import Options
from uwsgi_ws.process import hooks, systemd
from uwsgi_ws.process.assembly import Equipment, install_api, load_applications, make_equipment
from uwsgi_ws.process.boot import become_user, end, go_back, prepare, say_concurrency, starting, tell_notes
from uwsgi_ws.process.keys import hand_on_files, hand_on_keys, read_keys
from uwsgi_ws.process.naming import name_process
from uwsgi_ws.process.pidfile import PidFile
from uwsgi_ws.process.preloading import import_for_requests
from uwsgi_ws.process.sockets import Sockets
from uwsgi_ws.process.worker import RELOAD, STOP, Worker
from uwsgi_ws.wsgi.applications import Applications

__all__ = ["serve_alone"]

#: What asks a process to stop, and may come while it becomes another program.
_STOPPING = (signal.SIGINT, signal.SIGTERM)


class LoneWorker(Worker):
    """Ends with the process, or makes it the next program.

    Args:
        options: This and the next four are ``Worker``'s.
        sockets: Handed on to the next program.
        equipment: Made of the options.
        applications: Loaded already.
        instance: The process's.
        files: What configuration files hold; a reload may not be able to read them again.
        keys: What the files of certificates hold; the same.
        pidfiles: To be written when it serves, or already, and removed at the end.
        started_in: The directory that the command line's relative paths start in; a reload goes back there.
    """

    def __init__(
        self,
        options: Options,
        sockets: Sockets,
        equipment: Equipment,
        applications: Applications,
        instance: Instance,
        *,
        files: Mapping[str, bytes],
        keys: Contents,
        pidfiles: Mapping[str, PidFile],
        started_in: str,
    ) -> None:
        super().__init__(options, sockets, equipment, applications, instance)
        self._files = files
        self._keys = keys
        self._pidfiles = pidfiles
        self._started_in = started_in

    def live(self) -> NoReturn:
        """Serve until a signal comes that stops the instance, or starts it again."""
        options = self._options
        orders: dict[int, str] = {signal.SIGINT: STOP, signal.SIGQUIT: STOP}
        orders[signal.SIGHUP] = STOP if options.exit_on_reload else RELOAD
        orders[signal.SIGTERM] = STOP if options.stops_on_term else RELOAD
        if self.serve(orders, self._be_ready) == RELOAD:
            systemd.reloading()
            say("Gracefully killing worker 1, then starting again...")
            self.leave(RELOAD, keep_sockets=True)
            if not self.has_changed_its_mind:
                self.finish(self._start_again)
                self._start_again()
        systemd.stopping()
        if options.stop_delay and not self._server.is_draining:
            say(f"SIGINT/SIGTERM/SIGQUIT received...stopping in {options.stop_delay:g} seconds")
            self.announce_stop()
            self.hurry.wait(options.stop_delay)
        say("SIGINT/SIGTERM/SIGQUIT received...stopping worker 1")
        self.leave(STOP)
        self._sockets.remove_files()
        for file in self._pidfiles.values():
            file.remove()
        self.finish(self._say_goodbye)
        self._say_goodbye()

    def _be_ready(self) -> None:
        self.heartbeat.on_beat(lambda status: _rotate_full())
        self.heartbeat.on_beat(lambda status: self._sockets.tell_full_queues())
        say(f"spawned uwsgi_ws worker 1 (and the only) (pid: {os.getpid()}, cores: {self._options.places})")
        self._pidfiles["safe-pidfile"].write(is_a_reload=self._sockets.are_inherited)
        systemd.ready("serving")

    def _start_again(self) -> NoReturn:
        """Become the same program anew, which finds the sockets, the files and the log as they are."""
        go_back(self._started_in)
        os.environ["UWSGI_WS_STARTED_IN"] = self._started_in
        self._sockets.hand_on()
        hand_on_keys(self._keys)
        hand_on_files(self._files)
        hand_on_log()
        # A signal to stop that comes meanwhile waits until the next program can take it.
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
        os.execv(sys.executable, sys.orig_argv)

    def _say_goodbye(self) -> NoReturn:
        hooks.run(self._options, "as-user-atexit", is_fatal=False)
        say("goodbye to uwsgi_ws.")
        end(0)


def serve_alone(options: Options, started_in: str, files: Mapping[str, bytes]) -> NoReturn:
    """Be the whole instance, and end the process.

    Args:
        options: Checked already.
        started_in: The directory that the command line's relative paths start in; a reload goes back there.
        files: What configuration files hold; a reload may not be able to read them again.

    Raises:
        BootError: it cannot start.
        OptionError: an option turns out to be unusable, such as a port that is taken.
    """
    if options.stops_on_term:
        # Process 1 of a container would not hear it without a handler, and loading may take long.
        signal.signal(signal.SIGTERM, _end_before_it_is_up)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
    with ExitStack() as made:
        with starting():
            worker = _make(options, started_in, files, made)
        worker.live()


def _make(options: Options, started_in: str, files: Mapping[str, bytes], made: ExitStack) -> LoneWorker:
    """Make all that is there before the first client; ``made`` gets what takes away the files of it."""
    prepare(options, started_in)
    say(f"*** Starting uwsgi_ws {__version__} on [{time.ctime()}] ***")
    say(f"protocol core: {_build.name()}")
    say_concurrency(options)
    tell_notes(options)
    name_process(options, "worker")
    hooks.run(options, "asap")
    sockets = Sockets.open(options)
    made.callback(sockets.remove_files)
    keys = read_keys(options)
    instance = Instance(0, threads=not options.gevent)
    instance.enter(1)
    install_api(options, sockets, instance, is_a_reload=sockets.are_inherited)
    pidfiles = {name: PidFile.of(options, name) for name in ("pidfile", "safe-pidfile")}
    pidfiles["pidfile"].write(is_a_reload=sockets.are_inherited)
    made.callback(pidfiles["pidfile"].remove)
    pidfiles["safe-pidfile"].reserve()
    import_for_requests(options)
    for step in ("pre-jail", "post-jail", "in-jail", "as-root"):
        hooks.run(options, step)
    become_user(options, started_in)
    hooks.run(options, "as-user")
    pidfiles["pidfile2"] = PidFile.of(options, "pidfile2")  # not before: a hook may have changed the directory
    pidfiles["pidfile2"].write(is_a_reload=sockets.are_inherited)
    made.callback(pidfiles["pidfile2"].remove)
    equipment = make_equipment(options, sockets, keys)
    applications = load_applications(options)
    made.callback(pidfiles["safe-pidfile"].remove)  # not before: it may be that of an instance that serves
    return LoneWorker(
        options,
        sockets,
        equipment,
        applications,
        instance,
        files=files,
        keys=keys,
        pidfiles=pidfiles,
        started_in=started_in,
    )


def _rotate_full() -> None:
    if rotate_full():
        reopen()


def _end_before_it_is_up(number: int, frame: object) -> NoReturn:
    say("SIGTERM received before it was up")
    raise SystemExit(128 + number)

"""Locks of shared memory: among threads and processes, and given back by the dead."""

from __future__ import annotations

import os
import signal
import threading
from mmap import mmap

import pytest

from uwsgi_ws.shared.locks import SharedLocks


def test_threads_and_processes_take_turns() -> None:
    lock = SharedLocks().lock()
    memory = memoryview(mmap(-1, 8)).cast("Q")

    def count() -> None:
        for _ in range(300):
            with lock:
                memory[0] = memory[0] + 1

    def count_in_threads() -> None:
        threads = [threading.Thread(target=count) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    children = []
    for _ in range(2):
        pid = os.fork()
        if not pid:
            count_in_threads()
            os._exit(0)
        children.append(pid)
    count_in_threads()
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
    assert memory[0] == 2700


def test_the_lock_of_a_killed_process_is_free() -> None:
    lock = SharedLocks().lock()
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        with lock:
            os.write(write, b"1")
            signal.pause()
        os._exit(0)
    os.read(read, 1)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with lock:
        pass
    os.close(read)
    os.close(write)


def test_locks_are_of_their_own() -> None:
    locks = SharedLocks()
    with locks.lock(), locks.lock():
        pass


def test_who_has_it_cannot_take_it_again() -> None:
    lock = SharedLocks().lock()
    with lock, pytest.raises(RuntimeError, match="interrupted"):
        lock.__enter__()
    with lock:
        pass


def test_a_child_does_not_wait_for_its_parents_threads() -> None:
    lock = SharedLocks().lock()
    with lock:
        pid = os.fork()
        if not pid:
            lock._holder = 0
            os._exit(0 if _is_new(lock) else 1)
        # The parent has it yet, so the child must wait for it in the kernel; it is let in below.
    assert os.waitpid(pid, 0)[1] == 0


def _is_new(lock: object) -> bool:
    with lock:  # type: ignore[attr-defined]
        return True

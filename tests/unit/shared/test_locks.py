"""Locks of shared memory: among threads and processes, and given back by the dead."""

from __future__ import annotations

import os
import select
import signal
import threading
from mmap import mmap
from pathlib import Path

import pytest
from support.eventually import eventually

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


def test_its_holder_cannot_take_it_again() -> None:
    lock = SharedLocks().lock()
    with lock, pytest.raises(RuntimeError, match="interrupted"):
        lock.__enter__()
    with lock:
        pass


def test_a_child_does_not_wait_for_its_parents_threads() -> None:
    """A thread that has the lock when another one forks is not in the child; the kernel's half stays the parent's."""
    lock = SharedLocks().lock()
    is_held, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            is_held.set()
            may_end.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert is_held.wait(10)
    pid = os.fork()
    if not pid:
        with lock:
            os._exit(0)
    may_end.set()
    assert os.waitpid(pid, 0)[1] == 0
    thread.join()


def test_threads_that_wait_for_one_another_across_processes_are_no_deadlock() -> None:
    """The kernel takes each process for one that waits: it refuses the lock, which is then asked for again."""
    locks = SharedLocks()
    first, second = locks.lock(), locks.lock()
    told, tell = os.pipe()
    go_on, go = os.pipe()
    pid = os.fork()
    if not pid:
        with second:
            os.write(tell, b"1")
            os.read(go_on, 1)  # the parent's thread waits for the second by now

            def take() -> None:
                os.write(tell, b"2")
                with first:
                    os.write(tell, b"3")

            thread = threading.Thread(target=take)
            thread.start()
            thread.join()
        os._exit(0)
    with first:
        assert os.read(told, 1) == b"1"
        waiting = threading.Thread(target=lambda: second.__enter__() or second.__exit__())
        waiting.start()
        eventually(lambda: len(Path("/proc/locks").read_text().split("->")) > 1)
        os.write(go, b"1")
        assert os.read(told, 1) == b"2"
        assert select.select([told], [], [], 0.1)[0] == []
    assert select.select([told], [], [], 10)[0] == [told]
    assert os.read(told, 1) == b"3"
    waiting.join()
    assert os.waitpid(pid, 0)[1] == 0
    for fd in (told, tell, go_on, go):
        os.close(fd)

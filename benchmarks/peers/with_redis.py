"""Run a command beside a Redis of its own, in the same session, so that its CPU time counts.

    python with_redis.py [--instances NUMBER] COMMAND [ARGUMENT ...]

The command finds it by REDIS_SOCKET; it runs as often as NUMBER says. Nothing is written to disk.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

instances, command = 1, sys.argv[1:]
if command[0] == "--instances":
    instances, command = int(command[1]), command[2:]
folder = tempfile.mkdtemp(prefix="uwsgi_ws-redis-")
path = os.path.join(folder, "redis.sock")
options = ["--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no", "--dir", folder]
bus = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
while not pathlib.Path(path).is_socket():
    if bus.poll() is not None:
        raise SystemExit("redis-server ended")
    time.sleep(0.01)
servers = [subprocess.Popen(command, env={**os.environ, "REDIS_SOCKET": path}) for _ in range(instances)]


def stop(number, frame):
    """End the servers; main goes on behind its wait."""
    for server in servers:
        server.send_signal(number)


signal.signal(signal.SIGTERM, stop)
statuses = [server.wait() for server in servers]
bus.terminate()
bus.wait()
shutil.rmtree(folder, ignore_errors=True)
sys.exit(max(statuses))

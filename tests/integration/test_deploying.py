"""The files of examples/deploy that are no proxy's: checked by other people's programs, and their commands run."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.eventually import eventually
from support.http_client import fetch
from support.peers import require_program
from support.server import EXAMPLES, ROOT, UWSGI_WS, Program, Server, free_port
from support.websocket_client import RawClient, handshake

from uwsgi_ws.options.table import BY_NAME
from uwsgi_ws.process.generations import GRACE

pytestmark = pytest.mark.matrix

DEPLOY = EXAMPLES / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
DEPLOYMENT, SERVICE, BUDGET = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
POD = DEPLOYMENT["spec"]["template"]["spec"]
[CONTAINER] = POD["containers"]


def checked(*command: str) -> None:
    done = subprocess.run(command, cwd=DEPLOY, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# The image


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's, each with its arguments."""
    text = "\n".join(line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if not line.startswith("#"))
    lines = text.replace("\\\n", " ").splitlines()
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines) if word]


def last(name: str) -> str:
    return [rest for word, rest in instructions() if word == name][-1]


def option(words: list[str], name: str) -> str:
    """Return what an option of a command is given, or its default."""
    return words[words.index(name) + 1] if name in words else str(BY_NAME[name.removeprefix("--")].default)


COMMAND: list[str] = json.loads(last("CMD"))


def test_the_dockerfile_is_as_hadolint_wants_it() -> None:
    checked(require_program("hadolint"), "Dockerfile")


def test_what_the_dockerfile_copies_is_there_and_is_sent_to_the_build() -> None:
    *ignored, _ = [*(DEPLOY / "Dockerfile.dockerignore").read_text().splitlines(), ""]
    sent = [line[1:] for line in ignored if line.startswith("!")]
    assert all((ROOT / path).exists() for path in sent)
    copied = [
        words for word, rest in instructions() if word == "COPY" and "--from" not in rest for words in [rest.split()]
    ]
    files = [path for words in copied for path in words[:-1] if path != "."]
    assert {f"examples/{COMMAND[COMMAND.index('--wsgi-file') + 1]}", *files} <= set(sent)
    # What the package is built from.
    assert {"setup.cfg", "setup.py", "pyproject.toml", "README.md", "LICENSE", "uwsgi_ws"} <= set(sent)
    assert any(fnmatch("uwsgi_ws/x/__pycache__", line.replace("**", "*")) for line in ignored if line[0] == "*")


class Image:
    """What runs in a container: the last stage's command, on ports of its own."""

    def __init__(self, *more: str) -> None:
        self.ports = {8080: free_port(), 9191: free_port()}
        assert last("ENTRYPOINT") == '["uwsgi-ws"]'
        assert {f"{port}" for port in self.ports} == set(last("EXPOSE").split())
        words = [self._here(word) for word in COMMAND]
        words[words.index("--wsgi-file") + 1] = str(EXAMPLES / "chat.py")
        program = Program((*UWSGI_WS.command[:3], *words, *more), UWSGI_WS.ready)
        self.server = Server(None, program=program, concurrency=())

    def _here(self, text: str) -> str:
        for theirs, ours in self.ports.items():
            text = re.sub(rf"(127\.0\.0\.1)?:{theirs}\b", f"127.0.0.1:{ours}", text)
        return text

    def health(self) -> int:
        """Return the exit status of the image's health check."""
        words: list[str] = json.loads(last("HEALTHCHECK").partition("CMD")[2])
        assert words[0] == "python"
        return subprocess.run([sys.executable, *map(self._here, words[1:])], stderr=subprocess.DEVNULL).returncode


@pytest.fixture
def image() -> Iterator[Image]:
    running = Image()
    yield running
    running.server.stop()


def test_what_runs_in_a_container_serves_is_healthy_and_ends_by_its_signal(image: Image) -> None:
    eventually(lambda: image.health() == 0, 20)
    port = image.ports[8080]
    assert fetch(("127.0.0.1", port)).status == 200
    with RawClient.open(port, "/ws?name=Ann&room=lobby") as peer:
        os.kill(image.server.pid, getattr(signal, last("STOPSIGNAL")))
        while (came := peer.read_frame()).opcode != 8:
            pass
        assert came.payload[:2] == (1001).to_bytes(2, "big")
    assert image.server.wait() == 0
    assert image.health() == 1


def test_the_last_stage_is_nobodys_and_its_commands_need_no_shell() -> None:
    assert int(last("USER").split(":")[0]) > 0
    for name in ("ENTRYPOINT", "CMD"):
        assert isinstance(json.loads(last(name)), list)
    assert "pip" not in [rest for word, rest in instructions()][-1]


# Compose


def test_the_compose_file_fits_its_schema() -> None:
    checked(require_program("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", "compose.yaml")


def test_the_proxy_of_the_compose_file_leads_to_both_instances() -> None:
    services = COMPOSE["services"]
    proxy = services["proxy"]
    assert set(proxy["environment"]["INSTANCES"].split()) == {f"{name}:8080" for name in ("one", "two")}
    assert services["one"] == services["two"]
    file, _, _ = proxy["volumes"][0].partition(":")
    caddyfile = (DEPLOY / file).read_text()
    assert "{$INSTANCES:" in caddyfile
    assert f"health_uri {option(COMMAND, '--health-path')}" in caddyfile
    for service in services.values():
        for named in service.get("depends_on", ()):
            assert named in services
    build = services["one"]["build"]
    assert (DEPLOY / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).exists()


# Kubernetes


def test_the_manifests_fit_the_schemas_of_kubernetes() -> None:
    for version in ("1.30", "1.34"):
        checked(require_program("kubernetes-validate"), "--strict", "--kubernetes-version", version, "kubernetes.yaml")


def test_the_manifests_name_one_another() -> None:
    labels = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
    assert DEPLOYMENT["spec"]["selector"]["matchLabels"] == labels
    assert SERVICE["spec"]["selector"] == BUDGET["spec"]["selector"]["matchLabels"] == labels
    assert BUDGET["spec"]["minAvailable"] < DEPLOYMENT["spec"]["replicas"]
    ports = {each["name"]: each["containerPort"] for each in CONTAINER["ports"]}
    assert {f"{port}" for port in ports.values()} == set(last("EXPOSE").split())
    assert SERVICE["spec"]["ports"][0]["targetPort"] in ports
    assert POD["securityContext"]["runAsUser"] == int(last("USER").split(":")[0])


def test_the_probes_ask_for_what_there_is(image: Image) -> None:
    ports = {each["name"]: each["containerPort"] for each in CONTAINER["ports"]}
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        get = CONTAINER[name]["httpGet"]
        where = ("127.0.0.1", image.ports[ports[get["port"]]])
        eventually(lambda where=where, get=get: fetch(where, get["path"]).status == 200, 20)


# systemd


def unit(name: str) -> dict[str, str]:
    """Return a unit's settings; of one that comes twice the last."""
    text = (DEPLOY / name).read_text().replace("\\\n", " ")
    lines = (line.partition("=") for line in text.splitlines() if not line.startswith(("#", "[")))
    return {key: " ".join(value.split()) for key, equals, value in lines if equals}


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    program = require_program("systemd-analyze")
    text = (DEPLOY / "chat.service").read_text()
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    if int(said.split()[1]) < 253:
        older = re.search(r"Before systemd 253: (Type=notify), and (ExecReload=.*)", text)
        assert older is not None
        text = text.replace("\nType=notify-reload", f"\n{older[1]}\n{older[2]}")
    # The program must be there for it.
    (tmp_path / "chat.service").write_text(text.replace("/srv/chat/venv/bin/uwsgi-ws", sys.executable))
    (tmp_path / "chat.socket").write_text((DEPLOY / "chat.socket").read_text())
    units = [str(tmp_path / name) for name in ("chat.service", "chat.socket")]
    done = subprocess.run([program, "verify", *units], capture_output=True, text=True, timeout=50, check=False)
    found = [line for line in (done.stdout + done.stderr).splitlines() if str(tmp_path) in line or "chat." in line]
    assert (done.returncode, found) == (0, [])
    # From 0, shut in, to 100.
    checked(program, "security", "--offline=yes", "--no-pager", "--threshold=20", units[0])


def test_what_the_service_runs_takes_the_socket_that_systemd_listens_at() -> None:
    program = require_program("systemd-socket-activate", "/lib/systemd/systemd-activate")
    words = shlex.split(unit("chat.service")["ExecStart"])
    assert words[0] == "/srv/chat/venv/bin/uwsgi-ws"
    words = [word.replace("/srv/chat/", f"{EXAMPLES}/") for word in words[1:]]
    words[words.index("--metrics") + 1] = f"127.0.0.1:{free_port()}"
    port = free_port()
    command = (program, "--listen", f"127.0.0.1:{port}", *UWSGI_WS.command[:3], *words)
    environment = [f"--setenv={name}" for name in ("PATH", "PYTHONPATH", "UWSGI_WS_PURE_PYTHON") if name in os.environ]
    with Server(
        None, program=Program((command[0], *environment, *command[1:]), "Listening on"), concurrency=()
    ) as server:
        with RawClient(port) as peer:  # which has the program started
            server.wait_for_log("http activated on", 20)
            server.wait_for_log("spawned uwsgi_ws worker", 20)
            peer.shake_hands(handshake("/ws?name=Ann&room=lobby"))
            assert fetch(("127.0.0.1", port)).status == 200
            os.kill(server.pid, signal.SIGTERM)
            while (came := peer.read_frame()).opcode != 8:
                pass
            assert came.payload[:2] == (1001).to_bytes(2, "big")
        assert server.wait() == 0


# How long a stop may take


def seconds(text: str) -> float:
    assert re.fullmatch(r"\d+s?", text)
    return float(text.rstrip("s"))


def test_what_kills_waits_until_a_stop_has_had_its_time() -> None:
    """It has the delay before it, the time for clients, and some for what the application does at its end."""
    end = 2 * GRACE

    def needed(words: list[str], environment: Any = ()) -> float:
        delay = dict(environment).get("UWSGI_STOP_DELAY") or option(words, "--stop-delay")
        return float(delay) + float(option(words, "--reload-mercy")) + end

    instance = COMPOSE["services"]["one"]
    assert seconds(instance["stop_grace_period"]) > needed(COMMAND, instance["environment"])
    pause = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert POD["terminationGracePeriodSeconds"] > pause + needed(COMMAND)
    service = unit("chat.service")
    assert seconds(service["TimeoutStopSec"]) > needed(shlex.split(service["ExecStart"]))
    # A proxy has asked for health twice before an instance ends that is not ready.
    probe = CONTAINER["readinessProbe"]
    assert pause > 2 * probe["periodSeconds"] * probe["failureThreshold"]

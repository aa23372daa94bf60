"""What permessage-deflate costs: ``python benchmarks/compression.py``.

Three questions. What memory does a connection take for it, before and after its first messages? What does a compressed
broadcast to 500 clients cost, and what goes over the wire? Would a faster library than zlib pay? The last is answered
for those that are installed: ``pip install isal zlib-ng``.

Rounds take turns between what is compared, so that a busy minute of the machine meets all of it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import re
import socket
import statistics
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from harness import Bench, machine, make_bench, memory_bytes, running
from report import README, RESULTS
from servers import SERVERS, Server

OFFER = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
MASKED_BY_ZEROS = bytes(4)
WAYS = {
    "plain": "",
    "deflate": "--websockets-deflate",
    "takeover": "--websockets-deflate --websockets-deflate-takeover",
}
#: Connections of the first question, and of the second; messages of each of the second's turns.
IDLE, CLIENTS, BURST = 1_000, 500, 40
SIZES = (128, 512, 1_024, 4_096, 16_384, 65_536)
SETTLED = 0.3  # seconds until a server has done what the opening of connections has begun


def message_of(size: int) -> bytes:
    """Return JSON of about so many bytes, as dashboards send it."""
    rows: list[dict[str, object]] = []
    while len(text := json.dumps(rows)) < size:
        number = len(rows)
        rows.append(
            {"id": 1_000 + number * 37, "symbol": f"A{number * 7919 % 997}", "price": number * 7919 % 9_973 / 100}
        )
    return text.encode()


# ---- a client that reads no more than it must -----------------------------------------------------------


def open_client(port: int, offer: str) -> socket.socket:
    """Return a connected WebSocket."""
    sock = socket.create_connection(("127.0.0.1", port), 30)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + offer.encode() + b"\r\n"
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(1)
    assert head.startswith(b"HTTP/1.1 101"), head
    assert (b"permessage-deflate" in head) == bool(offer), head
    return sock


def send(sock: socket.socket, payload: bytes, compressed: bool = False) -> None:
    """Send a text message."""
    if compressed:
        compressor = zlib.compressobj(6, zlib.DEFLATED, -12)
        payload = (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
    length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    sock.sendall(bytes([0xC1 if compressed else 0x81]) + length + MASKED_BY_ZEROS + payload)


def receive(sock: socket.socket) -> int:
    """Read a message; return the bytes that it took on the wire."""
    first, length = sock.recv(2, socket.MSG_WAITALL)
    size = 2
    if length == 126:
        length = int.from_bytes(sock.recv(2, socket.MSG_WAITALL), "big")
        size += 2
    assert first & 0x0F == 1, "no text"
    assert len(sock.recv(length, socket.MSG_WAITALL)) == length
    return size + length


@contextlib.contextmanager
def clients(port: int, count: int, offer: str) -> Iterator[list[socket.socket]]:
    """Open many clients, and close them."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(open_client(port, offer)) for _ in range(count)]


def variant(way: str) -> Server:
    """Return uwsgi_ws with compression or without."""
    [server] = [server for server in SERVERS if server.name == "uwsgi_ws"]
    # No pings: what comes is counted.
    options = f"--websockets-ping-freq 0 {WAYS[way]}"
    commands = {name: f"{command} {options}" for name, command in server.commands.items()}
    return replace(server, name=f"{server.name} {way}", commands=commands)


# ---- the questions --------------------------------------------------------------------------------------


def idle_memory(way: str, bench: Bench) -> dict[str, float]:
    """Return KiB of a connection: idle, and idle after a message both ways."""
    offer = OFFER if way != "plain" else ""
    text = message_of(1_024)
    with running(variant(way), "echo", IDLE + 100, bench) as (session, port):
        with open_client(port, offer) as warm:
            send(warm, text, compressed=bool(offer))
            receive(warm)
        time.sleep(SETTLED)
        before = memory_bytes(session)
        with clients(port, IDLE, offer) as open_clients:
            time.sleep(SETTLED)
            idle = memory_bytes(session)
            for sock in open_clients:
                send(sock, text, compressed=bool(offer))
                receive(sock)
            time.sleep(SETTLED)
            used = memory_bytes(session)
    return {"idle": (idle - before) / IDLE / 1_024, "used": (used - before) / IDLE / 1_024}


def cpu_ns(pid: int) -> int:
    """Return the processor time of all threads of a process."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir())


def broadcasts(size: int, rounds: int, bench: Bench) -> dict[str, dict[str, list[float]]]:
    """Return microseconds and bytes of a delivery, plain and compressed, in each round."""
    text = message_of(size)
    found: dict[str, dict[str, list[float]]] = {way: {"cpu_us": [], "bytes": []} for way in ("plain", "deflate")}
    with contextlib.ExitStack() as stack:
        sides = {}
        for way in found:
            session, port = stack.enter_context(running(variant(way), "fanout", CLIENTS + 100, bench))
            offer = OFFER if way != "plain" else ""
            sides[way] = session, stack.enter_context(clients(port, CLIENTS, offer))
        for number in range(rounds + 1):
            for way, (session, sockets) in sides.items():
                before, wire = cpu_ns(session), 0
                for _ in range(BURST):
                    send(sockets[0], text)
                    wire += sum(map(receive, sockets))
                deliveries = BURST * CLIENTS
                if number:  # the first warms up
                    found[way]["cpu_us"].append((cpu_ns(session) - before) / 1_000 / deliveries)
                    found[way]["bytes"].append(wire / deliveries)
    return found


def libraries(rounds: int) -> dict[str, dict[int, tuple[float, float, float]]]:
    """Return for each library and size microseconds to compress and to inflate, and the compressed part."""
    modules = {}
    for name in ("zlib", "isal.isal_zlib", "zlib_ng.zlib_ng"):
        with contextlib.suppress(ModuleNotFoundError):
            modules[name] = importlib.import_module(name)
    found: dict[str, dict[int, tuple[float, float, float]]] = {name: {} for name in modules}
    for size in SIZES:
        text = message_of(size)
        times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in modules}
        parts = {}
        repeat = max(20, 2_000_000 // size // 10)
        for _ in range(rounds):
            for name, module in modules.items():
                level = 6 if "isal" not in name else 2  # isal's best of 0 to 3 for its speed
                compressor = module.compressobj(level, zlib.DEFLATED, -15, 8)
                began = time.perf_counter()
                for _ in range(repeat):
                    data = compressor.compress(text) + compressor.flush(zlib.Z_FULL_FLUSH)
                times[name][0].append((time.perf_counter() - began) / repeat * 1e6)
                began = time.perf_counter()
                for _ in range(repeat):
                    assert len(module.decompressobj(-15).decompress(data, size * 2)) == len(text)
                times[name][1].append((time.perf_counter() - began) / repeat * 1e6)
                parts[name] = len(data) / len(text)
        for name in modules:
            found[name][size] = (min(times[name][0]), min(times[name][1]), parts[name])
    return found


# ---- what is shown --------------------------------------------------------------------------------------


def describe(results: dict) -> str:
    """Return the figures as tables."""
    lines = ["| connection, KiB | idle | after a message of 1 KiB both ways |", "| --- | ---: | ---: |"]
    for way, kib in results["memory"].items():
        lines.append(f"| {way} | {kib['idle']:.1f} | {kib['used']:.1f} |")
    lines += [
        "",
        f"| a delivery to one of {CLIENTS} | CPU µs | ÷ plain | bytes | ÷ plain |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for size, ways in results["broadcasts"].items():
        plain = {key: statistics.median(values) for key, values in ways["plain"].items()}
        for way, values in ways.items():
            cpu, wire = statistics.median(values["cpu_us"]), statistics.median(values["bytes"])
            ratios = [own / other for own, other in zip(values["cpu_us"], ways["plain"]["cpu_us"], strict=True)]
            lines.append(
                f"| {int(size):,} bytes of JSON, {way} | {cpu:.2f} | {statistics.median(ratios):.2f} | {wire:,.0f} | "
                f"{wire / plain['bytes']:.2f} |"
            )
    lines += ["", "| µs to compress, to inflate; part left | " + " | ".join(f"{size:,} bytes" for size in SIZES) + " |"]
    lines.append("| --- |" + " ---: |" * len(SIZES))
    for name, sizes in results["libraries"].items():
        cells = [f"{compress:.1f}, {inflate:.1f}; {part:.2f}" for compress, inflate, part in sizes.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    where = ", ".join(results["machine"].values())
    return f"On {where}.\n\n" + "\n".join(lines)


def main() -> None:
    """Measure, print, and write if that is asked for."""
    parser = argparse.ArgumentParser(description="What permessage-deflate costs.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--update-readme", action="store_true", help="put the tables into README.md")
    options = parser.parse_args()
    bench = make_bench(0, 1)
    results = {
        "machine": machine(),
        "memory": {way: idle_memory(way, bench) for way in WAYS},
        "broadcasts": {str(size): broadcasts(size, options.rounds, bench) for size in (1_024, 4_096)},
        "libraries": libraries(options.rounds),
    }
    text = describe(results)
    print(text)
    if options.update_readme:
        (RESULTS / "compression.json").write_text(json.dumps(results, indent=1) + "\n")
        marked = re.compile("(<!-- compression:begin -->\n).*(<!-- compression:end -->)", re.DOTALL)
        README.write_text(marked.sub(lambda found: f"{found[1]}{text}\n{found[2]}", README.read_text()))


if __name__ == "__main__":
    main()

# python -m uwsgi_ws --http 127.0.0.1:8080 --gevent 1000 --wsgi-file examples/game.py
"""A small arena at http://127.0.0.1:8080/: who collects most coins? The server counts, 30 times a second.

One process has the whole game: its greenlets share the dictionary below. What happened in a tick goes to all players
by one ``broadcast``, encoded once; a player whose network is slow gets the newest state, not all that came before.
"""

import itertools
import json
import random
import time
from pathlib import Path

import gevent

import uwsgi_ws

HERE = Path(__file__).parent
FILES = {
    "/": ("game.html", "text/html"),
    "/style.css": ("style.css", "text/css"),
    "/connection.js": ("connection.js", "text/javascript"),
}

TICK = 1 / 30  # seconds
WIDTH, HEIGHT, RADIUS, SPEED = 800, 450, 14, 240  # a player's speed in pixels a second
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}

players = {}  # by connection
coins = [(random.randrange(20, WIDTH - 20), random.randrange(20, HEIGHT - 20)) for _ in range(6)]
numbers = itertools.count(1)
loop = None


def application(environ, start_response):
    if environ["PATH_INFO"] == "/ws":
        return play(uwsgi_ws.accept(environ))
    name, kind = FILES.get(environ["PATH_INFO"], (None, "text/plain"))
    start_response("200 OK" if name else "404 Not Found", [("Content-Type", f"{kind}; charset=utf-8")])
    return [(HERE / name).read_bytes() if name else b"Not found\n"]


def play(ws):
    global loop
    player = {"id": next(numbers), "x": WIDTH / 2, "y": HEIGHT / 2, "score": 0, "keys": set()}
    ws.send(json.dumps({"you": player["id"], "width": WIDTH, "height": HEIGHT}))
    players[ws] = player
    if not loop:
        loop = gevent.spawn(run)
    try:
        for message in ws:
            asked = json.loads(message)
            if "ping" in asked:
                ws.send(message)
            else:
                player["keys"] = DIRECTIONS.keys() & set(asked["keys"])
    except uwsgi_ws.ConnectionClosed:
        pass
    except (ValueError, KeyError, TypeError):
        ws.close(1003, "not this game's language")
    finally:
        del players[ws]
    return []


def run():
    """Tick until nobody plays; late ticks are left out rather than made up for."""
    global loop
    last = time.monotonic()
    while players:
        now = time.monotonic()
        move(now - last)
        last = now
        shown = [[p["id"], round(p["x"]), round(p["y"]), p["score"]] for p in players.values()]
        uwsgi_ws.broadcast(list(players), json.dumps({"players": shown, "coins": coins}), slow="conflate")
        gevent.sleep(max(0, TICK - (time.monotonic() - now)))
    loop = None


def move(seconds):
    for player in players.values():
        x = sum(DIRECTIONS[key][0] for key in player["keys"])
        y = sum(DIRECTIONS[key][1] for key in player["keys"])
        player["x"] = min(max(player["x"] + x * SPEED * seconds, RADIUS), WIDTH - RADIUS)
        player["y"] = min(max(player["y"] + y * SPEED * seconds, RADIUS), HEIGHT - RADIUS)
        for index, (cx, cy) in enumerate(coins):
            if (player["x"] - cx) ** 2 + (player["y"] - cy) ** 2 < (RADIUS + 8) ** 2:
                player["score"] += 1
                coins[index] = (random.randrange(20, WIDTH - 20), random.randrange(20, HEIGHT - 20))

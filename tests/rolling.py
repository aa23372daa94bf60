"""What clients see of a rolling restart behind each proxy, as a table: ``make rolling``.

    python tests/rolling.py [--clients 1000] [--proxies nginx,envoy] [--update docs/deploying.md]

The exit status is 1 if any connection ended otherwise than by 1012 or 1001, or any client was turned away.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import tempfile
from contextlib import redirect_stderr
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from support.rolling import PROXIES, Outcome, Proxy, roll

#: What the table stands between, in a page.
BEGIN, END = "<!-- make rolling writes this -->\n", "<!-- until here -->\n"
HEAD = """\
| Proxy | Restart | 1012 | 1001 | 1006 | others | handshakes turned away | requests, failed ones | longest away |
|---|---|---|---|---|---|---|---|---|
"""


def row(proxy: Proxy, version: str, how: str, outcome: Outcome) -> str:
    """Return a line of the table."""
    turned_away = outcome.refused + sum(outcome.answers.values())
    answered, failed = outcome.requests[200], outcome.requests.total() - outcome.requests[200]
    counted = (1012, 1001, 1006)
    codes = " | ".join(f"{outcome.codes[code]:,}" for code in counted)
    codes += f" | {sum(outcome.codes.values()) - sum(outcome.codes[code] for code in counted)}"
    return (
        f"| {proxy.name} {version} | {how} | {codes} | {turned_away} | {answered:,}, {failed} | {outcome.away:.1f} s |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=1_000)
    parser.add_argument("--proxies", default=",".join(PROXIES))
    parser.add_argument("--update", type=Path, help="a page whose table is replaced")
    arguments = parser.parse_args()
    rows = []
    is_clean = True
    for name in arguments.proxies.split(","):
        proxy = PROXIES[name]
        logs = io.StringIO()
        try:
            with tempfile.TemporaryDirectory(prefix="uwsgi_ws-rolling-") as folder, redirect_stderr(logs):
                outcomes = roll(proxy, arguments.clients, Path(folder))
        except BaseException:
            sys.stderr.write(logs.getvalue())
            raise
        for how, outcome in outcomes.items():
            rows.append(row(proxy, proxy.told_version(), how, outcome))
            print(f"{rows[-1]}  {'' if outcome.is_clean else outcome}", flush=True)
            if not outcome.is_clean:
                print(*re.findall("^a request: .*", logs.getvalue(), re.MULTILINE), sep="\n", flush=True)
            is_clean &= outcome.is_clean
    if arguments.update is not None:
        before, rest = arguments.update.read_text().split(BEGIN)
        after = rest.split(END)[1]
        arguments.update.write_text(before + BEGIN + HEAD + "\n".join(rows) + "\n" + END + after)
    return not is_clean


if __name__ == "__main__":
    sys.exit(main())

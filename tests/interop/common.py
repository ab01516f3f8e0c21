"""What the Python clients share: what they send, and how they are told which scenario to play.

A client is run as `client.py SCENARIO BASE_URL [ARGUMENT…]`. It ends with 0 when the server did what a client of
its kind expects; anything else is a failure, and what it printed says why.
"""

import json
import sys
from urllib.parse import quote

TEXT = "欢迎大哥光临!"
BINARY = bytes(range(256)) * 5
MEBIBYTE = "0123456789abcdef" * 65_536
COMPRESSIBLE = TEXT * 5_000
LONG = TEXT * 100
GREETING = ", ".join(["welcome"] * 15)  # as in compressed.toml
CLOSE = 4001, "回头见"  # what clients close with; the server's Close repeats the code


def main(scenarios):
    """Plays the scenario named on the command line; the rest of the line are its arguments."""
    name, *arguments = sys.argv[1:]
    return scenarios[name](*arguments)


def expect(got, wanted):
    if got != wanted:
        raise AssertionError(f"expected {str(wanted)[:200]!r}, got {str(got)[:200]!r}")


def ready():
    """Tells the runner that the connection stands, and waits for its word to go on."""
    print("ready", flush=True)
    sys.stdin.readline()


def report(value):
    print(json.dumps(value), flush=True)


def chat(base, room):
    return f"{base}/chat/{quote(room, safe='')}"

"""Python `requests`: a session that polls, each time from where the last answer ended."""

import requests
from common import expect, main, ready, report


def long_poll(base, room, count):
    """Reads until `count` messages are there; the runner publishes them meanwhile."""
    url = f"{base}/rooms/{room}/messages"
    seen, waits = [], 0
    with requests.Session() as session:
        since = session.get(url, params={"last": 0}).json()["position"]
        ready()
        while len(seen) < int(count):
            answer = session.get(url, params={"since": since, "wait": 20}, timeout=30)
            expect(answer.status_code, 200)
            page = answer.json()
            expect(page["recovered"], True)
            seen += [message["text"] for message in page["messages"]]
            since, waits = page["position"], waits + 1
    report({"seen": seen, "waits": waits})


def short_poll(base, room, count):
    """The same without waiting: most answers are empty."""
    url = f"{base}/rooms/{room}/messages"
    seen, empty = [], 0
    with requests.Session() as session:
        since = session.get(url, params={"last": 0}).json()["position"]
        ready()
        while len(seen) < int(count):
            page = session.get(url, params={"since": since, "wait": 0}, timeout=30).json()
            expect(page["recovered"], True)
            seen += [message["text"] for message in page["messages"]]
            since, empty = page["position"], empty + (not page["messages"])
    report({"seen": seen, "empty": empty})


def events(base, room, count):
    """A stream of events, read line by line."""
    seen = []
    with requests.get(f"{base}/rooms/{room}/events", stream=True, timeout=30) as answer:
        expect(answer.headers["content-type"], "text/event-stream")
        answer.encoding = "utf-8"
        lines = answer.iter_lines(chunk_size=1, decode_unicode=True)
        expect(next(lines).startswith("retry: "), True)
        ready()
        for line in lines:
            if line.startswith("data: "):
                seen.append(line.removeprefix("data: "))
            if len(seen) == int(count):
                break
    report({"seen": seen})


main(globals())

"""Python `aiohttp`, its client. It has no way to send a fragmented message."""

import asyncio

from aiohttp import ClientSession, WSMsgType
from common import BINARY, CLOSE, COMPRESSIBLE, MEBIBYTE, TEXT, chat, expect, main, ready, report


class Connection:
    """`async with Connection(url) as ws`: a session of its own for each connection."""

    def __init__(self, url, **options):
        self.url, self.options = url, options

    async def __aenter__(self):
        self.session = ClientSession()
        return await self.session.ws_connect(self.url, max_msg_size=0, **self.options)

    async def __aexit__(self, *_):
        await self.session.close()


async def text(base):
    async with Connection(f"{base}/echo") as ws:
        await ws.send_str(TEXT)
        expect(await ws.receive_str(), TEXT)


async def binary(base):
    async with Connection(f"{base}/echo") as ws:
        await ws.send_bytes(BINARY)
        expect(await ws.receive_bytes(), BINARY)


async def mebibyte(base):
    async with Connection(f"{base}/echo") as ws:
        await ws.send_str(MEBIBYTE)
        expect(await ws.receive_str(), MEBIBYTE)


async def ping(base):
    async with Connection(f"{base}/echo", autoping=False) as ws:
        await ws.ping(b"are you there?")
        message = await ws.receive()
        expect((message.type, bytes(message.data)), (WSMsgType.PONG, b"are you there?"))


async def deflate(base):
    async with Connection(f"{base}/echo", compress=15) as ws:
        assert ws.compress, "permessage-deflate was not negotiated"
        for message in (COMPRESSIBLE, COMPRESSIBLE, TEXT):
            await ws.send_str(message)
            expect(await ws.receive_str(), message)


async def deflate_refused(base):
    async with Connection(f"{base}/echo", compress=15) as ws:
        expect(ws.compress, 0)
        await ws.send_str(COMPRESSIBLE)
        expect(await ws.receive_str(), COMPRESSIBLE)


async def client_close(base):
    code, reason = CLOSE
    async with Connection(f"{base}/echo") as ws:
        await ws.close(code=code, message=reason.encode())
        expect(ws.close_code, code)


async def server_close(base):
    async with Connection(f"{base}/echo") as ws:
        await asyncio.to_thread(ready)
        message = await ws.receive()
        expect(message.type, WSMsgType.CLOSE)
        report({"code": message.data, "reason": message.extra})


async def too_big(base):
    async with Connection(f"{base}/echo") as ws:
        try:
            await ws.send_str(MEBIBYTE)
        except ConnectionError:
            pass  # the server may have closed meanwhile; what it said is still to be read
        message = await ws.receive()
        expect(message.type, WSMsgType.CLOSE)
        report({"code": message.data, "reason": message.extra})


async def room(base, name, label, count):
    async with Connection(chat(base, name)) as ws:
        await asyncio.to_thread(ready)
        for i in range(int(count)):
            await ws.send_str(f"{label} {i}")
        report([await ws.receive_str() for _ in range(2 * int(count))])


async def long_poll(base, name, count):
    """Reads until `count` messages are there; the runner publishes them meanwhile."""
    seen, waits = [], 0
    async with ClientSession(base) as session:

        async def page(**params):
            async with session.get(f"/rooms/{name}/messages", params=params) as answer:
                expect(answer.status, 200)
                return await answer.json()

        since = (await page(last=0))["position"]
        await asyncio.to_thread(ready)
        while len(seen) < int(count):
            came = await page(since=since, wait=20)
            expect(came["recovered"], True)
            seen += [message["text"] for message in came["messages"]]
            since, waits = came["position"], waits + 1
    report({"seen": seen, "waits": waits})


asyncio.run(main(globals()))

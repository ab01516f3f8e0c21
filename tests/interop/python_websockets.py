"""Python `websockets`, its asyncio client."""

import asyncio
import json

import websockets
from common import BINARY, CLOSE, COMPRESSIBLE, GREETING, LONG, MEBIBYTE, TEXT, chat, expect, main, ready, report


def connect(url, **options):
    return websockets.connect(url, proxy=None, max_size=None, **options)


async def text(base):
    async with connect(f"{base}/echo") as ws:
        await ws.send(TEXT)
        expect(await ws.recv(), TEXT)


async def binary(base):
    async with connect(f"{base}/echo") as ws:
        await ws.send(BINARY)
        expect(await ws.recv(), BINARY)


async def mebibyte(base):
    async with connect(f"{base}/echo") as ws:
        await ws.send(MEBIBYTE)
        expect(await ws.recv(), MEBIBYTE)


async def ping(base):
    async with connect(f"{base}/echo") as ws:
        pong = await ws.ping(b"are you there?")
        await pong


async def fragments(base):
    async with connect(f"{base}/echo") as ws:
        await ws.send(["欢迎", "大哥", "", "光临!"])
        expect(await ws.recv(), TEXT)
        await ws.send([BINARY[:100], BINARY[100:]])
        expect(await ws.recv(), BINARY)


async def deflate(base):
    async with connect(f"{base}/echo", compression="deflate") as ws:
        expect([type(extension).name for extension in ws.protocol.extensions], ["permessage-deflate"])
        for message in (COMPRESSIBLE, COMPRESSIBLE, "", TEXT):
            await ws.send(message)
            expect(await ws.recv(), message)


async def deflate_room(base, name):
    """Compressed replies and messages of a room, and pongs, on one connection; and the same for readers of JSON."""
    received = 0
    async with (
        connect(chat(base, name), compression="deflate") as ws,
        connect(chat(base, name), compression="deflate", subprotocols=["fanline.v1"]) as reader,
    ):
        inner = ws.data_received

        def counted(data):
            nonlocal received
            received += len(data)
            inner(data)

        ws.data_received = counted
        expect(await ws.recv(), GREETING)
        expect(json.loads(await reader.recv())["type"], "joined")
        expect(await reader.recv(), GREETING)
        for i in range(20):
            pong = await ws.ping()
            await ws.send(f"{i} {LONG}")
            expect(await ws.recv(), f"{i} {LONG}")
            await pong
            expect(json.loads(await reader.recv())["text"], f"{i} {LONG}")
            # The acknowledgement is a compressed reply, what was published the room's.
            await reader.send(json.dumps({"text": LONG, "id": f"{i:0100}"}))
            kinds = {json.loads(await reader.recv())["type"] for _ in range(2)}
            expect(kinds, {"ack", "message"})
            expect(await ws.recv(), LONG)
    if received > 40 * len(LONG.encode()) / 5:
        raise AssertionError(f"{received} bytes: not compressed")


async def deflate_refused(base):
    async with connect(f"{base}/echo", compression="deflate") as ws:
        expect(ws.protocol.extensions, [])
        await ws.send(COMPRESSIBLE)
        expect(await ws.recv(), COMPRESSIBLE)


async def client_close(base):
    code, reason = CLOSE
    ws = await connect(f"{base}/echo")
    await ws.close(code, reason)
    expect((ws.protocol.close_rcvd.code, ws.protocol.close_rcvd_then_sent), (code, False))


async def server_close(base):
    ws = await connect(f"{base}/echo")
    await asyncio.to_thread(ready)
    await ws.wait_closed()
    expect(ws.protocol.close_rcvd_then_sent, True)
    report({"code": ws.close_code, "reason": ws.close_reason})


async def too_big(base):
    ws = await connect(f"{base}/echo", compression=None)
    try:
        await ws.send(MEBIBYTE)
        await ws.recv()
    except websockets.ConnectionClosed:
        pass
    report({"code": ws.close_code, "reason": ws.close_reason})


async def room(base, name, label, count):
    async with connect(chat(base, name)) as ws:
        await asyncio.to_thread(ready)
        for i in range(int(count)):
            await ws.send(f"{label} {i}")
        report([await ws.recv() for _ in range(2 * int(count))])


asyncio.run(main(globals()))

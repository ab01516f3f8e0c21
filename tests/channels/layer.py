"""The layer as an application holds it, without Django around it: each line of input is a JSON list, a call of one of the
functions below, and is answered with a line of JSON."""

import asyncio
import json
import sys

from channels_redis.core import RedisChannelLayer

layer = RedisChannelLayer(hosts=[sys.argv[1]], **json.loads(sys.argv[2]))


async def join(group):
    channel = await layer.new_channel()
    await layer.group_add(group, channel)
    return channel


async def receive(channel, patience=15):
    try:
        message = await asyncio.wait_for(layer.receive(channel), patience)
    except asyncio.TimeoutError:
        return None
    # JSON has no bytes.
    return {k: {"bytes": list(v)} if isinstance(v, bytes) else v for k, v in message.items()}


def with_bytes(message):
    # A list of numbers under "bytes" is meant as bytes, since JSON has none.
    return {k: bytes(v) if k == "bytes" else v for k, v in message.items()}


async def group_send(group, *messages):
    for message in messages:
        await layer.group_send(group, with_bytes(message))


async def send(channel, message):
    await layer.send(channel, with_bytes(message))


async def main():
    for line in sys.stdin:
        name, *args = json.loads(line)
        print(json.dumps(await globals()[name](*args)), flush=True)


asyncio.run(main())

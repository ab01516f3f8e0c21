// Node `ws`: the browsers' scenarios, and what only `ws` can do.

import assert from "node:assert/strict";
import { once } from "node:events";
import WebSocket from "ws";
import { browserStyle, COMPRESSIBLE, GREETING, Inbox, LONG, main, TEXT } from "./common.mjs";

async function open(url, options = {}) {
  const socket = new WebSocket(url, options);
  await once(socket, "open");
  return socket;
}

async function echoed(socket, message) {
  const arrival = once(socket, "message");
  socket.send(message);
  const [data, isBinary] = await arrival;
  assert.deepEqual([isBinary, data.toString()], [false, message]);
}

const own = {
  async ping(base) {
    const socket = await open(`${base}/echo`);
    const pong = once(socket, "pong");
    socket.ping("are you there?");
    assert.equal((await pong)[0].toString(), "are you there?");
  },

  /** Cut inside a character, with a ping between the parts. */
  async fragments(base) {
    const socket = await open(`${base}/echo`);
    const bytes = Buffer.from(TEXT);
    const [arrival, pong] = [once(socket, "message"), once(socket, "pong")];
    socket.send(bytes.subarray(0, 4), { binary: false, fin: false });
    socket.ping();
    await pong;
    socket.send(bytes.subarray(4, 11), { fin: false });
    socket.send(bytes.subarray(11), { fin: true });
    const [data, isBinary] = await arrival;
    assert.deepEqual([isBinary, data.toString()], [false, TEXT]);
  },

  async deflate(base) {
    const socket = await open(`${base}/echo`, { perMessageDeflate: { threshold: 0 } });
    assert.match(socket.extensions, /^permessage-deflate/);
    for (const message of [COMPRESSIBLE, COMPRESSIBLE, "", TEXT]) await echoed(socket, message);
  },

  /** Compressed replies and messages of a room, and pongs, on one connection, whatever was offered. */
  async deflate_room(base, name) {
    const url = `${base}/chat/${encodeURIComponent(name)}`;
    // Whoever has a smaller window than the room's messages are made for gets them as they are.
    const offers = [[{}, true], [{ serverNoContextTakeover: true }, true], [{ serverMaxWindowBits: 15 }, true], [{ serverMaxWindowBits: 10 }, false]];
    for (const [offer, isCompressed] of offers) {
      const socket = new WebSocket(url, { perMessageDeflate: { threshold: 0, ...offer } });
      const inbox = new Inbox(socket);
      await inbox.opened;
      assert.match(socket.extensions, /^permessage-deflate/);
      assert.equal(await inbox.message(), GREETING);
      const before = socket._socket.bytesRead;
      for (let i = 0; i < 20; i += 1) {
        const pong = once(socket, "pong");
        socket.ping();
        socket.send(`${i} ${LONG}`);
        assert.equal(await inbox.message(), `${i} ${LONG}`);
        await pong;
      }
      const received = socket._socket.bytesRead - before;
      const whole = 20 * Buffer.byteLength(LONG);
      assert.ok(isCompressed ? received < whole / 5 : received > whole, `${received} of ${whole} bytes`);
      socket.close();
      await inbox.close();
    }
  },

  async deflate_refused(base) {
    const socket = await open(`${base}/echo`, { perMessageDeflate: true });
    assert.equal(socket.extensions, "");
    await echoed(socket, COMPRESSIBLE);
  },
};

await main({ ...browserStyle(WebSocket), ...own });

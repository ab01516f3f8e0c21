// Node `ws`: the browsers' scenarios, and what only `ws` can do.

import assert from "node:assert/strict";
import { once } from "node:events";
import WebSocket from "ws";
import { browserStyle, COMPRESSIBLE, main, TEXT } from "./common.mjs";

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

  async deflate_refused(base) {
    const socket = await open(`${base}/echo`, { perMessageDeflate: true });
    assert.equal(socket.extensions, "");
    await echoed(socket, COMPRESSIBLE);
  },
};

await main({ ...browserStyle(WebSocket), ...own });

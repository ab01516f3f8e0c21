// What the clients on node share: what they send, how they are told which scenario to play (see common.py), and
// the scenarios that any `WebSocket` of the browsers' shape can play.

import assert from "node:assert/strict";
import { createInterface } from "node:readline";

export const TEXT = "欢迎大哥光临!";
export const BINARY = Uint8Array.from({ length: 1280 }, (_, i) => i % 256);
export const MEBIBYTE = "0123456789abcdef".repeat(65_536);
export const COMPRESSIBLE = TEXT.repeat(5_000);
export const LONG = TEXT.repeat(100);
export const GREETING = Array(15).fill("welcome").join(", ");  // as in compressed.toml
export const CLOSE = [4001, "回头见"];

/** Plays the scenario named on the command line; the rest of the line are its arguments. */
export async function main(scenarios) {
  const [name, ...rest] = process.argv.slice(2);
  await scenarios[name](...rest);
  process.exit(0);
}

/** Tells the runner that the connection stands, and waits for its word to go on. */
export async function ready() {
  console.log("ready");
  for await (const _ of createInterface({ input: process.stdin })) return;
}

export const report = (value) => console.log(JSON.stringify(value));

/** Messages and the end of a socket, to be awaited one after the other. */
export class Inbox {
  #arrived = [];
  #waiting = [];

  constructor(socket) {
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => this.#put({ data });
    socket.onclose = ({ code, reason, wasClean }) => this.#put({ closed: { code, reason, wasClean } });
    this.opened = new Promise((resolve, reject) => { socket.onopen = resolve; socket.onerror = reject; });
    this.opened.catch(() => {});  // also called for an error after the opening
  }

  #put(item) {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(item);
    else this.#arrived.push(item);
  }

  next() {
    if (this.#arrived.length > 0) return Promise.resolve(this.#arrived.shift());
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  async message() {
    const item = await this.next();
    assert.ok("data" in item, `closed instead of a message: ${JSON.stringify(item.closed)}`);
    return item.data;
  }

  async close() {
    const item = await this.next();
    assert.ok("closed" in item, "a message instead of the close");
    return item.closed;
  }
}

export function browserStyle(WebSocket) {
  const open = async (url) => {
    const socket = new WebSocket(url);
    const inbox = new Inbox(socket);
    await inbox.opened;
    return [socket, inbox];
  };

  const echoes = (message) => async (base) => {
    const [socket, inbox] = await open(`${base}/echo`);
    socket.send(message);
    const back = await inbox.message();
    assert.deepEqual(typeof back === "string" ? back : new Uint8Array(back), message);
  };

  return {
    text: echoes(TEXT),
    binary: echoes(BINARY),
    mebibyte: echoes(MEBIBYTE),

    async client_close(base) {
      const [code, reason] = CLOSE;
      const [socket, inbox] = await open(`${base}/echo`);
      socket.close(code, reason);
      const closed = await inbox.close();
      assert.deepEqual([closed.code, closed.wasClean], [code, true]);
    },

    async server_close(base) {
      const [, inbox] = await open(`${base}/echo`);
      await ready();
      const { code, reason, wasClean } = await inbox.close();
      assert.equal(wasClean, true);
      report({ code, reason });
    },

    async too_big(base) {
      const [socket, inbox] = await open(`${base}/echo`);
      socket.send(MEBIBYTE);
      const { code, reason } = await inbox.close();
      report({ code, reason });
    },

    async room(base, name, label, count) {
      const [socket, inbox] = await open(`${base}/chat/${encodeURIComponent(name)}`);
      await ready();
      for (let i = 0; i < count; i += 1) socket.send(`${label} ${i}`);
      const seen = [];
      while (seen.length < 2 * count) seen.push(await inbox.message());
      report(seen);
    },

    /** The page of the tutorials: a new socket for every click, which sends as soon as it is open. */
    async per_click(base) {
      for (let click = 0; click < 50; click += 1) {
        await new Promise((resolve, reject) => {
          const socket = new WebSocket(`${base}/echo`);
          socket.onopen = () => socket.send(`click ${click}`);
          socket.onmessage = ({ data }) => {
            if (data !== `click ${click}`) return reject(new Error(`got ${data}`));
            socket.close();
          };
          socket.onclose = ({ wasClean, code }) => (wasClean ? resolve() : reject(new Error(`closed with ${code}`)));
        });
      }
    },
  };
}

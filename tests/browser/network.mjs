// What happens between the page and the server: a TCP proxy that can be told to fail, and what others do meanwhile.

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Fanline } from "../support/fanline.mjs";

/**
 * Stands in front of a server, on a port of its own that stays.
 *
 *   open      forwards both ways
 *   reset     resets every connection, old and new
 *   swallow   takes connections and bytes and forwards neither, nor says so
 *   deaf      forwards to the server and swallows its answers
 *
 * A connection that has swallowed a byte never forwards again: what was lost is lost.
 */
export class Proxy {
  static async start(server) {
    const proxy = new Proxy(server);
    await new Promise((resolve, reject) => proxy.#listener.once("error", reject).listen(0, "127.0.0.1", resolve));
    proxy.http = `http://127.0.0.1:${proxy.#listener.address().port}`;
    return proxy;
  }

  carried = 0;  // bytes from the server
  #state = "open";
  #pairs = new Set();
  #sockets = new Set();  // also those whose other end is gone
  #listener = net.createServer((client) => this.#accept(client));

  constructor(server) {
    this.server = server;
  }

  /** `isToldOf` chooses among the connections there are by what their client sent first; new ones are always told. */
  set(state, isToldOf = () => true) {
    this.#state = state;
    for (const pair of this.#pairs) {
      if (!isToldOf(pair.head)) continue;
      pair.state = state === "open" && pair.state !== "open" ? "swallow" : state;
      if (state === "reset") this.#reset(pair);
    }
  }

  #accept(client) {
    if (this.#state === "reset") return client.on("error", () => {}).resetAndDestroy();
    const upstream = net.connect(this.server.port, "127.0.0.1");
    const pair = { client, upstream, state: this.#state, head: "" };
    this.#pairs.add(pair);
    client.on("data", (bytes) => {
      pair.head ||= bytes.toString("latin1");
      if (pair.state === "open" || pair.state === "deaf") upstream.write(bytes);
    });
    upstream.on("data", (bytes) => {
      this.carried += bytes.length;
      if (pair.state === "open") client.write(bytes);
    });
    for (const [one, other] of [[client, upstream], [upstream, client]]) {
      this.#sockets.add(one);
      one.on("error", () => {});
      one.on("close", () => {
        this.#sockets.delete(one);
        this.#pairs.delete(pair);
        if (pair.state === "open") other.destroy();
      });
      one.on("end", () => pair.state === "open" && other.end());
    }
  }

  #reset({ client, upstream }) {
    client.resetAndDestroy();
    upstream.resetAndDestroy();
  }

  async stop() {
    const closed = new Promise((resolve) => this.#listener.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}

export const isWebSocket = (head) => /^upgrade: websocket/im.test(head);

/** Somebody else publishes texts in a room, in this order. */
export async function publish(server, room, texts) {
  for (const text of texts) {
    const answer = await fetch(`${server.http}/rooms/${encodeURIComponent(room)}/messages`, {
      method: "POST", body: text, headers: { "content-type": "text/plain; charset=utf-8" },
    });
    assert.equal(answer.status, 201, await answer.text());
  }
}

/** The texts that a room's history holds. */
export async function history(server, room) {
  const answer = await fetch(`${server.http}/rooms/${encodeURIComponent(room)}/messages?limit=1000`);
  assert.equal(answer.status, 200);
  return (await answer.json()).messages.map(({ text }) => text);
}

export const numbered = (word, count, first = 1) => Array.from({ length: count }, (_, i) => `${word} ${first + i}`);

/** Runs `body` with a server of this configuration, started on the same port again by `again`, and a proxy before it. */
export async function withServer({ toml = "", flags = [] }, body) {
  const folder = await mkdtemp(join(tmpdir(), "fanline-page-"));
  const file = join(folder, "fanline.toml");
  await writeFile(file, toml);
  const start = (port) => Fanline.start({ port, flags: ["--config", file, ...flags] });
  const scene = { server: await start(0) };
  scene.proxy = await Proxy.start(scene.server);
  scene.again = async () => { scene.server = await start(scene.server.port); };
  try {
    await body(scene);
  } finally {
    await scene.proxy.stop();
    await scene.server.kill().catch(() => {});
    await rm(folder, { recursive: true, force: true });
  }
}

/** WebSocket fails in this page before its script runs, as it does behind some firewalls. */
export const blockWebSocket = (how) => (page) => page.evaluateOnNewDocument((how) => {
  window.tried = [];
  window.WebSocket = class {
    constructor(address, subprotocol) {
      window.tried.push(subprotocol ?? "plain");
      if (how === "throws") throw new DOMException("blocked by policy", "SecurityError");
      if (how === "fails") setTimeout(() => this.onclose({ code: 1006, reason: "", wasClean: false }), 10);
    }
    close() {}
  };
}, how);

// Unmodified clients against the running binary.
//
//   FANLINE=…/fanline PYTHON=…/venv/bin/python node --test --test-reporter=tap run.mjs
//
// A client is a small script that plays one scenario (see common.py); here stands who can play what.

import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Fanline } from "../support/fanline.mjs";
import { Client, curl } from "./programs.mjs";

const TEST_MS = 90_000;
const ROOM_MESSAGES = 100; // each of two clients sends this many

const here = dirname(fileURLToPath(import.meta.url));
const python = process.env.PYTHON ?? "python3";
const builtinFlags = globalThis.WebSocket ? [] : ["--experimental-websocket"];  // node 20 has it behind a flag

const everybody = ["text", "binary", "mebibyte", "client_close"];
const CLIENTS = {
  "Python websockets": {
    command: [python, join(here, "python_websockets.py")],
    plays: [...everybody, "ping", "fragments", "deflate", "deflate_room", "deflate_refused"],
  },
  "Python websocket-client": {
    command: [python, join(here, "websocket_client.py")],
    plays: [...everybody, "ping", "fragments", "tutorial"],
  },
  "Python aiohttp": {
    command: [python, join(here, "python_aiohttp.py")],
    plays: [...everybody, "ping", "deflate", "deflate_refused"],
  },
  "node ws": {
    command: [process.execPath, join(here, "node_ws.mjs")],
    plays: [...everybody, "ping", "fragments", "deflate", "deflate_room", "deflate_refused", "per_click"],
  },
  "node WebSocket": {
    command: [process.execPath, "--no-warnings", ...builtinFlags, join(here, "node_builtin.mjs")],
    plays: [...everybody, "per_click"],
  },
};

const TITLES = {
  text: "echoes 欢迎大哥光临!",
  binary: "echoes a binary message as binary",
  mebibyte: "echoes a message of 1 MiB",
  ping: "has its ping answered with the same payload",
  fragments: "has a fragmented message echoed whole",
  deflate: "speaks permessage-deflate when the server offers it",
  deflate_room: "reads compressed messages of a room between compressed replies and pongs (row 15 of part 2)",
  deflate_refused: "goes on without permessage-deflate when the server does not",
  client_close: "closes with a code and a reason, and has the code repeated",
  tutorial: "runs the long-lived program of the tutorials, unmodified (row 24 of the product)",
  per_click: "opens a new socket per click and sends in onopen, as the tutorials' pages do",
};

/** Starts clients for `body` and leaves none behind. */
async function withClients(starts, body) {
  const clients = starts.map(([name, ...args]) => new Client(CLIENTS[name].command, args));
  try {
    return await body(...clients);
  } finally {
    for (const client of clients) client.kill();
  }
}

async function withServer(options, body) {
  const server = await Fanline.start(options);
  try {
    return await body(server);
  } finally {
    await server.stop();
  }
}

const it = (name, body) => test(name, { timeout: TEST_MS }, body);

let plain, deflating, compressing;
before(async () => {
  plain = await Fanline.start();
  deflating = await Fanline.start({ flags: ["--deflate"] });
  compressing = await Fanline.start({ flags: ["--config", join(here, "../support/compressed.toml")] });
}, { timeout: TEST_MS });
after(async () => {
  await Promise.all([plain?.stop(), deflating?.stop(), compressing?.stop()]);
}, { timeout: TEST_MS });

const names = Object.keys(CLIENTS);

for (const name of names) {
  describe(name, () => {
    for (const scenario of CLIENTS[name].plays) {
      it(`${name} ${TITLES[scenario]}`, async () => {
        const server = { deflate: deflating, deflate_room: compressing }[scenario] ?? plain;
        const args = scenario === "deflate_room" ? [`compressed ${name}`] : [];
        await withClients([[name, scenario, server.ws, ...args]], (client) => client.success());
      });
    }

    it(`${name} sees 1001 when the server is asked to end`, async () => {
      await withServer({}, (server) => withClients([[name, "server_close", server.ws]], async (client) => {
        await client.untilReady();
        client.go();
        const [closed] = await Promise.all([client.reported(), server.stop()]);
        assert.equal(closed.code, 1001);
        await client.success();
      }));
    });

    it(`${name} sees 1009 and a reason when its message is too big`, async () => {
      await withServer({ flags: ["--message-bytes-max", "64KiB"] }, (server) =>
        withClients([[name, "too_big", server.ws]], async (client) => {
          const closed = await client.reported();
          assert.equal(closed.code, 1009);
          assert.notEqual(closed.reason, "");
          await client.success();
        }));
    });
  });
}

describe("two kinds of client in one room", () => {
  names.forEach((one, index) => {
    const other = names[(index + 1) % names.length];
    it(`${one} and ${other} see one order`, async () => {
      const room = `房间 ${index} + 茶?&#`;
      const count = String(ROOM_MESSAGES);
      const starts = [[one, "room", plain.ws, room, "one", count], [other, "room", plain.ws, room, "other", count]];
      const seen = await withClients(starts, async (first, second) => {
        await Promise.all([first.untilReady(), second.untilReady()]);
        first.go();
        second.go();
        const orders = await Promise.all([first.reported(), second.reported()]);
        await Promise.all([first.success(), second.success()]);
        return orders;
      });
      assert.deepEqual(seen[0], seen[1]);
      for (const label of ["one", "other"]) {
        const own = seen[0].filter((text) => text.startsWith(`${label} `));
        assert.deepEqual(own, Array.from({ length: ROOM_MESSAGES }, (_, i) => `${label} ${i}`));
      }
    });
  });
});

// ── curl: HTTP as it is on the wire ─────────────────────────────────────────────────────────────────────────

describe("curl", () => {
  const upgrade = [
    "Connection: keep-alive, Upgrade", "Upgrade: websocket",
    "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  ];

  it("curl gets the chat page at /", async () => {
    const { status, headers, body } = await curl(`${plain.http}/`);
    assert.equal(status, 200);
    assert.match(headers["content-type"], /^text\/html/);
    assert.equal(Number(headers["content-length"]), Buffer.byteLength(body));
    assert.match(body, /<title>Fanline<\/title>/);
  });

  it("curl gets 200 at /healthz", async () => {
    assert.equal((await curl(`${plain.http}/healthz`)).status, 200);
  });

  it("curl gets 404 and one line at a path that is not there", async () => {
    const { status, body } = await curl(`${plain.http}/nowhere`);
    assert.equal(status, 404);
    assert.match(body.trim(), /^[^\n]+$/);
  });

  it("curl sees 101 and the accept key of RFC 6455 §1.3", async () => {
    const { status, headers } = await curl(`${plain.http}/echo`, { headers: upgrade, seconds: 1 });
    assert.equal(status, 101);
    assert.equal(headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert.match(headers.upgrade, /^websocket$/i);
    assert.match(headers.connection, /upgrade/i);
    assert.equal(headers["sec-websocket-extensions"], undefined);
    assert.equal(headers["sec-websocket-protocol"], undefined);
  });

  for (const path of ["/echo", "/chat/%E6%88%BF%E9%97%B4"]) {
    it(`curl gets 426 with the version to use on a plain GET of ${path}`, async () => {
      const { status, headers, body } = await curl(`${plain.http}${path}`);
      assert.equal(status, 426);
      assert.equal(headers["sec-websocket-version"], "13");
      assert.match(body.trim(), /^[^\n]+$/);
    });
  }

  it("curl gets 426 with the version to use when it asks for another", async () => {
    const { status, headers } = await curl(`${plain.http}/echo`, { headers: upgrade.with(2, "Sec-WebSocket-Version: 8") });
    assert.equal(status, 426);
    assert.equal(headers["sec-websocket-version"], "13");
  });

  it("curl gets 403 with the Origin of another site", async () => {
    const { status } = await curl(`${plain.http}/echo`, { headers: [...upgrade, "Origin: http://elsewhere.example"] });
    assert.equal(status, 403);
  });
});

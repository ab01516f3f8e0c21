// Users with signed cookies in Fanline's chat page: who is here, and who may not be.
//
//   FANLINE=…/fanline node --test --test-reporter=tap users.test.mjs

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { TEST_MS, connection, looksRight, messages, openTab, say, shown, textOf, until, untilMessages, untilState } from "./person.mjs";
import { blockWebSocket, publish, withServer } from "./network.mjs";

const SECRET = "a secret of the tests, of at least 32 bytes";
process.env.PAGE_TEST_SECRET = SECRET;

const room = ({ presence = "off", anonymous = "allow" }) => `
[limits]
presence_grace = "300ms"

[auth]
anonymous = "${anonymous}"

[auth.cookie]
name = "session"
secrets = { env = "PAGE_TEST_SECRET" }

[[route]]
path = "/chat/{room}"
mode = "room"
presence = "${presence}"
`;

function cookieOf(user) {
  const said = `${Buffer.from(user).toString("base64url")}.${Math.floor(Date.now() / 1000) + 3600}`;
  return `${said}.${createHmac("sha256", SECRET).update(`session=${said}`).digest("base64url")}`;
}

/** A tab of this user. Cookies belong to a browser's context, so each user has one. */
const openTabOf = (user, name, host) => openTab(name, {
  host, isPrivate: true,
  prepare: (page) => page.browserContext().setCookie({ name: "session", value: cookieOf(user), domain: "127.0.0.1", path: "/" }),
});
const untilHere = (page, words) =>
  until(page, `the words “${words}”`, (words) => document.getElementById("here").textContent === words, words);
const members = async (server, room) => (await (await fetch(`${server.http}/rooms/${room}`)).json()).members;
const look = (page) => page.evaluate(() => { visit.checkAt = 0; });

describe("the chat page and who is here", { timeout: 5 * TEST_MS }, () => {
  const it = (name, body) => test(name, { timeout: TEST_MS }, body);

  it("follows who comes and goes where that is announced", () => withServer({ toml: room({ presence: "announced" }) }, async ({ server, proxy }) => {
    const ann = await openTabOf("ann", "tea", proxy);
    await untilHere(ann, "Here: ann");
    const bob = await openTabOf("<i>bob</i>", "tea", server);
    const again = await openTabOf("<i>bob</i>", "tea", server);
    await untilHere(ann, "Here: <i>bob</i>, ann");
    await untilHere(bob, "Here: <i>bob</i>, ann");
    await say(bob, "hello");
    await untilMessages(ann, 1);
    await looksRight(ann, "10-who-is-here");
    await bob.close();
    for (let i = 0; (await members(server, "tea")) > 2; i += 1) {
      assert.ok(i < 100, "the closed tab is gone from the room");
      await sleep(50);
    }
    await publish(server, "tea", ["one of two tabs is closed"]);
    await untilMessages(ann, 2);
    assert.equal(await textOf(ann, "here"), "Here: <i>bob</i>, ann");
    proxy.set("reset");
    await until(ann, "the cut", () => document.getElementById("connection").dataset.state === "closed");
    assert.equal(await shown(ann, "here"), false, "who is there is not known without a connection");
    await again.close();
    proxy.set("open");
    await untilHere(ann, "Here: ann");
    // Who is in the time of grace is not listed any more, and the notice comes when that is over.
    const ofBob = async () => (await messages(ann, "note")).filter((note) => note.includes("bob"));
    const begun = Date.now();
    while ((await ofBob()).length < 2 && Date.now() - begun < 5_000) await new Promise((resolve) => setTimeout(resolve, 50));
    const notes = await ofBob();
    assert.deepEqual(notes, ["<i>bob</i> is here", "<i>bob</i> has gone"], "also what happened while it was away, and once");
  }));

  it("looks from time to time where nobody is told", () => withServer({ toml: room({ presence: "on" }) }, async ({ server }) => {
    const ann = await openTabOf("ann", "quiet", server);
    await untilHere(ann, "Here: ann");
    const bob = await openTabOf("bob", "quiet", server);
    await look(ann);
    await untilHere(ann, "Here: ann, bob");
    await bob.close();
    await until(ann, "the list without bob", () => { visit.checkAt = 0; return document.getElementById("here").textContent === "Here: ann"; });
    assert.deepEqual(await messages(ann, "note"), ["Connected to quiet"]);
  }));

  it("names nobody where the room lists nobody", () => withServer({ toml: room({ presence: "off" }) }, async ({ server }) => {
    const ann = await openTabOf("ann", "secret", server);
    await until(ann, "a look", () => visit.checkAt > performance.now() + 5_000);
    await say(ann, "hello");
    await untilMessages(ann, 1);
    assert.equal(await shown(ann, "here"), false);
    assert.equal(ann.requests.some((url) => url.includes("presence")), false);
  }));

  it("says that a room may only be read, by WebSocket and without it", () => withServer({ toml: room({ anonymous: "read" }) }, async ({ server }) => {
    const ann = await openTabOf("ann", "stage", server);
    await say(ann, "hear, hear");
    for (const prepare of [undefined, blockWebSocket("fails")]) {
      const reader = await openTab("stage", { host: server, prepare });
      await say(reader, "may I?");
      await untilMessages(reader, 1, "refused");
      assert.deepEqual(await messages(reader, "refused"), ["may I?"]);
      assert.equal((await connection(reader)).state, "open");
      await say(ann, "go on");
      await until(reader, "the play", () => [...document.querySelectorAll("#messages p")].some((p) => p.textContent === "go on"));
    }
    await untilMessages(ann, 3);
    assert.deepEqual(await messages(ann), ["hear, hear", "go on", "go on"]);
  }));

  it("says which status keeps it out, and goes on trying", () => withServer({ toml: room({ anonymous: "refuse" }) }, async ({ server }) => {
    const page = await openTab(null, { host: server });
    await page.evaluate(() => join("club"));
    await untilState(page, "closed");
    await until(page, "a second attempt", () => /attempt 2/.test(document.getElementById("retry-text").textContent));
    assert.match((await messages(page, "note")).at(-1), /Disconnected from club: .*status 401/);
    assert.equal((await messages(page, "note")).length, 1);
    await page.setCookie({ name: "session", value: cookieOf("ann"), domain: "127.0.0.1", path: "/" });
    await untilState(page, "open");
    await page.deleteCookie({ name: "session", domain: "127.0.0.1", path: "/" });
  }));
});

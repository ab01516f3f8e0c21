// What Fanline's chat page promises when the server restarts, the network fails, or WebSocket is blocked.
//
//   FANLINE=…/fanline node --test --test-reporter=tap network.test.mjs

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import {
  TEST_MS, connection, enterRoom, looksRight, messages, openTab, say, shown, textOf, until, untilMessages, untilState,
} from "./person.mjs";
import { blockWebSocket, history, isWebSocket, numbered, publish, withServer } from "./network.mjs";

const ROOM = `[[route]]\npath = "/chat/{room}"\nmode = "room"\n`;

const waiting = (page) => page.evaluate(() => [...document.querySelectorAll("#outbox p")].map((p) => p.textContent));
const own = (page) => page.evaluate(() => [...document.querySelectorAll("#messages [data-own=true] p")].map((p) => p.textContent));
const means = async (page) => (await connection(page)).means ?? "fanline.v1";
const untilNothingWaits = (page) => until(page, "an empty queue", () => document.getElementById("outbox").childElementCount === 0);
const untilText = (page, text) =>
  until(page, `message “${text}”`, (text) => [...document.querySelectorAll("#messages p")].some((p) => p.textContent === text), text);

describe("the chat page and what can go wrong", { timeout: 20 * TEST_MS }, () => {
  const it = (name, body) => test(name, { timeout: TEST_MS }, body);

  it("loses and doubles nothing when the network resets it while others go on", () => withServer({}, async ({ server, proxy }) => {
    const page = await openTab("cut", { host: proxy });
    const other = await openTab("cut", { host: server });
    await publish(server, "cut", numbered("before", 3));
    await say(page, "mine before");
    await untilMessages(page, 4);
    for (let round = 1; round <= 3; round += 1) {
      proxy.set("reset");
      await untilState(page, "closed");
      await publish(server, "cut", numbered(`away in round ${round}, message`, 20));
      await say(page, `mine in round ${round}`);
      proxy.set("open");
      await untilState(page, "open");
      await untilNothingWaits(page);
      await untilText(page, `mine in round ${round}`);
    }
    await publish(server, "cut", ["the end"]);
    await untilText(page, "the end");
    await untilText(other, "the end");
    const kept = await history(server, "cut");
    assert.equal(kept.length, 68);
    assert.deepEqual(await messages(page), kept, "the room's order, everything once");
    assert.deepEqual(await messages(other), kept);
    assert.deepEqual(await own(page), ["mine before", "mine in round 1", "mine in round 2", "mine in round 3"]);
    assert.deepEqual(await messages(page, "gap"), []);
  }));

  it("finds out by itself that nothing comes any more, and catches up", () => withServer({}, async ({ server, proxy }) => {
    const page = await openTab("silent", { host: proxy });
    await publish(server, "silent", ["before"]);
    await untilMessages(page, 1);
    proxy.set("swallow");
    await publish(server, "silent", numbered("unheard", 10));
    assert.deepEqual(await messages(page), ["before"]);
    await page.evaluate(() => window.dispatchEvent(new Event("online")));  // else it looks every 25 s or so
    await until(page, "the loss noticed", () => document.getElementById("connection").dataset.code === "1006");
    assert.match((await messages(page, "note")).at(-1), /no answer/);
    proxy.set("open");
    await untilMessages(page, 11);
    assert.deepEqual(await messages(page), ["before", ...numbered("unheard", 10)]);
  }));

  it("notices when its connection is dead though the server answers others", () => withServer({}, async ({ server, proxy }) => {
    const page = await openTab("half", { host: proxy });
    await publish(server, "half", ["before"]);
    await untilMessages(page, 1);
    proxy.set("swallow", isWebSocket);
    proxy.set("open", () => false);
    await publish(server, "half", ["unheard"]);
    await page.evaluate(() => window.dispatchEvent(new Event("online")));
    await untilMessages(page, 2);
    assert.deepEqual(await messages(page), ["before", "unheard"]);
    assert.match((await messages(page, "note")).at(-2), /gone on without this connection/);
  }));

  it("takes a quiet room for a quiet room", () => withServer({}, async ({ proxy }) => {
    const page = await openTab("quiet", { host: proxy });
    await say(page, "anybody?");
    await untilMessages(page, 1);
    for (let i = 0; i < 3; i += 1) {
      await page.evaluate(() => { visit.checkAt = 0; });
      await until(page, "a look", () => visit.checkAt > performance.now());
    }
    await sleep(3_000);
    assert.deepEqual(await messages(page, "note"), ["Connected to quiet"]);
  }));

  it("publishes once what was published and whose answer was swallowed", () => withServer({}, async ({ server, proxy }) => {
    const page = await openTab("unanswered", { host: proxy });
    const other = await openTab("unanswered", { host: server });
    proxy.set("deaf", isWebSocket);
    await say(page, "did you get this?");
    await untilText(other, "did you get this?");
    await publish(server, "unanswered", ["yes"]);
    assert.deepEqual(await waiting(page), ["did you get this?"]);
    proxy.set("open");
    // Nothing says that the answer is lost; the page gives the connection up when it has waited for long enough.
    await untilNothingWaits(page);
    await untilMessages(page, 2);
    await say(page, "so it seems");
    await untilMessages(other, 3);
    await untilMessages(page, 3);
    for (const tab of [page, other]) assert.deepEqual(await messages(tab), ["did you get this?", "yes", "so it seems"]);
    assert.deepEqual(await own(page), ["did you get this?", "so it seems"], "known by its id, though it came back first");
  }));

  it("survives a server that is killed and started anew: nothing doubled, nothing of ours lost, and a line about the rest", () =>
    withServer({}, async (scene) => {
      const page = await openTab("restart", { host: scene.server });
      const other = await openTab("restart", { host: scene.server });
      await say(page, "before");
      await say(other, "also before");
      await untilMessages(page, 2);
      await untilMessages(other, 2);
      await scene.server.kill();
      await untilState(page, "closed");
      await say(page, "while it was away");
      await say(page, "and again");
      await until(page, "the queue told", () => /· 2 messages wait$/.test(document.getElementById("retry-text").textContent));
      assert.deepEqual(await waiting(page), ["while it was away", "and again"]);
      await sleep(700);  // those that wait appear late, for most do not wait for long
      await looksRight(page, "6-away-with-a-queue");
      await scene.again();
      await publish(scene.server, "restart", ["first in the new life"]);
      for (const tab of [page, other]) await untilMessages(tab, 5);
      await untilNothingWaits(page);
      await say(page, "after");
      for (const tab of [page, other]) await untilMessages(tab, 6);
      const kept = await history(scene.server, "restart");
      assert.equal(kept.length, 4);
      for (const tab of [page, other]) {
        const seen = await messages(tab);
        assert.deepEqual(seen.slice(0, 2).sort(), ["also before", "before"]);
        assert.deepEqual(seen.slice(2), kept);
        assert.match((await messages(tab, "gap")).join(), /^The room has begun anew: something may be missing here\.$/);
      }
      assert.deepEqual(await own(page), ["before", "while it was away", "and again", "after"]);
      await looksRight(page, "7-after-a-restart");
    }));

  it("shows its author once what a killed server published and did not live to acknowledge", () => withServer({}, async (scene) => {
    const page = await openTab("unknown", { host: scene.proxy });
    const other = await openTab("unknown", { host: scene.server });
    scene.proxy.set("deaf");
    await say(page, "was it heard?");
    await untilText(other, "was it heard?");
    await scene.server.kill();
    scene.proxy.set("reset");
    await scene.again();
    scene.proxy.set("open");
    await untilNothingWaits(page);
    await untilText(page, "was it heard?");
    assert.deepEqual(await messages(page), ["was it heard?"]);
    assert.deepEqual(await history(scene.server, "unknown"), ["was it heard?"]);
    await untilMessages(other, 2);  // nobody is left who knows that it is the same; the page's comment says so
  }));

  it("says where the history does not reach back to, and goes on", () =>
    withServer({ toml: `${ROOM}history = { messages = 5 }\n` }, async ({ server, proxy }) => {
      const page = await openTab("short", { host: proxy });
      await publish(server, "short", numbered("kept", 3));
      await untilMessages(page, 3);
      proxy.set("reset");
      await untilState(page, "closed");
      await publish(server, "short", numbered("missed", 10));
      proxy.set("open");
      await untilMessages(page, 8);
      await publish(server, "short", ["live"]);
      await untilMessages(page, 9);
      assert.deepEqual(await messages(page), [...numbered("kept", 3), ...numbered("missed", 5, 6), "live"]);
      assert.match((await messages(page, "gap")).join(), /^The room's history does not reach back .* may be missing here\.$/);
      const kinds = await page.evaluate(() => [...document.querySelectorAll("#messages li")].map((item) => item.dataset.kind));
      assert.equal(kinds.lastIndexOf("gap"), kinds.length - 8, "before the six that came, and the line that says connected");
    }));

  it("keeps what is said while away in a bounded queue, sends it in order, and says what it could not send", () =>
    withServer({}, async (scene) => {
      const page = await openTab("queue", { host: scene.server });
      await scene.server.kill();
      await untilState(page, "closed");
      await page.evaluate(() => {
        for (let i = 1; i <= 1_001; i += 1) {
          document.getElementById("text").value = `message ${i}`;
          document.getElementById("send").click();
        }
      });
      assert.match(await textOf(page, "notice"), /^Not sent: 1000 messages wait already/);
      assert.equal(await page.$eval("#text", (field) => field.value), "message 1001");
      await scene.again();
      await untilNothingWaits(page);
      await untilText(page, "message 1000");
      assert.deepEqual(await messages(page), numbered("message", 500, 501).slice(-(await messages(page)).length));
      assert.deepEqual(await history(scene.server, "queue"), numbered("message", 100, 901));
      await scene.server.kill();
      await untilState(page, "closed");
      await say(page, "too late");
      await page.evaluate(() => document.getElementById("leave").click());
      assert.equal((await messages(page, "note")).at(-1), "1 message to queue not acknowledged");
      assert.deepEqual(await waiting(page), []);
    }));

  it("gives up a message that is too long, and nothing else", () => withServer({ flags: ["--message-bytes-max", "1KiB"] }, async ({ server }) => {
    const page = await openTab("long", { host: server });
    await say(page, "before");
    await say(page, "x".repeat(2_000));
    await say(page, "after");
    await untilMessages(page, 1, "refused");
    await untilMessages(page, 2);
    await untilNothingWaits(page);
    assert.deepEqual(await messages(page), ["before", "after"]);
    assert.deepEqual(await messages(page, "refused"), ["x".repeat(2_000)]);
    await looksRight(page, "8-refused");
  }));

  it("gets through a queue that is longer than the room's rate allows", () =>
    withServer({ toml: `${ROOM}rate = { messages = 3, per = "1h" }\n` }, async (scene) => {
      const page = await openTab("rate", { host: scene.server });
      for (const text of numbered("message", 8)) await say(page, text);
      await untilMessages(page, 8);
      assert.deepEqual(await messages(page), numbered("message", 8));
      assert.deepEqual(await history(scene.server, "rate"), numbered("message", 8));
    }));

  it("shows its own messages once where the room does not send them back, also after a cut", () =>
    withServer({ toml: `${ROOM}echo = false\n` }, async ({ server, proxy }) => {
      const page = await openTab("no echo", { host: proxy });
      await say(page, "one");
      await untilMessages(page, 1);
      await publish(server, "no echo", ["two"]);
      await say(page, "three");
      await untilMessages(page, 3);
      await page.evaluate(() => { visit.checkAt = 0; });
      await sleep(3_000);
      assert.equal((await connection(page)).state, "open", "our own are not taken for missing");
      proxy.set("reset");
      await untilState(page, "closed");
      await publish(server, "no echo", ["four"]);
      proxy.set("open");
      await untilMessages(page, 4);
      assert.deepEqual(await messages(page), ["one", "two", "three", "four"]);
      assert.deepEqual(await own(page), ["one", "three"]);
    }));

  it("shows the room's own words for a message, and its greeting once", () =>
    withServer({ toml: `${ROOM}greeting = "欢迎大哥光临!"\nuid = true\ntemplate = "{user} says {text}"\n` }, async ({ proxy }) => {
      const page = await openTab("words", { host: proxy });
      await say(page, "hello");
      await untilText(page, "anonymous says hello");
      proxy.set("reset");
      await untilState(page, "closed");
      proxy.set("open");
      await untilState(page, "open");
      await say(page, "again");
      await untilText(page, "anonymous says again");
      const [uid, ...rest] = await messages(page);
      assert.match(uid, /^[0-9a-f-]{36}$/);
      assert.deepEqual(rest, ["欢迎大哥光临!", "anonymous says hello", "anonymous says again"]);
    }));

  it("goes on from where it was when one leaves a room and comes back", () => withServer({}, async ({ server }) => {
    const page = await openTab("porch", { host: server });
    await publish(server, "porch", ["one"]);
    await untilMessages(page, 1);
    await enterRoom(page, "hall");
    await until(page, "the hall open", () => /^Open · hall$/.test(document.getElementById("state").textContent));
    await publish(server, "porch", ["two"]);
    await publish(server, "hall", ["in the hall"]);
    await untilMessages(page, 2);
    await enterRoom(page, "porch");
    await untilMessages(page, 3);
    assert.deepEqual(await messages(page), ["one", "in the hall", "two"]);
  }));

  it("speaks plain frames where an address does not speak fanline.v1", () =>
    withServer({ toml: `[[route]]\npath = "/chat/{room}"\nmode = "echo"\n` }, async ({ server }) => {
      const page = await openTab("plain", { host: server });
      assert.equal(await means(page), "plain");
      await say(page, "hello");
      await say(page, '{"type":"message","offset":1,"text":"not an envelope"}');
      await untilMessages(page, 2);
      assert.deepEqual(await own(page), ["hello", '{"type":"message","offset":1,"text":"not an envelope"}']);
      assert.equal(await textOf(page, "rtt-count"), "2");
      assert.match((await messages(page, "note"))[0], /plain frames: what is missed stays missed/);
    }));

  it("speaks fanline.v1 also where a list of others is required", () =>
    withServer({ toml: `${ROOM}subprotocols = ["superchat", "chat"]\nsubprotocol_required = true\n` }, async ({ server }) => {
      const page = await openTab("listed", { host: server });
      assert.equal(await means(page), "fanline.v1");
    }));

  for (const how of ["throws", "fails", "hangs"]) {
    it(`chats by events and POST where WebSocket ${how}`, () => withServer({}, async ({ server }) => {
      const page = await openTab("blocked", { host: server, prepare: blockWebSocket(how) });
      const other = await openTab("blocked", { host: server });
      assert.equal(await means(page), "events");
      assert.match(await textOf(page, "state"), /^Open · blocked · WebSocket is blocked, using events$/);
      const tried = how === "hangs" ? ["fanline.v1"] : ["fanline.v1", "fanline.v1", "plain"];
      assert.deepEqual(await page.evaluate(() => window.tried), tried);
      await say(page, "by POST");
      await untilMessages(other, 1);
      await say(other, "by WebSocket\nin two lines");
      await publish(server, "blocked", ["with\r\ncarriage return"]);
      await other.evaluate(() => visit.link.socket.send(JSON.stringify({ base64: btoa("12345") })));
      await untilMessages(page, 1, "binary");
      await untilMessages(page, 3);
      await say(page, "by POST again");
      for (const tab of [page, other]) {
        await untilMessages(tab, 4);
        assert.deepEqual(await messages(tab), ["by POST", "by WebSocket\nin two lines", "with\r\ncarriage return", "by POST again"]);
        assert.deepEqual(await messages(tab, "binary"), ["binary, 5 bytes"]);
      }
      assert.deepEqual(await own(page), ["by POST", "by POST again"]);
      assert.equal(await textOf(page, "rtt-count"), "2");
      await looksRight(page, "9-events");
    }));
  }

  it("row 54 keeps its promises without WebSocket too: a cut, a swallowed answer, and a restart", () => withServer({}, async (scene) => {
    const { proxy } = scene;
    const page = await openTab("events", { host: proxy, prepare: blockWebSocket("fails") });
    proxy.set("reset");  // before anything has come on the stream
    await untilState(page, "closed");
    await publish(scene.server, "events", numbered("away", 10));
    await say(page, "mine while away");
    proxy.set("open");
    await untilMessages(page, 11);
    await untilNothingWaits(page);
    proxy.set("deaf");
    await say(page, "unanswered");
    await until(page, "the message on its way", () => visit.queue[0]?.sentAt);
    for (let i = 0; !(await history(scene.server, "events")).includes("unanswered"); i += 1) {
      assert.ok(i < 100, "it reaches the server");
      await sleep(50);
    }
    proxy.set("reset");
    proxy.set("open");
    await untilNothingWaits(page);
    await untilText(page, "unanswered");
    await publish(scene.server, "events", ["live"]);
    await untilText(page, "live");
    const seen = [...numbered("away", 10), "mine while away", "unanswered", "live"];
    assert.deepEqual(await history(scene.server, "events"), seen);
    assert.deepEqual(await messages(page), seen);
    assert.deepEqual(await own(page), ["mine while away", "unanswered"]);
    await scene.server.kill();
    await untilState(page, "closed");
    await say(page, "to the next server");
    await scene.again();
    await publish(scene.server, "events", ["from the next server"]);
    await untilNothingWaits(page);
    await untilText(page, "from the next server");
    await untilText(page, "to the next server");
    assert.deepEqual(await messages(page), [...seen, ...(await history(scene.server, "events"))]);
    assert.equal((await messages(page, "gap")).length, 1);
  }));

  it("shows what was said before, and when, also without WebSocket", () => withServer({}, async ({ server }) => {
    await publish(server, "past", ["long ago", "and then"]);
    const { messages: [{ time }] } = await (await fetch(`${server.http}/rooms/past/messages`)).json();
    await sleep(1_100);  // the page shows seconds
    const page = await openTab("past", { host: server, prepare: blockWebSocket("fails") });
    await say(page, "now");
    await untilMessages(page, 3);
    assert.deepEqual(await messages(page), ["long ago", "and then", "now"]);
    const said = await page.evaluate(() => document.querySelector("#messages [data-kind=text] small").textContent);
    assert.equal(said, await page.evaluate((time) => clock(time), time));
    await page.reload();
    await untilState(page, "open");
    await untilMessages(page, 3);
    assert.deepEqual(await own(page), ["now"]);
  }));

  it("stops on Leave also without WebSocket, and while it looks for a way", () => withServer({}, async ({ server }) => {
    const page = await openTab("door", { host: server, prepare: blockWebSocket("fails") });
    await page.click("#leave");
    await untilState(page, "closed");
    await publish(server, "door", ["unheard"]);
    await page.evaluate(() => join("door"));
    await page.evaluate(() => document.getElementById("leave").click());
    await sleep(1_000);
    assert.equal((await connection(page)).state, "closed");
    assert.equal(await shown(page, "retry"), false);
    assert.deepEqual(await messages(page), []);
    await page.evaluate(() => join("door"));
    await untilMessages(page, 1);
    assert.deepEqual(await messages(page), ["unheard"]);
  }));
});

// Fanline's chat page in a real browser: what a person in front of it sees and can do.
//
//   FANLINE=…/fanline node --test --test-reporter=tap page.test.mjs
//
// person.mjs says which browser that is, and where the pictures go.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Fanline } from "../support/fanline.mjs";
import {
  TEST_MS, connection, enterRoom, looksRight, messages, openTab, say, screenshot, shown, stage, textOf, until, untilEndInView,
  untilMessages, untilState,
} from "./person.mjs";

describe("the chat page", { timeout: 10 * TEST_MS }, () => {
  const it = (name, body) => test(name, { timeout: TEST_MS }, body);

  it("asks for nothing but itself, under a policy that forbids the rest", async () => {
    const page = await openTab("quiet");
    assert.equal(page.response.status(), 200);
    assert.match(page.response.headers()["content-type"], /^text\/html; *charset=utf-8$/i);
    const policy = page.response.headers()["content-security-policy"] ?? "";
    assert.match(policy, /default-src 'none'/);
    assert.match(policy, /connect-src 'self'/);
    await until(page, "a first look at the room", () => visit.checkAt > performance.now() + 5_000);
    const asked = page.requests.filter((url) => !/^(ws|data):/.test(url));
    assert.deepEqual(asked, [`${stage.server.http}/#quiet`, `${stage.server.http}/rooms/quiet`]);
    assert.deepEqual(page.complaints, []);
  });

  it("row 36 joins nothing before it is asked to, then joins on a click", async () => {
    const page = await openTab(null);
    assert.equal((await connection(page)).state, "idle");
    await screenshot(page, "1-before-joining");
    await page.click("#join");
    await untilState(page, "open");
    assert.equal(await page.evaluate(() => location.hash), "#lobby");
  });

  it("lets two tabs chat in 房间, both seeing one order", async () => {
    const [one, two] = [await openTab("房间"), await openTab("房间")];
    assert.match(await textOf(one, "state"), /房间/);
    const sending = [];
    for (let i = 0; i < 40; i += 1) sending.push(say(one, `one ${i}`), say(two, `two ${i} 欢迎大哥光临!`));
    await Promise.all(sending);
    await untilMessages(one, 80);
    await untilMessages(two, 80);
    const seen = await messages(one);
    assert.equal(seen.length, 80);
    assert.deepEqual(await messages(two), seen);
    assert.deepEqual(seen.filter((text) => text.startsWith("one")), Array.from({ length: 40 }, (_, i) => `one ${i}`));
    assert.equal(await one.evaluate(() => document.querySelectorAll("#messages [data-own=true]").length), 40);
    assert.deepEqual([...one.complaints, ...two.complaints], []);
  });

  it("row 63 needs no library: a plain new WebSocket of any page is a client", async () => {
    const page = await openTab(null);
    const got = await page.evaluate(() => new Promise((resolve, reject) => {
      const socket = new WebSocket(`ws://${location.host}/chat/plain`);
      const got = [];
      socket.onopen = () => ["one", "two 欢迎"].forEach((text) => socket.send(text));
      socket.onmessage = ({ data }) => got.push(data) === 2 && socket.close(1000);
      socket.onclose = ({ code, wasClean }) => resolve({ got, code, wasClean });
      socket.onerror = reject;
    }));
    assert.deepEqual(got, { got: ["one", "two 欢迎"], code: 1000, wasClean: true });
  });

  it("measures its own round trips, last and median", async () => {
    const [page, other] = [await openTab("times"), await openTab("times")];
    assert.equal(await textOf(page, "rtt-count"), "0");
    for (let i = 1; i <= 5; i += 1) {
      await say(page, `ping ${i}`);
      await untilMessages(page, i);
    }
    for (const id of ["rtt-last", "rtt-median"]) assert.match(await textOf(page, id), /^\d+(\.\d)? ms$/);
    assert.equal(await textOf(page, "rtt-count"), "5");
    await untilMessages(other, 5);
    assert.equal(await textOf(other, "rtt-count"), "0", "other people's messages are not our round trips");
  });

  it("row 44 shows HTML in a message as text and runs none of it", async () => {
    const [one, two] = [await openTab("markup"), await openTab("markup")];
    const markup = `<img src=x onerror="window.ran = true"><script>window.ran = true</script><b>bold</b>`;
    await say(one, markup);
    for (const page of [one, two]) {
      await untilMessages(page, 1);
      assert.deepEqual(await messages(page), [markup]);
      assert.equal(await page.evaluate(() => document.querySelectorAll("#messages :is(img, script, b)").length), 0);
      await sleep(200);
      assert.equal(await page.evaluate(() => window.ran), undefined);
    }
  });

  it("shows HTML in a room's name as text", async () => {
    const page = await openTab("<img src=x onerror=window.ran=1>");
    assert.equal(await page.evaluate(() => document.querySelectorAll("main img").length), 0);
    assert.match(await textOf(page, "state"), /<img src=x/);
  });

  it("shows a binary message by its size", async () => {
    const [page, sender] = [await openTab("bytes"), await openTab(null)];
    await sender.evaluate(() => new Promise((resolve, reject) => {
      const socket = new WebSocket(`ws://${location.host}/chat/bytes`);
      socket.onopen = () => resolve(socket.send(new Uint8Array(1234)));
      socket.onerror = reject;
    }));
    await untilMessages(page, 1, "binary");
    assert.deepEqual(await messages(page, "binary"), ["binary, 1234 bytes"]);
  });

  it("row 36 leaves with 1000, clean, stays away, and refuses to send while keeping the text", async () => {
    const page = await openTab("door");
    await page.click("#leave");
    await untilState(page, "closed");
    const { code, clean } = await connection(page);
    assert.deepEqual({ code, clean }, { code: "1000", clean: "true" });
    assert.match(await textOf(page, "close"), /code 1000 .*clean/);
    await say(page, "into the void");
    assert.match(await textOf(page, "notice"), /^Not sent/);
    assert.equal(await page.$eval("#text", (field) => field.value), "into the void");
    assert.equal(await page.$eval("#send", (button) => button.getAttribute("aria-disabled")), "true");
    await sleep(1_500);
    assert.equal((await connection(page)).state, "closed", "no reconnection after Leave");
    assert.equal(await shown(page, "retry"), false);
    assert.deepEqual(await messages(page), []);
  });

  it("sends on Enter, breaks the line on Shift+Enter", async () => {
    const page = await openTab("keys");
    await page.focus("#text");
    await page.keyboard.type("first");
    await page.keyboard.down("Shift");
    await page.keyboard.press("Enter");
    await page.keyboard.up("Shift");
    await page.keyboard.type("second");
    await page.keyboard.press("Enter");
    await untilMessages(page, 1);
    assert.deepEqual(await messages(page), ["first\nsecond"]);
    assert.equal(await page.$eval("#text", (field) => field.value), "");
  });

  it("leaves Enter to an input method that is composing", async () => {
    const page = await openTab("composing");
    await page.evaluate(() => {
      const field = document.getElementById("text");
      field.value = "fangjian";
      field.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", isComposing: true, bubbles: true, cancelable: true }));
      field.value = "房间";
      field.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true }));
    });
    await untilMessages(page, 1);
    assert.deepEqual(await messages(page), ["房间"]);
  });

  it("follows the newest message, but not away from a reader who scrolled up", async () => {
    const page = await openTab("long");
    for (let i = 1; i <= 60; i += 1) await say(page, `line ${i}`);
    await untilMessages(page, 60);
    await untilEndInView(page);
    await page.$eval("#log", (log) => { log.scrollTop = 0; });
    await until(page, "the scrolling noticed", () => list.pinned === false);
    await say(page, "line 61");
    await untilMessages(page, 61);
    assert.equal(await page.$eval("#log", (log) => log.scrollTop), 0);
    assert.equal(await shown(page, "newest"), true);
    await page.click("#newest");
    await until(page, "the button gone", () => document.getElementById("newest").hidden);
    await untilEndInView(page);
  });

  it("goes from one room to another and hears only the new one", async () => {
    const [page, old, fresh] = [await openTab("old"), await openTab("old"), await openTab("new")];
    await enterRoom(page, "new");
    await until(page, "the new room open", () => /^Open · new$/.test(document.getElementById("state").textContent));
    await say(old, "in the old room");
    await untilMessages(old, 1);
    await say(fresh, "in the new room");
    await untilMessages(page, 1);
    assert.deepEqual(await messages(page), ["in the new room"]);
    assert.equal(await page.evaluate(() => location.hash), "#new");
    await page.evaluate(() => { location.hash = "#old"; });
    await until(page, "the old room open", () => /^Open · old$/.test(document.getElementById("state").textContent));
  });

  it("names who is here where the room lists them, and follows who comes and goes", async () => {
    const users = ["<b>ann</b>", ...Array.from({ length: 19 }, (_, i) => `user ${String(i).padStart(2, "0")}`)];
    const room = { users: 25, members: 30, position: "" };
    const prepare = async (page) => {
      await page.setRequestInterception(true);
      page.on("request", async (request) => {
        const { pathname } = new URL(request.url());
        const answer = { "/rooms/listed": room, "/rooms/listed/presence": { users: users.map((user) => ({ user, connections: 1 })) } }[pathname];
        if (pathname === "/rooms/listed") room.position = await page.evaluate(() => written(visit.place));
        if (answer) await request.respond({ contentType: "application/json", body: JSON.stringify(answer) });
        else await request.continue();
      });
    };
    const page = await openTab("listed", { prepare });
    await until(page, "the names", () => !document.getElementById("here").hidden);
    assert.equal(await textOf(page, "here"), `Here: ${users.join(", ")} and 5 more`);
    await page.evaluate(() => {
      visit.noticed(visit.place.offset + 1, { join: "a newcomer" });
      visit.noticed(visit.place.offset + 1, { leave: "user 03" });
      visit.noticed(visit.place.offset, { leave: "user 04" });  // told before
      visit.noticed(visit.place.offset + 1, { topic: "tea" });
    });
    const named = ["<b>ann</b>", "a newcomer", ...users.filter((user) => !/ann|03/.test(user))];
    assert.equal(await textOf(page, "here"), `Here: ${named.join(", ")} and 5 more`);
    assert.deepEqual((await messages(page, "note")).slice(1), ["a newcomer is here", "user 03 has gone", '{"topic":"tea"}']);
    room.users = 0;
    await page.evaluate(() => { visit.checkAt = 0; });
    await until(page, "the names gone", () => document.getElementById("here").hidden);
  });

  it("shows who comes in, and who loads the page anew, what was said before, and which of it is their own", async () => {
    const [one, two] = [await openTab("again"), await openTab("again")];
    await say(one, "from one");
    await untilMessages(two, 1);
    await say(two, "from two");
    await untilMessages(one, 2);
    await one.reload();
    await untilState(one, "open");
    await say(two, "after the reload");
    await untilMessages(one, 3);
    const newcomer = await openTab("again");
    await untilMessages(newcomer, 3);
    const seen = ["from one", "from two", "after the reload"];
    for (const page of [one, two, newcomer]) assert.deepEqual(await messages(page), seen);
    const own = (page) => page.evaluate(() => [...document.querySelectorAll("#messages [data-own=true] p")].map((p) => p.textContent));
    assert.deepEqual([await own(one), await own(two), await own(newcomer)], [["from one"], ["from two", "after the reload"], []]);
    assert.equal(await textOf(one, "rtt-count"), "0", "what is shown again is no round trip");
  });

  it("sends nothing where there is no word in it", async () => {
    const page = await openTab("blank");
    for (const blank of ["", "   ", "\n\n", "\u00a0"]) await say(page, blank);
    await say(page, "a word");
    await untilMessages(page, 1);
    assert.deepEqual(await messages(page), ["a word"]);
  });

  it("asks the server when the browser says that the network is gone, and comes back with it", async () => {
    const page = await openTab("offline");
    await until(page, "a first look at the room", () => visit.checkAt > performance.now() + 5_000);
    await page.evaluate(() => window.dispatchEvent(new Event("offline")));
    await until(page, "another look", () => visit.checkAt > performance.now() + 5_000);
    assert.equal((await connection(page)).state, "open", "a server on this machine is still there");
    await page.setOfflineMode(true);
    await untilState(page, "closed");
    await say(page, "said meanwhile");
    await page.setOfflineMode(false);
    await untilState(page, "open");
    await untilMessages(page, 1);
    assert.deepEqual(await messages(page), ["said meanwhile"]);
  });

  it("tells the ear, too, which messages are one's own", async () => {
    const [page, other] = [await openTab("ear"), await openTab("ear")];
    await say(page, "mine");
    await untilMessages(other, 1);
    await say(other, "theirs");
    await untilMessages(page, 2);
    const told = async (page) => {
      const words = [];
      const walk = ({ name, children = [] }) => { if (name) words.push(name); children.forEach(walk); };
      walk(await page.accessibility.snapshot());
      return words.filter((word) => ["You:", "mine", "theirs"].includes(word));
    };
    assert.deepEqual(await told(page), ["You:", "mine", "theirs"]);
    assert.deepEqual(await told(other), ["mine", "You:", "theirs"]);
  });

  it("leaves who has only keys at a control that works", async () => {
    const page = await openTab("keyboard");
    await page.focus("#leave");
    await page.keyboard.press("Enter");
    await untilState(page, "closed");
    assert.equal(await page.evaluate(() => document.activeElement.id), "join");
    await page.keyboard.press("Enter");
    await untilState(page, "open");
    assert.equal(await page.evaluate(() => document.activeElement.id), "text");
  });

  it("keeps the messages and the field for the next one in sight on a phone on its side", async () => {
    const page = await openTab("sideways");
    for (const [width, height] of [[568, 320], [740, 360], [640, 230]]) {
      await page.setViewport({ width, height, deviceScaleFactor: 1 });
      const { text, log } = await page.evaluate(() => {
        const of = (id) => document.getElementById(id).getBoundingClientRect();
        return { text: of("text").bottom, log: of("log").height };
      });
      assert.ok(text <= height && log >= 70, `${width} × ${height}: the field ends at ${text}, the messages have ${log}`);
      await screenshot(page, `11-sideways-${width}`);
    }
  });

  it("says how many messages a slow connection was spared", async () => {
    const page = await openTab("slow");
    await page.evaluate(() => visit.link.received('{"type":"notice","notice":{"skipped":7}}'));
    assert.deepEqual(await messages(page, "gap"), ["7 messages were skipped here: this connection was too slow for the room."]);
    await say(page, "still here");
    await untilMessages(page, 1);
  });

  it("refuses room names that no address can carry", async () => {
    const page = await openTab(null);
    const refused = [
      ["..", /named/], ["   ", /needs a name/], [".", /named/], ["a/b", /slash/], ["a\u0007b", /control/], ["a\\b", /slash/],
      ["房".repeat(86), /too long/], ["half \ud83d", /half a character/],
    ];
    for (const [name, why] of refused) {
      await enterRoom(page, name);
      assert.equal((await connection(page)).state, "idle", JSON.stringify(name));
      assert.match(await textOf(page, "notice"), why);
    }
    await enterRoom(page, "房".repeat(85));
    await untilState(page, "open");
  });

  it("keeps the last 500 messages", async () => {
    const page = await openTab("flood");
    await page.evaluate(() => {
      for (let i = 1; i <= 620; i += 1) {
        document.getElementById("text").value = `message ${i}`;
        document.getElementById("send").click();
      }
    });
    await until(page, "message 620", () => document.querySelector("#messages li:last-child p")?.textContent === "message 620");
    assert.equal(await page.evaluate(() => document.getElementById("messages").childElementCount), 500);
    assert.equal((await messages(page))[0], "message 121");
    assert.match(await textOf(page, "kept"), /last 500 of 620/);
    await untilEndInView(page);
    assert.equal(await shown(page, "newest"), false);
  });

  it("reconnects, visibly, after the server went away with 1001 and came back", async () => {
    let own = await Fanline.start();
    const page = await openTab("back again", { host: own });
    await say(page, "before");
    await untilMessages(page, 1);
    // The list keeps what the next failed attempt overwrites in the line above it.
    await Promise.all([own.stop(), untilMessages(page, 2, "note")]);
    assert.match((await messages(page, "note"))[1], /code 1001 .*, clean$/);
    await until(page, "a second attempt announced", () => /in \d+ s, attempt [2-9]/.test(document.getElementById("retry-text").textContent));
    assert.equal(await shown(page, "retry"), true);
    await screenshot(page, "5-reconnecting");
    own = await Fanline.start({ port: own.port });
    try {
      await untilState(page, "open");
      assert.equal(await shown(page, "retry"), false);
      await say(page, "after");
      await untilMessages(page, 2);
      assert.deepEqual(await messages(page), ["before", "after"]);
    } finally {
      await own.stop();
    }
  });

  it("comes back when a server that ends has told it to, not before", async () => {
    const own = await Fanline.start({ flags: ["--drain-retry", "24s"] });
    const page = await openTab("told when", { host: own });
    await own.stop();
    await until(page, "the wait it was told", () => /in (1[2-9]|2[0-4]) s, attempt 1/.test(document.getElementById("retry-text").textContent));
    assert.match((await messages(page, "note")).at(-1), /reason “retry in \d+ ms”, clean$/);
  });

  it("waits twice as long after every failed attempt, never the same time, never above 30 s", async () => {
    const page = await openTab(null);
    const delays = await page.evaluate(() =>
      Array.from({ length: 12 }, (_, attempt) => Array.from({ length: 50 }, () => retryDelay(attempt + 1))));
    delays.forEach((some, attempt) => {
      const ceiling = Math.min(30_000, 500 * 2 ** attempt);
      assert.ok(some.every((delay) => delay >= ceiling / 2 && delay <= ceiling), `attempt ${attempt + 1}: ${some}`);
      assert.ok(new Set(some).size > 40, `attempt ${attempt + 1} has no jitter`);
    });
  });

  it("says 1006, not clean, when the connection is lost without a word, and stops trying on Leave", async () => {
    let own = await Fanline.start();
    const page = await openTab("lost", { host: own });
    await own.kill();
    await until(page, "code 1006", () => document.getElementById("connection").dataset.code === "1006");
    assert.equal((await connection(page)).clean, "false");
    await until(page, "a retry announced", () => !document.getElementById("retry").hidden);
    await page.evaluate(() => document.getElementById("leave").click());
    assert.equal(await shown(page, "retry"), false);
    own = await Fanline.start({ port: own.port });
    try {
      await sleep(2_000);
      assert.equal((await connection(page)).state, "closed");
    } finally {
      await own.stop();
    }
  });

  it("names every field, announces messages and fits a phone, by day and by night", async () => {
    const [page, other] = [await openTab("茶馆 · tea house"), await openTab("茶馆 · tea house")];
    await say(other, "Good evening! Is the kettle on?");
    await say(page, "欢迎大哥光临!");
    await say(page, "Just now. Two cups, and the long story you promised.");
    await say(other, "<b>Markup</b> is only text here,\nand a new line is a new line.");
    await other.evaluate(() => visit.link.socket.send(JSON.stringify({ base64: btoa("x".repeat(20_480)) })));
    await say(page, `A_word_without_a_gap_${"that_goes_on_".repeat(12)}`);
    await untilMessages(page, 5);
    const unnamed = await page.evaluate(() =>
      [...document.querySelectorAll("input, textarea")].filter((field) => field.labels.length === 0).length +
      [...document.querySelectorAll("button")].filter((button) => button.textContent.trim() === "").length);
    assert.equal(unnamed, 0);
    await until(page, "that messages are read aloud", () => document.getElementById("log").ariaLive === "polite");
    assert.equal(await page.$eval("#log", (log) => log.role), "log");
    assert.equal(await page.$eval("#state", (state) => state.role), "status");
    await looksRight(page, "2-chat");
  });
});

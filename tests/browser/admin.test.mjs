// Fanline's live page in a real browser: what somebody who runs the server sees of it.

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Fanline } from "../support/fanline.mjs";
import { TEST_MS, looksRight, screenshot, shown, stage, textOf, until } from "./person.mjs";

const TOKEN = "operator-0123456789abcdef";

/** A member of a room; one that does not read takes what its kernel takes, and no more. */
function member(server, room, { reads = true } = {}) {
  return new Promise((resolve, reject) => {
    const socket = connect(server.port, "127.0.0.1");
    socket.once("error", reject);
    socket.once("data", () => {
      if (reads) socket.resume(); else socket.pause();
      resolve(socket);
    });
    socket.write(`GET /chat/${room} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
  });
}

const publish = (server, room, body) =>
  fetch(`${server.http}/rooms/${room}/messages`, { method: "POST", body, headers: { "content-type": "text/plain" } });

/** Lets a test say whether the page is looked at, and hold up what it asks for; the paths that it has asked for are in `asked`. */
function puppet() {
  let isHidden = false, isHeld = () => false, waiting = [];
  const fetch = window.fetch;
  Object.defineProperty(document, "hidden", { get: () => isHidden });
  window.puppet = {
    asked: [],
    look(is) { isHidden = !is; document.dispatchEvent(new Event("visibilitychange")); },
    hold(part) { isHeld = (path) => path.includes(part); },
    release() { isHeld = () => false; waiting.forEach((go) => go()); waiting = []; },
  };
  window.fetch = async (path, ...rest) => {
    window.puppet.asked.push(path);
    if (isHeld(path)) await new Promise((go) => waiting.push(go));
    return fetch(path, ...rest);
  };
}

async function open(url, { scheme = "light", isPuppet = false } = {}) {
  const page = await stage.browser.newPage();
  if (isPuppet) await page.evaluateOnNewDocument(puppet);
  page.complaints = [];
  page.requests = [];
  page.on("console", (message) => ["error", "warn"].includes(message.type()) && page.complaints.push(message.text()));
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  page.on("request", (request) => page.requests.push(request.url()));
  await page.setViewport({ width: 1200, height: 900 });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  page.response = await page.goto(url);
  return page;
}

const untilSaid = (page, text) => until(page, `“${text}”`, (text) => document.getElementById("said").textContent.includes(text), text);
const untilShown = (page, text) => until(page, `“${text}”`, (text) => document.body.innerText.includes(text), text);

/** A figure by its name, without what stands below it. */
const figure = (page, name) => page.evaluate((name) => {
  const tile = [...document.querySelectorAll("#figures div")].find((tile) => tile.firstChild.textContent === name);
  return tile.lastChild.firstChild.textContent;
}, name);
const cells = (page, id) => page.evaluate((id) =>
  [...document.querySelectorAll(`#${id} tr`)].slice(1).map((row) => [...row.cells].map((cell) => cell.textContent)), id);

describe("the live page", { timeout: 10 * TEST_MS }, () => {
  const it = (name, body) => test(name, { timeout: TEST_MS }, body);
  let server;

  before(async () => { server = await Fanline.start({ flags: ["--admin-listen", "127.0.0.1:0", "--room-log-bytes-max", "64MiB"] }); });
  after(() => server?.stop());

  it("says that there is nothing where there is nothing, and asks for nothing but itself", async () => {
    const page = await open(`${server.admin}/`);
    assert.equal(page.response.url(), `${server.admin}/admin`);
    assert.match(page.response.headers()["content-security-policy"], /default-src 'none'/);
    await untilSaid(page, "live");
    for (const text of ["Nobody is behind.", "There is no room yet.", "Nothing has been dropped or refused", "Nothing has been delivered yet.", "nothing was delivered in this time"]) {
      await untilShown(page, text);
    }
    assert.equal(await figure(page, "WebSockets"), "1", "its own");
    const own = page.requests.filter((url) => !url.startsWith(server.admin) && !url.startsWith(server.admin.replace("http", "ws")) && !url.startsWith("data:"));
    assert.deepEqual(own, []);
    assert.deepEqual(page.complaints, []);
    await looksRight(page, "admin-empty", true);
  });

  it("shows connections, rooms, the slowest readers, curves and what did not arrive", async () => {
    const members = await Promise.all(Array.from({ length: 24 }, () => member(server, "lobby")));
    const slow = await member(server, "lobby", { reads: false });
    members.push(slow, ...await Promise.all(Array.from({ length: 5 }, () => member(server, encodeURIComponent("房间 <i>\u202ex")))));
    const page = await open(`${server.admin}/admin`);
    await untilSaid(page, "live");
    const long = "x".repeat(1 << 20);
    for (let i = 0; i < 12; i += 1) await publish(server, "lobby", long);
    await until(page, "a slow reader", () => Number(document.querySelector("#readers tr:nth-child(2) td:nth-child(5)")?.textContent) > 4);
    const [reader] = await cells(page, "readers");
    assert.equal(reader[1], "127.0.0.1");
    assert.equal(reader[3], "lobby");
    assert.ok(Number(reader[4]) <= 12, String(reader));
    assert.match(reader[6], /MiB$/);
    const rooms = await cells(page, "rooms");
    assert.deepEqual(rooms.map((row) => row.slice(0, 3)), [["lobby", "25", "1"], ["房间 <i>\\u{202e}x", "5", "0"]], "names are text, all of which is seen");
    // So that there is something to be seen, for some seconds.
    for (let second = 0; second < 8; second += 1) {
      for (let i = 0; i < 10 + second * 5; i += 1) await publish(server, "lobby", `${second} ${i}`);
      await until(page, "another second", (count) => samples.length > count, await page.evaluate(() => samples.length));
    }
    assert.ok(await page.evaluate(() => samples.some((sample) => sample.sent > 24 && sample.p50 > 0 && sample.p99 >= sample.p50)));
    const label = await page.evaluate(() => document.querySelector("#plots svg").getAttribute("aria-label"));
    assert.match(label, /^Connections: all \d+, WebSockets 31$/);
    slow.destroy();
    members.push(await member(server, "lobby", { reads: false }));
    for (let i = 0; i < 6; i += 1) await publish(server, "lobby", long);
    await untilShown(page, "gone: the member had left first");
    await until(page, "another slow reader", () => document.querySelectorAll("#readers tr").length === 2);
    assert.ok((await cells(page, "stages")).some(([name, p50]) => name === "altogether" && /µs|ms/.test(p50)));
    assert.equal((await cells(page, "loop")).length, 3);
    assert.match(await textOf(page, "loop-note"), /^Turns over budget \d+; waiting to be accepted \d+/);
    assert.deepEqual(page.complaints, []);
    await looksRight(page, "admin", true);
    for (const socket of members) socket.destroy();
  });

  it("has a point in the curve also for what is delivered now and then", async () => {
    const own = await Fanline.start({ flags: ["--admin-listen", "127.0.0.1:0"] });
    const reader = await member(own, "quiet");
    const page = await open(`${own.admin}/admin`);
    await untilSaid(page, "live");
    for (let i = 0; i < 6; i += 1) {
      await publish(own, "quiet", "now and then");
      await sleep(2500);
    }
    const points = await page.evaluate(() => samples.filter((sample) => sample.p50 > 0).length);
    // A second in which nobody asks may be passed over, and none has two points.
    assert.ok(points >= 3 && points <= 6, `${points} points for 6 publications`);
    reader.destroy();
    await own.stop();
  });

  it("goes on after the server has gone and come back, and says so meanwhile", async () => {
    const own = await Fanline.start({ flags: ["--admin-listen", "127.0.0.1:0", "--turn-budget", "0ms"] });
    const page = await open(`${own.admin}/admin`);
    await untilSaid(page, "live");
    await until(page, "a slow turn", () => /; the last of those was .+ ago and took .+s, most of it in (handler|input|many inputs|outside|sending)/.test(document.getElementById("loop-note").textContent));
    const { port } = new URL(own.admin);
    await own.kill();
    await untilSaid(page, "tries again");
    await screenshot(page, "admin-lost");
    const next = await Fanline.start({ flags: ["--admin-listen", `127.0.0.1:${port}`] });
    await untilSaid(page, "live");
    assert.ok(await page.evaluate(() => samples.some((sample) => sample.isGap)), "the curves show the gap");
    await next.stop();
  });

  it("asks for nothing while it is not looked at, whenever somebody looks away", async () => {
    const own = await Fanline.start({ flags: ["--admin-listen", "127.0.0.1:0"] });
    const page = await open(`${own.admin}/admin`, { isPuppet: true });
    const status = async () => (await fetch(`${own.admin}/admin/api/status`)).json();
    await untilSaid(page, "live");
    await page.evaluate(() => { puppet.look(false); puppet.hold("status"); puppet.look(true); puppet.look(false); puppet.release(); });
    await untilSaid(page, "paused");
    const before = (await status()).counters.messages;
    await sleep(2500);
    const { websockets, counters } = await status();
    assert.deepEqual([websockets, counters.messages - before], [0, 0]);
    await page.evaluate(() => {
      puppet.hold("status");
      for (const is of [true, false, true, false, true]) puppet.look(is);
      puppet.release();
    });
    await untilSaid(page, "live");
    await sleep(500);
    assert.equal((await status()).websockets, 1, "it has one connection, however often somebody looks away");
    await own.stop();
  });

  it("asks for rows again when they have come, and not before", async () => {
    const page = await open(`${server.admin}/admin`, { isPuppet: true });
    await page.evaluate(() => puppet.hold("peers"));
    await untilSaid(page, "live");
    await until(page, "some seconds", () => samples.length > 6);
    assert.equal(await page.evaluate(() => puppet.asked.filter((path) => path.includes("peers")).length), 1);
    await page.evaluate(() => puppet.release());
    await until(page, "more rows", () => puppet.asked.filter((path) => path.includes("peers")).length > 1);
    assert.deepEqual(page.complaints, []);
  });

  it("asks for the token, takes the right one and keeps it for this tab", async () => {
    const folder = await mkdtemp(join(tmpdir(), "fanline-admin-"));
    const file = join(folder, "token");
    await writeFile(file, TOKEN);
    await writeFile(join(folder, "fanline.toml"), "[admin]\ntoken = { file = 'token' }");
    const own = await Fanline.start({ flags: ["--config", join(folder, "fanline.toml")] });
    const page = await open(`${own.http}/admin`);
    await untilSaid(page, "asks for its admin token");
    assert.equal(await textOf(page, "about"), "\u00a0", "nothing is told before");
    assert.equal(await shown(page, "inside"), false);
    await looksRight(page, "admin-token");
    const show = async (token) => {
      await page.evaluate((token) => { document.getElementById("token").value = token; document.querySelector("#entry button").click(); }, token);
    };
    for (const wrong of ["wrong-0123456789abcdef", "“operator-0123456789abcdef”"]) {
      await show(wrong);
      await untilShown(page, "The server does not know this token.");
      await page.evaluate(() => { document.getElementById("wrong").textContent = ""; });
    }
    await show(TOKEN);
    await untilSaid(page, "live");
    assert.deepEqual([await shown(page, "entry"), await shown(page, "inside")], [false, true]);
    await page.reload();
    await untilSaid(page, "live");
    assert.ok(page.requests.every((url) => !url.includes(TOKEN)), "no address has the token in it");
    await writeFile(file, "operator-fedcba9876543210");
    process.kill(await page.evaluate(() => last.status.pid), "SIGHUP");
    await untilShown(page, "The server does not know this token.");
    assert.deepEqual([await shown(page, "entry"), await shown(page, "inside")], [true, false]);
    await show("operator-fedcba9876543210");
    await untilSaid(page, "live");
    await own.stop();
    await rm(folder, { recursive: true });
  });
});

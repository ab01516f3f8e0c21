// What a person in front of Fanline's chat page sees and can do, in a real browser.
//
// CHROMIUM names the browser when it is not where Debian puts it; SCREENSHOTS names a folder for pictures.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import puppeteer from "puppeteer-core";
import { Fanline } from "../support/fanline.mjs";

const WAIT_MS = 15_000;   // for one thing to appear in a page
export const TEST_MS = 90_000;   // for one test
const STEP_MS = 25;       // between two looks

const CHROMIUMS = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-headless-shell"];
const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--disable-background-timer-throttling",
  "--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows",
];

/** What all tests of a file share: a browser, and a server without configuration. */
export const stage = { browser: null, server: null };
let profile;

before(async () => {
  const executablePath = CHROMIUMS.find((path) => path && existsSync(path));
  assert.ok(executablePath, "no Chromium: install Debian's package `chromium` or set CHROMIUM");
  profile = await mkdtemp(join(tmpdir(), "fanline-browser-"));
  const launch = { executablePath, args: FLAGS, headless: "shell", userDataDir: profile, timeout: 60_000, protocolTimeout: 60_000 };
  stage.browser = await puppeteer.launch(launch);
  stage.server = await Fanline.start();
}, { timeout: TEST_MS });

afterEach(async () => {
  for (const page of await stage.browser.pages()) if (page.url() !== "about:blank") await page.close();
});

after(async () => {
  await stage.browser?.close();
  if (profile) await rm(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  await stage.server?.stop();
}, { timeout: TEST_MS });

// ── What a person does and sees ─────────────────────────────────────────────────────────────────────────────

/** A tab of the page; a private one has cookies of its own. `tab.complaints` collects what the browser complains about, `tab.requests` what it asks for. */
export async function openTab(room, { host = stage.server, isPrivate = false, prepare = async () => {} } = {}) {
  const page = await (isPrivate ? await stage.browser.createBrowserContext() : stage.browser).newPage();
  page.setDefaultTimeout(WAIT_MS);
  page.complaints = [];
  page.requests = [];
  page.on("console", (message) => ["error", "warn"].includes(message.type()) && page.complaints.push(message.text()));
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  page.on("request", (request) => page.requests.push(request.url()));
  await prepare(page);
  page.response = await page.goto(`${host.http}/${room ? `#${encodeURIComponent(room)}` : ""}`);
  if (room) await untilState(page, "open");
  return page;
}

/** Looks again and again, from here, so that a tab in the background is seen as well. */
export async function until(page, what, predicate, ...args) {
  const deadline = performance.now() + WAIT_MS;
  for (;;) {
    if (await page.evaluate(predicate, ...args)) return;
    if (performance.now() > deadline) {
      throw new Error(`no ${what} within ${WAIT_MS} ms; the page shows:\n${await page.evaluate(() => document.body.innerText)}`);
    }
    await sleep(STEP_MS);
  }
}

export const connection = (page) => page.evaluate(() => ({ ...document.getElementById("connection").dataset }));
export const textOf = (page, id) => page.evaluate((id) => document.getElementById(id).textContent, id);
export const shown = (page, id) => page.evaluate((id) => !document.getElementById(id).hidden, id);
export const messages = (page, kind = "text") =>
  page.evaluate((kind) => [...document.querySelectorAll(`#messages [data-kind=${kind}] p`)].map((p) => p.textContent), kind);

export const untilState = (page, state) =>
  until(page, `state ${state}`, (state) => document.getElementById("connection").dataset.state === state, state);
export const untilMessages = (page, count, kind = "text") =>
  until(page, `${count} messages`, (count, kind) => document.querySelectorAll(`#messages [data-kind=${kind}]`).length >= count, count, kind);

export const untilEndInView = (page) =>
  until(page, "sight of the list's end", () => {
    const log = document.getElementById("log");
    return log.scrollHeight - log.scrollTop - log.clientHeight < 2;
  });

/** Through the page's own form, as a person does; setting the value spares typing long texts. */
export async function say(page, text) {
  await page.evaluate((text) => {
    document.getElementById("text").value = text;
    document.getElementById("send").click();
  }, text);
}

export async function enterRoom(page, room) {
  await page.evaluate((room) => { document.getElementById("room").value = room; }, room);
  await page.evaluate(() => document.getElementById("join").click());
}

export async function screenshot(page, name, fullPage = false) {
  if (!process.env.SCREENSHOTS) return;
  await mkdir(process.env.SCREENSHOTS, { recursive: true });
  await page.bringToFront();
  await page.screenshot({ path: join(process.env.SCREENSHOTS, `${name}.png`), fullPage });
}

/** One state by day, by night and on a phone; nothing may stick out, also where no pictures are taken. */
export async function looksRight(page, name, fullPage = false) {
  for (const [look, width, height, scheme] of [["day", 1100, 760, "light"], ["night", 1100, 760, "dark"], ["phone", 360, 700, "light"]]) {
    await page.setViewport({ width, height, deviceScaleFactor: 1 });
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${name}, ${look}: nothing sticks out`);
    await screenshot(page, `${name}-${look}`, fullPage);
  }
}

// A browser in a room whose messages are compressed: a plain WebSocket, and the chat page.
//
//   FANLINE=…/fanline node --test --test-reporter=tap compressed.test.mjs

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { describe, test } from "node:test";
import { numbered, publish, withServer } from "./network.mjs";
import { TEST_MS, messages, openTab, say, stage, until } from "./person.mjs";

const toml = await readFile(new URL("../support/compressed.toml", import.meta.url), "utf8");
const long = "欢迎大哥光临!".repeat(100);

describe("compressed messages in a browser", { timeout: 3 * TEST_MS }, () => {
  const it = (name, body) => test(name, { timeout: TEST_MS }, body);

  it("row_15_of_part_2_replies_and_the_messages_of_a_room_come_compressed_and_are_understood", () =>
    withServer({ toml }, async ({ proxy }) => {
      const page = await stage.browser.newPage();
      await page.goto(`${proxy.http}/healthz`);
      await page.evaluate(() => {
        window.got = [];
        window.socket = new WebSocket(`ws://${location.host}/chat/room`);
        window.socket.onmessage = ({ data }) => window.got.push(data);
        window.socket.onclose = ({ code, reason }) => window.got.push(`closed: ${code} ${reason}`);
      });
      const untilGot = (count) => until(page, `${count} messages`, (count) => window.got.length >= count, count);
      await untilGot(1);
      assert.match(await page.evaluate(() => window.socket.extensions), /^permessage-deflate/);
      const before = proxy.carried;
      const texts = Array.from({ length: 50 }, (_, i) => (i % 5 === 4 ? `${i}` : `${i} ${long}`));
      await page.evaluate((texts) => texts.forEach((text) => window.socket.send(text)), texts);
      await untilGot(51);
      const [greeting, ...rest] = await page.evaluate(() => window.got);
      assert.match(greeting, /^welcome, welcome/);
      assert.deepEqual(rest, texts);
      const carried = proxy.carried - before;
      assert.ok(carried < 40 * Buffer.byteLength(long) / 5, `${carried} bytes`);
    }));

  it("row_15_of_part_2_the_chat_page_shows_what_comes_compressed_also_after_its_connection_was_cut", () =>
    withServer({ toml }, async ({ server, proxy }) => {
      const page = await openTab("room", { host: proxy });
      const texts = numbered(long, 20);
      // The greeting, which comes with every connection, is shown among them.
      const own = async () => (await messages(page)).filter((text) => !text.startsWith("welcome"));
      const untilShown = (text) => until(page, `message “${text.slice(-2)}”`, (text) =>
        [...document.querySelectorAll("#messages p")].some((p) => p.textContent === text), text);
      await say(page, texts[0]);
      await untilShown(texts[0]);
      await publish(server, "room", texts.slice(1, 10));
      await untilShown(texts[9]);
      proxy.set("reset");
      await publish(server, "room", texts.slice(10, 15));
      proxy.set("open");
      await publish(server, "room", texts.slice(15));
      await untilShown(texts[19]);
      assert.deepEqual(await own(), texts);
    }));
});

// A browser's own EventSource at a room's events: it comes back by itself, and misses nothing.
//
//   FANLINE=…/fanline node --test --test-reporter=tap events.test.mjs

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Fanline } from "../support/fanline.mjs";
import { numbered, publish, withServer } from "./network.mjs";
import { TEST_MS, stage, until } from "./person.mjs";

/** A tab of the server's origin with an EventSource for a room; what it gets is in `window.got`. */
async function listen({ http }, room) {
  const page = await stage.browser.newPage();
  await page.goto(`${http}/healthz`);
  await page.evaluate((room) => {
    window.got = { messages: [], opened: 0, errors: 0 };
    window.source = new EventSource(`/rooms/${encodeURIComponent(room)}/events`);
    window.source.onopen = () => { window.got.opened += 1; };
    window.source.onerror = () => { window.got.errors += 1; };
    for (const kind of ["message", "binary", "text-base64", "reset"]) {
      window.source.addEventListener(kind, ({ data, lastEventId }) => window.got.messages.push({ kind, data, id: lastEventId }));
    }
  }, room);
  await until(page, "open source", () => window.got.opened > 0);
  return page;
}

const got = (page) => page.evaluate(() => window.got);
const untilMessages = (page, count) => until(page, `${count} messages`, (count) => window.got.messages.length >= count, count);

/** Publishes one message of any kind, and tells its position. */
async function post({ http }, room, body, type = "text/plain") {
  const url = `${http}/rooms/${encodeURIComponent(room)}/messages`;
  const answer = await fetch(url, { method: "POST", headers: { "Content-Type": type }, body });
  assert.equal(answer.status, 201);
  return (await answer.json()).position;
}

describe("EventSource in a browser", { timeout: 5 * TEST_MS }, () => {
  const it = (name, body) => test(name, { timeout: TEST_MS }, body);

  it("row_54_an_event_source_gets_every_kind_of_message_with_its_position", async () => {
    const { server } = stage;
    const page = await listen(server, "kinds 房间");
    const rows = [
      ["欢迎大哥光临!"], ["one\ntwo\n\nfour\n"], [""], [Uint8Array.of(0, 255), "application/octet-stream"], ["a\r\nb"],
      ["data: not a field\nid: nor this"],
    ];
    const positions = [];
    for (const row of rows) positions.push(await post(server, "kinds 房间", ...row));
    await untilMessages(page, positions.length);
    const { messages } = await got(page);
    assert.deepEqual(messages.map(({ id }) => id), positions);
    assert.deepEqual(messages.map(({ kind, data }) => [kind, data]), [
      ["message", "欢迎大哥光临!"], ["message", "one\ntwo\n\nfour\n"], ["message", ""], ["binary", "AP8="],
      ["text-base64", "YQ0KYg=="], ["message", "data: not a field\nid: nor this"],
    ]);
  });

  it("row_54_an_event_source_whose_connection_is_cut_comes_back_and_has_everything_once_and_in_order", () =>
    withServer({}, async ({ server, proxy }) => {
      const page = await listen(proxy, "cut");
      let count = 0;
      const publishMore = async (more) => {
        await publish(server, "cut", numbered("message", more, count + 1));
        count += more;
      };
      await publishMore(10);
      await untilMessages(page, count);
      for (const meanwhile of [15, 0, 20]) {
        const { errors } = await got(page);
        // Right behind what is published, so that some of it is on its way.
        await publishMore(5);
        proxy.set("reset");
        await publishMore(meanwhile);
        await until(page, "error", (errors) => window.got.errors > errors, errors);
        proxy.set("open");
        await publishMore(5);
        await untilMessages(page, count);
      }
      const { messages, opened } = await got(page);
      assert.deepEqual(messages.map(({ data }) => data), numbered("message", count));
      assert.ok(opened >= 4, `${opened}: it came back after each cut`);
    }));

  it("row_54_an_event_source_is_told_when_what_it_missed_is_gone_and_goes_on", () => withServer({}, async (scene) => {
    const page = await listen(scene.proxy, "restart");
    await post(scene.server, "restart", "before");
    await untilMessages(page, 1);
    // Another life of the server: the room's log, and so its positions, begin anew.
    await scene.server.stop();
    await scene.again();
    await until(page, "second opening", () => window.got.opened >= 2);
    const position = await post(scene.server, "restart", "after");
    await untilMessages(page, 3);
    const { messages } = await got(page);
    assert.deepEqual(messages.map(({ kind }) => kind), ["message", "reset", "message"]);
    assert.equal(JSON.parse(messages[1].data).recovered, false);
    assert.deepEqual([messages[2].data, messages[2].id], ["after", position]);
  }));

  it("row_52_a_page_polls_and_publishes_with_fetch_beside_its_events", async () => {
    const page = await listen(stage.server, "beside");
    const seen = await page.evaluate(async () => {
      const url = "/rooms/beside/messages";
      const send = (body) => fetch(url, { method: "POST", headers: { "Content-Type": "text/plain" }, body });
      let since = (await (await send("first")).json()).position;
      const texts = [];
      for (const text of ["second", "third"]) {
        const waiting = fetch(`${url}?since=${since}&wait=20`).then((answer) => answer.json());
        await send(text);
        const page = await waiting;
        texts.push(...page.messages.map(({ text }) => text));
        since = page.position;
      }
      return texts;
    });
    assert.deepEqual(seen, ["second", "third"]);
    await untilMessages(page, 3);
    assert.deepEqual((await got(page)).messages.map(({ data }) => data), ["first", "second", "third"]);
  });

  it("row_24_of_part_2_a_page_of_a_listed_origin_has_all_of_it_from_another_server_and_others_have_nothing", async () => {
    const other = await Fanline.start({ flags: ["--origin", stage.server.http] });
    try {
      const page = await stage.browser.newPage();
      await page.goto(`${stage.server.http}/healthz`);
      const use = (http) => page.evaluate(async (http) => {
        const heard = new Promise((resolve) => {
          const source = new EventSource(`${http}/rooms/far/events?last=10`, { withCredentials: true });
          source.onmessage = ({ data }) => resolve(data);
          source.onerror = () => resolve("nothing");
        });
        const ask = (path, options) => fetch(`${http}${path}`, { credentials: "include", ...options }).then((answer) => answer.json());
        const headers = { "Content-Type": "application/json", "Idempotency-Key": "once" };
        const said = await ask("/rooms/far/messages", { method: "POST", headers, body: '"hello"' }).catch(() => null);
        const read = await ask("/rooms/far/messages").catch(() => null);
        return { said: said !== null, read: read && read.messages.map(({ text }) => text), heard: await heard };
      }, http);
      assert.deepEqual(await use(other.http), { said: true, read: ['"hello"'], heard: '"hello"' });
      await page.goto(`${other.http}/healthz`);
      assert.deepEqual(await use(stage.server.http), { said: false, read: null, heard: "nothing" }, "it lists nobody");
    } finally {
      await other.stop();
    }
  });
});

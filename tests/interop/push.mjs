// Rooms without WebSocket: what ordinary HTTP clients publish, poll and stream from the running binary.
//
//   FANLINE=…/fanline PYTHON=…/venv/bin/python node --test --test-reporter=tap push.mjs

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import WebSocket from "ws";
import { Fanline, within } from "../support/fanline.mjs";
import { Client, curl } from "./programs.mjs";

const TEST_MS = 60_000;
const WAIT_MS = 15_000;
const COUNT = 60;  // messages in a stream: fewer than a room keeps

const here = dirname(fileURLToPath(import.meta.url));
const python = process.env.PYTHON ?? "python3";
const it = (name, body) => test(name, { timeout: TEST_MS }, body);

let server;
let rooms = 0;
before(async () => { server = await Fanline.start({ flags: ["--ping-interval", "1s"] }); }, { timeout: TEST_MS });
after(async () => { await server?.stop(); }, { timeout: TEST_MS });

/** A room that nobody else is in, with one message. */
async function newRoom() {
  const room = `${server.http}/rooms/${encodeURIComponent(`推 ${rooms += 1}`)}`;
  return { url: room, since: await post(room, "first") };
}

/** Publishes, and tells the position. */
async function post(room, body, type = "text/plain") {
  const answer = await fetch(`${room}/messages`, { method: "POST", headers: { "Content-Type": type }, body });
  assert.equal(answer.status, 201);
  return (await answer.json()).position;
}

const page = async (room, query = "") => (await fetch(`${room}/messages${query}`)).json();
const texts = ({ messages }) => messages.map(({ text }) => text);
const oneLine = (body) => assert.match(body, /^\{"error":"[^\n]+"\}\n$/);
const numbered = Array.from({ length: COUNT }, (_, i) => `${i} 欢迎`);

/** Publishes all of `numbered`, with a pause now and then so that readers meet silence as well as bursts. */
async function publishAll(room) {
  for (const [i, text] of numbered.entries()) {
    await post(room, text);
    if (i % 10 === 9) await sleep(30);
  }
}

/** curl at a stream of events: what has come, awaited line by line. */
class Streaming {
  constructor(url, ...flags) {
    this.child = spawn("curl", ["--silent", "--show-error", "--no-buffer", "--noproxy", "*", ...flags, url]);
    this.text = "";
    this.child.stdout.setEncoding("utf8").on("data", (text) => { this.text += text; this.wake?.(); });
    this.ended = once(this.child, "close");
  }

  async until(what, predicate) {
    await within(WAIT_MS, what, (async () => {
      while (!predicate(this.text)) await new Promise((resolve) => { this.wake = resolve; });
    })()).catch((error) => { throw new Error(`${error.message}; there is:\n${this.text}`); });
  }

  /** Ids and data of the events that have come whole. */
  get events() {
    const blocks = this.text.split("\n\n").slice(0, -1).map((block) => block.split("\n"));
    const field = (lines, name) => lines.filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2));
    return blocks
      .map((lines) => ({ id: field(lines, "id")[0], kind: field(lines, "event")[0], data: field(lines, "data").join("\n") || undefined }))
      .filter(({ data }) => data !== undefined);
  }

  kill() { this.child.kill("SIGKILL"); }
}

async function streaming(url, flags, body) {
  const stream = new Streaming(url, ...flags);
  try {
    return await body(stream);
  } finally {
    stream.kill();
  }
}

// ── Polls ───────────────────────────────────────────────────────────────────────────────────────────────────

describe("polls", () => {
  it("row_53_curl_polls_from_position_to_position_and_empty_is_an_answer", async () => {
    const { url, since } = await newRoom();
    await post(url, "second");
    const all = JSON.parse((await curl(`${url}/messages`)).body);
    assert.deepEqual(texts(all), ["first", "second"]);
    assert.deepEqual([all.recovered, all.more], [true, false]);
    const { status, headers, body } = await curl(`${url}/messages?since=${since}&wait=0`);
    assert.equal(status, 200);
    assert.equal(headers["content-type"], "application/json");
    assert.equal(headers["cache-control"], "no-store");
    assert.equal(Number(headers["content-length"]), Buffer.byteLength(body));
    assert.deepEqual(texts(JSON.parse(body)), ["second"]);
    const empty = JSON.parse((await curl(`${url}/messages?since=${all.position}&wait=0`)).body);
    assert.deepEqual([empty.messages, empty.position, empty.recovered], [[], all.position, true]);
    const first = JSON.parse((await curl(`${url}/messages?since=${since.replace(/\d+$/, "0")}&limit=1`)).body);
    assert.deepEqual([texts(first), first.more, first.position], [["first"], true, since]);
  });

  it("row_53_what_cannot_be_had_is_said_and_what_is_asked_wrongly_is_refused_in_one_line", async () => {
    const { url } = await newRoom();
    const lost = JSON.parse((await curl(`${url}/messages?since=1:1`)).body);
    assert.equal(lost.recovered, false, "that was another life of the room");
    for (const [path, wanted] of [
      [`${url}/messages?since=here`, 400], [`${url}/messages?wait=long`, 400], [`${url}/messages?limit=0`, 400],
      [`${url}/messages?wait=-1`, 400], [`${server.http}/rooms/nobody-was-here/messages`, 404],
    ]) {
      const { status, body } = await curl(path);
      assert.equal(status, wanted, path);
      oneLine(body);
    }
  });

  it("row_52_curl_waits_until_a_message_comes_and_no_longer_than_it_asked", async () => {
    const { url, since } = await newRoom();
    const start = performance.now();
    const waiting = curl(`${url}/messages?since=${since}&wait=20`, { seconds: 25 });
    await sleep(400);
    await post(url, "here it is");
    assert.deepEqual(texts(JSON.parse((await waiting).body)), ["here it is"]);
    const took = performance.now() - start;
    assert.ok(took >= 400 && took < 10_000, `${took} ms`);

    const again = performance.now();
    const { position } = await page(url);
    const empty = JSON.parse((await curl(`${url}/messages?since=${position}&wait=1`)).body);
    assert.deepEqual([empty.messages, empty.position], [[], position]);
    assert.ok(performance.now() - again >= 950);
  });

  it("row_52_a_poll_that_waits_is_answered_when_the_server_is_asked_to_end", async () => {
    const other = await Fanline.start();
    const room = `${other.http}/rooms/r`;
    const since = await post(room, "first");
    const waiting = curl(`${room}/messages?since=${since}&wait=20`, { seconds: 25 });
    await sleep(300);
    await other.stop();
    const { status, headers } = await waiting;
    assert.ok(status === 200 || status === 204 || status === 503, String(status));
    assert.equal(headers.connection, "close");
    // RFC 9110 §8.6: a 204 has no length.
    if (status === 204) assert.equal(headers["content-length"], undefined);
  });

  for (const [client, script] of [["requests", "python_requests.py"], ["aiohttp", "python_aiohttp.py"]]) {
    it(`row_52_python_${client}_polls_long_and_gets_everything_once`, async () => {
      const { url } = await newRoom();
      const { seen, waits } = await play(script, "long_poll", url);
      assert.deepEqual(seen, numbered);
      assert.ok(waits >= 3, `${waits}: it waited between the bursts`);
    });
  }

  it("row_53_python_requests_polls_short_and_gets_everything_once", async () => {
    const { url } = await newRoom();
    const { seen, empty } = await play("python_requests.py", "short_poll", url);
    assert.deepEqual(seen, numbered);
    assert.ok(empty > 0);
  });
});

/** Lets a Python client read what is published while it reads. */
async function play(script, scenario, url) {
  const room = url.slice(url.lastIndexOf("/") + 1);
  const client = new Client([python, join(here, script)], [scenario, server.http, room, String(COUNT)]);
  try {
    await client.untilReady();
    client.go();
    await publishAll(url);
    const reported = await client.reported();
    await client.success();
    return reported;
  } finally {
    client.kill();
  }
}

// ── Events ──────────────────────────────────────────────────────────────────────────────────────────────────

describe("server-sent events", () => {
  it("row_54_curl_reads_events_and_goes_on_after_the_last_it_had", async () => {
    const { url, since } = await newRoom();
    const last = await streaming(`${url}/events`, [], async (stream) => {
      await stream.until("beginning", (text) => text.startsWith(`retry: 2000\nid: ${since}\n\n`));
      await post(url, "two\nlines");
      await post(url, Uint8Array.of(0, 255), "application/octet-stream");
      await stream.until("third event", () => stream.events.length === 2);
      assert.deepEqual(stream.events.map(({ kind, data }) => [kind, data]), [[undefined, "two\nlines"], ["binary", "AP8="]]);
      return stream.events[0].id;
    });
    await post(url, "while nobody read");
    await streaming(`${url}/events`, ["--header", `Last-Event-ID: ${last}`], async (stream) => {
      await stream.until("what was missed", () => stream.events.length === 2);
      await post(url, "and live again");
      await stream.until("what is live", () => stream.events.length === 3);
      assert.deepEqual(stream.events.map(({ data }) => data), ["AP8=", "while nobody read", "and live again"]);
    });
    await streaming(`${url}/events?since=1:1`, [], async (stream) => {
      await stream.until("word that something is missing", () => stream.events.length === 1);
      assert.equal(stream.events[0].kind, "reset");
      assert.equal(JSON.parse(stream.events[0].data).recovered, false);
    });
  });

  it("row_54_a_silent_stream_is_kept_alive_by_comments_and_ends_with_the_server", async () => {
    const other = await Fanline.start({ flags: ["--ping-interval", "1s"] });
    await streaming(`${other.http}/rooms/r/events`, ["--include"], async (stream) => {
      await stream.until("two comments", (text) => text.split("\n:\n").length > 2);
      assert.match(stream.text, /^HTTP\/1\.1 200 OK\r\n/);
      assert.match(stream.text, /\r\ncontent-type: text\/event-stream\r\n/);
      await other.stop();
      const [code] = await within(WAIT_MS, "end of curl", stream.ended);
      assert.equal(code, 0, "a body that ends with the connection is whole");
    });
  });

  it("row_54_node_fetch_reads_a_stream_of_events_cuts_it_and_goes_on", async () => {
    const { url } = await newRoom();
    const seen = [];
    let last = "";
    const read = async (enough) => {
      const cut = new AbortController();
      const answer = await fetch(`${url}/events`, { signal: cut.signal, headers: last ? { "Last-Event-ID": last } : {} });
      assert.equal(answer.headers.get("content-type"), "text/event-stream");
      let text = "";
      for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) {
        text += piece;
        for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
          const lines = text.slice(0, end).split("\n");
          last = lines.find((line) => line.startsWith("id: "))?.slice(4) ?? last;
          const data = lines.filter((line) => line.startsWith("data: ")).map((line) => line.slice(6));
          if (data.length > 0) seen.push(data.join("\n"));
          if (seen.length >= enough) {
            cut.abort();
            return;
          }
        }
      }
      throw new Error("the stream has ended");
    };
    // The first stream stands before anything is published.
    const first = within(WAIT_MS, "first third", read(COUNT / 3));
    await sleep(100);
    const published = publishAll(url);
    await first;
    await within(WAIT_MS, "second third", read((2 * COUNT) / 3));
    await published;
    await within(WAIT_MS, "last third", read(COUNT));
    assert.deepEqual(seen, numbered);
  });

  it("row_54_python_requests_reads_events_line_by_line", async () => {
    const { url } = await newRoom();
    assert.deepEqual((await play("python_requests.py", "events", url)).seen, numbered);
  });
});

// ── Publishing ──────────────────────────────────────────────────────────────────────────────────────────────

/** The next message of a WebSocket in the room, and whether it is binary. */
async function heard(url, body) {
  const room = url.slice(url.lastIndexOf("/") + 1);
  const member = new WebSocket(`${server.ws}/chat/${room}`);
  try {
    await within(WAIT_MS, "open", once(member, "open"));
    const message = once(member, "message");
    const answer = await body();
    const [data, isBinary] = await within(WAIT_MS, "message", message);
    return { answer, data, isBinary };
  } finally {
    member.terminate();
  }
}

describe("publishing with curl", () => {
  it("row_40_curl_publishes_text_or_bytes_as_the_content_type_says", async () => {
    const { url } = await newRoom();
    const type = (value) => [`Content-Type: ${value}`];
    const rows = [
      [type("text/plain"), "房间", false], [type("application/json"), "{\"a\":1}", false],
      [type("application/octet-stream"), "bytes", true], [[], "what curl says of itself is text", false],
      [["Content-Type:"], "nothing is said", true], [type("text/plain"), "", false],
    ];
    for (const [headers, text, wanted] of rows) {
      const { answer, data, isBinary } = await heard(url, () =>
        curl(`${url}/messages`, { headers, flags: ["--data-binary", "@-"], input: text }));
      assert.equal(answer.status, 201, answer.body);
      assert.match(JSON.parse(answer.body).position, /^\d+:\d+$/);
      assert.equal(JSON.parse(answer.body).members, 1);
      assert.deepEqual([data.toString(), isBinary], [text, wanted], String(headers));
    }
    const { status, body } = await curl(`${url}/messages`, {
      headers: type("text/plain"), flags: ["--data-binary", "@-"], input: Buffer.of(0xff),
    });
    assert.equal(status, 400);
    oneLine(body);
  });

  it("row_40_curl_uploads_from_its_standard_input_in_chunks", async () => {
    const { url } = await newRoom();
    const input = randomBytes(700_001);
    const flags = ["--request", "POST", "--upload-file", "-"];
    const { answer, data, isBinary } = await heard(url, () => curl(`${url}/messages`, { flags, input }));
    assert.equal(answer.status, 201, answer.body);
    assert.ok(isBinary && input.equals(data));
    const put = await curl(`${url}/messages`, { flags: ["--upload-file", "-"], input: "a PUT is no POST" });
    assert.deepEqual([put.status, put.headers.allow], [405, "GET, HEAD, POST"]);
    oneLine(put.body);
  });

  it("s10_1_1_rfc9110_curl_is_told_to_go_on_before_it_sends_a_long_body", async () => {
    const { url } = await newRoom();
    const input = "x".repeat(900_000);
    const headers = ["Expect: 100-continue", "Content-Type: text/plain"];
    const flags = ["--data-binary", "@-", "--expect100-timeout", "30"];
    const { answer, data } = await heard(url, () => curl(`${url}/messages`, { headers, flags, input }));
    assert.deepEqual([answer.interim, answer.status], [[100], 201]);
    assert.equal(data.toString(), input);
    const chunks = ["--request", "POST", "--upload-file", "-", "--expect100-timeout", "30"];
    const chunked = await curl(`${url}/messages`, { headers, flags: chunks, input });
    assert.deepEqual([chunked.interim, chunked.status], [[100], 201]);
  });

  it("a_body_that_is_too_long_is_refused_before_it_is_sent_or_while_it_is", async () => {
    const { url } = await newRoom();
    const input = "x".repeat(8_000_000);
    for (const [headers, flags] of [
      [["Expect: 100-continue"], ["--data-binary", "@-", "--expect100-timeout", "30"]],
      [["Expect:"], ["--data-binary", "@-"]],
      [["Expect:"], ["--request", "POST", "--upload-file", "-"]],
    ]) {
      const { status, interim, body, headers: got, errors } = await curl(`${url}/messages`, { headers, flags, input });
      assert.deepEqual([interim, status, got.connection], [[], 413, "close"], errors);
      oneLine(body);
    }
    assert.deepEqual(texts(await page(url)), ["first"]);
  });

  it("row_40_a_retry_with_the_same_idempotency_key_is_published_once", async () => {
    const { url } = await newRoom();
    const send = (key, body) => curl(`${url}/messages`, { headers: [`Idempotency-Key: ${key}`], flags: ["--data-raw", body] });
    const [first, again, other] = [await send("k1", "once"), await send("k1", "once"), await send("k2", "twice")];
    assert.deepEqual([first.status, again.status, other.status], [201, 200, 201]);
    assert.equal(JSON.parse(first.body).position, JSON.parse(again.body).position);
    assert.deepEqual(texts(await page(url)), ["first", "once", "twice"]);
    const long = await send("k".repeat(129), "never");
    assert.equal(long.status, 400);
    oneLine(long.body);
  });

  it("s9_3_rfc9112_curl_keeps_one_connection_for_all_it_asks", async () => {
    const { url } = await newRoom();
    const flags = ["--silent", "--output", "/dev/null", "--noproxy", "*", "--write-out", "%{http_code} %{num_connects}\n"];
    const urls = [`${url}/messages`, `${url}/presence`, `${server.http}/healthz`, `${url}/messages?wait=1`, `${url}/nowhere/at/all`, url];
    const child = spawn("curl", urls.flatMap((each) => [...flags, each, "--next"]).slice(0, -1));
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text) => { output += text; });
    await within(WAIT_MS, "end of curl", once(child, "close"));
    assert.deepEqual(output.trim().split("\n"), ["200 1", "200 0", "200 0", "200 0", "404 0", "200 0"]);
  });
});

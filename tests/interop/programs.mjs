// The programs that the tests run: clients that play a scenario (see common.py), and curl.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { within } from "../support/fanline.mjs";

const CLIENT_MS = 60_000;  // for one client to play its scenario
const LINE_MS = 30_000;    // for one line of a client that we wait for

const here = fileURLToPath(new URL(".", import.meta.url));

/** A client at work: its lines, and its end. */
export class Client {
  constructor([program, ...flags], args) {
    this.child = spawn(program, [...flags, ...args], { cwd: here, stdio: ["pipe", "pipe", "pipe"] });
    this.child.stdin.on("error", () => {});  // it may have ended before it read
    this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
    this.errors = "";
    this.child.stderr.setEncoding("utf8").on("data", (text) => { this.errors += text; });
    this.ended = once(this.child, "close");
    this.ended.catch(() => {});
  }

  async line() {
    const { value, done } = await within(LINE_MS, "line from the client", this.lines.next());
    if (done) throw new Error(`the client ended early\n${this.errors}`);
    return value;
  }

  async untilReady() { assert.equal(await this.line(), "ready"); }
  go() { this.child.stdin.write("go\n"); }
  async reported() { return JSON.parse(await this.line()); }

  async success() {
    const [code, signal] = await within(CLIENT_MS, "end of the client", this.ended);
    assert.equal(code, 0, `the client ended with ${code ?? signal}\n${this.errors}`);
  }

  kill() { this.child.kill("SIGKILL"); }
}

const CURL = ["--silent", "--show-error", "--include", "--no-buffer", "--noproxy", "*", "--http1.1"];

/**
 * Status, headers (names in lower case) and body of curl's answer; `interim` are the statuses before it. A connection
 * without an end is ended after `seconds`, which is no failure. `input` is what curl reads from its standard input.
 */
export async function curl(url, { headers = [], flags = [], input, seconds = 10 } = {}) {
  const lines = headers.flatMap((line) => ["--header", line]);
  const child = spawn("curl", [...CURL, "--max-time", String(seconds), ...lines, ...flags, url]);
  let output = "", errors = "";
  child.stdout.setEncoding("utf8").on("data", (text) => { output += text; });
  child.stderr.setEncoding("utf8").on("data", (text) => { errors += text; });
  child.stdin.on("error", () => {});  // it may have had its answer before it read all
  child.stdin.end(input);
  await within((seconds + 10) * 1000, "end of curl", once(child, "close"));
  const interim = [];
  for (;;) {
    const [head, ...body] = output.split("\r\n\r\n");
    const [statusLine, ...fields] = head.split("\r\n");
    assert.match(statusLine, /^HTTP\/1\.1 \d{3}/, `${errors}\n${output.slice(0, 300)}`);
    const status = Number(statusLine.split(" ")[1]);
    if (status < 200 && status !== 101) {
      interim.push(status);
      output = body.join("\r\n\r\n");
      continue;
    }
    const pairs = fields.map((line) => line.split(/: */, 2)).map(([field, value]) => [field.toLowerCase(), value]);
    return { status, interim, headers: Object.fromEntries(pairs), body: body.join("\r\n\r\n"), errors };
  }
}

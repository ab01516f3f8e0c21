// Starts and ends the Fanline binary for the tests that run it from outside. Every wait here has a deadline.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const BINARY = process.env.FANLINE;
const START_MS = 10_000;
const STOP_MS = 10_000;

/** The promise's outcome, or an error naming `what` once `ms` have passed. */
export async function within(ms, what, promise) {
  const over = new AbortController();
  const deadline = sleep(ms, null, { signal: over.signal }).then(
    () => { throw new Error(`no ${what} within ${ms} ms`); },
    () => {},
  );
  try {
    return await Promise.race([promise, deadline]);
  } finally {
    over.abort();
  }
}

/** One running server. `port` 0 lets the system choose; `flags` come after `--listen`. */
export class Fanline {
  static async start({ port = 0, flags = [] } = {}) {
    if (!BINARY) throw new Error("FANLINE must hold the path of the server's binary");
    const child = spawn(BINARY, ["--listen", `127.0.0.1:${port}`, ...flags], { stdio: ["ignore", "pipe", "pipe"] });
    const server = new Fanline(child, flags.includes("--admin-listen"));
    try {
      await within(START_MS, "line `listening on …` from the server", server.#listening());
    } catch (error) {
      child.kill("SIGKILL");
      throw new Error(`${error.message}\n${server.stderr}`, { cause: error });
    }
    return server;
  }

  stderr = "";
  #child;
  #ended;
  #hasAdmin;

  constructor(child, hasAdmin = false) {
    this.#child = child;
    this.#hasAdmin = hasAdmin;
    this.#ended = new Promise((resolve) => child.once("exit", (code, signal) => resolve({ code, signal })));
    child.stderr.setEncoding("utf8").on("data", (text) => { this.stderr = (this.stderr + text).slice(-16_384); });
  }

  async #listening() {
    const failed = new Promise((_, reject) => {
      this.#child.once("error", reject);
      this.#child.once("exit", (code) => reject(new Error(`the server ended with ${code} before it listened`)));
    });
    failed.catch(() => {});
    const found = new Promise((resolve) => {
      // The reader stays for the server's whole life, so that its pipe never fills.
      createInterface({ input: this.#child.stdout }).on("line", (line) => {
        const [, url, forAdmins] = /listening on (http:\/\/\S+)( for admins)?/.exec(line) ?? [];
        if (forAdmins) this.admin = url;
        else if (url) this.http = url.replace(/\/$/, "");
        if (this.http && (this.admin || !this.#hasAdmin)) resolve();
      });
    });
    await Promise.race([found, failed]);
    this.ws = this.http.replace(/^http/, "ws");
    this.port = Number(new URL(this.http).port);
  }

  /** SIGKILL: the connections end without a word. */
  async kill() {
    this.#child.kill("SIGKILL");
    await within(STOP_MS, "exit after SIGKILL", this.#ended);
  }

  /** SIGTERM, which the server answers with 1001 to everyone and exit code 0. */
  async stop() {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill("SIGTERM");
    try {
      const { code, signal } = await within(STOP_MS, "exit after SIGTERM", this.#ended);
      if (code !== 0) throw new Error(`the server ended with ${code ?? signal}, not 0\n${this.stderr}`);
    } finally {
      this.#child.kill("SIGKILL");
    }
  }
}

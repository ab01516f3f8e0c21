// Node's own WebSocket, which is the browsers' interface over undici.

import { browserStyle, main } from "./common.mjs";

await main(browserStyle(globalThis.WebSocket));

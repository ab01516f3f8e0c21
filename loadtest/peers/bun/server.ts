// Bun.serve with its publish and subscribe, as in Bun's documentation on WebSockets; uWebSockets is inside.
const at = process.argv.indexOf("--listen");
const [hostname, port] = (at < 0 ? "127.0.0.1:0" : process.argv[at + 1]).split(":");

const server = Bun.serve<{ room: string | null }>({
  hostname,
  port: Number(port),
  fetch(request, server) {
    const { pathname } = new URL(request.url);
    const room = pathname.startsWith("/chat/") ? pathname : null;
    if (server.upgrade(request, { data: { room } })) return;
    return new Response("a WebSocket is expected", { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    idleTimeout: 0,
    open(socket) {
      if (socket.data.room) socket.subscribe(socket.data.room);
    },
    message(socket, message) {
      if (socket.data.room) server.publish(socket.data.room, message);
      else socket.send(message);
    },
  },
});

console.log(`listening on http://${server.hostname}:${server.port}`);

// ws on Node, as in its README: the echo server and "server broadcast", by path.
import { createServer } from 'node:http';
import WebSocket, { WebSocketServer } from 'ws';

const at = process.argv.indexOf('--listen');
const [host, port] = (at < 0 ? '127.0.0.1:0' : process.argv[at + 1]).split(':');
const rooms = new Map();
const server = createServer();
const wss = new WebSocketServer({ server });

wss.on('connection', function connection(ws, request) {
  ws.on('error', () => {});
  if (!request.url.startsWith('/chat/')) {
    ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }));
    return;
  }
  const members = rooms.get(request.url) ?? new Set();
  rooms.set(request.url, members.add(ws));
  ws.on('close', () => members.delete(ws));
  ws.on('message', function message(data, isBinary) {
    members.forEach(function each(client) {
      if (client.readyState === WebSocket.OPEN) client.send(data, { binary: isBinary });
    });
  });
});

server.listen(Number(port), host, () => {
  const { address, port } = server.address();
  console.log(`listening on http://${address}:${port}`);
});

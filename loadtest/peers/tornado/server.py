"""Tornado, as its tutorial's chat has it: a loop over the users."""

import asyncio
import sys

import tornado.httpserver
import tornado.netutil
import tornado.web
import tornado.websocket


class Echo(tornado.websocket.WebSocketHandler):
    """Every message goes back."""

    def open(self):
        self.set_nodelay(True)

    def on_message(self, message):
        self.write_message(message, binary=isinstance(message, bytes))


class Chat(tornado.websocket.WebSocketHandler):
    """Every message goes to everybody in the room."""

    rooms = {}

    def open(self, room):
        self.set_nodelay(True)
        self.users = self.rooms.setdefault(room, set())
        self.users.add(self)

    def on_close(self):
        self.users.discard(self)

    def on_message(self, message):
        for user in self.users:
            user.write_message(message, binary=isinstance(message, bytes))


async def main():
    """Serves until it is killed."""
    listen = sys.argv[sys.argv.index("--listen") + 1] if "--listen" in sys.argv else "127.0.0.1:0"
    host, port = listen.rsplit(":", 1)
    application = tornado.web.Application([(r"/echo", Echo), (r"/chat/(.*)", Chat)], websocket_ping_interval=0)
    sockets = tornado.netutil.bind_sockets(int(port), address=host, backlog=4096)
    tornado.httpserver.HTTPServer(application).add_sockets(sockets)
    print("listening on http://%s:%d" % sockets[0].getsockname()[:2], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())

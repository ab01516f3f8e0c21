"""Python `websocket-client`, the synchronous client of the tutorials."""

import struct
import time

from common import BINARY, CLOSE, MEBIBYTE, TEXT, chat, expect, main, ready, report
from websocket import ABNF, create_connection

TIMEOUT = 20


def code_and_reason(payload):
    return struct.unpack(">H", payload[:2])[0], payload[2:].decode()


def text(base):
    ws = create_connection(f"{base}/echo", timeout=TIMEOUT)
    ws.send(TEXT)
    expect(ws.recv(), TEXT)
    ws.close()


def binary(base):
    ws = create_connection(f"{base}/echo", timeout=TIMEOUT)
    ws.send_binary(BINARY)
    expect(ws.recv_data(), (ABNF.OPCODE_BINARY, BINARY))
    ws.close()


def mebibyte(base):
    ws = create_connection(f"{base}/echo", timeout=TIMEOUT)
    ws.send(MEBIBYTE)
    expect(ws.recv(), MEBIBYTE)
    ws.close()


def ping(base):
    ws = create_connection(f"{base}/echo", timeout=TIMEOUT)
    ws.ping("are you there?")
    opcode, frame = ws.recv_data_frame(control_frame=True)
    expect((opcode, frame.data), (ABNF.OPCODE_PONG, b"are you there?"))
    ws.close()


def fragments(base):
    ws = create_connection(f"{base}/echo", timeout=TIMEOUT)
    parts = TEXT.encode()
    ws.send_frame(ABNF.create_frame(parts[:6].decode(), ABNF.OPCODE_TEXT, fin=0))
    ws.ping("between")
    ws.send_frame(ABNF.create_frame(parts[6:11], ABNF.OPCODE_CONT, fin=0))  # cut inside a character
    ws.send_frame(ABNF.create_frame(parts[11:], ABNF.OPCODE_CONT, fin=1))
    opcode, _ = ws.recv_data_frame(control_frame=True)
    expect(opcode, ABNF.OPCODE_PONG)
    expect(ws.recv(), TEXT)
    ws.close()


def client_close(base):
    code, reason = CLOSE
    ws = create_connection(f"{base}/echo", timeout=TIMEOUT)
    ws.send_close(code, reason.encode())
    opcode, frame = ws.recv_data_frame(control_frame=True)
    expect((opcode, code_and_reason(frame.data)[0]), (ABNF.OPCODE_CLOSE, code))
    expect(ws.sock.recv(1), b"")  # §7.1.1: the server ends the TCP connection first


def server_close(base):
    ws = create_connection(f"{base}/echo", timeout=TIMEOUT)
    ready()
    opcode, payload = ws.recv_data()
    expect(opcode, ABNF.OPCODE_CLOSE)
    code, reason = code_and_reason(payload)
    report({"code": code, "reason": reason})


def too_big(base):
    ws = create_connection(f"{base}/echo", timeout=TIMEOUT)
    try:
        ws.send(MEBIBYTE)
    except OSError:
        pass  # the server may have closed meanwhile; what it said is still to be read
    opcode, payload = ws.recv_data()
    expect(opcode, ABNF.OPCODE_CLOSE)
    code, reason = code_and_reason(payload)
    report({"code": code, "reason": reason})


def room(base, name, label, count):
    ws = create_connection(chat(base, name), timeout=TIMEOUT)
    ready()
    for i in range(int(count)):
        ws.send(f"{label} {i}")
    report([ws.recv() for _ in range(2 * int(count))])
    ws.close()


def tutorial(base):
    """The long-lived program of the tutorials: connect once, send, wait, receive, in the end close."""
    ws = create_connection(f"{base}/echo")
    for i in range(20):
        message = f"{TEXT} {i}"
        ws.send(message)
        expect(ws.recv(), message)
        time.sleep(0.05)
    started = time.monotonic()
    ws.close()
    took = time.monotonic() - started
    assert took < 1, f"close() took {took:.1f} s: the server did not answer it"


main(globals())

"""What a hostile program in a sandbox sends: raw bytes, cut anywhere, to the proxy and past it.

The attack suite puts this before each of its own scripts. Only the standard library is used.
"""

import base64
import http.client
import json
import os
import socket
import ssl
import struct
import sys

HOST, OTHER, PROXY = "api.example.com", "other.example.com", ("127.0.0.1", 3128)
KEY = os.environ["TEST_API_KEY"]
# The longest that an answer, or the end of a connection, is waited for.
PATIENCE = 20


def opened(address=PROXY):
    stream = socket.create_connection(address, PATIENCE)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


def send_cut(stream, data, at):
    """Sends in two segments, or every byte for itself when `at` is None."""
    parts = [data[:at], data[at:]] if at is not None else [data[i : i + 1] for i in range(len(data))]
    for part in parts:
        if part:
            stream.sendall(part)


def rest(stream):
    """Everything until the other side closes."""
    data = b""
    try:
        while part := stream.recv(65536):
            data += part
    except OSError:
        pass
    return data


def head(stream):
    """A response's head, and no byte more."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        part = stream.recv(1)
        if not part:
            break
        data += part
    return data


def connect(target, cut=0):
    """A CONNECT; the stream and the status."""
    stream = opened()
    host = target if isinstance(target, bytes) else target.encode()
    send_cut(stream, b"CONNECT " + host + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n", cut)
    answer = head(stream)
    return stream, int(answer.split()[1]) if answer.startswith(b"HTTP/1.") else 0


def trusting():
    return ssl.create_default_context()


def tls(stream, name=HOST, protocols=("http/1.1",)):
    context = trusting()
    context.set_alpn_protocols(list(protocols))
    if name != HOST:
        # Whoever answers is heard out.
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(stream, server_hostname=name)


def tls_cut(stream, cut):
    """TLS whose first flight is sent in pieces."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = trusting().wrap_bio(incoming, outgoing, server_hostname=HOST)
    first = True

    def step(do):
        nonlocal first
        while True:
            try:
                result = do()
                if outgoing.pending:
                    stream.sendall(outgoing.read())
                return result
            except ssl.SSLWantReadError:
                if outgoing.pending:
                    data = outgoing.read()
                    send_cut(stream, data, cut if first else 0)
                    first = False
                part = stream.recv(65536)
                if not part:
                    raise ConnectionError("closed")
                incoming.write(part)

    step(session.do_handshake)
    return session, step


def through(request, target=HOST + ":443", name=HOST):
    """Sends raw bytes in TLS through a CONNECT; the whole answer."""
    stream, status = connect(target)
    if status != 200:
        return b"HTTP/1.1 %d" % status
    try:
        stream = tls(stream, name)
        stream.sendall(request)
        return rest(stream)
    except OSError as error:
        return repr(error).encode()


def status(answer):
    return int(answer.split()[1]) if answer.startswith(b"HTTP/1.") else 0


def get(path, headers=None, host=HOST, method="GET", body=None):
    """A request as an honest program sends it; status, headers, body."""
    connection = http.client.HTTPSConnection(host, timeout=PATIENCE)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        reply = connection.getresponse()
        return reply.status, dict(reply.getheaders()), reply.read()
    except (OSError, http.client.HTTPException) as error:
        return 0, {}, repr(error).encode()
    finally:
        connection.close()


def bearer(value=None):
    return {"Authorization": "Bearer " + (value or KEY)}


def head_of(path, extra=b"", host=HOST, method=b"GET"):
    return method + b" " + path + b" HTTP/1.1\r\nHost: " + host.encode() + b"\r\nConnection: close\r\n" + extra

"""Attacks a gate over HTTP/2, frame by frame: python3 http2_attacks.py --port PORT [--tls] --group GROUP

Each case has a connection of its own and asks for a path of its own, /CASE. One line of JSON comes out for each:
what was expected and what was observed, whether the two agree, and in `forwarded`, for each path, the least and
the most often that it may have reached the service; whoever runs this can see that, and this cannot.

The service must echo what reached it as JSON, except in the floods: there, 200 is enough, and /slow-... must be
answered with a long body. Frames that no library would send are put together here; hyperframe and hpack read the
answers, and h2 makes the requests that must pass. Ends by itself within a minute.
"""
import argparse
import collections
import concurrent.futures
import json
import signal
import socket
import ssl
import struct
import time

import h2.config
import h2.connection
import h2.errors
import h2.events
import hpack
import hyperframe.frame

# What a case must come to.
SERVED = "served"  # every request is answered with 200
REFUSED = "refused"  # by a status, a reset, or the end of the connection; nothing reaches the service
EITHER = "either"  # one of the two
ENDED = "ended"  # the gate ends the connection
LIMITED = "limited"  # the gate ends the connection, or refuses all requests but as many as it serves at a time
HELD = "held"  # the gate ends the connection, stops reading, or goes on answering: judged by its memory

# How long the whole may take, how long one case may wait, and when a gate that reads nothing has stopped reading.
# Only failures and such gates use them up.
WHOLE, DEADLINE, STALL = 58, 15, 2
AT_A_TIME = 128

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
TABLE_SIZE, ENABLE_PUSH, INITIAL_WINDOW, MAX_FRAME = 1, 2, 4, 5

# The largest window there is, and one that no answer fills.
MAXIMUM, OPEN_SIZE = 0x7FFFFFFF, 0x7FFF0000

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: gate.test\r\n\r\n"
# Stands in every forged value, so that one search at the service finds whatever came through.
FORGED = "forged-value"
IDENTITY = [
    "x-consumer-id", "x-consumer-custom-id", "x-consumer-username", "x-consumer-groups", "x-credential-identifier",
    "x-anonymous-consumer", "x-authenticated-groups", "x-authenticated-scope", "x-authenticated-userid",
]


def frame(kind, stream=0, payload=b"", flags=0):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(*pairs):
    return b"".join(struct.pack(">HI", name, value) for name, value in pairs)


def number(value):
    return struct.pack(">I", value)


def data(stream, content=b"", end=False):
    return frame(DATA, stream, content, END_STREAM if end else 0)


def window(stream, size):
    return frame(WINDOW_UPDATE, stream, number(size))


def reset(stream):
    return frame(RST_STREAM, stream, number(8))


def literal(name, value):
    """A header line in HPACK, byte for byte: not Huffman-coded, not put into the table."""
    return b"\x00" + short(name) + short(value)


def short(text):
    assert len(text) < 127
    return bytes([len(text)]) + text


def as_bytes(text):
    return text if isinstance(text, bytes) else text.encode("latin-1")


class Stream:
    """One request as its caller sees it."""

    def __init__(self):
        self.status = self.reset = None
        self.ended = False
        self.body = b""

    @property
    def refused(self):
        return self.reset is not None or self.status is not None and self.is_refusal

    @property
    def is_refusal(self):
        """502 and its like are none: the service was asked. Nor is 500, which is a fault of the gate."""
        return 400 <= self.status < 500 or self.status in (501, 505)

    @property
    def served(self):
        return self.status == 200 and self.ended and self.reset is None

    @property
    def concluded(self):
        return self.refused or self.ended

    def __str__(self):
        said = [] if self.status is None else [str(self.status)]
        said += [] if self.reset is None else [f"reset {self.reset}"]
        said += [] if self.concluded else ["open"]
        return ", ".join(said)


class Connection:
    """A connection to the gate, and what came back on it. Nothing is sent that a case did not ask for, save the
    greeting."""

    def __init__(self, gate, name, opening=b"", greet=True, buffer=None):
        self.gate, self.name = gate, name
        self.streams = {}
        self.goaway = self.plain = None
        self.closed = self.stalled = False
        self.max_frame = 16384
        self.frames = collections.Counter()
        self.pongs = set()
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.unread, self.block = b"", b""
        self.socket = socket.socket()
        self.socket.settimeout(DEADLINE)
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.connect(("127.0.0.1", gate.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if gate.tls:
            self.socket = gate.tls.wrap_socket(self.socket, server_hostname="gate.test")
            assert self.socket.selected_alpn_protocol() == "h2", "the gate did not choose h2"
        if greet:
            self.greet(opening)

    def greet(self, opening):
        """Both sides agree on their settings first: no acknowledgement comes between the frames of a case."""
        self.send(PREFACE, frame(SETTINGS, 0, opening))
        self.wait(lambda: self.frames["SETTINGS"] and self.frames["SETTINGS ACK"])
        assert self.frames["SETTINGS ACK"] and not self.over, f"no greeting: {self.observed()}"
        self.send(frame(SETTINGS, flags=ACK))

    # Sending

    def send(self, *frames, patience=DEADLINE):
        """Whether the gate took all of it."""
        if self.closed or self.stalled:
            return False
        try:
            self.socket.settimeout(patience)
            self.socket.sendall(b"".join(frames))
            return True
        except TimeoutError:
            self.stalled = True
        except OSError:
            # It has closed; what it said before that can still be read.
            self.drain()
            self.closed = True
        return False

    def flood(self, batches, read=True, patience=DEADLINE):
        """Sends on until the gate ends the connection or stops reading."""
        for batch in batches:
            if not self.send(batch, patience=patience):
                return
            if read:
                self.drain()
            if self.over:
                return

    def open(self):
        """The identifier of the next request."""
        stream = 2 * len(self.streams) + 1
        self.streams[stream] = Stream()
        return stream

    def fields(self, *fields, **pseudo):
        """A request: the four pseudo-headers (one that is None is left out), and then `fields`."""
        scheme = "https" if self.gate.tls else "http"
        head = {"method": "GET", "scheme": scheme, "authority": "gate.test", "path": "/NAME", **pseudo}
        lines = [(":" + name, value) for name, value in head.items() if value is not None] + list(fields)
        return [(as_bytes(name), as_bytes(value).replace(b"NAME", self.name.encode())) for name, value in lines]

    def head(self, stream, *fields, **pseudo):
        return self.headers(stream, self.fields(*fields, **pseudo))

    def headers(self, stream, fields, end=True, tail=b"", piece=16384, huffman=False):
        """HEADERS, and as many CONTINUATIONs as it takes. `tail` are further bytes of HPACK."""
        block = self.encoder.encode(fields, huffman=huffman) + tail
        pieces = [block[at:at + piece] for at in range(0, len(block), piece)]
        frames = [frame(CONTINUATION if at else HEADERS, stream, part, 0 if at or not end else END_STREAM)
                  for at, part in enumerate(pieces)]
        # The last one says so.
        frames[-1] = frames[-1][:4] + bytes([frames[-1][4] | END_HEADERS]) + frames[-1][5:]
        return b"".join(frames)

    # Receiving

    def drain(self, patience=0.0):
        """Takes what is there, or what comes first within `patience`. Whether there was something."""
        if self.closed:
            return False
        took = False
        while not self.closed:
            try:
                self.socket.settimeout(0.0 if took else patience)
                received = self.socket.recv(1 << 18)
            except (TimeoutError, BlockingIOError, ssl.SSLWantReadError):
                return took
            except OSError:
                received = b""
            took = True
            if received:
                self.take(received)
            else:
                self.closed = True
        return took

    def take(self, received):
        self.unread += received
        if self.unread.startswith(b"HTTP/1."):
            self.plain = int(self.unread[9:12] or 0)
            return
        at = 0
        while len(self.unread) >= at + 9:
            head = memoryview(self.unread)[at:at + 9]
            got, length = hyperframe.frame.Frame.parse_frame_header(head)
            if len(self.unread) < at + 9 + length:
                break
            assert length <= 16384, f"a frame of {length} bytes, and 16384 are allowed"
            got.parse_body(memoryview(self.unread)[at + 9:at + 9 + length])
            at += 9 + length
            self.judge_frame(got)
        self.unread = self.unread[at:]

    def judge_frame(self, got):
        kind = type(got).__name__.removesuffix("Frame").upper()
        self.frames[kind + (" ACK" if "ACK" in got.flags else "")] += 1
        stream = self.streams.get(got.stream_id, Stream())
        if isinstance(got, hyperframe.frame.SettingsFrame):
            self.max_frame = got.settings.get(MAX_FRAME, self.max_frame)
        if isinstance(got, (hyperframe.frame.HeadersFrame, hyperframe.frame.ContinuationFrame)):
            self.block += got.data
            if "END_HEADERS" in got.flags:
                fields = dict(self.decoder.decode(self.block))
                self.block = b""
                # Interim answers are passed over, and trailers say nothing here.
                stream.status = int(fields.get(":status", stream.status))
        elif isinstance(got, hyperframe.frame.DataFrame):
            stream.body += got.data
        elif isinstance(got, hyperframe.frame.RstStreamFrame):
            stream.reset = error_name(got.error_code)
        elif isinstance(got, hyperframe.frame.GoAwayFrame):
            self.goaway = error_name(got.error_code)
        elif isinstance(got, hyperframe.frame.PingFrame):
            self.pongs.add(bytes(got.opaque_data))
        stream.ended |= "END_STREAM" in got.flags

    def wait(self, condition, patience=DEADLINE):
        """Reads until something holds or the connection has ended. Whether it holds."""
        end = time.monotonic() + patience
        while not (condition() or self.over) and (left := end - time.monotonic()) > 0:
            self.drain(left)
        return bool(condition())

    def answers_ping(self):
        """Whether the gate still reads and answers: it has then seen everything before."""
        asked = struct.pack(">Q", len(self.pongs) + 1)
        return self.send(frame(PING, 0, asked)) and self.wait(lambda: asked in self.pongs)

    def finish(self):
        self.wait(lambda: self.streams and all(stream.concluded for stream in self.streams.values()))

    # Judging

    @property
    def over(self):
        """A GOAWAY without an error only announces the end."""
        return self.closed or self.goaway not in (None, "NO_ERROR") or (self.plain or 0) >= 400

    @property
    def served(self):
        return sum(stream.status == 200 and stream.reset is None for stream in self.streams.values())

    def echo(self):
        """What the service saw of the last request."""
        return json.loads(self.streams[max(self.streams)].body)

    def observed(self):
        streams = collections.Counter(str(stream) for stream in self.streams.values())
        said = {"streams": streams, "goaway": self.goaway, "http1": self.plain, "closed": self.closed,
                "stalled": self.stalled}
        return {name: value for name, value in said.items() if value}

    def agrees(self, expected):
        streams = self.streams.values()
        accepted = [stream for stream in streams if not stream.refused]
        answered = any(stream.status is not None and not stream.is_refusal for stream in streams)
        ended = self.over or self.goaway is not None
        return {
            SERVED: lambda: streams and all(stream.served for stream in streams) and self.goaway in (None, "NO_ERROR"),
            REFUSED: lambda: not answered and (self.over or streams and not accepted),
            EITHER: lambda: self.over or streams and all(stream.served or stream.refused for stream in streams),
            ENDED: lambda: ended,
            LIMITED: lambda: ended or len(accepted) <= AT_A_TIME < len(streams),
            HELD: lambda: self.answers_ping() or self.over or self.stalled,
        }[expected]()

    def forwarded(self, expected):
        """How often the path of this case reached the service, at least and at most."""
        if expected == REFUSED:
            return [0, 0]
        return [self.served, len(self.streams)]


def error_name(code):
    try:
        return h2.errors.ErrorCodes(code).name
    except ValueError:
        return str(code)


class Library(Connection):
    """The same with the h2 library as the caller: it also objects to whatever the gate does wrong."""

    def greet(self, opening):
        config = h2.config.H2Configuration(client_side=True, header_encoding="latin-1")
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(1 << 24)
        self.flush()

    def flush(self):
        return self.send(self.h2.data_to_send())

    def take(self, received):
        for event in self.h2.receive_data(received):
            stream = self.streams.get(getattr(event, "stream_id", None), Stream())
            if isinstance(event, h2.events.ResponseReceived):
                stream.status = int(dict(event.headers)[":status"])
            elif isinstance(event, h2.events.DataReceived):
                stream.body += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                stream.ended = True
            elif isinstance(event, h2.events.StreamReset):
                stream.reset = error_name(event.error_code)
            elif isinstance(event, h2.events.ConnectionTerminated):
                self.goaway = error_name(event.error_code)
            elif isinstance(event, h2.events.PingAckReceived):
                self.pongs.add(bytes(event.ping_data))
        self.flush()

    def ask(self, *fields, body=None, trailers=None, **pseudo):
        """One request; the body goes out as the gate's windows allow."""
        stream = self.open()
        self.h2.send_headers(stream, self.fields(*fields, **pseudo), end_stream=body is None and trailers is None)
        rest = body or b""
        while rest:
            may = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if may:
                self.h2.send_data(stream, rest[:may])
                self.flush()
                rest = rest[may:]
            elif not self.wait(lambda: self.h2.local_flow_control_window(stream)):
                return
        if trailers is not None:
            self.h2.send_headers(stream, trailers, end_stream=True)
        elif body is not None:
            self.h2.end_stream(stream)
        self.flush()


# What a case does on its connection `c`; those that take something else return such a function.


def get(*fields, **pseudo):
    """A request in one HEADERS frame."""
    def attack(c):
        c.send(c.head(c.open(), *fields, **pseudo))
    return attack


def post(*fields, body=(b"hello",), trailers=None, trailers_end=True, **pseudo):
    """A request with a DATA frame for each piece of `body`; the last one or the trailers end it."""
    def attack(c):
        stream = c.open()
        head = c.headers(stream, c.fields(*fields, **{"method": "POST", **pseudo}), end=False)
        frames = [data(stream, piece, trailers is None and at + 1 == len(body)) for at, piece in enumerate(body)]
        if trailers is not None:
            frames.append(c.headers(stream, trailers, end=trailers_end))
        c.send(head, *frames)
    return attack


def block(tail, front=b""):
    """A request whose header block has further bytes of HPACK before or behind."""
    def attack(c):
        stream = c.open()
        lines = front + c.encoder.encode(c.fields(), huffman=False) + tail
        c.send(frame(HEADERS, stream, lines, END_STREAM | END_HEADERS))
    return attack


def before(*frames):
    """Frames, and then a request that must not be served any more, or must be served all the same."""
    def attack(c):
        c.send(*frames, c.head(c.open()))
    return attack


def within(*frames):
    """Frames between the head of a request and its body. The request is number 1."""
    def attack(c):
        stream = c.open()
        c.send(c.headers(stream, c.fields(method="POST"), end=False), *frames, data(stream, b"hello", True))
    return attack


def behind(*frames):
    """Frames behind the end of request number 1, in the same write."""
    def attack(c):
        c.send(c.head(c.open()), *frames)
    return attack


def in_pieces(*frames):
    """Frames between a HEADERS and its CONTINUATION."""
    def attack(c):
        whole = c.head(c.open())
        payload = whole[9:]
        c.send(frame(HEADERS, 1, payload[:5], END_STREAM), *frames, frame(CONTINUATION, 1, payload[5:], END_HEADERS))
    return attack


def ask(*fields, times=1, **request):
    """Requests by the h2 library."""
    def attack(c):
        for _ in range(times):
            c.ask(*fields, **request)
    return attack


def wrong_preface(start):
    def attack(c):
        c.send(start, frame(SETTINGS), c.head(c.open()))
    return attack


def requests_in_a_row(count, frames, batch=100, **changes):
    """Requests, each followed by `frames(stream)`, written `batch` at a time."""
    def attack(c):
        def batches():
            for _ in range(count // batch):
                streams = [c.open() for _ in range(batch)]
                yield b"".join(c.headers(stream, c.fields(), **changes) + frames(stream) for stream in streams)
        c.flood(batches())
        c.answers_ping()
    return attack


def over_and_over(one, batches, per_batch=500, head=None, read=True):
    """The same frame without end, after a request that is still open if `head` says so."""
    def attack(c):
        if head:
            c.send(head(c))
        c.flood((one * per_batch for _ in range(batches)), read, DEADLINE if read else STALL)
        if head is without_end or head is in_a_long_value:
            # No other frame may come now: a PING would end any connection.
            c.wait(lambda: False, 5)
        elif read:
            c.answers_ping()
    return attack


def open_post(c):
    return c.headers(c.open(), c.fields(method="POST"), end=False)


def without_end(c):
    """HEADERS that announce a CONTINUATION."""
    return frame(HEADERS, c.open(), c.encoder.encode(c.fields(), huffman=False))


def in_a_long_value(c):
    """The same, in the middle of a value that is said to be of eight megabytes."""
    return without_end(c) + frame(CONTINUATION, 1, b"\x00\x01x" + hpack.hpack.encode_integer(8 << 20, 7))


def larger_than_allowed(c):
    stream = c.open()
    c.send(c.headers(stream, c.fields(method="POST"), end=False), data(stream, b"x" * (c.max_frame + 1), True))


def unknown_and_larger_than_allowed(c):
    c.send(frame(0xEE, 0, b"x" * (c.max_frame + 1)), c.head(c.open()))


def table_larger_than_allowed(c):
    update = hpack.hpack.encode_integer(1 << 30, 5)
    update[0] |= 0x20
    block(b"", front=bytes(update))(c)


def data_beyond_the_window(c):
    stream = c.open()
    c.send(window(0, OPEN_SIZE - 65535), c.headers(stream, c.fields(method="POST"), end=False))
    c.flood([data(stream, b"x" * 16384)] * 256)
    c.send(data(stream, b"", True))


def window_overflow_by_settings(c):
    stream = c.open()
    c.send(c.headers(stream, c.fields(method="POST"), end=False), window(stream, OPEN_SIZE),
           frame(SETTINGS, 0, settings((INITIAL_WINDOW, MAXIMUM))), data(stream, b"hello", True))


def decreasing_identifier(c):
    c.streams[5] = Stream()
    c.send(c.head(5, path="/NAME"))
    c.wait(lambda: c.streams[5].concluded)
    c.streams[3] = Stream()
    c.send(c.head(3, path="/smuggled"))


def bomb(c):
    """One long line in the table, and then a byte for each time it is named again: 48 MiB in 16 KiB."""
    stream = c.open()
    block = c.encoder.encode(c.fields(("x-bomb", "b" * 4000)), huffman=False)
    block += b"\xbe" * (16384 - len(block))
    c.send(frame(HEADERS, stream, block, END_STREAM | END_HEADERS))


def bombs(c):
    # The table is the connection's: the first request fills it, the others only name its line.
    bomb(c)
    head = hpack.Encoder().encode(c.fields(), huffman=False)
    # Literal and not indexed, so that the table stays as it is.
    head = b"".join(literal(name, value) for name, value in hpack.Decoder().decode(head, raw=True))

    def batches():
        for _ in range(200):
            yield frame(HEADERS, c.open(), head + b"\xbe" * (16384 - len(head)), END_STREAM | END_HEADERS)
    c.flood(batches())
    c.wait(lambda: all(stream.concluded for stream in c.streams.values()))


def table_survives(c):
    """A refused head still belongs to the table: without it, the next one would be read with wrong values."""
    c.send(c.head(c.open(), ("x-first", "one"), ("X-Wrong", "1"), ("x-second", "two"), path="/smuggled"))
    c.wait(lambda: c.streams[1].concluded)
    c.send(c.head(c.open(), ("x-first", "one"), ("x-second", "two")))


def too_many_streams(c):
    requests = (b"".join(open_post(c) for _ in range(50)) for _ in range(20))
    c.flood(requests)
    c.wait(lambda: sum(not stream.refused for stream in c.streams.values()) <= AT_A_TIME)


def slow_reader(c):
    """Many long answers are asked for, and none is taken: no window was open from the start."""
    c.send(*(c.head(c.open()) for _ in range(100)))
    c.wait(lambda: all(stream.status for stream in c.streams.values()), 5)
    assert not any(stream.body for stream in c.streams.values()), "the gate sent what no window allowed"


def one_byte_at_a_time(c):
    slow_reader(c)
    c.flood(b"".join(window(stream, 1) for stream in c.streams) for _ in range(100))


def answers_never_read(c):
    """All windows are open, and the socket is not read: not even for a PING, so only the memory is judged."""
    c.send(window(0, OPEN_SIZE - 65535), *(c.head(c.open()) for _ in range(100)))
    time.sleep(2)
    c.stalled = True


def small_window(c):
    """Ten bytes of window at a time: the answer must come in full, and never faster than that."""
    c.send(c.head(c.open()))
    stream, granted = c.streams[1], 0
    while granted < 10000 and not stream.concluded and not c.over:
        granted += 10
        c.send(window(1, 10))
        c.wait(lambda: stream.concluded or len(stream.body) >= granted)
        assert len(stream.body) <= granted, f"{len(stream.body)} bytes for a window of {granted}"


def shrinking_window(c):
    """The window falls below zero in the middle of an answer, which is allowed (RFC 9113, 6.9.2)."""
    c.send(c.head(c.open()))
    c.wait(lambda: len(c.streams[1].body) == 20)
    c.send(frame(SETTINGS, 0, settings((INITIAL_WINDOW, 0))), window(1, 30))
    c.wait(lambda: len(c.streams[1].body) > 20, 5)
    assert len(c.streams[1].body) == 30, f"{len(c.streams[1].body)} bytes for a window of 30"
    c.send(window(1, 65535))


def padded(content, padding):
    return bytes([padding]) + content + b"\0" * padding


def padded_frames(c):
    stream = c.open()
    block = c.encoder.encode(c.fields(method="POST"), huffman=False)
    c.send(frame(HEADERS, stream, padded(block, 255), END_HEADERS | PADDED),
           frame(DATA, stream, padded(b"hel", 200), PADDED), frame(DATA, stream, padded(b"lo", 0), PADDED | END_STREAM))


def padding_longer_than_headers(c):
    stream = c.open()
    block = c.encoder.encode(c.fields(), huffman=False)
    c.send(frame(HEADERS, stream, bytes([len(block) + 1]) + block, END_STREAM | END_HEADERS | PADDED))


def with_priority(depends_on):
    def attack(c):
        stream = c.open()
        payload = number(depends_on) + b"\x10" + c.encoder.encode(c.fields(), huffman=False)
        c.send(frame(HEADERS, stream, payload, END_STREAM | END_HEADERS | WITH_PRIORITY))
    return attack


def small_pieces(c):
    """A head in pieces of 20 bytes is unusual and allowed."""
    c.send(c.headers(c.open(), c.fields(("x-a", "b")), piece=20))


def huffman_coded(c):
    fields = [(name, FORGED) for name in IDENTITY] + [("x-plain", "value")]
    c.send(c.headers(c.open(), c.fields(*fields), huffman=True))


def goaway_by_the_caller(c):
    """A caller that goes still gets the answers to what it asked."""
    c.send(c.head(c.open()), frame(GOAWAY, 0, number(0) + number(0)))


def reset_and_again(c):
    """One reset is every caller's right: the connection goes on."""
    stream = c.open()
    c.send(c.headers(stream, c.fields(method="POST", path="/smuggled"), end=False), reset(stream))
    del c.streams[stream]
    c.streams[3] = Stream()
    c.send(c.head(3))


def ping_is_answered(c):
    assert c.answers_ping(), "no answer to a PING"
    c.send(c.head(c.open()))


def in_spellings(names):
    """Names that CGI and its heirs read as the same."""
    for name in names:
        yield from sorted({name, name.replace("-", "_"), name.replace("-", "_", 1), name.replace("-", ".")})


FORGERIES = [(name, FORGED) for name in in_spellings(IDENTITY)]
OPEN_WINDOW = {"opening": settings((INITIAL_WINDOW, OPEN_SIZE))}
NO_WINDOW = {"opening": settings((INITIAL_WINDOW, 0))}


class Case:
    def __init__(self, group, name, expected, attack, check=None, kind=Connection, **connection):
        self.group, self.name, self.expected, self.attack, self.check = group, name, expected, attack, check
        self.kind, self.connection = kind, connection

    def run(self, gate):
        forwarded = {}
        try:
            c = self.kind(gate, self.name, **self.connection)
            try:
                self.attack(c)
                if self.group != "floods":
                    c.finish()
                ok = c.agrees(self.expected)
                observed = c.observed()
                forwarded[f"/{self.name}"] = c.forwarded(self.expected)
                if ok and self.check and c.served and not self.check(c.echo()):
                    ok, observed["echo"] = False, c.echo()
            finally:
                if self.group == "floods":
                    # While the flood still stands: others must be served beside it.
                    forwarded[f"/after-{self.name}"] = [1, 1]
                    beside = Connection(gate, f"after-{self.name}")
                    beside.send(beside.head(beside.open()))
                    beside.finish()
                    beside.socket.close()
                c.socket.close()
            if self.group == "floods":
                observed["beside"] = beside.observed()
                ok = ok and beside.agrees(SERVED)
        except Exception as error:
            # The gate said what nobody expected: a failure of this case, and no end of the others.
            ok, observed = False, {"error": f"{type(error).__name__}: {error}"}
        return {"case": self.name, "ok": bool(ok), "expected": self.expected, "observed": observed,
                "forwarded": forwarded}


def requests():
    """Where a request ends: whatever HTTP/1.1 could read in another way than HTTP/2 (downgrade smuggling)."""
    length = lambda value: ("content-length", value)
    yield "content-length-shorter-than-the-data", REFUSED, post(length("3"), body=(b"abc" + SMUGGLED,))
    yield "content-length-zero-and-data", REFUSED, post(length("0"), body=(SMUGGLED,))
    yield "content-length-longer-than-the-data", REFUSED, post(length("500"))
    yield "content-length-passed-by-the-second-frame", EITHER, post(length("5"), body=(b"hello", SMUGGLED))
    yield "content-length-and-no-data", REFUSED, get(length("5"), method="POST")
    yield "content-length-and-an-empty-frame", REFUSED, post(length("5"), body=(b"",))
    yield "content-length-and-trailers-too-soon", REFUSED, post(length("9"), trailers=[("x-end", "1")])
    yield "content-length-twice-different", REFUSED, post(length("5"), length("50"))
    yield "content-length-twice-equal", EITHER, post(length("5"), length("5"))
    yield "content-length-list-different", REFUSED, post(length("5, 50"))
    yield "content-length-list-equal", EITHER, post(length("5, 5"))
    yield "content-length-with-plus", REFUSED, post(length("+5"))
    yield "content-length-negative", REFUSED, post(length("-5"))
    yield "content-length-in-hexadecimal", REFUSED, post(length("0x5"))
    yield "content-length-that-overflows", REFUSED, post(length(str(2**64 + 5)))
    yield "content-length-with-space", REFUSED, post(length("5 "))
    yield "content-length-empty", REFUSED, post(length(""))
    chunks = b"0\r\n\r\n" + SMUGGLED
    coding = lambda value: ("transfer-encoding", value)
    yield "transfer-encoding-chunked", REFUSED, post(coding("chunked"), body=(chunks,))
    yield "transfer-encoding-and-content-length", REFUSED, post(
        coding("chunked"), length(str(len(chunks))), body=(chunks,))
    yield "transfer-encoding-identity", REFUSED, post(coding("identity"))
    yield "transfer-encoding-on-get", REFUSED, get(coding("chunked"))
    yield "connection-names-content-length", REFUSED, post(("connection", "content-length"), length("5"))
    yield "connection-keep-alive", REFUSED, get(("connection", "keep-alive"))
    yield "keep-alive", REFUSED, get(("keep-alive", "timeout=5"))
    yield "proxy-connection", REFUSED, get(("proxy-connection", "keep-alive"))
    yield "upgrade-websocket", REFUSED, get(("upgrade", "websocket"))
    yield "upgrade-h2c", REFUSED, get(("upgrade", "h2c"), ("http2-settings", "AAMAAABk"))
    yield "te-gzip", REFUSED, get(("te", "gzip"))
    yield "te-trailers-and-chunked", REFUSED, get(("te", "trailers, chunked"))
    # What follows must pass, and must not come apart on its way.
    text = SMUGGLED.decode()
    yield "body-that-looks-like-a-request", SERVED, post(body=(SMUGGLED,)), lambda seen: seen["body"] == text
    yield "body-that-looks-like-chunks", SERVED, post(body=(chunks,)), lambda seen: seen["body"] == chunks.decode()
    yield "body-of-a-get", SERVED, post(body=(SMUGGLED,), method="GET"), lambda seen: seen["body"] == text
    yield "body-of-a-delete", SERVED, post(length(str(len(text))), body=(SMUGGLED,), method="DELETE"), \
        lambda seen: seen["body"] == text
    # An empty frame must not become the chunk that ends an HTTP/1.1 body.
    yield "empty-frame-inside-a-body", SERVED, post(body=(b"a", b"", SMUGGLED, b"")), \
        lambda seen: seen["body"] == "a" + text


def framing():
    """Frames that are not where or what they should be, and header blocks that are not HPACK."""
    unasked = {"greet": False}
    yield "data-on-stream-zero", REFUSED, before(data(0, SMUGGLED))
    yield "data-on-idle-stream", REFUSED, before(data(1, SMUGGLED))
    yield "data-behind-the-end", EITHER, behind(data(1, SMUGGLED))
    yield "data-behind-the-end-of-a-body", EITHER, lambda c: (post()(c), c.send(data(1, SMUGGLED)))
    yield "headers-on-stream-zero", REFUSED, lambda c: c.send(c.head(0), c.head(c.open()))
    yield "headers-on-even-stream", REFUSED, lambda c: c.send(c.head(2), c.head(c.open()))
    yield "headers-with-decreasing-identifier", EITHER, decreasing_identifier
    yield "headers-behind-the-end", EITHER, lambda c: c.send(c.head(c.open()), c.head(1, path="/smuggled"))
    yield "headers-behind-a-reset", EITHER, lambda c: c.send(c.head(c.open()), reset(1), c.head(1, path="/smuggled"))
    yield "continuation-without-headers", REFUSED, before(frame(CONTINUATION, 1, b"\x82", END_HEADERS))
    yield "continuation-behind-the-end-of-headers", EITHER, behind(frame(CONTINUATION, 1, b"\x82", END_HEADERS))
    yield "continuation-of-another-stream", REFUSED, in_pieces(frame(CONTINUATION, 3, b"\x82", END_HEADERS))
    yield "data-inside-headers", REFUSED, in_pieces(data(1, b"hello"))
    yield "ping-inside-headers", REFUSED, in_pieces(frame(PING, 0, b"12345678"))
    yield "headers-inside-headers", REFUSED, in_pieces(frame(HEADERS, 3, b"\x82", END_HEADERS))
    yield "unknown-frame-inside-headers", REFUSED, in_pieces(frame(0xEE, 1, b"x"))
    yield "priority-bad-length", EITHER, before(frame(PRIORITY, 1, b"1234"))
    yield "priority-on-stream-zero", EITHER, before(frame(PRIORITY, 0, number(3) + b"\x10"))
    yield "priority-on-itself", EITHER, before(frame(PRIORITY, 1, number(1) + b"\x10"))
    yield "headers-that-depend-on-themselves", EITHER, with_priority(1)
    yield "reset-on-idle-stream", REFUSED, before(reset(1))
    yield "reset-on-stream-zero", REFUSED, before(reset(0))
    yield "reset-bad-length", REFUSED, within(frame(RST_STREAM, 1, b"123"))
    yield "settings-bad-length", REFUSED, before(frame(SETTINGS, 0, b"12345"))
    yield "settings-ack-with-payload", REFUSED, before(frame(SETTINGS, 0, settings((TABLE_SIZE, 1)), ACK))
    yield "settings-on-stream", REFUSED, before(frame(SETTINGS, 1, settings((TABLE_SIZE, 1))))
    yield "settings-enable-push-2", REFUSED, before(frame(SETTINGS, 0, settings((ENABLE_PUSH, 2))))
    yield "settings-max-frame-size-too-small", REFUSED, before(frame(SETTINGS, 0, settings((MAX_FRAME, 16383))))
    yield "settings-max-frame-size-too-large", REFUSED, before(frame(SETTINGS, 0, settings((MAX_FRAME, 1 << 24))))
    yield "ping-bad-length", REFUSED, before(frame(PING, 0, b"1234567"))
    yield "ping-on-stream", REFUSED, before(frame(PING, 1, b"12345678"))
    yield "goaway-on-stream", REFUSED, before(frame(GOAWAY, 1, number(0) + number(0)))
    yield "goaway-bad-length", REFUSED, before(frame(GOAWAY, 0, b"1234"))
    yield "push-promise-from-the-caller", REFUSED, before(frame(PUSH_PROMISE, 1, number(2) + b"\x82", END_HEADERS))
    yield "push-promise-within-a-request", REFUSED, within(frame(PUSH_PROMISE, 1, number(2) + b"\x82", END_HEADERS))
    yield "frame-larger-than-allowed", REFUSED, larger_than_allowed
    yield "unknown-frame-larger-than-allowed", REFUSED, unknown_and_larger_than_allowed
    yield "padding-longer-than-the-data", REFUSED, within(frame(DATA, 1, b"\x06hello", PADDED))
    yield "padding-longer-than-the-headers", REFUSED, padding_longer_than_headers
    yield "padding-without-its-length", REFUSED, within(frame(DATA, 1, b"", PADDED))
    yield "wrong-preface", REFUSED, wrong_preface(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"), None, unasked
    yield "preface-of-another-version", REFUSED, wrong_preface(b"PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n"), None, unasked
    yield "preface-without-settings", EITHER, lambda c: c.send(PREFACE, c.head(c.open())), None, unasked
    yield "hpack-index-zero", REFUSED, block(b"\x80")
    yield "hpack-index-beyond-the-table", REFUSED, block(b"\xfe")
    yield "hpack-name-index-beyond-the-table", REFUSED, block(b"\x7e\x01x")
    yield "hpack-integer-overflow", REFUSED, block(b"\xff" * 12 + b"\x7f")
    yield "hpack-integer-cut-short", REFUSED, block(b"\xff\x80")
    yield "hpack-string-cut-short", REFUSED, block(b"\x00\x05ab")
    yield "hpack-string-of-two-gigabytes", REFUSED, block(b"\x00\x7f\x80\xff\xff\xff\x07x")
    yield "hpack-huffman-end-of-string", REFUSED, block(b"\x00\x01x\x84\xff\xff\xff\xff")
    yield "hpack-huffman-padding-too-long", REFUSED, block(b"\x00\x01x\x82\x1f\xff")
    yield "hpack-huffman-padding-of-zeros", REFUSED, block(b"\x00\x01x\x81\x18")
    yield "hpack-table-larger-than-allowed", REFUSED, table_larger_than_allowed
    yield "hpack-table-size-behind-a-field", REFUSED, block(b"\x20")


def headers():
    """Names and values that HTTP/1.1 would read as more than one line, and what only the gate may say."""
    for what, name in {
        "crlf": b"x-a: b\r\nx-smuggled", "lf": b"x-a\nx-b", "nul": b"x-a\0b", "space": b"x-a b", "tab": b"x-a\tb",
        "space-at-the-end": b"x-a ", "colon": b"x-a:b", "upper-case": b"X-Upper", "high-byte": b"x-\xe4",
        "delete": b"x-\x7f", "parenthesis": b"x-(a)", "request": b"get /smuggled http/1.1\r\nx",
    }.items():
        yield f"name-with-{what}", REFUSED, get((name, "value"))
    yield "name-empty", REFUSED, get(("", "value"))
    yield "name-in-upper-case-of-identity", REFUSED, get(("X-Consumer-Id", FORGED))
    for what, value in {
        "crlf": b"a\r\nx-smuggled: b", "cr": b"a\rb", "lf": b"a\nb", "nul": b"a\0b", "escape": b"a\x1bb",
        "space-before": b" a", "space-behind": b"a ", "tab-before": b"\ta", "tab-behind": b"a\t",
        "request": b"a\r\n\r\n" + SMUGGLED,
    }.items():
        yield f"value-with-{what}", REFUSED, get(("x-value", value))
    yield "value-with-crlf-in-the-host", REFUSED, get(("host", b"gate.test\r\nx-smuggled: b"), authority=None)
    yield "value-with-crlf-in-a-cookie", REFUSED, get(("cookie", b"a=1\r\nx-smuggled: b"), ("cookie", "b=2"))
    yield "authorization-twice", REFUSED, get(("authorization", "Basic YTpi"), ("authorization", "Basic Yzpk"))
    yield "header-list-too-large", REFUSED, get(*((f"x-{at}", "v" * 1000) for at in range(100)))
    yield "header-line-too-large", REFUSED, get(("x-long", "v" * 70000))
    yield "header-lines-too-many", REFUSED, block(b"\x90" * 16000)
    yield "hpack-bomb", REFUSED, bomb
    # What follows must pass, without what the caller may not say.
    yield "identity-in-every-spelling", SERVED, get(*FORGERIES)
    yield "identity-huffman-coded", SERVED, huffman_coded, lambda seen: seen["headers"]["x-plain"] == "value"
    yield "identity-in-trailers", SERVED, post(
        ("te", "trailers"), ("trailer", ", ".join(name for name, _ in FORGERIES)), trailers=FORGERIES)
    yield "identity-in-trailers-unannounced", SERVED, post(trailers=FORGERIES)
    yield "way-of-the-request-forged", SERVED, get(
        *((name, FORGED) for name in ["x-real-ip", "x_real_ip", "x_forwarded_for", "x.forwarded.proto", "forwarded"]))
    yield "content-length-in-trailers", SERVED, post(
        ("trailer", "content-length"), trailers=[("content-length", "500")])
    yield "host-in-trailers", SERVED, post(("trailer", "host"), trailers=[("host", FORGED)])
    yield "transfer-encoding-in-trailers", EITHER, post(
        ("trailer", "transfer-encoding"), trailers=[("transfer-encoding", "chunked")])
    yield "crlf-in-trailers", REFUSED, post(("trailer", "x-end"), trailers=[(b"x-end", b"a\r\n\r\n" + SMUGGLED)])
    yield "upper-case-in-trailers", REFUSED, post(trailers=[("X-End", "a")])
    yield "trailers-that-do-not-end", REFUSED, post(trailers=[("x-end", "a")], trailers_end=False)
    yield "table-survives-a-refused-head", EITHER, table_survives, \
        lambda seen: [seen["headers"].get(name) for name in ("x-first", "x-second")] == ["one", "two"]


def pseudo_headers():
    """What becomes the request line and the Host."""
    for what, path in {
        "crlf": "/NAME\r\nx-smuggled: b", "a-request": "/NAME HTTP/1.1\r\nHost: gate.test\r\n\r\nGET /smuggled",
        "space": "/NAME /smuggled", "a-version": "/NAME HTTP/1.1", "tab": "/NAME\t", "nul": "/NAME\0", "lf": "/NAME\n",
        "high-byte": b"/NAME\xff", "space-before": " /NAME",
    }.items():
        yield f"path-with-{what}", REFUSED, get(path=path)
    # Taken off before anything looks at the path: neither matched nor forwarded.
    yield "path-with-fragment", EITHER, get(path="/NAME#part")
    yield "path-empty", REFUSED, get(path="")
    yield "path-without-slash", REFUSED, get(path="NAME")
    yield "path-absolute", REFUSED, get(path="http://gate.test/NAME")
    yield "path-star-with-get", REFUSED, get(path="*")
    yield "path-query-only", REFUSED, get(path="?NAME")
    for what, method in {
        "space": "GET /smuggled", "crlf": "GET /smuggled HTTP/1.1\r\nHost: gate.test\r\n\r\nGET", "lf": "GET\n",
        "nul": "GET\0", "colon": "GE:T", "slash": "GET/",
    }.items():
        yield f"method-with-{what}", REFUSED, get(method=method)
    yield "method-empty", REFUSED, get(method="")
    yield "method-unknown-in-lower-case", SERVED, get(method="frobnicate"), lambda seen: seen["method"] == "frobnicate"
    yield "method-connect", REFUSED, get(method="CONNECT", scheme=None, path=None, authority="NAME.test:80")
    yield "method-connect-with-path", REFUSED, get(method="CONNECT")
    yield "method-connect-extended", REFUSED, get((":protocol", "websocket"), method="CONNECT")
    yield "method-trace", REFUSED, get(method="TRACE")
    yield "protocol-without-connect", REFUSED, get((":protocol", "websocket"))
    yield "scheme-with-crlf", REFUSED, get(scheme="http\r\nx-smuggled: b")
    yield "scheme-with-a-target", REFUSED, get(scheme="http://gate.test/smuggled?")
    yield "scheme-ftp", REFUSED, get(scheme="ftp")
    yield "scheme-empty", REFUSED, get(scheme="")
    for what, authority in {
        "userinfo": "user@gate.test", "crlf": "gate.test\r\nx-smuggled: b", "slash": "gate.test/smuggled",
        "space": "gate.test b", "question-mark": "gate.test?b", "hash": "gate.test#b", "comma": "gate.test, b.test",
        "nul": "gate.test\0", "a-port-that-is-none": "gate.test:8o", "a-port-too-large": "gate.test:65616",
    }.items():
        yield f"authority-with-{what}", REFUSED, get(authority=authority)
    yield "authority-empty", REFUSED, get(authority="")
    yield "authority-other-than-host", REFUSED, get(("host", "other.test"))
    yield "authority-and-another-port-in-host", REFUSED, get(("host", "gate.test:1"))
    yield "authority-and-empty-host", REFUSED, get(("host", ""))
    yield "authority-equal-to-host", SERVED, get(("host", "gate.test"))
    yield "host-only", SERVED, get(("host", "gate.test"), authority=None)
    yield "host-twice", REFUSED, get(("host", "gate.test"), ("host", "other.test"), authority=None)
    yield "host-twice-and-equal", REFUSED, get(("host", "gate.test"), ("host", "gate.test"), authority=None)
    yield "host-with-userinfo", REFUSED, get(("host", "gate.test@other.test"), authority=None)
    yield "neither-authority-nor-host", REFUSED, get(authority=None)
    for name, value in {"method": "POST", "scheme": "http", "authority": "gate.test", "path": "/smuggled"}.items():
        yield f"{name}-twice", REFUSED, get((f":{name}", value))
        yield f"{name}-behind-the-headers", REFUSED, get(("x-a", "b"), (f":{name}", value), **{name: None})
    for name in ("method", "path", "scheme"):
        yield f"{name}-missing", REFUSED, get(**{name: None})
    yield "pseudo-header-unknown", REFUSED, get((":unknown", "a"))
    yield "pseudo-header-without-name", REFUSED, get((":", "a"))
    yield "pseudo-header-in-upper-case", REFUSED, get((":Path", "/smuggled"))
    yield "pseudo-header-of-an-answer", REFUSED, get((":status", "200"))
    yield "pseudo-header-in-trailers", EITHER, post(trailers=[(":path", "/smuggled")])
    yield "pseudo-header-of-an-answer-in-trailers", EITHER, post(trailers=[(":status", "200")])


def flow():
    """Windows that are wrong, and windows that are small."""
    yield "window-update-of-zero-on-a-stream", REFUSED, within(window(1, 0))
    yield "window-update-of-zero-on-the-connection", REFUSED, before(window(0, 0))
    yield "window-overflow-on-a-stream", REFUSED, within(window(1, MAXIMUM), window(1, MAXIMUM))
    yield "window-overflow-on-the-connection", REFUSED, before(window(0, MAXIMUM), window(0, MAXIMUM))
    yield "window-overflow-by-settings", REFUSED, window_overflow_by_settings
    yield "window-update-bad-length", REFUSED, before(frame(WINDOW_UPDATE, 0, b"123"))
    yield "window-update-on-idle-stream", REFUSED, before(window(1, 100))
    yield "initial-window-too-large", REFUSED, before(frame(SETTINGS, 0, settings((INITIAL_WINDOW, MAXIMUM + 1))))
    yield "data-beyond-the-window", EITHER, data_beyond_the_window, lambda seen: seen["body"] == "x" * (256 * 16384), \
        OPEN_WINDOW
    yield "window-update-behind-the-end", EITHER, behind(window(1, 100))
    yield "window-of-ten-bytes", SERVED, small_window, None, NO_WINDOW
    yield "window-below-zero", SERVED, shrinking_window, None, {"opening": settings((INITIAL_WINDOW, 20))}


def floods():
    """What costs the caller little and a careless gate much. Each is followed by a request on another connection."""
    once = b"\x00" + short(b"x") + short(b"")
    yield "rapid-reset", ENDED, requests_in_a_row(5000, reset)
    yield "rapid-reset-of-bodies", ENDED, requests_in_a_row(5000, reset, end=False)
    yield "made-you-reset-by-window-of-zero", ENDED, requests_in_a_row(2000, lambda stream: window(stream, 0))
    yield "made-you-reset-by-window-overflow", ENDED, requests_in_a_row(2000, lambda stream: window(stream, MAXIMUM))
    yield "made-you-reset-by-data-behind-the-end", ENDED, requests_in_a_row(2000, lambda stream: data(stream, b"x"))
    yield "made-you-reset-by-headers-behind-the-end", ENDED, requests_in_a_row(
        2000, lambda stream: frame(HEADERS, stream, b"\x82", END_HEADERS | END_STREAM))
    yield "made-you-reset-by-malformed-heads", LIMITED, requests_in_a_row(
        2000, lambda stream: b"", tail=literal(b"x-wrong", b"a\0b"))
    yield "continuation-flood", ENDED, over_and_over(
        frame(CONTINUATION, 1, once), 100, head=without_end)
    yield "continuation-flood-of-nothing", ENDED, over_and_over(frame(CONTINUATION, 1), 100, head=without_end)
    yield "continuation-flood-of-one-long-value", ENDED, over_and_over(
        frame(CONTINUATION, 1, b"x" * 16384), 40, 20, head=in_a_long_value)
    yield "settings-flood", ENDED, over_and_over(frame(SETTINGS, 0, settings((TABLE_SIZE, 4096))), 200)
    yield "settings-flood-unread", HELD, over_and_over(frame(SETTINGS), 400, read=False), None, {"buffer": 4096}
    yield "ping-flood", ENDED, over_and_over(frame(PING, 0, b"12345678"), 200)
    yield "ping-flood-unread", HELD, over_and_over(frame(PING, 0, b"12345678"), 800, read=False), None, {"buffer": 4096}
    yield "empty-data-flood", ENDED, over_and_over(data(1), 200, head=open_post)
    yield "priority-flood", ENDED, over_and_over(frame(PRIORITY, 1, number(3) + b"\x10"), 200, head=open_post)
    yield "window-update-flood", ENDED, over_and_over(window(0, 1), 200)
    yield "unknown-frame-flood", HELD, over_and_over(frame(0xEE), 100)
    yield "hpack-bombs", LIMITED, bombs
    yield "too-many-streams", LIMITED, too_many_streams
    yield "slow-reader-without-a-window", HELD, slow_reader, None, NO_WINDOW
    yield "slow-reader-byte-by-byte", HELD, one_byte_at_a_time, None, NO_WINDOW
    yield "slow-reader-that-never-reads", HELD, answers_never_read, None, {**OPEN_WINDOW, "buffer": 4096}


def controls():
    """What ordinary callers do must pass, or the refusals above prove nothing."""
    library = {"kind": Library}
    body = {"body": b"hello"}
    big = b"0123456789abcdef" * 16384
    is_whole = lambda seen: seen["body"] == big.decode()
    is_hello = lambda seen: seen["body"] == "hello"
    one_line = lambda seen: seen["headers"]["cookie"] == "a=1; b=2"
    yield "get", SERVED, ask(), lambda seen: seen["method"] == "GET", library
    yield "head", SERVED, ask(method="HEAD"), None, library
    yield "post-with-length", SERVED, ask(("content-length", "5"), method="POST", **body), is_hello, library
    yield "post-without-length", SERVED, ask(method="POST", **body), is_hello, library
    yield "post-of-nothing", SERVED, ask(("content-length", "0"), method="POST", body=b""), \
        lambda seen: seen["body"] == "", library
    yield "post-with-trailers", SERVED, ask(
        ("te", "trailers"), ("trailer", "x-end"), method="POST", trailers=[("x-end", "1")], **body), is_hello, library
    yield "post-that-expects-100", SERVED, ask(("expect", "100-continue"), method="POST", **body), is_hello, library
    yield "post-of-much", SERVED, ask(method="POST", body=big), is_whole, library
    yield "put-of-much-with-length", SERVED, ask(("content-length", str(len(big))), method="PUT", body=big), \
        is_whole, library
    yield "hundred-at-a-time", SERVED, ask(times=100), None, library
    yield "te-trailers", SERVED, ask(("te", "trailers")), None, library
    yield "cookie-in-two-fields", SERVED, ask(("cookie", "a=1"), ("cookie", "b=2")), one_line, library
    yield "cookies-beside-other-headers", SERVED, get(("cookie", "a=1"), ("x-a", "b"), ("cookie", "b=2")), one_line
    yield "query", SERVED, ask(path="/NAME?a=b&c=%0d%0a"), lambda seen: seen["query"] == "a=b&c=%0d%0a", library
    yield "long-header", SERVED, ask(("x-long", "v" * 7000)), \
        lambda seen: seen["headers"]["x-long"] == "v" * 7000, library
    yield "authority-with-port", SERVED, ask(authority="gate.test:8443"), None, library
    yield "head-in-small-pieces", SERVED, small_pieces, lambda seen: seen["headers"]["x-a"] == "b"
    yield "padded-frames", SERVED, padded_frames, is_hello
    yield "priority-is-no-matter", SERVED, with_priority(0)
    yield "priority-of-an-idle-stream", SERVED, before(frame(PRIORITY, 7, number(0) + b"\x10"))
    yield "unknown-frame-is-ignored", SERVED, before(frame(0xEE, 0, b"x" * 100), frame(0xEE, 1, b"x", 0xFF))
    yield "unknown-flags-are-ignored", SERVED, before(frame(PING, 0, b"12345678", 0xFE))
    yield "unknown-setting-is-ignored", SERVED, before(frame(SETTINGS, 0, settings((0xEEEE, 1))))
    yield "reserved-bit-is-ignored", SERVED, lambda c: c.send(c.head(c.open() | 1 << 31))
    yield "table-of-no-size", SERVED, before(frame(SETTINGS, 0, settings((TABLE_SIZE, 0))))
    yield "ping-is-answered", SERVED, ping_is_answered
    yield "reset-and-again", SERVED, reset_and_again
    yield "goaway-by-the-caller", SERVED, goaway_by_the_caller


GROUPS = {
    "requests": requests, "framing": framing, "headers": headers, "pseudo-headers": pseudo_headers, "flow": flow,
    "floods": floods, "controls": controls,
}


def table():
    cases = []
    for group, rows in GROUPS.items():
        for name, expected, attack, *rest in rows():
            check, connection = (rest + [None, None])[:2]
            cases.append(Case(group, name, expected, attack, check, **(connection or {})))
    names = [case.name for case in cases]
    assert len(set(names)) == len(names), [name for name in names if names.count(name) > 1]
    return cases


class Gate:
    def __init__(self, port, tls):
        self.port, self.tls = port, None
        if tls:
            self.tls = ssl.create_default_context()
            self.tls.check_hostname = False
            self.tls.verify_mode = ssl.CERT_NONE
            self.tls.set_alpn_protocols(["h2"])


def main():
    parser = argparse.ArgumentParser(description="Attacks a gate over HTTP/2, frame by frame.")
    parser.add_argument("--port", type=int, help="where the gate listens on 127.0.0.1")
    parser.add_argument("--tls", action="store_true", help="over TLS; otherwise with prior knowledge")
    parser.add_argument("--group", choices=GROUPS, action="append", help="only this one; may be given again")
    parser.add_argument("--case", action="append", help="only this one; may be given again")
    parser.add_argument("--list", action="store_true", help="print group and name of the cases, and run none")
    args = parser.parse_args()
    cases = [case for case in table() if case.group in (args.group or GROUPS)]
    cases = [case for case in cases if not args.case or case.name in args.case]
    if args.list:
        for case in cases:
            print(case.group, case.name)
        return
    if args.port is None:
        parser.error("--port is needed")
    # Whatever hangs in spite of its own timeouts ends here.
    signal.alarm(WHOLE)
    gate = Gate(args.port, args.tls)
    # A flood needs the gate for itself; the others only wait.
    workers = 1 if any(case.group == "floods" for case in cases) else 8
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        running = [pool.submit(case.run, gate) for case in cases]
        for outcome in concurrent.futures.as_completed(running):
            print(json.dumps(outcome.result()), flush=True)


main()

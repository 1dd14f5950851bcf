"""One HTTP/2 caller (prior knowledge) until its standard input ends: python3 http2_caller.py PORT

A request after the other on a connection, until the gate says that it goes (GOAWAY); then a new one. Prints
`answered N`, or what failed. Frame by frame, because the library's own connection takes nothing after GOAWAY.
"""
import select
import socket
import sys

from hpack import Decoder, Encoder
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, PingFrame, SettingsFrame


def told_to_stop():
    return bool(select.select([sys.stdin], [], [], 0)[0])


def frames(stream):
    """Whole frames as they come, until the other side closes."""
    buffer = b""
    while True:
        while len(buffer) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(buffer[:9]))
            if len(buffer) < 9 + length:
                break
            frame.parse_body(memoryview(buffer[9:9 + length]))
            buffer = buffer[9 + length:]
            yield frame
        data = stream.recv(65536)
        if not data:
            return
        buffer += data


def connection(port):
    """Requests on one connection; how many were answered."""
    answered, number, last = 0, 1, None
    head = [(":method", "GET"), (":scheme", "http"), (":authority", "h"), (":path", "/small")]
    with socket.create_connection(("127.0.0.1", port), timeout=60) as stream:
        encoder, decoder, incoming = Encoder(), Decoder(), frames(stream)
        stream.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize())
        while last is None and not told_to_stop():
            request = HeadersFrame(number, encoder.encode(head), flags=["END_HEADERS", "END_STREAM"])
            stream.sendall(request.serialize())
            status, ended = None, False
            while not ended:
                frame = next(incoming, None)
                if frame is None:
                    raise RuntimeError(f"closed in the middle of request {number}, last was {last}")
                if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
                    stream.sendall(SettingsFrame(0, flags=["ACK"]).serialize())
                elif isinstance(frame, PingFrame) and "ACK" not in frame.flags:
                    stream.sendall(PingFrame(0, frame.opaque_data, flags=["ACK"]).serialize())
                elif isinstance(frame, GoAwayFrame):
                    last = frame.last_stream_id
                    if number > last:
                        # What the gate announces not to answer may be asked again.
                        return answered
                elif isinstance(frame, HeadersFrame):
                    status = dict(decoder.decode(frame.data))[":status"]
                    ended = "END_STREAM" in frame.flags
                elif isinstance(frame, DataFrame):
                    ended = "END_STREAM" in frame.flags
                elif type(frame).__name__ == "RstStreamFrame":
                    raise RuntimeError(f"reset: {frame.error_code}")
            if status != "200":
                raise RuntimeError(f"status {status}")
            answered, number = answered + 1, number + 2
    return answered


total = 0
while not told_to_stop():
    total += connection(int(sys.argv[1]))
print("answered", total)

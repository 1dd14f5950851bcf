"""A gRPC service and its caller, both by grpcio: python3 grpc_peers.py serve | call ADDRESS [CA [HEADER VALUE]]

`serve` prints its port, and "streamed" after each Stream; it ends with its standard input. `call` prints what each kind of call brought, as JSON.
"""
import json
import sys
from concurrent import futures

import grpc

RAW = dict(request_serializer=None, response_deserializer=None)


def unary(request, context):
    seen = dict(context.invocation_metadata())
    context.set_trailing_metadata((("x-end", "whole"),))
    return json.dumps({"said": request.decode(), "consumer": seen.get("x-consumer-username")}).encode()


def stream(request, _):
    for number in range(int(request)):
        yield str(number).encode()
    print("streamed", flush=True)


def echo(requests, _):
    for request in requests:
        yield request.upper()


def collect(requests, _):
    return str(sum(len(request) for request in requests)).encode()


def fail(_, context):
    context.set_trailing_metadata((("x-end", "failed"),))
    context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: äöü")


def serve():
    server = grpc.server(futures.ThreadPoolExecutor(8))
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Stream": grpc.unary_stream_rpc_method_handler(stream),
        "Echo": grpc.stream_stream_rpc_method_handler(echo),
        "Collect": grpc.stream_unary_rpc_method_handler(collect),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.Test", handlers),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    sys.stdin.read()
    server.stop(0)


def call(address, authority=None, *header):
    if authority:
        with open(authority, "rb") as file:
            channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(file.read()))
    else:
        channel = grpc.insecure_channel(address)
    metadata = (header,) if header else ()
    options = dict(metadata=metadata, timeout=30)

    def echoed():
        """A conversation: the next word is sent when the answer to the last one has come."""
        answers, words = [], iter([b"one", b"two", b"three"])
        calls = channel.stream_stream("/t.Test/Echo", **RAW)
        import queue

        waiting = queue.Queue()
        waiting.put(next(words))
        for answer in calls(iter(waiting.get, None), **options):
            answers.append(answer.decode())
            waiting.put(next(words, None))
        return answers

    def unary_with_trailers():
        answer, made = channel.unary_unary("/t.Test/Unary", **RAW).with_call(b"hello", **options)
        return json.loads(answer), dict(made.trailing_metadata()).get("x-end")

    calls = {
        "unary": unary_with_trailers,
        "stream": lambda: len(list(channel.unary_stream("/t.Test/Stream", **RAW)(b"1000", **options))),
        "echo": echoed,
        "collect": lambda: channel.stream_unary("/t.Test/Collect", **RAW)(
            iter([b"x" * 100_000] * 50), **options).decode(),
        "fail": lambda: channel.unary_unary("/t.Test/Fail", **RAW)(b"", **options),
        "unknown": lambda: channel.unary_unary("/t.Test/Nothing", **RAW)(b"", **options),
    }
    found = {}
    for name, made in calls.items():
        try:
            found[name] = made()
        except grpc.RpcError as error:
            trailers = dict(error.trailing_metadata() or ())
            found[name] = [error.code().name, error.details(), trailers.get("x-end")]
    print(json.dumps(found))


{"serve": serve, "call": call}[sys.argv[1]](*sys.argv[2:])

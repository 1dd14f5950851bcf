#!/usr/bin/env python3
"""What a gate costs by the number of those who may call: memory, a lookup, one more of them, a start.

    PORTCULLIS=target/optimized/portcullis python3 bench/scale.py [--pairs 1000000] [--database sqlite]

A pair is a consumer with an API key. Needs wrk, and oha (bench/rig/setup.sh installs it into $BENCH_HOME). The database is SQLite in a temporary directory; other settings of the
gate may stand in the environment (KONG_DATABASE=postgres, KONG_PG_...).
"""
import argparse
import atexit
import http.client
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

TOKEN = "a-token-for-the-bench"
LUA = """
local count, state = %d, %d
request = function()
  state = (state * 1103515245 + 12345) %% 2147483648
  return wrk.format("GET", "/", {apikey = string.format("key-%%07d", state %% count)})
end
done = function(summary, latency)
  local bad = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout
  print(string.format("RESULT %%d %%d %%d %%d %%d", summary.requests, bad,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
"""


CREATE = """
local number = 0
request = function()
  number = number + 1
  return wrk.format("POST", "/consumers", {["Kong-Admin-Token"] = "%s", ["Content-Type"] = "application/json"},
    string.format('{"username": "busy-%%d"}', number))
end
done = function(summary, latency)
  local bad = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout
  print(string.format("RESULT %%d %%d %%d", summary.requests, bad, summary.duration))
end
"""


class Gate:
    def __init__(self, data):
        environment = dict(os.environ, PORTCULLIS_DATA=data, PORTCULLIS_ADMIN_TOKEN=TOKEN, PORTCULLIS_WORKERS="1",
                           KONG_PROXY_LISTEN="127.0.0.1:0", KONG_ADMIN_LISTEN="127.0.0.1:0", KONG_LOG_LEVEL="error")
        began = time.monotonic()
        self.process = subprocess.Popen([os.environ["PORTCULLIS"], "start"], env=environment, stdout=subprocess.PIPE, text=True)
        atexit.register(self.process.kill)
        for line in self.process.stdout:
            if line.startswith("ready "):
                break
        self.started_s = time.monotonic() - began
        with open(os.path.join(data, "addresses.json")) as file:
            addresses = json.load(file)
        self.proxy, self.admin = (addresses[name][0].removeprefix("http://") for name in ("proxy", "admin"))
        self.connection = http.client.HTTPConnection(self.admin, timeout=3600)

    def ask(self, method, path, body=None, connection=None):
        connection = connection or self.connection
        headers = {"Kong-Admin-Token": TOKEN, "Content-Type": "application/json"}
        connection.request(method, path, body if isinstance(body, (bytes, type(None))) else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= 400:
            sys.exit(f"{method} {path}: {answer.status} {text[:500]}")
        return text

    def rss(self):
        with open(f"/proc/{self.process.pid}/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS"))

    def cpu_s(self):
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def load(self, pairs, seconds, seed=7):
        """Requests with random keys: CPU in microseconds per request, and the latencies that wrk saw, in microseconds."""
        before = self.cpu_s()
        requests, *latencies = wrk(LUA % (pairs, seed), 16, seconds, self.proxy)
        return (self.cpu_s() - before) / requests * 1e6, latencies

    def paced(self, rate, seconds):
        """Requests at a fixed rate with one key: the latencies that oha saw, in microseconds."""
        oha = os.path.join(os.environ.get("BENCH_HOME", ""), "cargo/bin/oha")
        told = subprocess.run([oha if os.path.exists(oha) else "oha", "--no-tui", "-z", f"{seconds}s", "-q", str(rate), "-c", "16",
                               "--latency-correction", "--output-format", "json", "-H", "apikey: key-0000007",
                               f"http://{self.proxy}/"], capture_output=True, text=True, check=True).stdout
        told = json.loads(told)
        if set(told["statusCodeDistribution"]) != {"200"} or set(told["errorDistribution"]) - {"aborted due to deadline"}:
            sys.exit(f"requests failed: {told['statusCodeDistribution']} {told['errorDistribution']}")
        return [round(told["latencyPercentiles"][name] * 1e6) for name in ("p50", "p99", "p99.9")]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def wrk(script, connections, seconds, address):
    """What a script says at its end: the number of requests, none of which may have failed, and more."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        told = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", file.name, f"http://{address}/"],
                              capture_output=True, text=True, check=True).stdout
    requests, bad, *more = map(int, told.split("RESULT ")[1].split())
    if bad:
        sys.exit(f"{bad} of {requests} requests failed")
    return requests, *more


def document(pairs):
    consumers = ",".join(f'{{"username":"user-{n:07}"}}' for n in range(pairs))
    keys = ",".join(f'{{"key":"key-{n:07}","consumer":"user-{n:07}"}}' for n in range(pairs))
    plugins = ('{"name":"key-auth"},{"name":"request-termination","config":{"status_code":200}}')
    return (f'{{"_format_version":"3.0","routes":[{{"name":"all","paths":["/"],"protocols":["http"]}}],'
            f'"plugins":[{plugins}],"consumers":[{consumers}],"keyauth_credentials":[{keys}]}}').encode()


def one_more(gate, count, name):
    """Milliseconds from the request for one more consumer to its answer, each."""
    connection = http.client.HTTPConnection(gate.admin, timeout=60)
    took = []
    for number in range(count):
        began = time.perf_counter()
        gate.ask("POST", "/consumers", {"username": f"{name}-{number}"}, connection)
        took.append((time.perf_counter() - began) * 1e3)
    return took


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    flags = parser.parse_args()
    data = tempfile.mkdtemp(prefix="portcullis-scale-")
    try:
        measure(flags, data)
    finally:
        shutil.rmtree(data, ignore_errors=True)


def measure(flags, data):
    gate = Gate(os.path.join(data, "many"))
    gate.ask("PUT", "/declarative", document(10))
    gate.load(10, 2)
    empty = gate.rss()
    print(f"10 pairs: {empty / 2**20:.0f} MiB, one more consumer {statistics.median(one_more(gate, 300, 'few')):.2f} ms", flush=True)
    body = document(flags.pairs)
    began = time.monotonic()
    gate.ask("PUT", "/declarative", body)
    print(f"{flags.pairs} pairs came as a document of {len(body) / 2**20:.0f} MiB in {time.monotonic() - began:.0f} s", flush=True)
    del body
    gate.stop()

    gate = Gate(os.path.join(data, "many"))
    gate.load(10, 2)
    full = gate.rss()
    print(f"a start with them takes {gate.started_s:.1f} s; {full / 2**20:.0f} MiB, "
          f"{(full - empty) / flags.pairs:.0f} bytes a pair", flush=True)
    lookup(gate, flags, os.path.join(data, "few"))
    took = sorted(one_more(gate, 1000, "many"))
    print(f"one more consumer: median {took[500]:.2f} ms, p99 {took[990]:.2f} ms", flush=True)
    undisturbed(gate, flags)
    gate.stop()


def lookup(gate, flags, data):
    """What a request costs beside a gate with ten pairs, in turn: the machine is not the same from one minute to the next."""
    small = Gate(data)
    small.ask("PUT", "/declarative", document(10))
    few, same, many = [], [], []
    for _ in range(flags.rounds):
        few.append(small.load(10, flags.seconds)[0])
        same.append(gate.load(10, flags.seconds)[0])
        many.append(gate.load(flags.pairs, flags.seconds)[0])
    small.stop()
    few, same, many = map(statistics.median, (few, same, many))
    print(f"a request: {few:.2f} us of CPU with 10 pairs, {same:.2f} us with 10 of {flags.pairs} ({same / few:.2f}x), "
          f"{many:.2f} us with all of them in turn ({many / few:.2f}x)", flush=True)


def undisturbed(gate, flags):
    calm = gate.paced(2000, flags.seconds)
    made = []
    # As long as the load, and a little longer.
    creator = threading.Thread(target=lambda: made.extend(wrk(CREATE % TOKEN, 4, flags.seconds + 1, gate.admin)))
    creator.start()
    busy = gate.paced(2000, flags.seconds)
    creator.join()
    count, took_us = made
    print(f"2,000 requests a second while {count / took_us * 1e6:.0f} consumers a second are made: no error; "
          f"p50 {busy[0]} us, p99 {busy[1]} us, p99.9 {busy[2]} us (without: {calm[0]}, {calm[1]}, {calm[2]})", flush=True)


main()

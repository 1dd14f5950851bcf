#!/usr/bin/env python3
"""How long three gates with one PostgreSQL take to follow each other: a key comes on one and goes on one, and the other two
are asked until they know.

    PORTCULLIS=target/optimized/portcullis KONG_PG_HOST=... KONG_PG_USER=... KONG_PG_PASSWORD=... KONG_PG_DATABASE=... \\
        python3 bench/feed.py [--times 1000]

The database should be empty.
"""
import argparse
import atexit
import http.client
import json
import os
import secrets
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

TOKEN = "a-token-for-the-bench"
KEY = secrets.token_hex(32)


class Gate:
    def __init__(self):
        self.data = tempfile.mkdtemp(prefix="portcullis-feed-")
        environment = dict(os.environ, PORTCULLIS_DATA=self.data, PORTCULLIS_ADMIN_TOKEN=TOKEN, KONG_DATABASE="postgres",
                           PORTCULLIS_ENCRYPTION_KEY=KEY, KONG_PROXY_LISTEN="127.0.0.1:0",
                           KONG_ADMIN_LISTEN="127.0.0.1:0", KONG_LOG_LEVEL="error")
        self.process = subprocess.Popen([os.environ["PORTCULLIS"], "start"], env=environment, stdout=subprocess.PIPE, text=True)
        atexit.register(self.process.kill)
        for line in self.process.stdout:
            if line.startswith("ready "):
                break
        with open(os.path.join(self.data, "addresses.json")) as file:
            addresses = json.load(file)
        proxy, admin = (addresses[name][0].removeprefix("http://") for name in ("proxy", "admin"))
        self.proxy, self.admin = (http.client.HTTPConnection(place, timeout=60) for place in (proxy, admin))

    def change(self, method, path, body=None):
        headers = {"Kong-Admin-Token": TOKEN, "Content-Type": "application/json"}
        self.admin.request(method, path, body and json.dumps(body), headers)
        answer = self.admin.getresponse()
        text = answer.read()
        if answer.status >= 400 and answer.status != 409:
            sys.exit(f"{method} {path}: {answer.status} {text}")

    def status(self, key):
        self.proxy.request("GET", "/", headers={"apikey": key})
        answer = self.proxy.getresponse()
        answer.read()
        return answer.status

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        shutil.rmtree(self.data, ignore_errors=True)


def until(gates, key, wanted):
    """Milliseconds from now until the last of them answers so."""
    began = time.perf_counter()
    for gate in gates:
        while gate.status(key) != wanted:
            if time.perf_counter() - began > 30:
                sys.exit(f"{key} is not {wanted} after 30 s")
    return (time.perf_counter() - began) * 1e3


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--times", type=int, default=1000)
    times = parser.parse_args().times
    gates = [Gate() for _ in range(3)]
    gates[0].change("POST", "/routes", {"name": "all", "paths": ["/"], "protocols": ["http"]})
    gates[0].change("POST", "/plugins", {"name": "key-auth"})
    gates[0].change("POST", "/plugins", {"name": "request-termination", "config": {"status_code": 200}})
    gates[0].change("POST", "/consumers", {"username": "ann"})
    until(gates, "nobody", 401)
    came, went = [], []
    for number in range(times):
        one, others, key = gates[number % 3], gates[:number % 3] + gates[number % 3 + 1:], f"key-{number}"
        one.change("POST", "/consumers/ann/key-auth", {"key": key})
        if one.status(key) != 200:
            sys.exit("a key is not in force where it was made")
        came.append(until(others, key, 200))
        one.change("DELETE", f"/consumers/ann/key-auth/{key}")
        if one.status(key) != 401:
            sys.exit("a key is in force where it was taken away")
        went.append(until(others, key, 401))
    for what, took in (("came", came), ("was taken away", went)):
        took.sort()
        print(f"a key that {what} on one gate was known to both others after {statistics.median(took):.1f} ms at the "
              f"median, {took[int(len(took) * 0.99)]:.1f} ms at p99, {took[-1]:.1f} ms at most ({times} times)")
    for gate in gates:
        gate.stop()


main()

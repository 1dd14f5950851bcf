"""Asks the test that runs the Kong cases to restart its gate: python3 restart.py CONFIG

The runner starts this for cases with settings, which come as variables KONG_<NAME>. The question goes to
RESTART_ADDRESS as one line of JSON; one line comes back when the new gate is ready.
"""
import json
import os
import socket
import sys

with open(sys.argv[1]) as file:
    config = file.read()
settings = {name: value for name, value in os.environ.items() if name.startswith("KONG_")}
host, port = os.environ["RESTART_ADDRESS"].rsplit(":", 1)
with socket.create_connection((host, int(port)), timeout=60) as stream:
    stream.sendall(json.dumps({"config": config, "settings": settings}).encode() + b"\n")
    answer = stream.makefile().readline()
if not answer:
    sys.exit("the gate did not start with these settings")

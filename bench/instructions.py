"""Counts the instructions that a request costs the gate (callgrind, user space), and holds them against the budget.

Instructions repeat to about one in a hundred, whatever else the machine does; times do not. A change that makes a
request dearer must say so, by a new budget in instructions.json:

    bench/instructions                 builds the gate, measures, compares; 1 if a budget is exceeded
    bench/instructions --write         writes what was measured as the new budget
    bench/instructions --only plain    one scenario; --profile FILE keeps what callgrind wrote
    bench/instructions --train         lets the gate do the same work without counting (for ./optimized)
"""
import argparse
import base64
import json
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

HERE = pathlib.Path(__file__).resolve().parent
BUDGET = HERE / "instructions.json"
# What a run may differ from the budget, as a share.
TOLERANCE = 0.02
WARM_UP, MEASURED, CALLERS = 500, 2000, 8
# How many requests of each scenario show a compiler what is hot.
TRAINED = 20_000


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed_token(key):
    head, claims = {"alg": "RS256", "typ": "JWT"}, {"iss": "ann", "exp": int(time.time()) + 86400}
    text = ".".join(b64(json.dumps(part).encode()) for part in (head, claims))
    return text + "." + b64(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))


def scenarios():
    """Each: what the configuration has beside the service, headers of the request, URL scheme, h2load's options."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    api_key = {"plugins": [{"name": "key-auth", "config": {"key_in_query": False}}],
               "consumers": [{"username": "ann", "keyauth_credentials": [{"key": "key-of-ann"}]}]}
    token = {"plugins": [{"name": "jwt", "config": {"claims_to_verify": ["exp"]}}],
             "consumers": [{"username": "ann", "jwt_secrets": [
                 {"key": "ann", "algorithm": "RS256", "rsa_public_key": public}]}]}
    limit = api_key | {"plugins": [*api_key["plugins"], {
        "name": "rate-limiting", "config": {"second": 1_000_000, "policy": "local", "hide_client_headers": True}}]}
    # The upstream of the measurement answers as a service that lets everybody pass.
    asked = {"plugins": [{"name": "forward-auth", "config": {"url": "http://127.0.0.1:UPSTREAM/", "timeout": 60_000}}]}
    http1 = ["--h1"]
    return {
        "plain": ({}, {}, "http", http1),
        "api key": (api_key, {"apikey": "key-of-ann"}, "http", http1),
        "api key and limit": (limit, {"apikey": "key-of-ann"}, "http", http1),
        "another service asked": (asked, {}, "http", http1),
        "token, seen before": (token, {"authorization": "Bearer " + signed_token(key)}, "http", http1),
        "10,000 routes": ({"routes": 10_000}, {}, "http", http1),
        "access log": ({"log": True}, {}, "http", http1),
        "TLS": ({}, {}, "https", http1),
        "HTTP/2 over TLS": ({}, {}, "https", ["-m", "16"]),
    }


def configuration(extra, upstream):
    routes = [{"name": "all", "paths": ["/"]}]
    routes += [{"name": f"r{number}", "paths": [f"/r{number}/"]} for number in range(extra.get("routes", 0))]
    config = {"_format_version": "3.0", "services": [
        {"name": "up", "url": f"http://127.0.0.1:{upstream}", "routes": routes}]}
    return config | {name: extra[name] for name in ("plugins", "consumers") if name in extra}


class Upstream:
    """nginx that answers 100 bytes."""

    def __init__(self, folder):
        self.port = free_port()
        config = folder / "nginx.conf"
        config.write_text(f"""daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.err;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 1000000; server {{ listen 127.0.0.1:{self.port};
    location / {{ default_type text/plain; return 200 "{'x' * 100}"; }} }} }}
""")
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        self.process = subprocess.Popen([program, "-p", folder, "-c", config])

    def end(self):
        self.process.terminate()
        self.process.wait()


def load(url, headers, options, count):
    fields = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    done = subprocess.run(["h2load", *options, "-n", str(count), "-c", str(CALLERS), *fields, url],
                          capture_output=True, text=True, timeout=600)
    if f"{count} 2xx" not in done.stdout:
        sys.exit(f"{url}: not all of {count} requests were answered\n{done.stdout}{done.stderr}")


def measure(binary, folder, upstream, name, extra, headers, scheme, options, profile, train):
    shutil.rmtree(folder / "data", ignore_errors=True)
    port = free_port()
    written = json.dumps(configuration(extra, upstream.port))
    (folder / "kong.json").write_text(written.replace("UPSTREAM", str(upstream.port)))
    listen = f"127.0.0.1:{port}" + (" ssl http2" if scheme == "https" else "")
    (folder / "portcullis.toml").write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in {
        "declarative_config": str(folder / "kong.json"), "data": str(folder / "data"), "proxy_listen": listen,
        "admin_listen": "off", "workers": "1", "log_level": "error",
        "proxy_access_log": str(folder / "access.log") if extra.get("log") else "off",
    }.items()))
    counted = folder / "callgrind.out"
    for old in folder.glob("callgrind.out*"):
        old.unlink()
    counting = [] if train else [
        "valgrind", "--quiet", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={counted}"]
    gate = subprocess.Popen([*counting, binary, "start", "--settings", folder / "portcullis.toml"],
                            stdout=subprocess.PIPE, text=True)
    try:
        for line in gate.stdout:
            if line.startswith("ready "):
                break
        else:
            sys.exit(f"{name}: the gate did not start")
        url = f"{scheme}://127.0.0.1:{port}/"
        control = lambda state: subprocess.run(["callgrind_control", "-i", state, str(gate.pid)],
                                               check=True, capture_output=True)
        if train:
            return load(url, headers, options, TRAINED)
        load(url, headers, options, WARM_UP)
        control("on")
        load(url, headers, options, MEASURED)
        control("off")
    finally:
        gate.terminate()
        gate.wait()
    total = max(int(found) for found in re.findall(r"^(?:summary|totals): (\d+)", counted.read_text(), re.M))
    if profile:
        shutil.copy(counted, profile)
    return round(total / MEASURED)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=HERE.parent / "target/release/portcullis")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--only", action="append")
    parser.add_argument("--profile")
    parser.add_argument("--train", action="store_true")
    options = parser.parse_args()
    budget = json.loads(BUDGET.read_text()) if BUDGET.exists() else {}
    over = []
    with tempfile.TemporaryDirectory(prefix="portcullis-instructions-") as name:
        folder = pathlib.Path(name)
        upstream = Upstream(folder)
        try:
            if not options.train:
                print(f"{'instructions a request':24} {'now':>9} {'budget':>9}")
            for name, scenario in scenarios().items():
                if options.only and name not in options.only:
                    continue
                found = measure(options.binary, folder, upstream, name, *scenario, options.profile, options.train)
                if options.train:
                    print(f"trained: {name}", flush=True)
                    continue
                allowed = budget.get(name)
                print(f"{name:24} {found:9,} {allowed or 0:9,} {f'{found / allowed - 1:+.1%}' if allowed else ''}", flush=True)
                if options.write:
                    budget[name] = found
                elif allowed is None or found > allowed * (1 + TOLERANCE):
                    over.append(name)
        finally:
            upstream.end()
    if options.write:
        BUDGET.write_text(json.dumps(budget, indent=4) + "\n")
    if over:
        sys.exit(f"dearer than their budget: {', '.join(over)}\n"
                 "Make them cheaper, or say in the commit why they must be, and write the new budget with --write.")


main()

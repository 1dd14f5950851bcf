#!/usr/bin/env python3
"""Runs black-box HTTP cases that state Kong OSS 3.9 behaviour against any gateway.

    run_cases.py CASES.json --proxy http://127.0.0.1:8000 --admin http://127.0.0.1:8001 [options]

Needs Python 3.9+, PyYAML and cryptography. The runner starts its own upstreams on free ports (see below).

How a case's config is loaded
  default         POST /config on the admin side (DB-less gateway); cases with "settings" need --restart
  --restart CMD   shell command that (re)starts the gateway with the file {config} and returns once it is up; the case's
                  "settings" reach it as environment variables KONG_<NAME>. Used for every case if there is no --admin
                  or with --always-restart; else only for cases with "settings" (and once more to leave them again)
  --db            run the cases of mode "db": every entity is deleted over the Admin API, then the case's config is
                  created over it (--restart, if given, serves cases with "settings"; its {config} is an empty file)
Other options: --only TEXT (id prefix or area), --header 'Name: value' (sent on the admin side, repeatable), --settle SECONDS
(wait after a config change), --record FILE (what the gateway answered, as JSON), --as-kong (for cases marked kong_gap use
"expect", what Kong does, instead of "expect_ours"), --list, --selftest, --differences FILE: a JSON list of
{id, kind: waits|differs, reason, needs?[]}. A case that stands there is run as every other; that it fails is then
reported as its kind and is no failure, that it passes is one: the entry has become untrue.
Prints one line a case and pass counts by area; exits 1 when a case fails, 2 when nothing could be run.

Case: {id, area, title, mode: dbless|db, config, settings?, requests[], expect[], source_spec, validated|unvalidated, ...}
  requests[i] belongs to expect[i]; they run in order against a fresh config. config is declarative YAML ("" = empty).
  request   {method, path, headers, body, host, target?: "admin", save?: {var: where}, ws?: text}; a header value may be a list
             (several lines); where = JSON path like data.0.id, path~regex (its group 1) or header:Name; ws does a WebSocket
             handshake, sends one text frame and takes the answering frame as the body
  expect    status (or list) | body_equals | body_contains | body_not_contains (text or list) | body_json | body_json_absent |
            headers_present | headers_absent | upstream {method, path, query, body} | upstream_headers |
            upstream_headers_absent | upstream_body_json | upstream_body_json_absent | within (seconds: repeat until it fits)
  matching  objects: subset; arrays: same length and order, {"$set": [..]} any order, {"$has": [..]} contains;
            "*" present and not null; "re:x" regular expression (search); null = null or absent; else equal
Upstreams on 127.0.0.1: __ECHO_PORT__ answers 200 with JSON {method, path, query, headers, body} of what it got, or as told
  by query arguments echo_status, echo_header (Name:value, repeatable), echo_body; it also answers WebSocket upgrades.
  __HANG_PORT__ accepts and stays silent, __CLOSE_PORT__ closes at once, __DEAD_PORT__ refuses connections.
Placeholders, innermost first: {{jwt:ALG:secret=S|key=NAME:claims={..}:header={..}:sig=RAW}} {{pubkey:NAME}} {{now+N}} {{date-N}}
  {{basic:u:p}} {{digest:text}} {{hmac:username=..:secret=..:alg=hmac-sha256:headers=date request-line}} {{webhook:secret=..}}
  {{sha1:text}} {{b64:text}} {{var:NAME}} {{urlenc:text}} {{cert:NAME}} {{certkey:NAME}} (self-signed, \\n-escaped PEM).
"""
import argparse, base64, collections, datetime, hashlib, hmac, http.client, http.server, json, os, re, socket
import struct, subprocess, sys, tempfile, threading, time, urllib.parse
from email.utils import formatdate
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

# ---------------------------------------------------------------- keys, tokens, placeholders
_keys, _certs = {}, {}
CURVES = {"256": ec.SECP256R1, "384": ec.SECP384R1, "512": ec.SECP521R1}


def key(name):
    """one key a name for the whole run: rsa* 2048 bit, ec* P-256 (ec384*/ec512*: that curve), ed* Ed25519"""
    if name not in _keys:
        if name.startswith("ec"):
            _keys[name] = ec.generate_private_key(CURVES.get(name[2:5], ec.SECP256R1)())
        elif name.startswith("ed"):
            _keys[name] = ed25519.Ed25519PrivateKey.generate()
        else:
            _keys[name] = rsa.generate_private_key(65537, 2048)
    return _keys[name]


def pubpem(name):
    return key(name).public_key().public_bytes(ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo).decode()


def keypem(name):
    return key(name).private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption()).decode()


def certpem(name):
    """self-signed; a name that starts with rsa-ca or ec-ca gets CA:true"""
    if name not in _certs:
        dn = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.timezone.utc)
        b = x509.CertificateBuilder().subject_name(dn).issuer_name(dn).public_key(key(name).public_key())
        b = b.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(1))
        b = b.not_valid_after(now + datetime.timedelta(30))
        b = b.add_extension(x509.BasicConstraints("-ca" in name, None), True)
        _certs[name] = b.sign(key(name), hashes.SHA256()).public_bytes(ser.Encoding.PEM).decode()
    return _certs[name]


def b64u(b):
    return base64.urlsafe_b64encode(b).rstrip(b"=").decode()


def jws_sign(alg, data, k):
    h = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}.get(alg[-3:])
    if alg.startswith("HS"):
        return hmac.new(k, data, "sha" + alg[-3:]).digest()
    if alg.startswith("RS"):
        return k.sign(data, padding.PKCS1v15(), h())
    if alg.startswith("PS"):
        return k.sign(data, padding.PSS(padding.MGF1(h()), h().digest_size), h())
    if alg == "EdDSA":
        return k.sign(data)
    n = (k.curve.key_size + 7) // 8
    return b"".join(x.to_bytes(n, "big") for x in decode_dss_signature(k.sign(data, ec.ECDSA(h()))))


def make_jwt(spec):
    alg, rest = spec.split(":", 1)
    f, i, dec = {}, 0, json.JSONDecoder()
    while i < len(rest):
        k, i = rest[i:rest.index("=", i)], rest.index("=", i) + 1
        if rest[i:i + 1] == "{":
            v, n = dec.raw_decode(rest[i:])
            i += n
        else:
            m = re.search(r":(?=(claims|header|sig|key|secret)=)", rest[i:])
            e = i + m.start() if m else len(rest)
            v, i = rest[i:e], e
        f[k] = v
        i += rest[i:i + 1] == ":"
    head = {"alg": alg, "typ": "JWT", **f.get("header", {})}
    si = ".".join(b64u(json.dumps(x, separators=(",", ":")).encode()) for x in (head, f.get("claims", {})))
    if "sig" in f or alg == "none":
        return si + "." + f.get("sig", "")
    return si + "." + b64u(jws_sign(alg, si.encode(), f["secret"].encode() if "secret" in f else key(f["key"])))


NAMES = "jwt|hmac|basic|digest|sha1|now|date|pubkey|var|urlenc|webhook|b64|certkey|cert"


def expand(text, ctx):
    """replaces the placeholders of a text, the last (innermost) opening first; braces within one are balanced"""
    if not isinstance(text, str):
        return text
    while True:
        starts = [m.start() for m in re.finditer(r"\{\{(?=(?:%s)\b)" % NAMES, text)]
        if not starts:
            return text
        st, depth = starts[-1], 0
        j = st + 2
        while text[j] != "}" or depth:
            depth += {"{": 1, "}": -1}.get(text[j], 0)
            j += 1
        assert text[j:j + 2] == "}}", text
        text = text[:st] + resolve(text[st + 2:j], ctx) + text[j + 2:]


def resolve(s, ctx):
    m = re.fullmatch(r"(now|date)([+-]\d+)?", s)
    if m:
        t = time.time() + int(m[2] or 0)
        return str(int(t)) if m[1] == "now" else formatdate(t, usegmt=True)
    n, _, a = s.partition(":")
    low = {k.lower(): v for k, v in ctx.get("headers", {}).items()}
    if n == "jwt":
        return make_jwt(a)
    if n in ("basic", "b64"):
        return ("Basic " if n == "basic" else "") + base64.b64encode(a.encode()).decode()
    if n == "sha1":
        return hashlib.sha1(a.encode()).hexdigest()
    if n == "digest":
        return "SHA-256=" + base64.b64encode(hashlib.sha256(a.encode()).digest()).decode()
    if n in ("pubkey", "cert", "certkey"):
        return {"pubkey": pubpem, "cert": certpem, "certkey": keypem}[n](a).replace("\n", "\\n")
    if n == "var":
        return str(ctx["vars"][a])
    if n == "urlenc":
        return urllib.parse.quote(a, safe="")
    if n == "hmac":
        f = dict(re.findall(r"(username|secret|alg|headers)=(.*?)(?=:(?:username|secret|alg|headers)=|$)", a))
        lines = []
        for h in f["headers"].split(" "):
            if h == "request-line":
                lines.append(f'{ctx["method"]} {ctx["path"]} HTTP/1.1')
            elif h == "@request-target":
                lines.append(f'@request-target: {ctx["method"].lower()} {ctx["path"]}')
            else:
                lines.append(f"{h}: {low[h.lower()]}" if h.lower() in low else f"{h}:")
        sig = hmac.new(f["secret"].encode(), "\n".join(lines).encode(), f["alg"].replace("hmac-", "")).digest()
        return (f'hmac username="{f["username"]}", algorithm="{f["alg"]}", headers="{f["headers"]}", '
                f'signature="{base64.b64encode(sig).decode()}"')
    if n == "webhook":
        p = f'{low["webhook-id"]}.{low["webhook-timestamp"]}.{ctx["body"] or ""}'
        return "v1," + base64.b64encode(hmac.new(a.split("=", 1)[1].encode(), p.encode(), "sha256").digest()).decode()
    raise KeyError(s)


def prepare(req, vars_, ports):
    ctx = dict(vars=vars_, method=req["method"], headers={}, ws=req.get("ws"))
    ex = lambda v: expand(ports(v), ctx)
    ctx["path"] = ex(req["path"])
    ctx["body"] = req.get("body")
    if req.get("host"):
        ctx["headers"]["Host"] = ex(req["host"])
    hs = req.get("headers") or {}
    for k in sorted(hs, key=lambda k: ("hmac" in str(hs[k]), "webhook:" in str(hs[k]))):
        ctx["headers"][k] = [ex(v) for v in hs[k]] if isinstance(hs[k], list) else ex(hs[k])
    ctx["body"] = ex(req.get("body"))
    return ctx


# ---------------------------------------------------------------- matching
def match(exp, got, at="$"):
    if isinstance(exp, dict):
        if "$set" in exp or "$has" in exp:
            want, name = (exp["$set"], "$set") if "$set" in exp else (exp["$has"], "$has")
            if not isinstance(got, list) or (name == "$set" and len(got) != len(want)):
                return [f"{at}: {got!r} is not a list like {exp!r}"]
            left, out = list(got), []
            for w in want:
                i = next((i for i, g in enumerate(left) if not match(w, g)), None)
                out += [f"{at}: nothing like {w!r} in {got!r}"] if i is None else []
                if i is not None:
                    del left[i]
            return out
        if not isinstance(got, dict):
            return [f"{at}: not an object: {got!r}"]
        gone = [f"{at}.{k}: missing" for k, v in exp.items() if k not in got and v is not None]
        return gone + [e for k, v in exp.items() if k in got for e in match(v, got[k], f"{at}.{k}")]
    if isinstance(exp, list):
        if not isinstance(got, list) or len(exp) != len(got):
            return [f"{at}: list {got!r} != {exp!r}"]
        return [e for i, (a, b) in enumerate(zip(exp, got)) for e in match(a, b, f"{at}[{i}]")]
    if exp is None:
        return [] if got is None else [f"{at}: {got!r} not null"]
    if exp == "*":
        return [] if got is not None else [f"{at}: null"]
    if isinstance(exp, str) and exp.startswith("re:"):
        return [] if re.search(exp[3:], str(got)) else [f"{at}: {got!r} !~ {exp}"]
    same = exp == got and isinstance(exp, bool) == isinstance(got, bool)
    same = same or (isinstance(exp, str) and isinstance(got, (int, float)) and exp == str(got))
    return [] if same else [f"{at}: {got!r} != {exp!r}"]


def check(e, ans, ctx, ports):
    status, headers, body = ans
    errs = []

    def deep(v):
        if isinstance(v, dict):
            return {deep(k): deep(x) for k, x in v.items()}
        return [deep(x) for x in v] if isinstance(v, list) else expand(ports(v), ctx)

    e = deep(e)
    texts = lambda k: [e[k]] if isinstance(e.get(k), str) else e.get(k, [])
    if status not in (e["status"] if isinstance(e["status"], list) else [e["status"]]):
        errs.append(f"status {status} != {e['status']}: {body[:300]!r}")
    flat = body.replace("\\/", "/")
    errs += [f"body lacks {s!r}: {body[:300]!r}" for s in texts("body_contains") if s not in flat]
    errs += [f"body has {s!r}" for s in texts("body_not_contains") if s in flat]
    if "body_equals" in e and body.rstrip("\n") != e["body_equals"].rstrip("\n"):
        errs.append(f"body {body[:300]!r} != {e['body_equals']!r}")
    try:
        js = json.loads(body)
    except ValueError:
        js = None
    if "body_json" in e:
        errs += match(e["body_json"], js, "body")
    errs += [f"body has {k}" for k in e.get("body_json_absent", []) if isinstance(js, dict) and k in js]
    hl = {}
    for k, v in headers:
        hl[k.lower()] = hl[k.lower()] + ", " + v if k.lower() in hl else v

    def heads(want, absent, have, what):
        out = []
        for k, v in want.items():
            out += match(v, have[k.lower()], f"{what} {k}") if k.lower() in have else [f"{what} {k} missing"]
        return out + [f"{what} {k} present: {have[k.lower()]!r}" for k in absent if k.lower() in have]

    errs += heads(e.get("headers_present", {}), e.get("headers_absent", []), hl, "header")
    if any(k.startswith("upstream") for k in e):
        up = js if isinstance(js, dict) else {}
        errs += match(e.get("upstream", {}), up, "upstream")
        uh = {k.lower(): v for k, v in (up.get("headers") or {}).items()}
        errs += heads(e.get("upstream_headers", {}), e.get("upstream_headers_absent", []), uh, "upstream header")
        if "upstream_body_json" in e or "upstream_body_json_absent" in e:
            try:
                ub = json.loads(up.get("body") or "null")
            except ValueError:
                ub = None
            errs += match(e.get("upstream_body_json", {}), ub, "upstream body")
            errs += [f"upstream body has {k}" for k in e.get("upstream_body_json_absent", []) if isinstance(ub, dict) and k in ub]
    return errs


# ---------------------------------------------------------------- upstreams
WS_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def ws_frame(text, mask=False):
    b = text.encode()
    head = bytes([0x81]) + (bytes([len(b) | 128 * mask]) if len(b) < 126 else bytes([126 | 128 * mask]) + struct.pack(">H", len(b)))
    m = b"abcd" if mask else b""
    return head + m + (bytes(c ^ m[i % 4] for i, c in enumerate(b)) if mask else b)


def ws_read(f):
    b0, n = f.read(1)[0], f.read(1)[0]
    masked, n = n & 128, n & 127
    n = struct.unpack(">H", f.read(2))[0] if n == 126 else n
    m = f.read(4) if masked else b"\0" * 4
    return bytes(c ^ m[i % 4] for i, c in enumerate(f.read(n))).decode()


class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            body = b""
            while True:
                n = int(self.rfile.readline().split(b";")[0], 16)
                body += self.rfile.read(n)
                self.rfile.readline()
                if n == 0:
                    break
        else:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
        h = {}
        for k, v in self.headers.items():
            h[k.lower()] = h[k.lower()] + ", " + v if k.lower() in h else v
        p, _, q = self.path.partition("?")
        seen = dict(method=self.command, path=p, query=q, headers=h, body=body.decode("utf8", "replace"))
        if h.get("upgrade", "").lower() == "websocket":
            acc = base64.b64encode(hashlib.sha1((h.get("sec-websocket-key", "") + WS_GUID).encode()).digest()).decode()
            self.send_response(101)
            for k, v in (("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", acc)):
                self.send_header(k, v)
            self.end_headers()
            seen["body"] = ws_read(self.rfile)
            self.wfile.write(ws_frame(json.dumps(seen)))
            self.close_connection = True
            return
        a = urllib.parse.parse_qs(q)
        out = a["echo_body"][0].encode() if "echo_body" in a else json.dumps(seen).encode()
        status = int(a.get("echo_status", ["200"])[0])
        self.send_response_only(status)
        extra = [x.split(":", 1) for x in a.get("echo_header", [])]
        for k, v in extra:
            self.send_header(k, v)
        if not any(k.lower() == "content-type" for k, _ in extra):
            self.send_header("Content-Type", "application/json")
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(out)))
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            self.wfile.write(out)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_HEAD = do_TRACE = do_PURGE = answer

    def log_message(self, *a):
        pass


def start_upstreams():
    """-> a function that puts the port numbers into a text"""
    echo = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    echo.daemon_threads = True
    threading.Thread(target=echo.serve_forever, daemon=True).start()
    socks = [socket.socket() for _ in range(3)]
    for s in socks:
        s.bind(("127.0.0.1", 0))
    hang, close, dead = socks  # dead stays bound without listening: connections are refused
    for s in (hang, close):
        s.listen(64)

    def closer():
        while True:
            c = close.accept()[0]
            c.recv(65536)
            c.close()
    threading.Thread(target=closer, daemon=True).start()
    nums = {"__ECHO_PORT__": echo.server_address[1], "__HANG_PORT__": hang.getsockname()[1],
            "__CLOSE_PORT__": close.getsockname()[1], "__DEAD_PORT__": dead.getsockname()[1]}

    def ports(text, _keep=socks):
        if isinstance(text, str) and "_PORT__" in text:
            for k, v in nums.items():
                text = text.replace(k, str(v))
        return text
    return ports


# ---------------------------------------------------------------- talking to the gateway
def send(base, ctx, extra=()):
    u = urllib.parse.urlsplit(base)
    c = http.client.HTTPConnection(u.hostname, u.port or 80, timeout=20)
    hs = list(ctx["headers"].items()) + list(extra)
    names = {k.lower() for k, _ in hs}
    c.putrequest(ctx["method"], ctx["path"], skip_host="host" in names, skip_accept_encoding=True)
    if ctx.get("ws") is not None:
        hs += [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
               ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]
    for k, v in hs:
        for x in v if isinstance(v, list) else [v]:
            c.putheader(k, x)
    b = ctx["body"].encode() if ctx.get("body") is not None else None
    if (b is not None or ctx["method"] in ("POST", "PUT", "PATCH")) and not names & {"content-length", "transfer-encoding"}:
        c.putheader("Content-Length", str(len(b or b"")))
    c.endheaders()
    if b:
        c.send(b)
    if ctx.get("ws") is not None:
        return ws_answer(c, ctx["ws"])
    r = c.getresponse()
    body = r.read().decode("utf8", "replace")
    c.close()
    return r.status, r.getheaders(), body


def ws_answer(c, text):
    f = c.sock.makefile("rb")
    status, hs = int(f.readline().split()[1]), []
    while line := f.readline().decode("latin1").rstrip("\r\n"):
        hs.append(tuple(x.strip() for x in line.split(":", 1)))
    if status != 101:
        n = next((int(v) for k, v in hs if k.lower() == "content-length"), 0)
        return status, hs, f.read(n).decode("utf8", "replace")
    c.sock.sendall(ws_frame(text, True))
    return status, hs, ws_read(f)


CRED_URLS = {"keyauth_credentials": "key-auth", "basicauth_credentials": "basic-auth", "hmacauth_credentials": "hmac-auth",
             "jwt_secrets": "jwt", "acls": "acls", "oauth2_credentials": "oauth2", "key_sets": "key-sets"}
RESET = ("plugins routes services oauth2_tokens consumers upstreams snis certificates ca_certificates keys key-sets vaults").split()
TOP = "certificates ca_certificates vaults key_sets upstreams services routes consumers plugins".split()
FK = {"service": "name", "route": "name", "consumer": "username", "upstream": "name"}


class Gateway:
    def __init__(self, a):
        self.a, self.extra = a, [tuple(x.strip() for x in h.split(":", 1)) for h in a.header]
        self.dirty = bool(a.restart) and not a.admin

    def admin(self, method, path, doc=None):
        ctx = dict(method=method, path=path, headers={}, body=None)
        if doc is not None:
            ctx.update(body=json.dumps(doc), headers={"Content-Type": "application/json"})
        st, _, body = send(self.a.admin, ctx, self.extra)
        return st, json.loads(body) if body.strip()[:1] in ("{", "[") else body

    def restart(self, text, settings):
        with tempfile.NamedTemporaryFile("w", suffix=".yml", delete=False) as f:
            f.write(text)
        env = {**os.environ, **{"KONG_" + k.upper(): str(v) for k, v in settings.items()}}
        try:
            subprocess.run(self.a.restart.replace("{config}", f.name), shell=True, check=True, env=env)
        finally:
            os.unlink(f.name)

    def load(self, case, text):
        text, settings = text or '_format_version: "3.0"\n', case.get("settings") or {}
        if settings and not self.a.restart:
            return "needs --restart (settings)"
        by_restart = self.a.restart and (settings or self.dirty or self.a.always_restart or not self.a.admin)
        self.dirty = bool(settings)
        if by_restart:
            self.restart('_format_version: "3.0"\n' if self.a.db else text, settings)
        if self.a.db:
            self.reset()
            self.create(yaml.safe_load(text))
        elif not by_restart:
            st, doc = self.admin("POST", "/config", {"config": text})
            assert st in (200, 201), f"POST /config: {st} {json.dumps(doc)[:600]}"
        time.sleep(self.a.settle)

    def reset(self):
        for e in RESET:
            while (r := self.admin("GET", f"/{e}?size=1000"))[0] == 200 and r[1]["data"]:
                for row in r[1]["data"]:
                    st, d = self.admin("DELETE", f"/{e}/{row['id']}")
                    assert st == 204, f"DELETE /{e}/{row['id']}: {st} {d}"

    def create(self, doc, parent=""):
        """creates a declarative document (no more than what the cases use) through the Admin API"""
        for name in [k for k in TOP if k in doc] + [k for k in doc if k not in TOP]:
            if not isinstance(doc[name], list) or name in ("_ignore", "tags"):
                continue
            for row in doc[name]:
                kids = {k: v for k, v in row.items() if isinstance(v, list) and v and isinstance(v[0], dict)}
                own = {k: {FK[k]: v} if k in FK and isinstance(v, str) else v for k, v in row.items() if k not in kids}
                url = f"{parent}/{CRED_URLS.get(name, name)}"
                st, d = self.admin("POST", url, own)
                assert st == 201, f"POST {url}: {st} {d}"
                self.create(kids, f"{url if not parent or name not in TOP else '/' + name}/{d['id']}")


def run_case(case, gw, ports, record):
    vars_, errs = {}, []
    expects = case["expect"] if gw.a.as_kong else case.get("expect_ours", case["expect"])
    for i, (rq, ex) in enumerate(zip(case["requests"], expects)):
        to_admin = rq.get("target") == "admin"
        end = time.time() + ex.get("within", 0)
        while True:
            ctx = prepare(rq, vars_, ports)
            try:
                ans = send(gw.a.admin if to_admin else gw.a.proxy, ctx, gw.extra if to_admin else ())
            except (OSError, http.client.HTTPException) as e:
                ans = (0, [], f"{type(e).__name__}: {e}")
            bad = check(ex, ans, ctx, ports)
            if not bad or time.time() > end:
                break
            time.sleep(0.2)
        record.append({"request": f"{rq['method']} {ctx['path']}", "status": ans[0], "headers": ans[1], "body": ans[2]})
        errs += [f"#{i + 1} {rq['method']} {rq['path']}: {e}" for e in bad]
        for v, p in (rq.get("save") or {}).items():
            try:
                if p.startswith("header:"):
                    vars_[v] = next(x for k, x in ans[1] if k.lower() == p[7:].lower())
                else:
                    doc, (p, _, rx) = json.loads(ans[2]), p.partition("~")
                    for part in p.split("."):
                        doc = doc[int(part)] if isinstance(doc, list) else doc[part]
                    vars_[v] = re.search(rx, doc)[1] if rx else doc
            except (ValueError, LookupError, TypeError, StopIteration):
                vars_[v] = ""
        time.sleep(0.02)
    return errs


def read_differences(path, cases):
    """-> {id: entry}; an entry of no case, of an unknown kind or without a reason is an error"""
    if not path:
        return {}
    with open(path) as f:
        entries = json.load(f)
    ids = {c["id"] for c in cases}
    for e in entries:
        assert e.get("id") in ids and e.get("kind") in ("waits", "differs") and e.get("reason"), f"{path}: {e}"
    assert len({e["id"] for e in entries}) == len(entries), f"{path}: a case is listed twice"
    return {e["id"]: e for e in entries}


def judge(why, errs, listed):
    """-> (verdict, what to say of it)"""
    if why:
        return "skip", why
    if listed and errs:
        return listed["kind"], listed["reason"] + (": " + ", ".join(listed["needs"]) if listed.get("needs") else "")
    if listed:
        return "FAIL", "listed but passes"
    return ("FAIL", None) if errs else ("ok", None)


def selftest():
    listed = {"id": "X1", "kind": "waits", "reason": "not built", "needs": ["cors"]}
    assert judge(None, ["e"], listed) == ("waits", "not built: cors") and judge(None, [], listed) == ("FAIL", "listed but passes")
    assert judge("w", [], listed)[0] == "skip" and judge(None, ["e"], None)[0] == "FAIL" and judge(None, [], None)[0] == "ok"
    assert not match({"a": 1, "b": None}, {"a": 1, "c": 2}) and match({"a": "re:^x"}, {"a": "y"}) and match({"a": 1}, {})
    assert not match({"$set": [1, {"x": 2}]}, [{"x": 2, "y": 1}, 1]) and match({"$set": [1]}, [1, 1]) and not match({"$has": [1]}, [2, 1])
    assert match(True, 1) and not match("5", 5) and match("*", None)
    t = expand('{{jwt:HS256:secret=s:claims={"iss":"k","o":{"x":{{now+60}}}}:header={"kid":"z"}}}', {"vars": {}})
    h, c, s = t.split(".")
    pad = lambda x: base64.urlsafe_b64decode(x + "===")
    assert json.loads(pad(h))["kid"] == "z" and hmac.new(b"s", f"{h}.{c}".encode(), "sha256").digest() == pad(s)
    h, c, s = expand('{{jwt:RS256:key=rsa1:claims={"iss":"k"}}}', {"vars": {}}).split(".")
    key("rsa1").public_key().verify(pad(s), f"{h}.{c}".encode(), padding.PKCS1v15(), hashes.SHA256())
    assert len(pad(expand('{{jwt:ES256:key=ec1:claims={}}}', {"vars": {}}).split(".")[2])) == 64
    base = "http://127.0.0.1:" + start_upstreams()("__ECHO_PORT__")
    st, _, b = send(base, dict(method="POST", path="/x?y=1", headers={"A": ["1", "2"]}, body="hi"))
    d = json.loads(b)
    assert (st, d["path"], d["query"], d["body"], d["headers"]["a"]) == (200, "/x", "y=1", "hi", "1, 2"), d
    st, hs, b = send(base, dict(method="GET", path="/w", headers={}, body=None, ws="ping"))
    assert st == 101 and json.loads(b)["body"] == "ping"
    st, hs, b = send(base, dict(method="GET", path="/w?echo_status=418&echo_header=X-A:b&echo_body=z", headers={}, body=None))
    assert st == 418 and b == "z" and ("X-A", "b") in hs
    print("selftest ok")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("cases", nargs="?")
    for o in ("--proxy", "--admin", "--restart", "--record", "--differences"):
        ap.add_argument(o)
    ap.add_argument("--only", action="append", default=[])
    ap.add_argument("--header", action="append", default=[])
    ap.add_argument("--settle", type=float, default=0.3)
    for o in ("--db", "--as-kong", "--always-restart", "--list", "--selftest", "--quiet"):
        ap.add_argument(o, action="store_true")
    a = ap.parse_args()
    if a.selftest:
        return selftest()
    with open(a.cases) as f:
        cases = json.load(f)
    differences = read_differences(a.differences, cases)
    cases = [c for c in cases if not a.only or any(c["id"].startswith(o) or c["area"] == o for o in a.only)]
    if a.list:
        for c in cases:
            print(f"{c['id']:6} {c['area']:22} {c['mode']:7} {c['title']}")
        return 0
    if not a.proxy or not (a.admin or a.restart) or (a.db and not a.admin):
        ap.error("need --proxy and --admin (or --restart)")
    gw, ports, recorded = Gateway(a), start_upstreams(), {}
    tally = collections.defaultdict(collections.Counter)
    for c in cases:
        why, errs = None, []
        if (c["mode"] == "db") != a.db:
            continue
        if not a.admin and any(r.get("target") == "admin" for r in c["requests"]):
            why = "needs --admin"
        if not why:
            try:
                why = gw.load(c, expand(ports(c["config"]), dict(vars={})) if c["config"] else "")
                errs = [] if why else run_case(c, gw, ports, recorded.setdefault(c["id"], []))
            except (AssertionError, OSError, subprocess.CalledProcessError, http.client.HTTPException) as e:
                errs = [f"{type(e).__name__}: {e}"]
        verdict, why = judge(why, errs, differences.get(c["id"]))
        tally[c["area"]][verdict] += 1
        if not a.quiet or verdict == "FAIL":
            print(f"{verdict:7} {c['id']:6} {c['title']}" + (f" [{why}]" if why else ""), flush=True)
        for e in errs if verdict == "FAIL" else ():
            print("          " + e)
    total = sum(tally.values(), collections.Counter())
    print(f"\n{'area':24}{'pass':>8}{'fail':>8}{'differs':>8}{'waits':>8}{'skip':>8}")
    for area, t in sorted(tally.items()) + [("total", total)]:
        print(f"{area:24}{t['ok']:8}{t['FAIL']:8}{t['differs']:8}{t['waits']:8}{t['skip']:8}")
    if a.record:
        with open(a.record, "w") as f:
            json.dump(recorded, f, indent=1)
    return 1 if total["FAIL"] else 0 if total["ok"] else 2


if __name__ == "__main__":
    sys.exit(main())

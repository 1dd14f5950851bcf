import json


def render(c):
    s, plugins, consumers, extra = c.scenario, [], [], {}
    listen = f"127.0.0.1:{c.port}"
    service = {"name": "up", "url": f"http://127.0.0.1:{c.up}", "routes": [
        {"name": "all", "paths": ["/"], "strip_path": False}]}
    settings = {}
    if s in ("S8", "S8H2", "S9"):
        listen = f"127.0.0.1:{c.tls_port} ssl{' http2' if s == 'S8H2' else ''}"
        settings = {"ssl_cert": f"{c.mat}/server.pem", "ssl_cert_key": f"{c.mat}/server.key", "ssl_session_tickets": "off"}
    if s == "S10":
        cert, ca = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
        service.update(url=f"https://bench.invalid:{c.up_tls}", client_certificate=cert, ca_certificates=[ca])
        extra = {"upstreams": [{"name": "bench.invalid", "host_header": "bench.invalid",
                                "targets": [{"target": f"127.0.0.1:{c.up_tls}"}]}],
                 "certificates": [{"id": cert, "cert": c.read("client.pem"), "key": c.read("client.key")}],
                 "ca_certificates": [{"id": ca, "cert": c.read("ca.pem")}]}
    if c.alg:
        plugins = [{"name": "jwt", "config": {"claims_to_verify": ["exp"], "uri_param_names": []}}]
        key = {"secret": c.read("hs256.secret")} if c.alg == "HS256" else {"rsa_public_key": c.read(f"{c.alg.lower()}.pub.pem")}
        consumers = [{"username": "bench-consumer", "jwt_secrets": [{"key": c.iss, "algorithm": c.alg, **key}]}]
    if s in ("S5", "S6"):
        plugins = [{"name": "key-auth", "config": {"key_names": ["apikey"], "key_in_query": False}}]
        consumers = [{"username": f"user-{i:05d}", "keyauth_credentials": [{"key": k}]} for i, k in enumerate(c.keys)]
    if s == "S6":
        # nginx and HAProxy tell callers nothing of limits, so nobody does.
        plugins.append({"name": "rate-limiting", "config": {"second": c.limit, "policy": "local", "limit_by": "consumer",
                                                           "hide_client_headers": True}})
    if s == "S12":
        plugins = [{"name": "forward-auth", "config": {"url": f"http://127.0.0.1:{c.auth}/auth",
                                                      "upstream_headers": ["X-User"]}}]
    if c.routes:
        service["routes"] = [{"name": f"r{i}", "paths": [f"/svc{i}/"], "strip_path": False} for i in range(c.routes)]
    kong = {"_format_version": "3.0", "services": [service], "plugins": plugins, "consumers": consumers, **extra}
    settings |= {"declarative_config": f"{c.run}/kong.json", "data": f"{c.run}/data", "proxy_listen": listen,
                 "admin_listen": "off", "workers": "1", "log_level": "error",
                 "proxy_access_log": f"{c.run}/access.log" if s == "S1L" else "off", "access_log_format": "common"}
    toml = "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
    return {"kong.json": json.dumps(kong), "portcullis.toml": toml}

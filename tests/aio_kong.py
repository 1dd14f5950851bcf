"""What aio-kong, a client of Kong's Admin API, does with everything that it knows. Argument: the URL, token included."""
import asyncio
import os
import subprocess
import sys
import tempfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from datetime import datetime, timedelta, timezone
from kong.client import Kong, KongResponseError

URL = sys.argv[1]

YAML = """
services:
- name: pets
  host: pets.test
  port: 8080
  routes:
  - name: pets
    hosts: [pets.test]
    paths: [/pets]
    plugins:
    - name: key-auth
  plugins:
  - name: rate-limiting
    config: {minute: 5, policy: local}
consumers:
- username: ann
  groups: [admin, staff]
  auths:
  - type: basic-auth
    config: {username: ann, password: secret}
"""


def certificate(name):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now).not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return made.public_bytes(pem).decode(), private.decode()


async def gone(what, entity):
    assert not await what.has(entity.id), entity
    try:
        await what.get(entity.id)
    except KongResponseError as error:
        assert error.status == 404, error
    else:
        raise AssertionError("it is still there")


async def entities():
    async with Kong(url=URL) as kong:
        service = await kong.services.create(name="shop", host="shop.test", tags=["a"])
        assert (await kong.services.update("shop", host="other.test")).host == "other.test"
        assert (await kong.services.get(service.id))["tags"] == ["a"]
        route = await service.routes.create(name="orders", paths=["/orders"], methods=["GET"])
        assert (await kong.routes.update("orders", paths=["/o"]))["paths"] == ["/o"]
        assert [one.name for one in await service.routes.get_full_list()] == ["orders"]
        plugin = await service.plugins.create(name="key-auth", config={"key_names": ["apikey"]})
        changed = await kong.plugins.update(plugin.id, name="key-auth", config={"hide_credentials": True})
        assert changed["config"]["hide_credentials"] and changed["config"]["key_names"] == ["apikey"]
        await route.plugins.create(name="cors")
        consumer = await kong.consumers.create(username="bob", custom_id="7")
        assert (await kong.consumers.update("bob", tags=["x"]))["tags"] == ["x"]
        group = await consumer.acls.create(group="staff")
        assert [one["group"] for one in await consumer.acls.get_list()] == ["staff"]
        assert [one["group"] for one in await kong.acls.get_full_list()] == ["staff"]
        key = await consumer.keyauths.get_or_create()
        assert (await consumer.keyauths.get_or_create())["key"] == key["key"]
        jwt = await consumer.jwts.create(secret="s" * 32)
        assert (await consumer.jwts.get(jwt.id))["secret"] == "s" * 32
        # As forms, again and again.
        for password in ("one", "two"):
            await consumer.basicauths.create_or_update_credentials({"username": "bob", "password": password})
        assert len(await consumer.basicauths.get_list()) == 1
        cert, private = certificate("shop.test")
        held = await kong.certificates.create(cert=cert, key=private, snis=["shop.test"])
        assert [one.name for one in await kong.snis.get_full_list()] == ["shop.test"]
        await kong.snis.create(name="more.test", certificate={"id": held.id})
        assert sorted((await kong.certificates.get(held.id))["snis"]) == ["more.test", "shop.test"]
        for number in range(120):
            await kong.consumers.create(username=f"c{number:03}")
        assert len(await kong.consumers.get_full_list()) == 121

        for what, entity in ((consumer.acls, group), (consumer.keyauths, key), (consumer.jwts, jwt), (kong.plugins, plugin)):
            await what.delete(entity.id)
            await gone(what, entity)
        try:
            await kong.services.create(name="shop", host="x")
        except KongResponseError as error:
            assert error.status == 409, error
        await kong.delete_all()
        for what in (kong.services, kong.routes, kong.plugins, kong.consumers, kong.certificates, kong.snis):
            assert await what.get_full_list() == [], what


def command_line():
    def kongfig(*args):
        program = os.path.join(os.path.dirname(sys.executable), "kongfig")
        return subprocess.run([program, *args, "--url", URL], check=True, capture_output=True, text=True).stdout

    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        file.write(YAML)
        file.flush()
        for _ in range(2):
            told = kongfig("yaml", file.name, "--clear")
            assert '"rate-limiting"' in told and '"ann"' in told, told
    assert "pets" in kongfig("services") and "pets.test" in kongfig("services", "--json")
    assert "/pets" in kongfig("routes", "pets", "--json")
    assert "ann" in kongfig("consumers")
    assert '"key"' in kongfig("key-auth", "ann")
    kongfig("services", "--delete", "pets")
    assert "pets" not in kongfig("services")


asyncio.run(entities())
command_line()
print("all of it")

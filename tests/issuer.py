"""The keys of an issuer and its tokens, by the library cryptography:

    issuer.py key PEM KID [rsa]   makes a key, writes it to PEM, and prints its public half as a JWK
    issuer.py sign PEM KID CLAIMS prints a token with these claims (JSON); `exp` may be given as seconds from now
"""
import base64
import json
import sys
import time

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature


def text(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value, length=None):
    return text(value.to_bytes(length or (value.bit_length() + 7) // 8, "big"))


def key(path, kid, kind="ec"):
    private = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())
    encoding = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    with open(path, "wb") as file:
        file.write(private.private_bytes(*encoding))
    public = private.public_key().public_numbers()
    if kind == "rsa":
        jwk = {"kty": "RSA", "n": number(public.n), "e": number(public.e)}
    else:
        jwk = {"kty": "EC", "crv": "P-256", "x": number(public.x, 32), "y": number(public.y, 32)}
    print(json.dumps(dict(jwk, kid=kid, use="sig")))


def sign(path, kid, claims):
    with open(path, "rb") as file:
        private = serialization.load_pem_private_key(file.read(), None)
    claims = json.loads(claims)
    if "exp" in claims:
        claims["exp"] += int(time.time())
    is_rsa = isinstance(private, rsa.RSAPrivateKey)
    header = {"alg": "RS256" if is_rsa else "ES256", "typ": "JWT", "kid": kid}
    signed = f"{text(json.dumps(header).encode())}.{text(json.dumps(claims).encode())}"
    if is_rsa:
        signature = private.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    else:
        r, s = decode_dss_signature(private.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    print(f"{signed}.{text(signature)}")


{"key": key, "sign": sign}[sys.argv[1]](*sys.argv[2:])

"""Client certificates with every habit, by the library cryptography:

    certificates.py issue CA OUT OPTIONS   a certificate with its key, in OUT and OUT.key, by CA and CA.key
    certificates.py root OUT NAME          an authority of its own
    certificates.py revoked CA OUT CERT... a list of what the authority has revoked

OPTIONS is JSON: cn, dns, email, uri (names), days (from now), eku ("client", "server" or null), ca, crl (a URL),
chain (true: the authority's own certificate follows).
"""
import datetime
import json
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.datetime.now(datetime.timezone.utc)


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def load(path):
    with open(path, "rb") as cert, open(path + ".key", "rb") as key:
        return x509.load_pem_x509_certificate(cert.read()), serialization.load_pem_private_key(key.read(), None)


def write(path, key, *certs):
    pem = serialization.Encoding.PEM
    with open(path, "wb") as file:
        file.write(b"".join(cert.public_bytes(pem) for cert in certs))
    with open(path + ".key", "wb") as file:
        file.write(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))


def build(subject, issuer, public, days, ca):
    return (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - datetime.timedelta(days=10))
        .not_valid_after(NOW + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca, None), True)
    )


def root(path, subject):
    key = ec.generate_private_key(ec.SECP256R1())
    cert = build(subject, name(subject), key.public_key(), 30, True).sign(key, hashes.SHA256())
    write(path, key, cert)


def issue(authority, path, options):
    options = json.loads(options)
    parent, parent_key = load(authority)
    key = ec.generate_private_key(ec.SECP256R1())
    ca = options.get("ca", False)
    builder = build(options.get("cn", "nobody"), parent.subject, key.public_key(), options.get("days", 30), ca)
    names = [x509.DNSName(text) for text in options.get("dns", [])]
    names += [x509.RFC822Name(text) for text in options.get("email", [])]
    names += [x509.UniformResourceIdentifier(text) for text in options.get("uri", [])]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
    purposes = {"client": ExtendedKeyUsageOID.CLIENT_AUTH, "server": ExtendedKeyUsageOID.SERVER_AUTH}
    eku = options.get("eku", None if ca else "client")
    if eku:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purposes[eku]]), False)
    if "crl" in options:
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(options["crl"])], None, None, None)
        builder = builder.add_extension(x509.CRLDistributionPoints([point]), False)
    cert = builder.sign(parent_key, hashes.SHA256())
    write(path, key, cert, *([parent] if options.get("chain") else []))


def revoked(authority, path, *certs):
    parent, key = load(authority)
    builder = x509.CertificateRevocationListBuilder().issuer_name(parent.subject)
    builder = builder.last_update(NOW).next_update(NOW + datetime.timedelta(days=1))
    builder = builder.add_extension(x509.CRLNumber(1), False)
    for cert in certs:
        entry = x509.RevokedCertificateBuilder().serial_number(load(cert)[0].serial_number)
        builder = builder.add_revoked_certificate(entry.revocation_date(NOW).build())
    with open(path, "wb") as file:
        file.write(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


{"issue": issue, "root": root, "revoked": revoked}[sys.argv[1]](*sys.argv[2:])

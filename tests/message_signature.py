"""Signs a request (RFC 9421) by the library http-message-signatures and prints the header fields to add, as JSON:

    message_signature.py JSON

JSON: `method`, `url`, `secret`, `keyid`, `covered` (names of components), and as wanted `age` (seconds since it was made),
`life` (seconds until it expires), `headers`, `body`, `label`.
"""
import datetime
import json
import sys

from http_message_signatures import HTTPMessageSigner, HTTPSignatureKeyResolver, algorithms

wanted = json.loads(sys.argv[1])


class Secret(HTTPSignatureKeyResolver):
    def resolve_private_key(self, key_id):
        return wanted["secret"].encode()


class Request:
    method = wanted["method"]
    url = wanted["url"]
    headers = wanted.get("headers", {})


signer = HTTPMessageSigner(signature_algorithm=algorithms.HMAC_SHA256, key_resolver=Secret())
made = datetime.datetime.now() - datetime.timedelta(seconds=wanted.get("age", 0))
life = wanted.get("life")
signer.sign(
    Request,
    key_id=wanted["keyid"],
    created=made,
    expires=made + datetime.timedelta(seconds=life) if life else None,
    label=wanted.get("label"),
    covered_component_ids=wanted["covered"],
    body=wanted["body"].encode() if "body" in wanted else None,
)
print(json.dumps(Request.headers))

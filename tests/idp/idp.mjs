// A real identity provider (oidc-provider, certified for OpenID Connect): node idp.mjs DIRECTORY
//
// DIRECTORY holds node_modules. Prints its port, and ends with its standard input. Each line of the input is an order,
// answered by a line: `token RESOURCE SCOPE` prints an access token for a resource, `opaque SCOPE` one that says nothing
// itself, `revoke TOKEN` ends one, `rotate` makes a new signing key and takes away the old one, `asked` prints how often
// its keys were fetched, `introspected` how often it was asked about a token.
import { createRequire } from "node:module";
import { generateKeyPairSync, randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

// What the library has to say is not an answer to an order.
console.info = console.warn = console.error;

const { default: Provider } = await import(pathToFileURL(createRequire(process.argv[2] + "/").resolve("oidc-provider")));

const key = () => {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return { ...privateKey.export({ format: "jwk" }), kid: randomUUID(), use: "sig", alg: "ES256" };
};

const provider = (issuer) =>
  new Provider(issuer, {
    clients: [
      {
        client_id: "caller",
        client_secret: "secret",
        grant_types: ["client_credentials"],
        redirect_uris: [],
        response_types: [],
        id_token_signed_response_alg: "ES256",
      },
    ],
    jwks: { keys: [key()] },
    scopes: ["read", "write"],
    ttl: { ClientCredentials: 300 },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      revocation: { enabled: true, allowedPolicy: () => true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_, audience) => ({
          audience,
          scope: "read write",
          accessTokenFormat: "jwt",
          accessTokenTTL: 300,
          jwt: { sign: { alg: "ES256" } },
        }),
      },
    },
  });

let asked = 0;
let introspected = 0;
let current;
const server = createServer((request, response) => {
  if (request.url === "/jwks") asked += 1;
  if (request.url === "/token/introspection") introspected += 1;
  current.callback()(request, response);
});
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const issuer = `http://127.0.0.1:${server.address().port}`;
current = provider(issuer);
console.log(server.address().port);

const post = (path, parameters) => {
  const authorization = `Basic ${Buffer.from("caller:secret").toString("base64")}`;
  return fetch(`${issuer}${path}`, { method: "POST", headers: { authorization }, body: new URLSearchParams(parameters) });
};
const token = async (parameters) => {
  const said = await (await post("/token", { grant_type: "client_credentials", ...parameters })).json();
  return said.access_token ?? JSON.stringify(said);
};

const orders = {
  token: (resource, scope) => token({ resource, scope }),
  opaque: (scope) => token({ scope }),
  async revoke(token) {
    return (await post("/token/revocation", { token })).status;
  },
  async rotate() {
    current = provider(issuer);
    return "rotated";
  },
  async asked() {
    return asked;
  },
  async introspected() {
    return introspected;
  },
};
for await (const line of createInterface({ input: process.stdin })) {
  const [order, ...words] = line.split(" ");
  console.log(await orders[order](...words));
}
process.exit(0);

// A real identity provider (oidc-provider, certified for OpenID Connect): node idp.mjs DIRECTORY
//
// DIRECTORY holds node_modules. Prints its port, and ends with its standard input. Each line of the input is an order,
// answered by a line: `token RESOURCE SCOPE` prints an access token for a resource, `rotate` makes a new signing key
// and takes away the old one, `asked` prints how often its keys were fetched.
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
let current;
const server = createServer((request, response) => {
  if (request.url === "/jwks") asked += 1;
  current.callback()(request, response);
});
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const issuer = `http://127.0.0.1:${server.address().port}`;
current = provider(issuer);
console.log(server.address().port);

const orders = {
  async token(resource, scope) {
    const body = new URLSearchParams({ grant_type: "client_credentials", resource, scope });
    const authorization = `Basic ${Buffer.from("caller:secret").toString("base64")}`;
    const answer = await fetch(`${issuer}/token`, { method: "POST", headers: { authorization }, body });
    const said = await answer.json();
    return said.access_token ?? JSON.stringify(said);
  },
  async rotate() {
    current = provider(issuer);
    return "rotated";
  },
  async asked() {
    return asked;
  },
};
for await (const line of createInterface({ input: process.stdin })) {
  const [order, ...words] = line.split(" ");
  console.log(await orders[order](...words));
}
process.exit(0);

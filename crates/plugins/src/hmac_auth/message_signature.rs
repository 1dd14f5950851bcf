//! HTTP Message Signatures (RFC 9421), with HMAC-SHA256.

use http::{HeaderMap, HeaderName};
use jose::digest::{self, Hash};
use proxy::{Exchange, query};
use sfv::{Dictionary, FieldType, InnerList, List, ListEntry, Parser};

pub const INPUT: HeaderName = HeaderName::from_static("signature-input");
pub const SIGNATURE: HeaderName = HeaderName::from_static("signature");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

/// A signature as a caller gives it.
pub struct MessageSignature {
    pub username: String,
    created: i64,
    expires: Option<i64>,
    components: Vec<Component>,
    /// `@signature-params`: the components and what is said of them, as the caller has signed it.
    params: String,
    tag: Vec<u8>,
}

/// A part of the request that is signed.
struct Component {
    name: String,
    /// Which argument, of `@query-param`.
    argument: Option<String>,
}

/// The signatures of a request, each under its label. What cannot be read is none.
pub fn given(headers: &HeaderMap) -> Vec<MessageSignature> {
    let (Some(inputs), Some(tags)) = (dictionary(headers, &INPUT), dictionary(headers, &SIGNATURE)) else {
        return Vec::new();
    };
    let read = inputs.iter().filter_map(|(label, input)| {
        let (ListEntry::InnerList(input), Some(ListEntry::Item(tag))) = (input, tags.get(label)) else { return None };
        MessageSignature::of(input, tag.bare_item.as_byte_sequence()?.to_vec())
    });
    read.collect()
}

fn dictionary(headers: &HeaderMap, name: &HeaderName) -> Option<Dictionary> {
    let values: Vec<&str> = headers.get_all(name).iter().map(|value| value.to_str().ok()).collect::<Option<_>>()?;
    Parser::new(&values.join(", ")).parse().ok()
}

impl MessageSignature {
    fn of(input: &InnerList, tag: Vec<u8>) -> Option<MessageSignature> {
        let mut components = Vec::new();
        for item in &input.items {
            let name = item.bare_item.as_string()?.as_str().to_owned();
            let argument = item.params.get("name").and_then(|own| own.as_string()).map(|own| own.as_str().to_owned());
            // Anything else would change what is signed in ways that are not known here.
            let known = match name.as_str() {
                "@query-param" => item.params.len() == 1 && argument.is_some(),
                _ => item.params.is_empty(),
            };
            if !known || components.iter().any(|own: &Component| own.name == name && own.argument == argument) {
                return None;
            }
            components.push(Component { name, argument });
        }
        let text =
            |name: &str| input.params.get(name).and_then(|own| own.as_string()).map(|own| own.as_str().to_owned());
        let number = |name: &str| input.params.get(name).and_then(|own| own.as_integer()).map(i64::from);
        if text("alg").is_some_and(|algorithm| algorithm != "hmac-sha256") {
            return None;
        }
        let list: List = vec![ListEntry::InnerList(input.clone())];
        Some(MessageSignature {
            username: text("keyid")?,
            created: number("created")?,
            expires: number("expires"),
            components,
            params: list.serialize()?,
            tag,
        })
    }

    /// Whether a part of the request is signed.
    pub fn covers(&self, name: &str) -> bool {
        self.components.iter().any(|own| own.name == name)
    }

    /// Whether it is for this request and no other: method, host, path and query are signed.
    pub fn is_for_one_request(&self, exchange: &Exchange) -> bool {
        let whole = self.covers("@target-uri");
        let host = whole || self.covers("@authority") || self.covers("host");
        let query = exchange.target.query.is_none() || self.covers("@query");
        let target = whole || self.covers("@request-target") || self.covers("@path") && query;
        self.covers("@method") && host && target
    }

    /// Whether it was made just now, and is not over.
    pub fn is_recent(&self, now: i64, skew_s: f64) -> bool {
        now.abs_diff(self.created) as f64 <= skew_s && self.expires.is_none_or(|expires| now < expires)
    }

    /// Whether the body is signed, by a digest that is its own (RFC 9530).
    pub fn signs_body(&self, headers: &HeaderMap, body: &[u8]) -> bool {
        let Some(given) = dictionary(headers, &CONTENT_DIGEST) else { return body.is_empty() };
        let digests: Vec<bool> = given
            .iter()
            .filter_map(|(algorithm, entry)| {
                let ListEntry::Item(entry) = entry else { return Some(false) };
                let own = match algorithm.as_str() {
                    "sha-256" => digest::sha256(body).to_vec(),
                    "sha-512" => digest::sha512(body).to_vec(),
                    _ => return None,
                };
                Some(entry.bare_item.as_byte_sequence().is_some_and(|given| digest::equal(given, &own)))
            })
            .collect();
        self.covers(CONTENT_DIGEST.as_str()) && !digests.is_empty() && digests.iter().all(|same| *same)
    }

    /// Whether it was made with this secret.
    pub fn is_by(&self, secret: &[u8], exchange: &Exchange) -> bool {
        let base = self.base(|component| value(component, exchange));
        base.is_some_and(|base| digest::is_hmac(Hash::Sha256, secret, base.as_bytes(), &self.tag))
    }

    /// What is signed (RFC 9421 section 2.5); nothing if the request lacks a part of it.
    fn base(&self, value: impl Fn(&Component) -> Option<String>) -> Option<String> {
        let mut base = String::new();
        for component in &self.components {
            let argument = component.argument.as_ref().map(|name| format!(";name=\"{name}\"")).unwrap_or_default();
            base += &format!("\"{}\"{argument}: {}\n", component.name, value(component)?);
        }
        Some(format!("{base}\"@signature-params\": {}", self.params))
    }
}

/// The value of a part of the request (RFC 9421 sections 2.1 and 2.2).
fn value(component: &Component, exchange: &Exchange) -> Option<String> {
    let (request, target) = (&exchange.request, &exchange.target);
    let scheme = if exchange.caller.secure { "https" } else { "http" };
    let usual = if exchange.caller.secure { 443 } else { 80 };
    let authority = match target.port.filter(|port| *port != usual) {
        Some(port) => format!("{}:{port}", target.host),
        None => target.host.clone(),
    };
    let written = || request.uri.path_and_query().map_or("/", |target| target.as_str());
    Some(match component.name.as_str() {
        "@method" => request.method.to_string(),
        "@authority" => authority,
        "@scheme" => scheme.to_owned(),
        "@target-uri" => format!("{scheme}://{authority}{}", written()),
        "@request-target" => written().to_owned(),
        "@path" => request.uri.path().to_owned(),
        "@query" => format!("?{}", request.uri.query().unwrap_or_default()),
        "@query-param" => {
            let name = component.argument.as_deref()?;
            let mut values = query::values(request.uri.query().unwrap_or_default(), name);
            let only = values.next().filter(|_| values.next().is_none())?;
            percent_encoding::utf8_percent_encode(&only, percent_encoding::NON_ALPHANUMERIC).to_string()
        }
        name if name.starts_with('@') => return None,
        name => {
            let mut values = Vec::new();
            for value in request.headers.get_all(name) {
                values.push(value.to_str().ok()?.trim());
            }
            match (values.is_empty(), name) {
                // Over HTTP/2 it is no header.
                (true, "host") => exchange.host(),
                (true, _) => return None,
                (false, _) => values.join(", "),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    /// RFC 9421 appendix B.2.5.
    #[test]
    fn the_standards_own_example_holds() {
        let secret = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";
        let mut headers = HeaderMap::new();
        let input =
            "sig-b25=(\"date\" \"@authority\" \"content-type\");created=1618884473;keyid=\"test-shared-secret\"";
        headers.insert(INPUT, input.parse().unwrap());
        headers.insert(SIGNATURE, "sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:".parse().unwrap());
        let signatures = given(&headers);
        let [signature] = signatures.as_slice() else { panic!("{}", signatures.len()) };
        assert_eq!(signature.username, "test-shared-secret");
        let base = signature.base(|component| {
            Some(match component.name.as_str() {
                "date" => "Tue, 20 Apr 2021 02:07:55 GMT".to_owned(),
                "@authority" => "example.com".to_owned(),
                _ => "application/json".to_owned(),
            })
        });
        let base = base.unwrap();
        assert!(base.ends_with(&format!("\"@signature-params\": {}", input.split_once('=').unwrap().1)), "{base}");
        let secret = STANDARD.decode(secret).unwrap();
        assert!(digest::is_hmac(Hash::Sha256, &secret, base.as_bytes(), &signature.tag));
    }

    #[test]
    fn what_cannot_be_understood_is_no_signature() {
        for input in [
            "s=(\"@method\";req);created=1;keyid=\"k\"",
            "s=(\"date\" \"date\");created=1;keyid=\"k\"",
            "s=(\"date\");keyid=\"k\"",
            "s=(\"date\");created=1",
            "s=(\"date\");created=1;keyid=\"k\";alg=\"rsa-v1_5-sha256\"",
            "s=(\"@query-param\");created=1;keyid=\"k\"",
            "other=(\"date\");created=1;keyid=\"k\"",
            "s",
            "",
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(INPUT, input.parse().unwrap());
            headers.insert(SIGNATURE, "s=:YQ==:".parse().unwrap());
            assert!(given(&headers).is_empty(), "{input}");
        }
    }
}

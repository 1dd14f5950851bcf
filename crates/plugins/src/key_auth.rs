//! Authenticates a consumer by an API key in a header, the query, or the body.

use crate::whole_body;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, StatusCode};
use members::Members;
use proxy::Exchange;
use proxy::answer::Answer;
use proxy::authenticate::{Authenticator, Options, Refusal};
use proxy::body::Body;
use proxy::identity::Identity;
use proxy::plugin::Fault;
use proxy::query;
use schema::{Schema, Violations};
use serde::Deserialize;
use std::time::{SystemTime, UNIX_EPOCH};

mod members;
mod multipart;

/// Authenticates a consumer by an API key in a header, the query, or the body.
#[derive(Deserialize, Schema)]
pub struct Config {
    /// Names of the header, query argument or body field that carries the key, tried in order.
    #[schema(default = ["apikey"], each(format(model::text::header_name)))]
    key_names: Vec<String>,
    /// Whether the key is taken out before the request goes on to the service.
    #[schema(default = false)]
    hide_credentials: bool,
    /// Consumer (id or username) to go on as when no key was good.
    anonymous: Option<String>,
    /// Look in headers.
    #[schema(default = true)]
    key_in_header: bool,
    /// Look in the query. Keys in a query end in other systems' logs.
    #[schema(default = true)]
    key_in_query: bool,
    /// Look in the body: a form, JSON, or multipart, read whole into memory up to 8 MiB.
    #[schema(default = false)]
    key_in_body: bool,
    /// Authenticate `OPTIONS` requests too.
    #[schema(default = true)]
    run_on_preflight: bool,
    /// The realm named in the challenge.
    realm: Option<String>,
}

pub struct KeyAuth {
    names: Vec<Name>,
    config: Config,
}

struct Name {
    text: String,
    header: HeaderName,
}

impl Authenticator for KeyAuth {
    const NAME: &'static str = "key-auth";
    const PRIORITY: i32 = 1250;
    type Config = Config;

    fn new(config: Config) -> Result<Self, Violations> {
        let name = |text: &String| {
            let header =
                text.parse().map_err(|_| Violations::field("key_names", format!("bad header name '{text}'")))?;
            Ok(Name { text: text.clone(), header })
        };
        Ok(KeyAuth { names: config.key_names.iter().map(name).collect::<Result<_, Violations>>()?, config })
    }

    fn options(config: &Config) -> Options {
        Options {
            anonymous: config.anonymous.clone(),
            run_on_preflight: config.run_on_preflight,
            scheme: "Key",
            realm: config.realm.clone(),
        }
    }

    fn hide(&self, exchange: &mut Exchange) {
        if self.config.hide_credentials {
            self.names.iter().for_each(|name| self.hide_named(exchange, name, &Fields::None));
        }
    }

    async fn authenticate(&self, exchange: &mut Exchange) -> Result<Identity, Refusal> {
        let key = self.take_key(exchange).await?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| Refusal::Fault(Fault::new(error)))?;
        match exchange.registry().api_key(&key, now.as_secs()) {
            Some(identity) => Ok(identity),
            None => Err(unauthorized("Unauthorized")),
        }
    }
}

fn unauthorized(message: &'static str) -> Refusal {
    Refusal::denied(Answer::error(StatusCode::UNAUTHORIZED, message))
}

impl KeyAuth {
    /// The first key found: for each name, header before query before body. One that stands twice in the
    /// same place is refused: two readers could take different ones.
    async fn take_key(&self, exchange: &mut Exchange) -> Result<String, Refusal> {
        let fields = match self.config.key_in_body {
            true => Fields::read(exchange).await?,
            false => Fields::None,
        };
        for name in &self.names {
            let found = self.in_header(exchange, name)?;
            let found = match found {
                None => self.in_query(exchange, name)?,
                found => found,
            };
            let found = match found {
                None => fields.get(&name.text)?,
                found => found,
            };
            if let Some(key) = found {
                // Kong stops at the first place that has the name, even where it holds nothing.
                if key.is_empty() {
                    break;
                }
                if self.config.hide_credentials {
                    self.hide_named(exchange, name, &fields);
                }
                return Ok(key);
            }
        }
        Err(unauthorized("No API key found in request"))
    }

    fn in_header(&self, exchange: &Exchange, name: &Name) -> Result<Option<String>, Refusal> {
        if !self.config.key_in_header {
            return Ok(None);
        }
        let values = exchange.request.headers.get_all(&name.header).iter();
        sole(values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()))
    }

    fn in_query(&self, exchange: &Exchange, name: &Name) -> Result<Option<String>, Refusal> {
        match &exchange.target.query {
            Some(arguments) if self.config.key_in_query => sole(query::values(arguments, &name.text)),
            _ => Ok(None),
        }
    }

    /// Takes the key out of every place where it may stand, so that the service cannot see any.
    fn hide_named(&self, exchange: &mut Exchange, name: &Name, fields: &Fields) {
        exchange.request.headers.remove(&name.header);
        if let Some(arguments) = exchange.target.query.take() {
            exchange.target.query = Some(query::without(&arguments, &name.text)).filter(|left| !left.is_empty());
        }
        if let Some(body) = fields.without(&name.text) {
            exchange.request.headers.insert(CONTENT_LENGTH, body.len().into());
            exchange.body = Body::Full(body);
        }
    }
}

/// The value, if there is exactly one.
fn sole(mut values: impl Iterator<Item = String>) -> Result<Option<String>, Refusal> {
    let first = values.next();
    match values.next() {
        Some(_) => Err(unauthorized("Duplicate API key found")),
        None => Ok(first),
    }
}

/// The fields of a body.
enum Fields {
    None,
    Form(String),
    Json(Members),
    Multipart { body: Bytes, boundary: String },
}

impl Fields {
    async fn read(exchange: &mut Exchange) -> Result<Fields, Refusal> {
        let content_type = exchange.request.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or_default().to_owned();
        let media = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if !["application/x-www-form-urlencoded", "application/json", "multipart/form-data"].contains(&media.as_str()) {
            return Ok(Fields::None);
        }
        let body = whole_body::read(exchange).await?;
        Ok(match media.as_str() {
            "application/json" => serde_json::from_slice(&body).map_or(Fields::None, Fields::Json),
            "multipart/form-data" => match multipart::boundary(&content_type) {
                Some(boundary) => Fields::Multipart { body, boundary },
                None => Fields::None,
            },
            // Forms are ASCII; what is not is none, and stays as it is.
            _ => String::from_utf8(body.to_vec()).map_or(Fields::None, Fields::Form),
        })
    }

    fn get(&self, name: &str) -> Result<Option<String>, Refusal> {
        match self {
            Fields::None => Ok(None),
            Fields::Form(form) => sole(query::values(form, name)),
            Fields::Json(members) => sole(members.texts(name)),
            Fields::Multipart { body, boundary } => sole(multipart::values(body, boundary, name).into_iter()),
        }
    }

    /// The body without a field; `None` where it has no such field.
    fn without(&self, name: &str) -> Option<Bytes> {
        match self {
            Fields::None => None,
            Fields::Form(form) => {
                query::values(form, name).next()?;
                Some(Bytes::from(query::without(form, name)))
            }
            Fields::Json(members) => members.without(name).map(Bytes::from),
            Fields::Multipart { body, boundary } => multipart::without(body, boundary, name),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::check;
    use schema::json;

    const NAME: &str = "key-auth";
    const ANN: &str = "x-consumer-id: 11111111-1111-4111-8111-111111111111\n\
                       x-consumer-username: ann\nx-credential-identifier: aaaaaaaa-0000-4000-8000-000000000001";

    #[tokio::test]
    async fn a_key_names_its_consumer() {
        check(NAME, json!({"hide_credentials": true}), &["apikey: k1"], &format!("service\n{ANN}")).await;
        check(NAME, json!({"hide_credentials": true}), &["GET /?a=1&apikey=k%31"], &format!("service /?a=1\n{ANN}"))
            .await;
    }

    #[tokio::test]
    async fn without_a_good_key_nobody_passes() {
        let missing = "401 {\"message\":\"No API key found in request\"} Key";
        check(NAME, json!({}), &[], missing).await;
        check(NAME, json!({}), &["apikey: "], missing).await;
        check(NAME, json!({"key_in_header": false}), &["apikey: k1"], missing).await;
        check(NAME, json!({"key_in_query": false}), &["GET /?apikey=k1"], missing).await;
        check(NAME, json!({}), &["apikey: no"], "401 {\"message\":\"Unauthorized\"} Key").await;
        check(NAME, json!({}), &["apikey: old"], "401 {\"message\":\"Unauthorized\"} Key").await;
        check(NAME, json!({"realm": "r"}), &["apikey: no"], "401 {\"message\":\"Unauthorized\"} Key realm=\"r\"").await;
        check(NAME, json!({}), &["apikey: k1", "apikey: k1"], "401 {\"message\":\"Duplicate API key found\"} Key")
            .await;
    }

    #[tokio::test]
    async fn the_anonymous_consumer_is_said_to_be_anonymous() {
        let guest = "service\nx-anonymous-consumer: true\nx-consumer-id: 33333333-3333-4333-8333-333333333333\nx-consumer-username: guest";
        check(NAME, json!({"anonymous": "guest"}), &[], guest).await;
        check(NAME, json!({"anonymous": "nobody"}), &[], "500 {\"message\":\"An unexpected error occurred\"}").await;
    }

    #[tokio::test]
    async fn a_key_in_the_body_is_found_and_hidden() {
        let config = json!({"key_in_body": true, "hide_credentials": true});
        let form = ["POST /", "content-type: application/x-www-form-urlencoded", "", "apikey=k1&x=1"];
        let kept = format!("service\ncontent-length: 3\ncontent-type: application/x-www-form-urlencoded\n{ANN}\n\nx=1");
        check(NAME, config.clone(), &form, &kept).await;
        let json = ["POST /", "content-type: application/json", "", "{\"apikey\":\"k1\",\"x\":1.10}"];
        check(
            NAME,
            config,
            &json,
            &format!("service\ncontent-length: 10\ncontent-type: application/json\n{ANN}\n\n{{\"x\":1.10}}"),
        )
        .await;
    }
}

//! A client of an Admin API: of the gate that runs here, or of another.

use crate::parts;
use crate::settings::{ADMIN_TOKEN_FILE, Settings};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use net::dns::Names;
use net::fetch::{Fetcher, Limits, Trust};
use net::upstream_tls::{UpstreamTls, UpstreamTlsOptions};
use schema::Value;
use std::time::Duration;
use tokio::runtime::Runtime;

/// The header that Kong's tools put the token into.
const TOKEN: &str = "kong-admin-token";
/// A whole configuration may take its time.
const LIMITS: Limits = Limits { time: Duration::from_secs(600), size: 4 << 30 };

/// It has no `Debug`: it holds a token.
pub struct Client {
    /// Without a slash at its end.
    base: String,
    headers: Vec<(String, HeaderValue)>,
    fetcher: Fetcher,
    runtime: Runtime,
}

impl Client {
    /// Of the gate at this URL, or else of the one that runs with the data directory of these settings.
    pub fn of_gate(settings: &Settings, url: Option<&str>) -> Result<Client, String> {
        let set = settings.admin_token.as_ref().map(|token| token.expose().to_owned());
        let (url, token) = match url {
            // The token of the gate here is nobody else's to know.
            Some(url) => {
                (url.to_owned(), set.ok_or("the token of that Admin API is not known: set PORTCULLIS_ADMIN_TOKEN")?)
            }
            None => (running(settings)?, set.map_or_else(|| kept_token(settings), Ok)?),
        };
        Client::new(settings, &url, &[format!("{TOKEN}: {token}")])
    }

    /// `headers` are written `NAME: VALUE`.
    pub fn new(settings: &Settings, url: &str, headers: &[String]) -> Result<Client, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let names = Names::new(parts::dns(settings), runtime.handle().clone())?;
        let header = |header: &String| {
            let (name, value) = header.split_once(':').ok_or("a header is written NAME: VALUE")?;
            let mut value =
                HeaderValue::from_str(value.trim()).map_err(|_| "a header has letters that none may have")?;
            value.set_sensitive(true);
            Ok::<_, &str>((name.trim().to_ascii_lowercase(), value))
        };
        let headers = headers.iter().map(header).collect::<Result<_, _>>()?;
        let base = url.trim_end_matches('/').to_owned();
        Ok(Client { base, headers, fetcher: Fetcher::new(names, trust(settings)?), runtime })
    }

    /// Asks, and reads the JSON of the answer.
    pub fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<(StatusCode, Value), String> {
        let url: Uri = format!("{}{path}", self.base).parse().map_err(|_| format!("{} is no URL", self.base))?;
        let failed = |error: String| format!("{}: {error}", self.base);
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let (kind, body) = body.unzip();
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        let request = request.body(Bytes::from(body.unwrap_or_default())).map_err(|error| failed(error.to_string()))?;
        let answer = self.runtime.block_on(self.fetcher.send(request, &LIMITS)).map_err(failed)?;
        let value = match answer.body.is_empty() {
            true => Value::Null,
            false => {
                serde_json::from_slice(&answer.body).map_err(|_| failed("it does not answer in JSON".to_owned()))?
            }
        };
        Ok((answer.status, value))
    }

    /// As `ask`, where anything but success is an error in the words of the other side.
    pub fn expect(&self, method: Method, path: &str, body: Option<(&str, Vec<u8>)>) -> Result<Value, String> {
        let (status, value) = self.ask(method, path, body)?;
        match status.is_success() {
            true => Ok(value),
            false => Err(self.refusal(status, &value)),
        }
    }

    /// Every entity of a list, a page after the other. `asked` narrows it: `&name=value`.
    pub fn each(
        &self,
        path: &str,
        asked: &str,
        mut take: impl FnMut(&Value) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut next = Some(format!("{path}?size=1000{asked}"));
        while let Some(path) = next {
            let page = self.expect(Method::GET, &path, None)?;
            page["data"].as_array().into_iter().flatten().try_for_each(&mut take)?;
            next = page["next"].as_str().map(|next| format!("{next}&size=1000{asked}"));
        }
        Ok(())
    }

    pub fn refusal(&self, status: StatusCode, value: &Value) -> String {
        let message = value["message"].as_str().unwrap_or("no reason was given");
        format!("{} answers {}: {message}", self.base, status.as_u16())
    }
}

/// Where the gate of this data directory listens for operators.
fn running(settings: &Settings) -> Result<String, String> {
    let path = settings.data.join(crate::run::ADDRESSES);
    let missing = |error: &dyn std::fmt::Display| {
        format!(
            "no gate runs here ({}: {error}); name its data directory (--data) or its Admin API (--admin)",
            path.display()
        )
    };
    let text = std::fs::read_to_string(&path).map_err(|error| missing(&error))?;
    let addresses: Value = serde_json::from_str(&text).map_err(|error| missing(&error))?;
    addresses["admin"][0].as_str().map(str::to_owned).ok_or_else(|| missing(&"its Admin API is off"))
}

fn kept_token(settings: &Settings) -> Result<String, String> {
    let path = settings.data.join(ADMIN_TOKEN_FILE);
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(text.trim().to_owned())
}

/// Whom connections of the commands believe.
pub fn trust(settings: &Settings) -> Result<Trust, String> {
    let tls = UpstreamTls::default();
    let config = |options: &UpstreamTlsOptions| tls.config(options).map_err(|error| error.to_string());
    let options =
        UpstreamTlsOptions { ca_certificates: parts::authorities(settings)?, ..UpstreamTlsOptions::default() };
    let anybody = UpstreamTlsOptions { verify: false, ..UpstreamTlsOptions::default() };
    Ok(Trust { verified: config(&options), anybody: config(&anybody) })
}

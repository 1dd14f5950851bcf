//! `POST /debug/explain`: what would become of a request.

use crate::body::{self, Body};
use crate::call::Call;
use crate::error::Error;
use crate::gate::{Gate, Question};
use crate::reply::{self, Response};
use bytes::Bytes;
use http::{Method, Request};
use schema::{Schema, Value, Violations};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// A request that somebody asks about.
#[derive(Deserialize, Schema)]
struct Asked {
    /// Its method.
    #[schema(default = "GET")]
    method: String,
    /// Its URL: `https://shop.example.com/orders?open=1`.
    url: String,
    /// Its headers.
    headers: Option<BTreeMap<String, String>>,
    /// Its body.
    body: Option<String>,
    /// Where it would come from.
    #[schema(default = "127.0.0.1")]
    ip: Option<String>,
}

pub(crate) fn explain(gate: &impl Gate, call: &Call) -> Result<Response, Error> {
    let given = match body::read_with_yaml(call)? {
        Body::Json(members) => Value::Object(members),
        _ => return Err(Error::Json),
    };
    let asked = Asked::read(given).map_err(Error::Schema)?;
    Ok(reply::ok(&gate.explain(question(asked).map_err(Error::Schema)?)))
}

fn question(asked: Asked) -> Result<Question, Violations> {
    let wrong = |field: &str, text: &str| Violations::field(field, text);
    let method: Method = asked.method.parse().map_err(|_| wrong("method", "this is no method"))?;
    let mut request = Request::builder().method(method).uri(&asked.url);
    for (name, value) in asked.headers.unwrap_or_default() {
        request = request.header(name, value);
    }
    let request = request.body(Bytes::from(asked.body.unwrap_or_default()));
    let request = request.map_err(|error| wrong("url", &format!("this cannot be asked: {error}")))?;
    if request.uri().host().is_none() || !matches!(request.uri().scheme_str(), Some("http" | "https")) {
        return Err(wrong("url", "write it whole, such as http://shop.example.com/orders"));
    }
    let ip = asked.ip.map_or(Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)), |ip| ip.parse());
    Ok(Question { request, ip: ip.map_err(|_| wrong("ip", "this is no address"))? })
}

//! What texts in configurations must look like, where several plugins ask for the same.

use http::{HeaderName, Uri};
use proxy::identity::may_be_told_in;

pub fn url(text: &str) -> Result<(), String> {
    let url: Option<Uri> = text.parse().ok();
    let Some(url) = url.filter(|url| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some()) else {
        return Err(format!("'{text}' is no URL with http or https"));
    };
    match url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        true => Err("a URL with a user name or password would tell them to everybody who sees it".to_owned()),
        false => Ok(()),
    }
}

pub fn header_name(text: &str) -> Result<(), String> {
    text.parse::<HeaderName>().map(drop).map_err(|_| format!("'{text}' cannot be a header's name"))
}

/// A header to tell services something in: not one that frames the message, or that the gate itself writes.
pub fn header_to_tell(text: &str) -> Result<(), String> {
    header_name(text)?;
    match text.parse().is_ok_and(|name| may_be_told_in(&name)) {
        true => Ok(()),
        false => Err(format!("'{text}' has a meaning of its own; choose another name, such as X-User-Id")),
    }
}

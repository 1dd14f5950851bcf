//! The time of an answer, written once a second.

use http::HeaderValue;
use std::cell::RefCell;
use time::OffsetDateTime;
use time::format_description::FormatItem;
use time::macros::format_description;

/// The `Date` of answers (RFC 9110 section 6.6.1), for one core.
#[derive(Debug)]
pub(super) struct Date(RefCell<(i64, HeaderValue)>);

/// RFC 9110 section 5.6.7.
const IMF_FIXDATE: &[FormatItem] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

impl Date {
    pub(super) fn new() -> Date {
        Date(RefCell::new((i64::MIN, HeaderValue::from_static(""))))
    }

    pub(super) fn now(&self) -> HeaderValue {
        let now = OffsetDateTime::now_utc();
        let mut cached = self.0.borrow_mut();
        if cached.0 != now.unix_timestamp() {
            *cached = (now.unix_timestamp(), written(now));
        }
        cached.1.clone()
    }
}

fn written(time: OffsetDateTime) -> HeaderValue {
    let text = time.format(IMF_FIXDATE).ok().and_then(|text| HeaderValue::try_from(text).ok());
    text.unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_http_wants_it() {
        let time = OffsetDateTime::from_unix_timestamp(784_111_777).unwrap();
        assert_eq!(written(time), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}

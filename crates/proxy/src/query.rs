//! Query strings, `application/x-www-form-urlencoded`: reading arguments, and taking one out.

use percent_encoding::percent_decode_str;

/// Every value of an argument, decoded. An argument without `=` has the empty value.
pub fn values<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = String> + 'a {
    pairs(query).filter(move |(key, _)| key == name).map(|(_, value)| value)
}

/// Every argument with its value, decoded, in order.
pub fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

/// The query without an argument; what stays is byte for byte what it was.
pub fn without(query: &str, name: &str) -> String {
    let kept = |pair: &&str| decode(pair.split_once('=').map_or(*pair, |(name, _)| name)) != name;
    query.split('&').filter(kept).collect::<Vec<_>>().join("&")
}

fn decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_and_taken_out() {
        let query = "a=1&apikey=k%31&b=x+y&apikey&%61pikey=2";
        assert_eq!(values(query, "apikey").collect::<Vec<_>>(), ["k1", "", "2"]);
        assert_eq!(values(query, "b").collect::<Vec<_>>(), ["x y"]);
        assert_eq!(without(query, "apikey"), "a=1&b=x+y");
        assert_eq!(without("apikey=1", "apikey"), "");
    }
}

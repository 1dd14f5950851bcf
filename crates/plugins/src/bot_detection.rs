//! Keeps out programs that say of themselves that they are robots.

use http::StatusCode;
use http::header::USER_AGENT;
use proxy::Exchange;
use proxy::answer::Answer;
use proxy::plugin::{Plugin, Verdict};
use regex::{Regex, RegexSet, RegexSetBuilder};
use schema::{Pattern, Schema, Violations};
use serde::Deserialize;
use std::ops::ControlFlow;

/// Keeps out programs that say of themselves, in `User-Agent`, that they are robots: crawlers, scrapers, monitors.
///
/// It keeps honest programs out, and nobody who says something else. A request without `User-Agent` passes.
///
/// Unlike Kong's list, the one that is built in does not hold the names of HTTP libraries (okhttp, axios, Go-http-client,
/// python-requests): services call each other with them. Name them in `deny` to keep them out.
#[derive(Deserialize, Schema)]
pub struct Config {
    /// Regular expressions of programs that pass, whatever else is said of them.
    #[schema(default = [], each(pattern(&EXPRESSION)))]
    allow: Option<Vec<String>>,
    /// Regular expressions of programs that are kept out, besides those that are built in.
    #[schema(default = [], each(pattern(&EXPRESSION)))]
    deny: Option<Vec<String>>,
}

static EXPRESSION: Pattern = Pattern {
    keyword: "is_regex",
    stated: "true",
    check: |text| match Regex::new(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("not a valid regex: {}", error.to_string().replace('\n', " "))),
    },
};

/// How robots call themselves: what most of them have in common, then the names of those that have nothing of it.
const ROBOTS: &[&str] = &[
    r"\bbot\b|bot[/;:)]|bot$",
    r"robot|crawl|spider|scrap(er|y)",
    r"slurp|archiver|facebookexternalhit|feedfetcher|mediapartners-google|ia_archiver|teoma|scoutjet|wordpress/",
    r"pingdom|uptimerobot|statuscake|site24x7|newrelicpinger",
    r"headlesschrome|phantomjs|nikto|sqlmap|nmap|masscan|zgrab|dirbuster|httrack|wpscan",
];

pub struct BotDetection {
    allow: RegexSet,
    deny: RegexSet,
    robots: RegexSet,
}

impl Plugin for BotDetection {
    const NAME: &'static str = "bot-detection";
    const PRIORITY: i32 = 2500;
    const ON_CONSUMER: bool = false;
    type Config = Config;

    fn new(config: Config) -> Result<Self, Violations> {
        let set = |name: &str, texts: Option<Vec<String>>| {
            RegexSet::new(texts.unwrap_or_default()).map_err(|error| Violations::field(name, error.to_string()))
        };
        let robots = RegexSetBuilder::new(ROBOTS).case_insensitive(true).build();
        let robots = robots.map_err(|error| Violations::entity(error.to_string()))?;
        Ok(BotDetection { allow: set("allow", config.allow)?, deny: set("deny", config.deny)?, robots })
    }

    async fn on_request(&self, exchange: &mut Exchange) -> Verdict {
        let mut named = exchange.request.headers.get_all(USER_AGENT).iter();
        let Some(agent) = named.next() else { return Ok(ControlFlow::Continue(())) };
        if named.next().is_some() {
            let text = "Only one User-Agent header allowed";
            return Ok(ControlFlow::Break(Answer::error(StatusCode::BAD_REQUEST, text)));
        }
        let agent = String::from_utf8_lossy(agent.as_bytes());
        let agent = agent.trim();
        let kept_out = self.deny.is_match(agent) || self.robots.is_match(agent);
        match !self.allow.is_match(agent) && kept_out {
            true => Ok(ControlFlow::Break(Answer::error(StatusCode::FORBIDDEN, "Forbidden"))),
            false => Ok(ControlFlow::Continue(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::check;
    use schema::{Value, json};

    const NAME: &str = "bot-detection";

    async fn is_refused(config: Value, agent: &str) {
        let agent = format!("user-agent: {agent}");
        check(NAME, config, &[&agent], "403 {\"message\":\"Forbidden\"}").await;
    }

    async fn passes(config: Value, agent: &str) {
        let agent = format!("user-agent: {agent}");
        check(NAME, config, &[&agent], &format!("service\n{agent}")).await;
    }

    #[tokio::test]
    async fn robots_are_kept_out() {
        for agent in [
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
            "Mozilla/5.0 (compatible; Yahoo! Slurp; http://help.yahoo.com/help/us/ysearch/slurp)",
            "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
            "Baiduspider+(+http://www.baidu.com/search/spider.htm)",
            "Scrapy/2.11 (+https://scrapy.org)",
            "sqlmap/1.7",
        ] {
            is_refused(json!({}), agent).await;
            passes(json!({"allow": [regex::escape(agent)]}), agent).await;
        }
    }

    #[tokio::test]
    async fn people_and_services_pass() {
        for agent in [
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            "Mozilla/5.0 (Linux; Android 15; Cubot X90) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Mobile",
            "okhttp/4.12.0",
            "Go-http-client/1.1",
            "curl/8.5.0",
        ] {
            passes(json!({}), agent).await;
            is_refused(json!({"deny": [regex::escape(agent)]}), agent).await;
        }
        check(NAME, json!({}), &[], "service").await;
    }

    #[tokio::test]
    async fn two_names_are_one_too_many() {
        let expected = "400 {\"message\":\"Only one User-Agent header allowed\"}";
        check(NAME, json!({}), &["user-agent: curl/8", "user-agent: bot/1"], expected).await;
    }
}

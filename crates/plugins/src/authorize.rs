//! Decides by expressions over what is known of a request and its caller.

use cel::extractors::This;
use cel::{Context, Env, ExecutionError, Program, Value};
use http::StatusCode;
use proxy::Exchange;
use proxy::answer::Answer;
use proxy::plugin::{Plugin, Verdict};
use schema::{Check, Schema, Violations};
use sense::Needs;
use serde::Deserialize;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::Arc;

mod facts;
mod sense;

/// Decides by expressions over what is known of a request and its caller, such as
/// `claims.reputation > 15 && request.method == "POST"`.
///
/// The expressions are CEL, the Common Expression Language: `&&`, `||`, `!`, `==`, `<`, `in`, `? :`, arithmetic,
/// `has()`, `size()`, `contains()`, `startsWith()`, `endsWith()`, `matches()`, `int()`, `double()`, `string()`, and for
/// lists and maps `all`, `exists`, `exists_one`, `map` and `filter`. `inNetwork(connection.ip, "10.0.0.0/8")` is ours.
///
/// They speak of: `request.method`, `.path` (as it was routed), `.host`, `.scheme`, `.query`, `.args` (lists, by name),
/// `.headers` (by name in lower case); `connection.ip` (the caller's), `.peer` (the other end's), `.port`,
/// `.server_name`; `identity.authenticated`, `.credential`, `.groups`; `consumer.id`, `.username`, `.custom_id`;
/// `claims` (of a token that jwt or oauth2-introspection has verified); `route.id`, `.name`; `service.id`, `.name`;
/// and `now`, in seconds since 1970. What is not known is an empty text.
///
/// Mistakes are found when the configuration is read: unknown names, comparisons of what cannot be compared. What
/// cannot be decided when a request comes, such as a claim that is not there, is no consent. An expression has at most
/// 500 parts and no comprehension within another one, so that none takes long.
#[derive(Deserialize, Schema)]
#[schema(check(Check::AtLeastOneOf(&["allow", "deny"])))]
pub struct Config {
    /// Expressions of which one must be true. One that cannot be evaluated is not.
    #[schema(len_min(1), each(format(expression)))]
    allow: Option<Vec<String>>,
    /// Expressions of which none may be true. One that cannot be evaluated counts as true.
    #[schema(len_min(1), each(format(expression)))]
    deny: Option<Vec<String>>,
    /// The status of a refusal.
    #[schema(default = 403, between(400, 599))]
    status: Option<i64>,
    /// The text of a refusal.
    #[schema(default = "Forbidden")]
    message: Option<String>,
}

pub struct Authorize {
    allow: Option<Vec<Expression>>,
    deny: Vec<Expression>,
    refusal: (StatusCode, String),
    language: Arc<Env>,
}

struct Expression {
    text: String,
    program: Program,
    needs: Arc<Needs>,
}

impl Plugin for Authorize {
    const NAME: &'static str = "authorize";
    const PRIORITY: i32 = 945;
    type Config = Config;

    fn new(config: Config) -> Result<Self, Violations> {
        let read = |name: &str, texts: Option<Vec<String>>| {
            let read = |texts: Vec<String>| texts.iter().map(|text| Expression::read(text)).collect();
            let read: Option<Result<Vec<Expression>, String>> = texts.map(read);
            read.transpose().map_err(|error| Violations::field(name, error))
        };
        let status = u16::try_from(config.status.unwrap_or(403)).unwrap_or(403);
        Ok(Authorize {
            allow: read("allow", config.allow)?,
            deny: read("deny", config.deny)?.unwrap_or_default(),
            refusal: (
                StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN),
                config.message.unwrap_or_else(|| "Forbidden".to_owned()),
            ),
            language: Arc::new(Env::stdlib()),
        })
    }

    async fn on_request(&self, exchange: &mut Exchange) -> Verdict {
        let holds = |expression: &Expression, otherwise: bool| match expression.evaluate(&self.language, exchange) {
            Ok(holds) => holds,
            Err(reason) => {
                let (request_id, expression) = (exchange.id.as_str(), &expression.text);
                tracing::debug!(request_id, expression, "authorize cannot decide, which is no consent: {reason}");
                otherwise
            }
        };
        let denied = self.deny.iter().any(|expression| holds(expression, true));
        let allowed = self.allow.as_ref().is_none_or(|allow| allow.iter().any(|expression| holds(expression, false)));
        if denied || !allowed {
            let (status, text) = &self.refusal;
            return Ok(ControlFlow::Break(Answer::error(*status, text.clone())));
        }
        Ok(ControlFlow::Continue(()))
    }
}

impl Expression {
    fn read(text: &str) -> Result<Expression, String> {
        let in_one_line = |error: String| error.split_whitespace().collect::<Vec<_>>().join(" ");
        let program = Program::compile(text).map_err(|error| in_one_line(format!("in `{text}`: {error}")))?;
        let needs = sense::check(program.expression()).map_err(|error| format!("in `{text}`: {error}"))?;
        Ok(Expression { text: text.to_owned(), program, needs: Arc::new(needs) })
    }

    fn evaluate(&self, language: &Arc<Env>, exchange: &Exchange) -> Result<bool, String> {
        let mut context = Context::with_env(language.clone());
        for fact in &self.needs.facts {
            context.add_variable_from_value(fact.name(), fact.of(exchange));
        }
        if !self.needs.expressions.is_empty() {
            let needs = self.needs.clone();
            let matches =
                move |This(text): This<Arc<String>>, expression: Arc<String>| match needs.expressions.get(&*expression)
                {
                    Some(expression) => Ok(expression.is_match(&text)),
                    None => Err(ExecutionError::function_error("matches", "the expression is not known")),
                };
            let _ = context.add_function("matches", matches);
        }
        if !self.needs.networks.is_empty() {
            let needs = self.needs.clone();
            let in_network = move |This(text): This<Arc<String>>, network: Arc<String>| {
                let unknown = || ExecutionError::function_error("inNetwork", format!("'{text}' is no address"));
                let address: IpAddr = text.parse().map_err(|_| unknown())?;
                Ok::<bool, ExecutionError>(
                    needs.networks.get(&*network).is_some_and(|network| network.contains(&address)),
                )
            };
            let _ = context.add_function("inNetwork", in_network);
        }
        match self.program.execute(&context) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(_) => Err("the result is neither true nor false".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn expression(text: &str) -> Result<(), String> {
    Expression::read(text).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, check_as, outcome};
    use schema::json;

    const NAME: &str = "authorize";
    const FORBIDDEN: &str = "403 {\"message\":\"Forbidden\"}";

    async fn holds(text: &str, request: &[&str]) -> bool {
        outcome(None, NAME, json!({"allow": [text]}), request).await.starts_with("service")
    }

    #[tokio::test]
    async fn expressions_speak_of_the_request() {
        for (text, request) in [
            ("request.method == 'POST' && request.path == '/b'", vec!["POST /a/../b?x=1"]),
            ("request.headers['x-tenant'] in ['a', 'b']", vec!["x-tenant: b"]),
            ("request.headers['x-tenant'] == 'a, b'", vec!["x-tenant: a", "x-tenant: b"]),
            ("'2' in request.args.x && size(request.args.x) == 2", vec!["GET /?x=1&x=2"]),
            ("request.args.x.exists(v, v.matches('^[0-9]+$'))", vec!["GET /?x=a&x=2"]),
            ("inNetwork(connection.ip, '127.0.0.0/8')", vec![]),
            ("!identity.authenticated && consumer.username == ''", vec![]),
            ("has(request.headers.authorization) ? false : true", vec![]),
            ("now > 1700000000 && request.scheme == 'http'", vec![]),
            ("size(identity.groups) == 0", vec![]),
        ] {
            assert!(holds(text, &request).await, "{text}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_decided_is_no_consent() {
        for text in [
            "claims.reputation > 15",
            "request.headers['x-none'] == 'x'",
            "1 / 0 == 1",
            "claims.roles.exists(r, r == 'x')",
        ] {
            check(NAME, json!({"allow": [text]}), &[], FORBIDDEN).await;
            check(NAME, json!({"deny": [text]}), &[], FORBIDDEN).await;
        }
        check(NAME, json!({"allow": ["claims.x == 1", "true"]}), &[], "service").await;
        check(NAME, json!({"allow": ["true"], "deny": ["request.method == 'GET'"]}), &[], FORBIDDEN).await;
        let own = json!({"deny": ["true"], "status": 418, "message": "no"});
        check(NAME, own, &[], "418 {\"message\":\"no\"}").await;
    }

    #[tokio::test]
    async fn expressions_speak_of_the_caller() {
        let expected = "service";
        check_as("ann", NAME, json!({"allow": ["consumer.username == 'ann' && 'gold' in identity.groups"]}), expected)
            .await;
        check_as("bob", NAME, json!({"allow": ["'gold' in identity.groups"]}), FORBIDDEN).await;
        check_as("bob", NAME, json!({"allow": ["identity.authenticated"]}), expected).await;
    }

    #[test]
    fn mistakes_are_found_when_the_configuration_is_read() {
        for (text, reason) in [
            ("request.metod == 'GET'", "request has no `metod`; it has `method`, `path`"),
            ("claim.x == 1", "there is no `claim`; there are `request`, `connection`"),
            ("request.method > 5", "`<` cannot be used with a string and a number"),
            ("request.method == 5", "`==` cannot be used with a string and a number"),
            ("request.method", "it is a string, and must be true or false"),
            ("request == 'x'", "`request` as a whole is nothing to compare"),
            ("!request.path", "`!` cannot be used with a string"),
            ("connection.port && true", "`&&` cannot be used with a number and a truth value"),
            ("request.path.matches('(')", "unclosed group"),
            ("request.path.matches(request.query)", "must be written out"),
            ("inNetwork(connection.ip, '10.0.0.0/33')", "is no network"),
            ("launch('x')", "there is no function `launch`"),
            ("claims.a.exists(x, claims.b.exists(y, x == y))", "could take long"),
            ("claims.a.exists(x, x in claims.b)", "could take long"),
            ("request.method ==", "in `request.method ==`"),
            ("request.args.x == 'a'", "`==` cannot be used with a list and a string"),
        ] {
            let error = expression(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
        let long = vec!["request.path == '/'"; 200].join(" || ");
        assert!(expression(&long).unwrap_err().contains("more than 500 parts"));
        for good in [
            "claims.reputation > 15 && request.method == \"POST\"",
            "claims.a == 1.5 || claims.b == null",
            "claims.roles.all(role, role in ['a', 'b'])",
            "size(claims.roles.filter(role, role.startsWith('x'))) > 0",
            "claims.roles.map(r, r + '!')[0] == 'a!'",
            "claims['https://example.com/roles'].exists_one(r, r == 'x')",
            "int(request.headers['x-n']) % 2 == 0",
        ] {
            assert_eq!(expression(good), Ok(()), "{good}");
        }
    }
}

//! Lets consumers in, or keeps them out, by the groups they belong to.

use http::{Method, StatusCode};
use proxy::Exchange;
use proxy::answer::Answer;
use proxy::identity::{AUTHENTICATED_GROUPS, CONSUMER_GROUPS, header_value, list_value};
use proxy::plugin::{Plugin, Verdict};
use schema::{Check, Schema, Violations};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Lets consumers in, or keeps them out, by the groups they belong to. It runs after authentication.
#[derive(Deserialize, Schema)]
#[schema(check(Check::OnlyOneOf(&["allow", "deny"])), check(Check::AtLeastOneOf(&["allow", "deny"])))]
pub struct Config {
    /// Groups of which a caller must belong to at least one.
    allow: Option<Vec<String>>,
    /// Groups of which a caller may belong to none.
    deny: Option<Vec<String>>,
    /// Whether services are not told the caller's groups.
    #[schema(default = false)]
    hide_groups_header: bool,
    /// Whether groups that authentication itself proved count even where a consumer is known.
    #[schema(default = false)]
    always_use_authenticated_groups: bool,
    /// Whether the consumer groups of a consumer count, too.
    #[schema(ours, default = false)]
    include_consumer_groups: Option<bool>,
    /// Methods for which a caller must, besides, belong to at least one of these groups, such as `POST: [editors]`.
    ///
    /// `HEAD` is as `GET` where it is not named itself.
    #[schema(ours, keys(format(method)))]
    methods: Option<BTreeMap<String, Vec<String>>>,
}

pub struct Acl {
    config: Config,
}

impl Plugin for Acl {
    const NAME: &'static str = "acl";
    const PRIORITY: i32 = 950;
    const ON_CONSUMER: bool = false;
    type Config = Config;

    fn new(config: Config) -> Result<Self, Violations> {
        Ok(Acl { config })
    }

    async fn on_request(&self, exchange: &mut Exchange) -> Verdict {
        let identity = exchange.identity.as_ref();
        let proven = identity.is_some_and(|identity| identity.credential.is_some());
        let consumer = identity.and_then(|identity| identity.consumer.clone());
        let authenticated = exchange.authenticated_groups.as_deref();
        let use_authenticated =
            authenticated.is_some() && (!proven || consumer.is_none() || self.config.always_use_authenticated_groups);
        let (header, groups) = match (&consumer, authenticated) {
            (_, Some(groups)) if use_authenticated => (AUTHENTICATED_GROUPS, groups),
            (Some(consumer), _) => (CONSUMER_GROUPS, consumer.groups()),
            (None, _) => return Ok(ControlFlow::Break(refuse(StatusCode::UNAUTHORIZED, "Unauthorized"))),
        };
        let counted = consumer.as_ref().filter(|_| self.config.include_consumer_groups == Some(true));
        let counted = || counted.iter().flat_map(|consumer| consumer.consumer_groups()).map(|group| &group.name);
        // A caller who proved nothing is asked to, where members alone are let in.
        if !proven
            && !use_authenticated
            && groups.is_empty()
            && counted().next().is_none()
            && self.config.allow.is_some()
        {
            return Ok(ControlFlow::Break(refuse(StatusCode::UNAUTHORIZED, "Unauthorized")));
        }
        let among = |list: &[String]| groups.iter().chain(counted()).any(|group| list.contains(group));
        let denied = self.config.deny.as_deref().is_some_and(among);
        let allowed = self.config.allow.as_deref().is_none_or(among);
        let enough = self.of_method(&exchange.request.method).is_none_or(among);
        if denied || !allowed || !enough {
            return Ok(ControlFlow::Break(refuse(StatusCode::FORBIDDEN, "You cannot consume this service")));
        }
        if !self.config.hide_groups_header {
            let value = match &consumer {
                Some(consumer) if header == CONSUMER_GROUPS => header_value(&consumer.groups().join(", ")),
                _ => list_value(groups),
            };
            exchange.request.headers.insert(header, value);
        }
        Ok(ControlFlow::Continue(()))
    }
}

impl Acl {
    /// The groups of which a caller must be a member for a method.
    fn of_method(&self, method: &Method) -> Option<&[String]> {
        let methods = self.config.methods.as_ref()?;
        let like = if *method == Method::HEAD { "GET" } else { method.as_str() };
        methods.get(method.as_str()).or_else(|| methods.get(like)).map(Vec::as_slice)
    }
}

fn method(text: &str) -> Result<(), String> {
    match text.parse::<Method>().is_ok() && text == text.to_ascii_uppercase() {
        true => Ok(()),
        false => Err(format!("'{text}' is no method in capitals, such as GET")),
    }
}

fn refuse(status: StatusCode, message: &'static str) -> Answer {
    Answer::error(status, message)
}

#[cfg(test)]
mod tests {
    use crate::testing::{check, check_as};
    use schema::json;

    const FORBIDDEN: &str = "403 {\"message\":\"You cannot consume this service\"}";

    #[tokio::test]
    async fn members_pass_and_others_do_not() {
        check_as("ann", "acl", json!({"allow": ["staff"]}), "service\nx-consumer-groups: gold, staff").await;
        check_as("ann", "acl", json!({"allow": ["admin"]}), FORBIDDEN).await;
        check_as("ann", "acl", json!({"deny": ["gold"]}), FORBIDDEN).await;
        check_as("bob", "acl", json!({"allow": ["staff"]}), FORBIDDEN).await;
        check_as("bob", "acl", json!({"deny": ["gold"]}), "service\nx-consumer-groups: ").await;
        check_as("ann", "acl", json!({"allow": ["gold"], "hide_groups_header": true}), "service").await;
    }

    #[tokio::test]
    async fn who_is_nobody_is_asked_to_be_somebody() {
        check("acl", json!({"allow": ["staff"]}), &[], "401 {\"message\":\"Unauthorized\"}").await;
        check("acl", json!({"deny": ["staff"]}), &[], "401 {\"message\":\"Unauthorized\"}").await;
    }

    #[tokio::test]
    async fn methods_can_have_groups_of_their_own() {
        let rules = |method: &str, group: &str| json!({"allow": ["gold", "staff"], "methods": {method: [group]}});
        check_as("ann", "acl", rules("POST", "admin"), "service\nx-consumer-groups: gold, staff").await;
        check_as("ann", "acl", rules("GET", "staff"), "service\nx-consumer-groups: gold, staff").await;
        check_as("ann", "acl", rules("GET", "admin"), FORBIDDEN).await;
        let odd = r#"{"methods":"'get' is no method in capitals, such as GET"}"#;
        check("acl", rules("get", "admin"), &[], odd).await;
    }

    #[tokio::test]
    async fn exactly_one_list_is_given() {
        let both = r#"{"@entity":["exactly one of these fields must be non-empty: 'config.allow', 'config.deny'"]}"#;
        check("acl", json!({"allow": ["a"], "deny": ["b"]}), &[], both).await;
    }
}

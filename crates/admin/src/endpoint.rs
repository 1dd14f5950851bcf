//! Every path that is served: the one table that requests are found in and `/endpoints` is written from.

use crate::resource::{Nested, Resource};
use model::EntityKind;
use model::entity::{self, KINDS};
use percent_encoding::percent_decode_str;
use std::sync::LazyLock;

/// A path with parameters: `/services/{services}/routes`.
pub(crate) struct Endpoint {
    pub(crate) path: String,
    pub(crate) resource: Resource,
}

/// Where two fit, the earlier is meant.
pub(crate) static ENDPOINTS: LazyLock<Vec<Endpoint>> = LazyLock::new(|| {
    let mut endpoints: Vec<Endpoint> = [
        ("/", Resource::Information),
        ("/status", Resource::Status),
        ("/endpoints", Resource::Endpoints),
        ("/config", Resource::Configuration),
        ("/openapi.json", Resource::Description),
        ("/audit", Resource::Audit),
        ("/declarative", Resource::Declarative),
        ("/declarative/progress", Resource::Progress),
        ("/debug/explain", Resource::Explain),
        ("/debug/node/log-level", Resource::LogLevel),
        ("/clustering/data-planes", Resource::Elsewhere(CONTROL_PLANE)),
        ("/clustering/status", Resource::Elsewhere(CONTROL_PLANE)),
        ("/filter-chains", Resource::Elsewhere("this endpoint is only available when wasm is enabled")),
        ("/upstreams/{upstreams}/health", Resource::Health),
        ("/upstreams/{upstreams}/targets/all", Resource::AllTargets),
        ("/upstreams/{upstreams}/targets/{targets}/healthy", Resource::TargetHealth),
        ("/upstreams/{upstreams}/targets/{targets}/unhealthy", Resource::TargetHealth),
        ("/upstreams/{upstreams}/targets/{targets}/{address}/healthy", Resource::TargetHealth),
        ("/upstreams/{upstreams}/targets/{targets}/{address}/unhealthy", Resource::TargetHealth),
        ("/tags", Resource::Tags),
        ("/tags/{tags}", Resource::Tag),
        ("/plugins/enabled", Resource::EnabledPlugins),
        ("/plugins/schema/{name}", Resource::PluginSchema),
        ("/schemas/{name}", Resource::EntitySchema),
    ]
    .map(|(path, resource)| Endpoint { path: path.to_owned(), resource })
    .into();
    let mut add = |path: String, resource| endpoints.push(Endpoint { path, resource });
    for kind in ["plugins", "vaults"].into_iter().filter_map(entity::kind) {
        add(format!("/schemas/{}/validate", kind.name), Resource::Validate(kind));
    }
    add("/schemas/plugins/{name}".to_owned(), Resource::PluginSchema);
    add("/schemas/vaults/{name}".to_owned(), Resource::VaultSchema);
    add("/schemas/{db_entity_name}/validate".to_owned(), Resource::ValidateEntity);
    for kind in KINDS.iter() {
        // A target's address says nothing without its upstream; Kong turns these paths off too.
        if kind.name != "targets" {
            of(kind, &mut add);
        }
        for nested in nested(kind) {
            let path = format!("{}/{}", item(nested.parent), kind.nested);
            add(path.clone(), Resource::Children(nested));
            add(format!("{path}/{{{}}}", kind.name), Resource::Child(nested));
        }
    }
    endpoints
});

const CONTROL_PLANE: &str =
    "this endpoint is only available when Kong is configured to run as Control Plane for the cluster";

fn of(kind: &'static EntityKind, add: &mut impl FnMut(String, Resource)) {
    add(format!("/{}", kind.collection), Resource::Collection(kind));
    add(item(kind), Resource::Entity(kind));
    for nested in nested(kind) {
        add(format!("{}/{}", item(kind), nested.field), Resource::Parent(nested));
    }
}

fn item(kind: &EntityKind) -> String {
    format!("/{}/{{{}}}", kind.collection, kind.name)
}

/// The kinds that this kind refers to.
///
/// The tokens of this API are nobody's children: who may do everything below a consumer may not make one.
fn nested(child: &'static EntityKind) -> impl Iterator<Item = Nested> {
    let references = child.references().filter(|_| child.name != "admin_tokens");
    references.filter_map(move |(field, parent)| Some(Nested { parent: entity::kind(parent)?, child, field }))
}

/// What a path names, with its parameters, decoded.
pub(crate) fn find(path: &str) -> Option<(Resource, Vec<String>)> {
    let segments: Vec<&str> = segments(path).collect();
    ENDPOINTS.iter().find_map(|endpoint| Some((endpoint.resource, endpoint.parameters(&segments)?)))
}

impl Endpoint {
    fn parameters(&self, given: &[&str]) -> Option<Vec<String>> {
        let pattern = segments(&self.path);
        if pattern.clone().count() != given.len() {
            return None;
        }
        let mut parameters = Vec::new();
        for (expected, given) in pattern.zip(given) {
            // Decoded after the path was split, so that a name may hold a slash.
            let given = percent_decode_str(given).decode_utf8().ok()?;
            match expected.starts_with('{') {
                true if given.is_empty() => return None,
                true => parameters.push(given.into_owned()),
                false if expected == given => {}
                false => return None,
            }
        }
        Some(parameters)
    }
}

/// The segments of a path, decoded; nothing where they are no text.
pub(crate) fn decoded(path: &str) -> Option<Vec<String>> {
    let segment = |text: &str| percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned());
    segments(path).map(segment).collect()
}

/// The segments of a path; a slash at its end is not one.
fn segments(path: &str) -> impl Iterator<Item = &str> + Clone {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    path.split('/').filter(move |_| !path.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn check(path: &str, expected: Option<&[&str]>) {
        let found = find(path).map(|(_, parameters)| parameters);
        assert_eq!(found, expected.map(|names| names.iter().map(|&name| name.to_owned()).collect()), "{path}");
    }

    #[test]
    fn paths_are_split_before_they_are_decoded() {
        check("/", Some(&[]));
        check("/services/", Some(&[]));
        check("/services/a%2Fb", Some(&["a/b"]));
        check("/services/j%C3%B6/routes/r", Some(&["jö", "r"]));
        check("/serv%69ces", Some(&[]));
        check("/services/%FF", None);
        check("/services//routes", None);
        check("//services", None);
        check("/services/a/b/c/d", None);
        check("/nope", None);
        check("/targets", None);
    }

    /// Every path of ours is one of Kong's.
    #[test]
    fn endpoints_are_kongs() {
        let oracle = concat!(env!("CARGO_MANIFEST_DIR"), "/../../kong/oracle/endpoints.json");
        let oracle: schema::Value = serde_json::from_str(&fs::read_to_string(oracle).unwrap()).unwrap();
        let kongs: Vec<&str> = oracle["data"].as_array().unwrap().iter().filter_map(|path| path.as_str()).collect();
        let ours = |path: &&str| {
            ["/audit", "/debug/explain", "/declarative", "/declarative/progress", "/openapi.json"].contains(path)
                || path.ends_with("/consumer_group")
                || KINDS.iter().filter(|kind| !kind.in_kong).any(|kind| {
                    [kind.collection, kind.nested].iter().any(|segment| path.split('/').any(|own| own == *segment))
                })
        };
        let paths = ENDPOINTS.iter().map(|endpoint| endpoint.path.as_str());
        let foreign: Vec<&str> = paths.filter(|path| !kongs.contains(path) && !ours(path)).collect();
        assert_eq!(foreign, Vec::<&str>::new());
    }
}

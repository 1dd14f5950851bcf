//! What a path names.

use http::Method;
use model::EntityKind;

/// What a path names. The path's parameters are kept beside it, in their order.
#[derive(Clone, Copy)]
pub(crate) enum Resource {
    Information,
    Status,
    Endpoints,
    Configuration,
    /// `/audit`
    Audit,
    /// `/openapi.json`
    Description,
    /// `/declarative`
    Declarative,
    /// `/declarative/progress`
    Progress,
    EnabledPlugins,
    /// `/debug/explain`
    Explain,
    /// `/tags`
    Tags,
    /// `/tags/{tag}`
    Tag,
    EntitySchema,
    PluginSchema,
    VaultSchema,
    ValidateEntity,
    /// `/schemas/plugins/validate`, `/schemas/vaults/validate`
    Validate(&'static EntityKind),
    /// `/services`
    Collection(&'static EntityKind),
    /// `/services/{service}`
    Entity(&'static EntityKind),
    /// `/services/{service}/routes`
    Children(Nested),
    /// `/services/{service}/routes/{route}`
    Child(Nested),
    /// `/routes/{route}/service`
    Parent(Nested),
    /// `/upstreams/{upstream}/health`
    Health,
    /// `/upstreams/{upstream}/targets/all`
    AllTargets,
    /// `/upstreams/{upstream}/targets/{target}/healthy`, and for one of its addresses
    TargetHealth,
    /// What Kong has only with something that it does not have here, and what it says then.
    Elsewhere(&'static str),
    /// `/debug/node/log-level`
    LogLevel,
}

/// A kind that refers to another.
#[derive(Clone, Copy)]
pub(crate) struct Nested {
    pub(crate) parent: &'static EntityKind,
    pub(crate) child: &'static EntityKind,
    /// The field of the child that names the parent.
    pub(crate) field: &'static str,
}

impl Resource {
    /// The kind of entity that it shows.
    pub(crate) fn kind(self) -> Option<&'static EntityKind> {
        match self {
            Resource::Collection(kind) | Resource::Entity(kind) | Resource::Validate(kind) => Some(kind),
            Resource::Children(nested) | Resource::Child(nested) => Some(nested.child),
            Resource::Parent(nested) => Some(nested.parent),
            _ => None,
        }
    }

    /// Whether a request of this method changes entities.
    pub(crate) fn is_changed_by(self, method: &Method) -> bool {
        let entities = matches!(
            self,
            Resource::Collection(_)
                | Resource::Entity(_)
                | Resource::Children(_)
                | Resource::Child(_)
                | Resource::Parent(_)
                | Resource::Declarative
        );
        entities && !method.is_safe()
    }

    /// The methods it answers to, as the header `Allow` lists them.
    pub(crate) fn allow(self) -> &'static str {
        match self {
            Resource::Information
            | Resource::Audit
            | Resource::Progress
            | Resource::Description
            | Resource::Health
            | Resource::AllTargets
            | Resource::Elsewhere(_)
            | Resource::LogLevel
            | Resource::Status
            | Resource::Endpoints
            | Resource::EnabledPlugins
            | Resource::Tags
            | Resource::Tag
            | Resource::EntitySchema
            | Resource::PluginSchema
            | Resource::VaultSchema => "GET, HEAD, OPTIONS",
            Resource::TargetHealth => "OPTIONS, PUT",
            Resource::Declarative => "GET, HEAD, OPTIONS, PUT",
            Resource::Explain | Resource::ValidateEntity | Resource::Validate(_) => "OPTIONS, POST",
            Resource::Configuration | Resource::Collection(_) | Resource::Children(_) => "GET, HEAD, OPTIONS, POST",
            Resource::Entity(_) | Resource::Child(_) => "DELETE, GET, HEAD, OPTIONS, PATCH, PUT",
            Resource::Parent(_) => "GET, HEAD, OPTIONS, PATCH, PUT",
        }
    }
}

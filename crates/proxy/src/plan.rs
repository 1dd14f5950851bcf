//! A configuration compiled: everything a request is held against, built as a whole and never changed.

use crate::balancer::{Address, Balancer};
use crate::chain::{Chain, Placement, Placements, Scope};
use crate::destination::Destination;
use crate::exchange::Exchange;
use crate::plugin::{Definition, Place};
use crate::registry::{Registry, Unusable};
use http::HeaderName;
use model::plugin_row::PluginRow;
use model::route::{Protocol, Route};
use model::service::Service;
use model::target::Target;
use model::upstream::Upstream;
use model::{Configuration, Invalid, invalid};
use net::fetch::Fetcher;
use net::server_tls::Asking;
use router::{Precedence, Router};
use schema::{Value, Violations};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

mod certificates;

pub use certificates::DefaultCertificate;

/// The configuration in force, or one that drains.
pub struct Plan {
    pub router: Router,
    /// By the position of their rule in the router.
    pub routes: Vec<RoutePlan>,
    /// The plugins that are everywhere: they see the answer to a request that no route takes.
    pub everywhere: Chain,
    /// Who may call. Where entities come from a store, every plan has the same.
    pub registry: Arc<Registry>,
    /// Services by their names and by their identities, for plugins that ask one.
    pub services: HashMap<String, Arc<ServicePlan>>,
    /// The headers in which plugins tell services something: no caller may set them, on any route.
    pub reserved: Arc<[HeaderName]>,
    /// For what plugins must ask others, such as the keys of an issuer.
    pub fetcher: Arc<Fetcher>,
    pub caller_tls: net::server_tls::CallerTls,
    pub configuration: Arc<Configuration>,
}

/// A route with its service and its plugins.
///
/// Aligned, so that a request which comes to one of many thousand misses the processor's cache once.
#[repr(align(64))]
pub struct RoutePlan {
    pub id: Uuid,
    pub name: Option<Box<str>>,
    pub service: Option<Arc<ServicePlan>>,
    pub strip_path: bool,
    pub preserve_host: bool,
    /// Plain HTTP is answered with this status and sent to HTTPS.
    pub secure_only: Option<http::StatusCode>,
    pub grpc: Option<Grpc>,
    pub chain: Chain,
}

const _: () = assert!(size_of::<RoutePlan>() == 64);

/// What a route for gRPC takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Grpc {
    Any,
    /// Over TLS alone.
    Secure,
}

/// A service, ready to be called.
pub struct ServicePlan {
    pub id: Uuid,
    pub name: Option<String>,
    pub origin: Origin,
    /// Put before the path of each request.
    pub path: String,
    pub connect_timeout: Duration,
    pub write_timeout: Duration,
    pub read_timeout: Duration,
    /// How many more attempts follow a failed connection.
    pub retries: u16,
}

/// Where a service's requests go.
pub enum Origin {
    Direct(Destination),
    Balanced(Balancer),
    /// The gate itself answers.
    Internal(Internal),
}

/// What of the gate can be behind a route, as any service: `internal://admin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Internal {
    /// The Admin API.
    Admin,
}

impl Plan {
    /// The route at a position that the router has told.
    pub fn route(&self, at: Option<usize>) -> Option<&RoutePlan> {
        self.routes.get(at?)
    }
}

impl ServicePlan {
    /// Where a request of this exchange goes; nothing where there is no target.
    pub fn destination(&self, exchange: &Exchange) -> Option<Destination> {
        match &self.origin {
            Origin::Direct(destination) => Some(destination.clone()),
            Origin::Balanced(balancer) => Some(balancer.choose(exchange, &[])?.target.destination.clone()),
            Origin::Internal(_) => None,
        }
    }
}

impl Origin {
    /// Whether choosing a destination looks at what the route's expression captured.
    pub fn reads_captures(&self) -> bool {
        matches!(self, Origin::Balanced(balancer) if balancer.reads_captures())
    }
}

/// What compiling needs besides the configuration, kept from one plan to the next.
pub struct Workshop {
    /// Every plugin of this build.
    pub plugins: &'static [Definition],
    /// For callers whose server name no certificate covers.
    pub default_certificate: DefaultCertificate,
    /// Whether callers may resume TLS sessions.
    pub session_tickets: bool,
    /// Outgoing TLS configurations, shared so that connections outlive a reload.
    pub upstream_tls: Arc<net::upstream_tls::UpstreamTls>,
    /// Who may vouch for services that name no CA of their own (`lua_ssl_trusted_certificate`); `None` for
    /// whom the operating system trusts.
    pub authorities: Option<Vec<net::CertificateDer<'static>>>,
    pub fetcher: Arc<Fetcher>,
}

impl Workshop {
    /// Compiles a configuration, or reports each entity that cannot work. `now` is in seconds since 1970.
    pub fn compile(&self, configuration: Arc<Configuration>, now: i64) -> Result<Plan, Invalid> {
        let mut unusable = Vec::new();
        let registry = Arc::new(Registry::of(&configuration, &mut unusable));
        self.compile_with(configuration, registry, unusable, now)
    }

    /// Compiles a configuration for callers that are known otherwise.
    pub fn compile_for(
        &self,
        registry: Arc<Registry>,
        configuration: Arc<Configuration>,
        now: i64,
    ) -> Result<Plan, Invalid> {
        self.compile_with(configuration, registry, Vec::new(), now)
    }

    fn compile_with(
        &self,
        configuration: Arc<Configuration>,
        registry: Arc<Registry>,
        mut unusable: Vec<Unusable>,
        now: i64,
    ) -> Result<Plan, Invalid> {
        let certificates = certificates::Certificates::read(&configuration, now, &mut unusable);
        let placements = self.placements(&configuration, now, &mut unusable);
        let services = self.services(&configuration, &certificates, &mut unusable);
        let mut compiled: Vec<RoutePlan> = Vec::new();
        let mut asking = Asking::default();
        let mut rules = Vec::new();
        for (row, route) in configuration.typed::<Route>("routes") {
            match route {
                Err(violations) => {
                    unusable.push(Unusable { entity_type: "route", place: row.place.clone(), violations })
                }
                Ok(route) => {
                    let service = route.service.map(|service| services.get(&service.id).cloned());
                    // The routes of a service that is switched off do not exist.
                    if service != Some(None) {
                        rules.push(rule(&route));
                        let plan = route_plan(&route, service.flatten().flatten(), &placements);
                        if let Some(wanted) = plan.chain.wants_certificate() {
                            certificates::ask(&mut asking, &route, &wanted);
                        }
                        compiled.push(plan);
                    }
                }
            }
        }
        let caller_tls = self.caller_tls(&certificates, &configuration, asking, &mut unusable);
        // The order of a running Kong 3.9, which differs from the documented one: docs/decisions/0008-route-order.md.
        let router = Router::with_precedence(rules, Precedence::Kong39).map_err(|errors| {
            let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Invalid::unreadable(text.join("; "))
        });
        let (Some(caller_tls), true) = (caller_tls, unusable.is_empty()) else {
            return Err(invalid_of(unusable, &configuration));
        };
        Ok(Plan {
            router: router?,
            routes: compiled,
            everywhere: Chain::select(&placements, None, None),
            registry,
            services: by_name(&services),
            reserved: placements.reserved().into(),
            fetcher: self.fetcher.clone(),
            caller_tls,
            configuration,
        })
    }

    fn placements(&self, configuration: &Configuration, now: i64, unusable: &mut Vec<Unusable>) -> Placements {
        let mut placements = Placements::default();
        for (row, plugin) in configuration.typed::<PluginRow>("plugins") {
            match plugin.and_then(|plugin| self.placement(configuration, now, plugin)) {
                Ok(Some(placement)) => placements.add(placement),
                Ok(None) => {}
                Err(violations) => {
                    unusable.push(Unusable { entity_type: "plugin", place: row.place.clone(), violations })
                }
            }
        }
        placements
    }

    fn placement(
        &self,
        configuration: &Configuration,
        now: i64,
        row: PluginRow,
    ) -> Result<Option<Placement>, Violations> {
        let definition = self.plugins.iter().find(|definition| definition.name == row.name);
        // What nobody can carry out must not be passed over: it may be what protects a route.
        let unknown = || Violations::field("name", format!("there is no plugin '{}' in this build", row.name));
        let definition = definition.ok_or_else(unknown)?;
        if !row.enabled {
            return Ok(None);
        }
        let config = row.config.unwrap_or_default();
        let config = configuration.resolve_config(&definition.schema().config, &config)?;
        let mut plugin = definition.build(config).map_err(|violations| violations.under("config"))?;
        let place = Place { id: row.id, configuration, now };
        plugin.placed(&place).map_err(|violations| violations.under("config"))?;
        Ok(Some(Placement {
            id: row.id,
            name: definition.name,
            priority: definition.priority,
            scope: Scope {
                route: row.route.map(|route| route.id),
                service: row.service.map(|service| service.id),
                consumer: row.consumer.map(|consumer| consumer.id),
                consumer_group: row.consumer_group.map(|group| group.id),
            },
            plugin: plugin.into(),
        }))
    }

    /// Each service by its identity; `None` for one that is switched off.
    fn services(
        &self,
        configuration: &Configuration,
        certificates: &certificates::Certificates,
        unusable: &mut Vec<Unusable>,
    ) -> HashMap<Uuid, Option<Arc<ServicePlan>>> {
        let upstreams = Upstreams::read(configuration);
        let mut services = HashMap::new();
        for (row, service) in configuration.typed::<Service>("services") {
            let plan = service.and_then(|service| {
                let enabled = service.enabled;
                let plan = self.service(&upstreams, certificates, service)?;
                Ok(enabled.then(|| Arc::new(plan)))
            });
            match plan {
                Ok(plan) => drop(services.insert(row.id, plan)),
                Err(violations) => {
                    unusable.push(Unusable { entity_type: "service", place: row.place.clone(), violations })
                }
            }
        }
        services
    }

    fn service(
        &self,
        upstreams: &Upstreams,
        certificates: &certificates::Certificates,
        service: Service,
    ) -> Result<ServicePlan, Violations> {
        let millis = |timeout: Option<u32>| Duration::from_millis(timeout.unwrap_or(60_000).into());
        let upstream = upstreams.0.get(&service.host);
        let http2 = matches!(service.protocol, Protocol::Grpc | Protocol::Grpcs);
        let tls = match service.protocol {
            Protocol::Https | Protocol::Grpcs => {
                Some(self.client_tls(certificates, &service, upstream.map(|(upstream, _)| upstream))?)
            }
            _ => None,
        };
        let internal = model::service::internal(&service.host).map(|name| match (name, service.protocol) {
            ("admin", Protocol::Http) => Ok(Internal::Admin),
            _ => Err(Violations::field("host", "of the gate itself there is only internal://admin")),
        });
        let origin = match upstream {
            _ if let Some(internal) = internal => Origin::Internal(internal?),
            Some((upstream, targets)) => Origin::Balanced(Balancer::new(upstream, targets, tls.as_ref(), http2)),
            None => Origin::Direct(Destination::new(&service.host, service.port, tls, http2)),
        };
        Ok(ServicePlan {
            id: service.id,
            name: service.name,
            origin,
            path: service.path.unwrap_or_default(),
            connect_timeout: millis(service.connect_timeout),
            write_timeout: millis(service.write_timeout),
            read_timeout: millis(service.read_timeout),
            retries: service.retries.unwrap_or(5),
        })
    }
}

/// Upstreams by name, each with its targets.
struct Upstreams(HashMap<String, (Upstream, Vec<Address>)>);

impl Upstreams {
    fn read(configuration: &Configuration) -> Upstreams {
        let mut targets: HashMap<Uuid, Vec<Address>> = HashMap::new();
        for target in configuration.typed::<Target>("targets").into_iter().filter_map(|(_, target)| target.ok()) {
            if let Some((host, port)) = model::target::split(&target.target) {
                let weight = target.weight.unwrap_or(100).into();
                targets.entry(target.upstream.id).or_default().push(Address { host: host.to_owned(), port, weight });
            }
        }
        let upstreams =
            configuration.typed::<Upstream>("upstreams").into_iter().filter_map(|(_, upstream)| upstream.ok());
        Upstreams(
            upstreams
                .map(|upstream| {
                    let targets = targets.remove(&upstream.id).unwrap_or_default();
                    (upstream.name.clone(), (upstream, targets))
                })
                .collect(),
        )
    }
}

fn by_name(services: &HashMap<Uuid, Option<Arc<ServicePlan>>>) -> HashMap<String, Arc<ServicePlan>> {
    let services = services.values().flatten();
    let named = services.clone().filter_map(|service| Some((service.name.clone()?, service.clone())));
    named.chain(services.map(|service| (service.id.to_string(), service.clone()))).collect()
}

fn route_plan(route: &Route, service: Option<Arc<ServicePlan>>, placements: &Placements) -> RoutePlan {
    let takes = |protocol| route.protocols.contains(&protocol);
    let secure_only = takes(Protocol::Https) && !takes(Protocol::Http);
    let status = http::StatusCode::from_u16(route.https_redirect_status_code);
    RoutePlan {
        id: route.id,
        name: route.name.as_deref().map(Box::from),
        chain: Chain::select(placements, Some(route.id), service.as_ref().map(|service| service.id)),
        service,
        strip_path: route.strip_path,
        preserve_host: route.preserve_host,
        secure_only: secure_only.then(|| status.unwrap_or(http::StatusCode::UPGRADE_REQUIRED)),
        grpc: match (takes(Protocol::Grpc), takes(Protocol::Grpcs)) {
            (true, _) => Some(Grpc::Any),
            (false, true) => Some(Grpc::Secure),
            (false, false) => None,
        },
    }
}

fn rule(route: &Route) -> router::Rule {
    let list = |set: &Option<schema::Set<String>>| set.as_deref().unwrap_or_default().to_vec();
    router::Rule {
        id: route.id,
        methods: list(&route.methods),
        hosts: route.hosts.clone().unwrap_or_default(),
        paths: route.paths.clone().unwrap_or_default(),
        headers: route.headers.clone().unwrap_or_default().into_iter().collect(),
        // Names are compared without case, as hosts are (RFC 4343).
        snis: list(&route.snis).iter().map(|name| name.to_ascii_lowercase()).collect(),
        regex_priority: route.regex_priority.unwrap_or(0),
    }
}

/// Violations that only compiling finds, in the shape of those that reading finds.
fn invalid_of(unusable: Vec<Unusable>, configuration: &Configuration) -> Invalid {
    let entities = unusable.into_iter().map(|unusable| invalid::Offence {
        entity: configuration.at(&unusable.place).map_or(Value::Null, |row| Value::Object(row.json.clone())),
        place: unusable.place,
        entity_type: unusable.entity_type,
        violations: unusable.violations,
    });
    Invalid { entities: entities.collect(), ..Invalid::default() }
}

impl PartialEq for ServicePlan {
    fn eq(&self, other: &ServicePlan) -> bool {
        self.id == other.id
    }
}

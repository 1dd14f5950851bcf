//! Which plugins run for a request, in which order, and what follows from what they say.

use crate::answer::{self, Answer};
use crate::exchange::Exchange;
use crate::plugin::Running;
use http::response::Parts;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use uuid::Uuid;

/// A plugin with its place: which requests it is for.
#[derive(Clone)]
pub struct Placement {
    pub id: Uuid,
    pub name: &'static str,
    pub priority: i32,
    pub scope: Scope,
    pub plugin: Arc<dyn Running>,
}

/// What a placement is put on; nothing at all means everywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scope {
    pub route: Option<Uuid>,
    pub service: Option<Uuid>,
    pub consumer: Option<Uuid>,
}

impl Scope {
    /// Kong's order, the most specific first: route+service+consumer, route+consumer, service+consumer,
    /// route+service, consumer, route, service, everywhere.
    fn rank(self) -> u8 {
        match (self.route.is_some(), self.service.is_some(), self.consumer.is_some()) {
            (true, true, true) => 7,
            (true, false, true) => 6,
            (false, true, true) => 5,
            (true, true, false) => 4,
            (false, false, true) => 3,
            (true, false, false) => 2,
            (false, true, false) => 1,
            (false, false, false) => 0,
        }
    }
}

/// Every placement, found by what it is put on.
#[derive(Default)]
pub struct Placements(HashMap<(Option<Uuid>, Option<Uuid>), Vec<Placement>>);

impl Placements {
    pub fn add(&mut self, placement: Placement) {
        self.0.entry((placement.scope.route, placement.scope.service)).or_default().push(placement);
    }

    /// The placements that a request of this route and service may meet.
    fn covering(&self, route: Option<Uuid>, service: Option<Uuid>) -> impl Iterator<Item = &Placement> {
        let mut scopes = vec![(None, None), (route, None), (None, service), (route, service)];
        scopes.sort_unstable();
        scopes.dedup();
        scopes.into_iter().filter_map(|scope| self.0.get(&scope)).flatten()
    }
}

/// The plugins of one route: one slot per plugin name, highest priority first.
#[derive(Default)]
pub struct Chain {
    slots: Vec<Slot>,
}

/// The placements of one plugin name that may apply. Exactly one does; configs are never merged.
struct Slot {
    /// For callers who are no consumer, or one without a placement of its own.
    otherwise: Option<Placement>,
    by_consumer: HashMap<Uuid, Placement>,
}

impl Chain {
    /// The chain of a route, or of requests that match none.
    pub fn select(placements: &Placements, route: Option<Uuid>, service: Option<Uuid>) -> Chain {
        let mut slots: HashMap<&'static str, Vec<&Placement>> = HashMap::new();
        for placement in placements.covering(route, service) {
            slots.entry(placement.name).or_default().push(placement);
        }
        let mut slots: Vec<Vec<&Placement>> = slots.into_values().collect();
        // The name decides between equals, so that the order is the same on every node.
        slots.sort_by_key(|slot| slot.first().map(|first| (-first.priority, first.name)));
        Chain { slots: slots.into_iter().map(Slot::new).collect() }
    }

    /// Runs the plugins that come before the service. Only a chain that ran to its end admits.
    ///
    /// Each slot is asked when its turn comes, so a consumer that authentication has just named gets its
    /// own placements of every plugin that follows.
    pub async fn on_request(&self, exchange: &mut Exchange) -> Result<Admitted, Answer> {
        for slot in &self.slots {
            let Some(plugin) = slot.plugin(exchange) else { continue };
            match plugin.on_request(exchange).await {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(answer)) => return Err(answer),
                Err(fault) => return Err(answer::fault(&fault, exchange)),
            }
        }
        Ok(Admitted(()))
    }

    /// Runs the plugins that look at the response, also one that a plugin made.
    pub fn on_response(&self, exchange: &mut Exchange, response: &mut Parts) {
        for slot in &self.slots {
            if let Some(plugin) = slot.plugin(exchange) {
                plugin.on_response(exchange, response);
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

impl Slot {
    fn new(candidates: Vec<&Placement>) -> Slot {
        let best = |consumer: Option<Uuid>| {
            candidates
                .iter()
                .filter(|placement| placement.scope.consumer.is_none_or(|id| Some(id) == consumer))
                .max_by_key(|placement| placement.scope.rank())
                .map(|placement| (*placement).clone())
        };
        let consumers = candidates.iter().filter_map(|placement| placement.scope.consumer);
        Slot {
            otherwise: best(None),
            by_consumer: consumers.filter_map(|id| best(Some(id)).map(|best| (id, best))).collect(),
        }
    }

    /// The plugin that this request meets here, if any.
    fn plugin(&self, exchange: &Exchange) -> Option<Arc<dyn Running>> {
        let own = match (&exchange.identity, self.by_consumer.is_empty()) {
            (Some(identity), false) => {
                identity.consumer.as_ref().and_then(|consumer| self.by_consumer.get(&consumer.id))
            }
            _ => None,
        };
        own.or(self.otherwise.as_ref()).map(|placement| placement.plugin.clone())
    }
}

/// Proof that every plugin let the request through. Nothing but a chain can make one, and without one
/// nothing can be forwarded.
pub struct Admitted(());

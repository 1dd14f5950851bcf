//! Which plugins run for a request, in which order, and what follows from what they say.

use crate::answer::{self, Answer};
use crate::exchange::Exchange;
use crate::plugin::{Running, Verdict, WantedCertificate};
use http::response::Parts;
use http::{HeaderMap, HeaderName};
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
    pub consumer_group: Option<Uuid>,
}

impl Scope {
    /// Kong's order, the most specific first. One for a consumer and a group at once is for that consumer in that group.
    fn rank(self) -> u8 {
        let (consumer, group) = (self.consumer.is_some(), self.consumer_group.is_some());
        match (self.route.is_some(), self.service.is_some()) {
            (true, true) if consumer => 11,
            (true, true) if group => 10,
            (true, false) if consumer => 9,
            (false, true) if consumer => 8,
            (true, false) if group => 7,
            (false, true) if group => 6,
            (true, true) => 5,
            (false, false) if consumer => 4,
            (false, false) if group => 3,
            (true, false) => 2,
            (false, true) => 1,
            (false, false) => 0,
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

    /// The headers in which the plugins tell services something.
    pub fn reserved(&self) -> Vec<HeaderName> {
        let mut names: Vec<HeaderName> =
            self.0.values().flatten().flat_map(|placed| placed.plugin.reserves()).collect();
        names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        names
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
    slots: Box<[Slot]>,
}

/// The placements of one plugin name that may apply. Exactly one does; configs are never merged.
struct Slot {
    /// For callers who are no consumer, or one without a placement of its own.
    otherwise: Option<Placement>,
    by_consumer: HashMap<Uuid, Placement>,
    by_group: HashMap<Uuid, Placement>,
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

    /// Runs the plugins that come before the service, and tells of each what it was and what it decided. `true` if all
    /// let the request through.
    pub(crate) async fn rehearse(
        &self,
        exchange: &mut Exchange,
        mut tell: impl FnMut(&Placement, &Verdict, &Exchange, &HeaderMap),
    ) -> bool {
        for slot in &self.slots {
            let Some(placement) = slot.placement(exchange).cloned() else { continue };
            let before = exchange.request.headers.clone();
            let verdict = placement.plugin.on_request(exchange).await;
            tell(&placement, &verdict, exchange, &before);
            if !matches!(verdict, Ok(ControlFlow::Continue(()))) {
                return false;
            }
        }
        true
    }

    /// Runs the plugins that look at the response, also one that a plugin made.
    pub fn on_response(&self, exchange: &mut Exchange, response: &mut Parts) {
        for slot in &self.slots {
            if let Some(plugin) = slot.plugin(exchange) {
                plugin.on_response(exchange, response);
            }
        }
    }

    /// Whether any of the plugins looks at the certificate that callers show.
    pub fn wants_certificate(&self) -> Option<WantedCertificate> {
        let placed = self
            .slots
            .iter()
            .flat_map(|slot| slot.otherwise.iter().chain(slot.by_consumer.values()).chain(slot.by_group.values()));
        WantedCertificate::all(placed.filter_map(|placement| placement.plugin.wants_certificate()))
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

impl Slot {
    fn new(candidates: Vec<&Placement>) -> Slot {
        let best = |consumer: Option<Uuid>, group: Option<Uuid>| {
            let meant = |wanted: Option<Uuid>, own: Option<Uuid>| wanted.is_none_or(|id| Some(id) == own);
            candidates
                .iter()
                .filter(|placement| meant(placement.scope.consumer, consumer))
                .filter(|placement| meant(placement.scope.consumer_group, group))
                .max_by_key(|placement| placement.scope.rank())
                .map(|placement| (*placement).clone())
        };
        let consumers = candidates.iter().filter_map(|placement| placement.scope.consumer);
        let groups = candidates.iter().filter_map(|placement| placement.scope.consumer_group);
        Slot {
            otherwise: best(None, None),
            by_consumer: consumers.filter_map(|id| best(Some(id), None).map(|best| (id, best))).collect(),
            by_group: groups.filter_map(|id| best(None, Some(id)).map(|best| (id, best))).collect(),
        }
    }

    /// The plugin that this request meets here, if any.
    fn plugin(&self, exchange: &Exchange) -> Option<Arc<dyn Running>> {
        self.placement(exchange).map(|placement| placement.plugin.clone())
    }

    /// The placement that this request meets here, if any.
    fn placement(&self, exchange: &Exchange) -> Option<&Placement> {
        if self.by_consumer.is_empty() && self.by_group.is_empty() {
            return self.otherwise.as_ref();
        }
        let consumer = exchange.identity.as_ref().and_then(|identity| identity.consumer.as_ref());
        let Some(consumer) = consumer else { return self.otherwise.as_ref() };
        let own = self.by_consumer.get(&consumer.id);
        let groups = consumer.consumer_groups().iter().filter_map(|group| self.by_group.get(&group.id));
        // Of equals the first counts: the consumer's own before its groups', and these by their names.
        let own = own.into_iter().chain(groups).reduce(
            |best, one| {
                if one.scope.rank() > best.scope.rank() { one } else { best }
            },
        );
        own.or(self.otherwise.as_ref())
    }
}

/// Proof that every plugin let the request through. Nothing but a chain can make one, and without one
/// nothing can be forwarded.
pub struct Admitted(());

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::Place;
    use crate::plugin::Verdict;
    use schema::Violations;
    use std::pin::Pin;

    struct Nothing;

    impl Running for Nothing {
        fn placed(&mut self, _: &Place) -> Result<(), Violations> {
            Ok(())
        }

        fn wants_certificate(&self) -> Option<WantedCertificate> {
            None
        }

        fn hide(&self, _: &mut Exchange) {}

        fn reserves(&self) -> Vec<HeaderName> {
            Vec::new()
        }

        fn on_request<'a>(&'a self, _: &'a mut Exchange) -> Pin<Box<dyn Future<Output = Verdict> + 'a>> {
            Box::pin(async { Ok(ControlFlow::Continue(())) })
        }

        fn on_response(&self, _: &mut Exchange, _: &mut Parts) {}
    }

    const ROUTE: Uuid = Uuid::from_u128(1);
    const SERVICE: Uuid = Uuid::from_u128(2);
    const CONSUMER: Uuid = Uuid::from_u128(3);

    /// `r`, `s` and `c` put a placement on our route, service and consumer; the identity counts from 1.
    fn placements(scopes: &[&str]) -> Placements {
        let mut placements = Placements::default();
        for (index, scope) in scopes.iter().enumerate() {
            let on = |letter, id| scope.contains(letter).then_some(id);
            placements.add(Placement {
                id: Uuid::from_u128(index as u128 + 1),
                name: "p",
                priority: 1,
                scope: Scope {
                    route: on('r', ROUTE),
                    service: on('s', SERVICE),
                    consumer: on('c', CONSUMER),
                    consumer_group: None,
                },
                plugin: Arc::new(Nothing),
            });
        }
        placements
    }

    /// The placement that a stranger meets, and the one that our consumer meets; 0 for none.
    fn check(scopes: &[&str], stranger: u128, consumer: u128) {
        let chain = Chain::select(&placements(scopes), Some(ROUTE), Some(SERVICE));
        let slot = chain.slots.first();
        let otherwise = slot.and_then(|slot| slot.otherwise.as_ref());
        let own = slot.and_then(|slot| slot.by_consumer.get(&CONSUMER)).or(otherwise);
        let id = |placement: Option<&Placement>| placement.map_or(0, |placement| placement.id.as_u128());
        assert_eq!((id(otherwise), id(own)), (stranger, consumer), "{scopes:?}");
    }

    #[test]
    fn the_most_specific_placement_wins() {
        check(&["", "s", "r"], 3, 3);
        check(&["r", "s", ""], 1, 1);
        check(&["c", "r"], 2, 1);
        // On route and service together is more specific than on the consumer alone.
        check(&["c", "rs"], 2, 2);
        check(&["rs", "sc", "rc", "rsc"], 1, 4);
        check(&["rs", "sc", "rc"], 1, 3);
        check(&["rs", "sc"], 1, 2);
        check(&["c"], 0, 1);
        check(&[], 0, 0);
    }

    #[test]
    fn placements_elsewhere_do_not_count() {
        let chain = Chain::select(&placements(&["r", "s"]), Some(Uuid::from_u128(9)), None);
        assert!(chain.is_empty());
    }

    #[test]
    fn plugins_run_by_priority() {
        let mut placements = Placements::default();
        for (name, priority) in [("low", 1), ("high", 100), ("middle", 50)] {
            let (id, scope, plugin) = (Uuid::from_u128(1), Scope::default(), Arc::new(Nothing));
            placements.add(Placement { id, name, priority, scope, plugin });
        }
        let chain = Chain::select(&placements, None, None);
        let names: Vec<&str> = chain.slots.iter().filter_map(|slot| Some(slot.otherwise.as_ref()?.name)).collect();
        assert_eq!(names, ["high", "middle", "low"]);
    }
}

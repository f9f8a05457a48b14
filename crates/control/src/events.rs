//! Events for people: what happened, from a time on, as it happens.

use std::collections::VecDeque;
use std::sync::Arc;

use link::ResultStream;
use model::event::Event;
use model::selector::Selector;
use model::{Kind, Result, Time};
use tokio::sync::watch;

use crate::caller::{Caller, Verb, authorise};
use crate::core::Core;

/// Events read from the log at once.
const READ: usize = 128;

/// What happened.
#[derive(Clone)]
pub struct Events {
    core: Arc<Core>,
}

/// Which events are wanted. An empty list means all; the lists hold together.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Of these projects. Events of the cluster's own objects have an empty one.
    pub projects: Vec<String>,
    /// Of these kinds of objects.
    pub kinds: Vec<Kind>,
    /// These actions; one that ends with `:` means all that begin so (`exec_start:`).
    pub actions: Vec<String>,
    /// Of objects with these names, ids, or beginnings of ids.
    pub objects: Vec<String>,
    /// With these details, e.g. `image=nginx`.
    pub details: Selector,
}

impl EventFilter {
    /// Whether this one is wanted.
    #[must_use]
    pub fn wants(&self, event: &Event) -> bool {
        let action = |wanted: &String| {
            *wanted == event.action
                || (wanted.ends_with(':') && event.action.starts_with(wanted.as_str()))
        };
        let object = |wanted: &String| {
            let id = event.id.as_ref().map_or("", |id| id.as_str());
            *wanted == event.name || (!wanted.is_empty() && id.starts_with(wanted.as_str()))
        };
        (self.projects.is_empty() || self.projects.contains(&event.project))
            && (self.kinds.is_empty() || self.kinds.contains(&event.kind))
            && (self.actions.is_empty() || self.actions.iter().any(action))
            && (self.objects.is_empty() || self.objects.iter().any(object))
            && self.details.matches(&event.details)
    }
}

impl Events {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Tells of something that is no change of a record, e.g. an image that was pulled.
    pub fn emit(&self, caller: &Caller, event: Event) {
        self.core.events.push(Event { by: caller.name.clone(), ..event });
    }

    /// The events that are kept and wanted, oldest first, from `since` to `until`.
    ///
    /// # Errors
    /// Those of [`authorise`].
    pub fn list(
        &self,
        caller: &Caller,
        since: Option<Time>,
        until: Option<Time>,
        filter: &EventFilter,
    ) -> Result<Vec<Event>> {
        authorise(caller, Verb::List, Kind::Event, "")?;
        let (first, next) = self.core.events.bounds();
        let (mut events, _) = self.core.events.since(first, (next - first) as usize)?;
        let sees = sight(caller);
        events.retain(|event| within(event, since, until) && filter.wants(event) && sees(event));
        Ok(events)
    }

    /// Events as they happen: those kept from `since` on first, or only new ones without it; until
    /// the clock shows `until`, or for ever. A reader that is too slow gets a `Conflict` at the end.
    ///
    /// # Errors
    /// Those of [`authorise`].
    pub fn watch(
        &self,
        caller: &Caller,
        since: Option<Time>,
        until: Option<Time>,
        filter: EventFilter,
    ) -> Result<ResultStream<Event>> {
        authorise(caller, Verb::Watch, Kind::Event, "")?;
        let sees = sight(caller);
        let (first, next) = self.core.events.bounds();
        let reader = Reader {
            changed: self.core.events.subscribe(),
            position: if since.is_some() { first } else { next },
            pending: VecDeque::new(),
            wanted: move |event: &Event| {
                within(event, since, until) && filter.wants(event) && sees(event)
            },
            until,
            core: self.core.clone(),
            ended: false,
        };
        Ok(Box::pin(futures::stream::unfold(reader, Reader::step)))
    }
}

/// Which events a caller is told of: those of what they may read.
fn sight(caller: &Caller) -> impl Fn(&Event) -> bool + Send + 'static {
    let (caller, all) = (caller.clone(), caller.is_admin());
    move |event| {
        let readable = || caller.may(Verb::Get, event.kind, &event.project);
        // Of a project, those see it who see what is in it.
        all || match event.kind {
            Kind::Project => caller.may(Verb::Get, Kind::Instance, &event.name),
            _ => readable(),
        }
    }
}

fn within(event: &Event, since: Option<Time>, until: Option<Time>) -> bool {
    since.is_none_or(|since| event.time >= since) && until.is_none_or(|until| event.time <= until)
}

struct Reader<F> {
    core: Arc<Core>,
    changed: watch::Receiver<u64>,
    position: u64,
    pending: VecDeque<Event>,
    wanted: F,
    until: Option<Time>,
    ended: bool,
}

impl<F: Fn(&Event) -> bool> Reader<F> {
    async fn step(mut self) -> Option<(Result<Event>, Self)> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Some((Ok(event), self));
            }
            if self.ended {
                return None;
            }
            if let Err(error) = self.read().await {
                self.ended = true;
                return Some((Err(error), self));
            }
        }
    }

    /// Reads what is there, or waits for more.
    async fn read(&mut self) -> Result<()> {
        self.changed.borrow_and_update();
        let (events, after) = self.core.events.since(self.position, READ)?;
        if events.is_empty() {
            self.ended = self.wait().await;
        }
        self.position = after;
        self.pending.extend(events.into_iter().filter(|event| (self.wanted)(event)));
        Ok(())
    }

    /// Waits for an event; whether none will come.
    async fn wait(&mut self) -> bool {
        let left = self.until.map(|until| until.since(self.core.now()));
        let time_is_up = async {
            match left {
                Some(left) => tokio::time::sleep(left).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = self.changed.changed() => changed.is_err(),
            () = time_is_up => true,
            () = self.core.closing.cancelled() => true,
        }
    }
}

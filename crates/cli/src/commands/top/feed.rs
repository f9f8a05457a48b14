//! What the platform tells the view: changes of instances, and what they use.

use std::collections::HashSet;
use std::time::Duration;

use client::Instances;
use client::wire::{Change, ListQuery};
use futures::stream::{BoxStream, SelectAll, StreamExt};
use link::ResultStream;
use link::instance::Stats;
use model::instance::{Instance, InstanceNoun, Phase};
use model::{Error, Result, Uid};

/// Wait before another try to reach the platform.
const AWAY: Duration = Duration::from_secs(1);

/// Something that was told.
pub enum News {
    /// An instance changed.
    Change(Change<InstanceNoun>),
    /// What an instance uses.
    Sample(Uid, Box<Stats>),
    /// An instance is not looked at any more.
    Unmeasured(Uid),
    /// The platform does not answer; it is asked again.
    Lost(Error),
}

/// The streams of a project.
pub struct Feed {
    instances: Instances,
    changes: Option<ResultStream<Change<InstanceNoun>>>,
    samples: SelectAll<BoxStream<'static, (Uid, Option<Stats>)>>,
    measured: HashSet<Uid>,
}

impl Feed {
    /// The feed of a project's instances.
    pub fn new(instances: Instances) -> Self {
        let (samples, measured) = (SelectAll::new(), HashSet::new());
        Self { instances, changes: None, samples, measured }
    }

    /// Looks at what an instance uses, once a second, as long as it runs.
    pub fn measure(&mut self, instance: &Instance) {
        let id = instance.meta.id.clone();
        if instance.status.phase != Phase::Running || !self.measured.insert(id.clone()) {
            return;
        }
        let (instances, name) = (self.instances.clone(), instance.meta.name.clone());
        let opened = async move { instances.stats(&name, "", true).await };
        let looks = futures::stream::once(opened).flat_map(|stream| match stream {
            Ok(stream) => stream.filter_map(async |look| look.ok()).boxed(),
            // It ended since: the next change says so.
            Err(_) => futures::stream::empty().boxed(),
        });
        let ended = (id.clone(), None);
        let looks = looks.map(move |look| (id.clone(), Some(look)));
        self.samples.push(looks.chain(futures::stream::once(async { ended })).boxed());
    }

    /// What is told next. Dropping the future loses nothing.
    pub async fn next(&mut self) -> News {
        if self.changes.is_none() {
            match self.instances.watch(&ListQuery::default()).await {
                Ok(changes) => self.changes = Some(changes),
                Err(error) => {
                    tokio::time::sleep(AWAY).await;
                    return News::Lost(error);
                }
            }
        }
        let Some(changes) = &mut self.changes else { return News::Lost(gone()) };
        tokio::select! {
            change = changes.next() => match change {
                Some(Ok(change)) => News::Change(change),
                Some(Err(error)) => self.lost(error),
                None => self.lost(gone()),
            },
            Some((id, look)) = self.samples.next() => match look {
                Some(stats) => News::Sample(id, Box::new(stats)),
                None => {
                    self.measured.remove(&id);
                    News::Unmeasured(id)
                }
            },
        }
    }

    fn lost(&mut self, error: Error) -> News {
        self.changes = None;
        self.samples = SelectAll::new();
        self.measured.clear();
        News::Lost(error)
    }
}

fn gone() -> Error {
    Error::unavailable("the connection to the platform ended")
}

/// Whether the first answer came: what is wrong with the connection is better said without a view.
///
/// # Errors
/// Why the platform does not answer.
pub async fn reach(instances: &Instances) -> Result<()> {
    let query = ListQuery { limit: Some(1), ..ListQuery::default() };
    instances.list(&query).await.map(drop)
}

//! What all parts of control share: the store, the mirror, the clock, the nodes that are connected.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock};

use link::NodePort;
use model::{Error, Result, Time, Uid};
use store::{Commit, Store};
use tasks::Clock;

use crate::batch::Batch;
use crate::event_log::EventLog;
use crate::failure;
use crate::mirror::{Mirror, State};

/// Whether a change is made or only shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// It is made.
    #[default]
    Apply,
    /// It is checked and shown, and nothing is changed.
    Plan,
}

/// What makes new identities and secrets: 256 random bits.
#[derive(Clone)]
pub struct Random(Arc<dyn Fn() -> [u8; 32] + Send + Sync>);

impl Random {
    /// Bits from `source`; a test owns its own.
    pub fn new(source: impl Fn() -> [u8; 32] + Send + Sync + 'static) -> Self {
        Self(Arc::new(source))
    }

    pub(crate) fn bytes(&self) -> [u8; 32] {
        (self.0)()
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new(rand::random)
    }
}

impl std::fmt::Debug for Random {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Random")
    }
}

/// A change is worked out again so many times when others change the same objects meanwhile.
const TRIES: usize = 64;

pub(crate) struct Core {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) mirror: Arc<Mirror>,
    pub(crate) events: EventLog,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) passwords: crate::users::Passwords,
    /// This node's name.
    pub(crate) node: String,
    pub(crate) pool: ipnet::Ipv4Net,
    /// What secrets are sealed with.
    pub(crate) keyring: Arc<crate::Keyring>,
    /// Held while a change is made.
    pub(crate) changing: tokio::sync::RwLock<()>,
    /// What nodes are told of secrets and configs.
    pub(crate) opened: crate::handed::Opened,
    /// Behind which addresses the next ones are looked for.
    pub(crate) cursors: Mutex<planner::Cursors>,
    pub(crate) librarian: RwLock<Option<Arc<dyn crate::catalogs::Librarian>>>,
    pub(crate) nodes: RwLock<HashMap<String, Arc<dyn NodePort>>>,
    pub(crate) desired: crate::reconcile::desired::Board,
    pub(crate) wakes: crate::reconcile::Wakes,
    pub(crate) ongoing: crate::operations::Ongoings,
    /// Cancelled when control shuts down: streams end.
    pub(crate) closing: tokio_util::sync::CancellationToken,
}

impl Core {
    pub(crate) fn now(&self) -> Time {
        self.clock.now()
    }

    pub(crate) fn new_id(&self) -> Uid {
        Uid::from_bytes(self.random.bytes())
    }

    pub(crate) fn read<R>(&self, read: impl FnOnce(&State) -> R) -> R {
        read(&self.mirror.read())
    }

    /// Waits until all changes that go on are over.
    pub(crate) async fn wait_for_changes(&self) {
        drop(self.changing.write().await);
    }

    /// Makes a change: `plan` works it out from the state, and again when others were faster.
    /// Returns the revision it has, and what `plan` returned; the mirror holds it then.
    ///
    /// # Errors
    /// Those of `plan`, and those of the store.
    pub(crate) async fn transact<R>(
        &self,
        mode: Mode,
        mut plan: impl FnMut(&State, &mut Batch) -> Result<R>,
    ) -> Result<(u64, R)> {
        let _goes_on = self.changing.read().await;
        for _ in 0..TRIES {
            let mut batch = Batch::default();
            let (revision, result) = {
                let state = self.mirror.read();
                (state.revision, plan(&state, &mut batch)?)
            };
            if mode == Mode::Plan || batch.is_empty() {
                return Ok((revision, result));
            }
            if let Some(revision) = self.try_commit(batch).await? {
                return Ok((revision, result));
            }
        }
        Err(Error::unavailable("others change the same objects all the time").next("try again"))
    }

    /// Commits and waits for the mirror; `None` when somebody else was faster, and the mirror holds
    /// what they did.
    async fn try_commit(&self, batch: Batch) -> Result<Option<u64>> {
        let Batch { commit, events } = batch;
        let revision = match self.store.commit(commit).await {
            Ok(revision) => revision.0,
            Err(store::Error::Conflict { .. }) => {
                let current = self.store.current().await.map_err(failure::of_store)?;
                self.mirror.reached(current.0).await?;
                return Ok(None);
            }
            Err(error) => return Err(failure::of_store(error)),
        };
        self.mirror.reached(revision).await?;
        events.into_iter().for_each(|event| self.events.push(event));
        Ok(Some(revision))
    }

    /// Commits records that are no objects.
    pub(crate) async fn commit_plain(&self, commit: Commit) -> Result<()> {
        self.store.commit(commit).await.map(drop).map_err(failure::of_store)
    }

    /// The node of that name, if its agent is connected.
    pub(crate) fn node_port(&self, name: &str) -> Result<Arc<dyn NodePort>> {
        let nodes = self.nodes.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        nodes.get(name).cloned().ok_or_else(|| {
            Error::unavailable(format!("node {name:?} is not connected"))
                .next("see `hull node ls`; start hull on the node")
        })
    }
}

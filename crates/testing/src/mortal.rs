//! A node whose daemon dies where it is told to.

use std::cell::Cell;
use std::ops::Deref;
use std::path::PathBuf;

use anyhow::Result;

use crate::node::{Node, Outcome, Setup, until};

/// So many deaths in a row a supervisor sees before it waits long with the next start.
const PATIENT: u32 = 4;

/// A node of a debug build, which dies at the places of `faults`.
#[derive(Debug)]
pub struct Mortal {
    node: Node,
    file: PathBuf,
    deaths: Cell<u32>,
}

impl Mortal {
    /// Starts it.
    ///
    /// # Errors
    /// When the node does not come up.
    pub fn start() -> Result<Self> {
        Self::with(|_| Ok(()))
    }

    /// Starts it when `prepare` has seen the file that says where it dies.
    ///
    /// # Errors
    /// `prepare`'s, or when the node does not come up.
    pub fn with(prepare: impl FnOnce(&PathBuf) -> Result<()>) -> Result<Self> {
        let setup = Setup::new()?;
        let file = setup.base().join("die-at");
        prepare(&file)?;
        let node = setup.environment("HULL_DIE_AT", &file).start()?;
        Ok(Self { node, file, deaths: Cell::new(0) })
    }

    /// Whether nobody has died at the place yet that it was told last.
    pub fn is_to_die(&self) -> bool {
        self.file.exists()
    }

    /// Runs a command during which the daemon dies at a place, and waits for the next daemon. What the
    /// command came to.
    ///
    /// # Panics
    /// When it does not die there.
    pub fn dies_at(&self, place: &str, during: &[&str]) -> Outcome {
        self.dies_while(place, || self.node.hull(during))
    }

    /// Does something during which the daemon dies at a place, and waits for the next daemon.
    ///
    /// # Panics
    /// When it does not die there.
    pub fn dies_while<T>(&self, place: &str, act: impl FnOnce() -> T) -> T {
        std::fs::write(&self.file, place).expect("a file beside the node");
        let outcome = act();
        until(&format!("it dies at {place}"), || (!self.is_to_die()).then_some(()));
        self.node.await_ready();
        self.deaths.set(self.deaths.get() + 1);
        if self.deaths.get().is_multiple_of(PATIENT) {
            self.node.ok(&["down"]);
            assert_eq!(self.node.up().code, 0, "{place}: {}", self.node.log());
        }
        outcome
    }

    /// The same of a command that is told that nobody answers any more, or was answered just before.
    ///
    /// # Panics
    /// When it does not die there, or the command says anything else.
    pub fn dies_unanswered_at(&self, place: &str, during: &[&str]) {
        let outcome = self.dies_at(place, during);
        assert!([0, 5].contains(&outcome.code), "{place}: {} {}", outcome.code, outcome.stderr);
    }
}

impl Deref for Mortal {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

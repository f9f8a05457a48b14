//! What is said of a file: where something stands, what is left out of account, what is refused.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// So many faults are told of one reading; there is no end to what a hostile file can get wrong.
const MOST_FAULTS: usize = 50;
/// So many notes are told of one reading.
const MOST_NOTES: usize = 1000;

/// A file that was read, and the directory that relative paths in it begin at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// Its path below the root.
    pub file: String,
    /// Directory below the root; empty is the root.
    pub directory: String,
}

/// Where something stands in a file.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct At {
    pub source: Arc<Source>,
    pub line: u32,
    pub column: u32,
}

impl At {
    /// The beginning of a file.
    pub fn start(source: &Arc<Source>) -> Self {
        Self { source: source.clone(), line: 1, column: 1 }
    }
}

impl fmt::Debug for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.source.file, self.line, self.column)
    }
}

/// Something said of a place in a file: what is not looked at, or why it is refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Note {
    /// The file, as a path below the root it was read from.
    pub file: String,
    /// Its line, from 1.
    pub line: u32,
    /// The column in it, from 1.
    pub column: u32,
    /// The field: `services.web.ports[0]`.
    pub what: String,
    /// The reason, and where it helps what to write instead.
    pub why: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if !self.what.is_empty() {
            write!(f, "{}: ", self.what)?;
        }
        f.write_str(&self.why)
    }
}

/// Why files cannot be honoured: everything that was found, in the order of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is at fault; one at least.
    pub faults: Vec<Note>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.faults.iter().enumerate() {
            let end = if i == 0 { "" } else { "\n" };
            write!(f, "{end}{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for model::Error {
    fn from(refusal: Refusal) -> Self {
        let count = refusal.faults.len();
        let error = model::Error::invalid(refusal.to_string());
        match refusal.faults.into_iter().next() {
            Some(first) if count == 1 && !first.what.is_empty() => error.at(first.what),
            Some(_) | None => error,
        }
    }
}

/// Most nodes of all trees of one reading, copies counted.
const MOST_NODES: usize = 100_000;
/// Most bytes that variables make of one reading.
const MOST_FILLED: usize = 8 << 20;

/// Collects what is said while files are read, and counts what they make, so that few bytes cannot stand
/// for many.
#[derive(Debug, Default)]
pub(crate) struct Told {
    faults: RefCell<Vec<Note>>,
    notes: RefCell<Vec<Note>>,
    nodes: Cell<usize>,
    filled: Cell<usize>,
}

impl Told {
    /// Something cannot be honoured.
    pub fn refuse(&self, at: &At, what: impl Into<String>, why: impl Into<String>) {
        push(&self.faults, MOST_FAULTS, note(at, what.into(), why.into()));
    }

    /// Something is left out of account.
    pub fn ignore(&self, at: &At, what: impl Into<String>, why: impl Into<String>) {
        push(&self.notes, MOST_NOTES, note(at, what.into(), why.into()));
    }

    /// Counts nodes; whether there are still few enough.
    pub fn spend_nodes(&self, count: usize) -> bool {
        self.nodes.set(self.nodes.get().saturating_add(count));
        self.nodes.get() <= MOST_NODES
    }

    /// Counts bytes that variables made; whether there are still few enough.
    pub fn spend_filled(&self, count: usize) -> bool {
        self.filled.set(self.filled.get().saturating_add(count));
        self.filled.get() <= MOST_FILLED
    }

    /// How many bytes variables may still make.
    pub fn left_filled(&self) -> usize {
        MOST_FILLED.saturating_sub(self.filled.get())
    }

    /// Whether something was refused.
    pub fn failed(&self) -> bool {
        !self.faults.borrow().is_empty()
    }

    /// What was refused.
    pub fn refusal(&self) -> Option<Refusal> {
        let faults = self.faults.borrow().clone();
        (!faults.is_empty()).then_some(Refusal { faults })
    }

    /// What is left out of account.
    pub fn notes(&self) -> Vec<Note> {
        self.notes.borrow().clone()
    }
}

fn push(list: &RefCell<Vec<Note>>, most: usize, note: Note) {
    let mut list = list.borrow_mut();
    if list.len() < most && !list.contains(&note) {
        list.push(note);
    }
}

/// Something said of a place.
pub(crate) fn note(at: &At, what: String, why: String) -> Note {
    Note { file: at.source.file.clone(), line: at.line, column: at.column, what, why }
}

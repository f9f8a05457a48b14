//! A change of several objects that is made completely or not at all.

use std::sync::Arc;

use model::event::Event;
use model::{Meta, Noun, Object, Time};
use store::{Commit, Durability, Expect, Revision};

use crate::caller::Caller;
use crate::keys;
use crate::mirror::State;

/// A change being put together: objects written with their names, each expected to be as it was
/// read, and the events told of once it is made.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) commit: Commit,
    pub(crate) events: Vec<Event>,
}

impl Batch {
    /// Writes a new object; its id and its name must be free.
    pub(crate) fn create<N: Noun>(&mut self, object: &Object<N>) {
        let (key, name) =
            (keys::object(N::KIND, &object.meta.id), keys::name(N::KIND, &object.meta));
        let commit = std::mem::take(&mut self.commit);
        self.commit = commit
            .expect(Expect::absent(&key))
            .expect(Expect::absent(&name))
            .put(key, object.encode())
            .put(name, object.meta.id.as_str().to_owned());
    }

    /// Writes an object anew, which must be as `old` still; its name may be another.
    pub(crate) fn replace<N: Noun>(&mut self, old: &Object<N>, new: &Object<N>) {
        let key = keys::object(N::KIND, &old.meta.id);
        let commit = std::mem::take(&mut self.commit)
            .expect(Expect::modified_at(&key, Revision(old.meta.revision)))
            .put(key, new.encode());
        let (before, after) = (keys::name(N::KIND, &old.meta), keys::name(N::KIND, &new.meta));
        self.commit = if before == after {
            commit
        } else {
            commit
                .expect(Expect::absent(&after))
                .delete(before)
                .put(after, new.meta.id.as_str().to_owned())
        };
    }

    /// Takes an object and its name away.
    pub(crate) fn remove<N: Noun>(&mut self, old: &Object<N>) {
        let key = keys::object(N::KIND, &old.meta.id);
        self.commit = std::mem::take(&mut self.commit)
            .expect(Expect::modified_at(&key, Revision(old.meta.revision)))
            .delete(key)
            .delete(keys::name(N::KIND, &old.meta));
    }

    /// Removes an object, or marks it as to be removed while something must be cleaned up first.
    /// Returns what it is then.
    pub(crate) fn delete<N: Noun>(
        &mut self,
        old: &Object<N>,
        changed: Object<N>,
        now: Time,
        by: &Caller,
    ) -> Object<N> {
        let mut new = changed;
        if new.meta.deleted.is_none() {
            new.meta.deleted = Some(now);
            new.meta.deleted_by.clone_from(&by.name);
        }
        if new.meta.finalizers.is_empty() {
            self.remove(old);
            self.removal(Event::new(now, N::KIND, "destroy", &new.meta), &new.meta);
        } else {
            self.replace(old, &new);
        }
        new
    }

    /// Makes the change fail, to be worked out again, if an object it was worked out from has changed.
    pub(crate) fn expect_unchanged<N: Noun>(&mut self, object: &Object<N>) {
        let key = keys::object(N::KIND, &object.meta.id);
        let expect = Expect::modified_at(&key, Revision(object.meta.revision));
        self.commit = std::mem::take(&mut self.commit).expect(expect);
    }

    /// Lets the change be acknowledged before it is on the disk: for what its node says again if it
    /// is lost.
    pub(crate) fn defer(&mut self) {
        self.commit.durability = Durability::Deferred;
    }

    /// Makes the change fail, to be worked out again, if somebody else chose from the same set.
    pub(crate) fn guard(&mut self, state: &State, key: &'static str) {
        if self.commit.writes.iter().any(|write| write.key() == key) {
            return;
        }
        let expect = match state.guards.get(key) {
            Some(revision) => Expect::modified_at(key, Revision(*revision)),
            None => Expect::absent(key),
        };
        self.commit = std::mem::take(&mut self.commit).expect(expect).put(key, "");
    }

    /// Tells of something once the change is made.
    pub(crate) fn event(&mut self, by: &Caller, event: Event) {
        self.events.push(Event { by: by.name.clone(), ..event });
    }

    /// Tells of a step of a removal, whoever takes it: it is by whom it was asked for.
    pub(crate) fn removal(&mut self, event: Event, of: &Meta) {
        self.events.push(Event { by: of.deleted_by.clone(), ..event });
    }

    /// Whether it changes nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.commit.writes.is_empty()
    }

    /// How many records it writes.
    pub(crate) fn len(&self) -> usize {
        self.commit.writes.len()
    }
}

/// An object as it is after a commit.
pub(crate) fn at<N: Noun>(mut object: Object<N>, revision: u64) -> Arc<Object<N>> {
    object.meta.revision = revision;
    Arc::new(object)
}

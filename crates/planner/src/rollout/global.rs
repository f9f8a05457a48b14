//! Services that are on each node.

use model::name::MAX_NAME;
use model::node::Node;

use super::{Key, Work};

/// What a name has behind the node's: a revision, and digits where the node's name is cut.
const TAIL: usize = 24;

impl Work<'_> {
    /// The nodes that the service is on, or is to be. One that takes nothing new keeps what it has.
    pub(super) fn nodes(&self) -> Vec<Key> {
        let rules = &self.service.spec.template.spec.nodes;
        let has = |node: &Node| {
            let key = Key::Node(node.meta.name.clone());
            self.members.iter().any(|member| member.key == key)
        };
        let takes = |node: &Node| node.status.ready && !node.spec.cordoned;
        let fits = |node: &&&Node| {
            let stays = node.meta.deleted.is_none() && rules.allow(&node.meta);
            stays && (takes(node) || has(node))
        };
        let mut names: Vec<_> =
            self.around.nodes.iter().filter(fits).map(|node| node.meta.name.clone()).collect();
        names.sort_unstable();
        names.into_iter().map(Key::Node).collect()
    }

    /// The name of the instance on a node: the node's is cut where both are too long.
    pub(super) fn name_on(&self, node: &str) -> String {
        let service = &self.service.meta.name;
        let room = MAX_NAME.saturating_sub(service.len() + 1 + TAIL);
        if node.len() <= room {
            return format!("{service}-{node}");
        }
        let found = self.around.nodes.iter().find(|it| it.meta.name == node);
        let id = found.map_or("", |node| node.meta.id.short());
        // Names are ASCII.
        format!("{service}-{}-{id}", node.get(..room.saturating_sub(id.len() + 1)).unwrap_or(""))
    }
}

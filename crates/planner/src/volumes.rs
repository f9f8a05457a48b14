//! Which node has a volume that no instance uses yet.

use model::instance::Reason;
use model::volume::Volume;

use crate::ledger::Ledger;

/// The node for a volume: that of what it begins with; else the only one there is. With several
/// nodes it waits for the first instance that mounts it, whose node it gets; first of all for its project's quota.
///
/// # Errors
/// Why it has none yet.
pub fn choose_node(ledger: &Ledger<'_>, volume: &Volume) -> Result<String, Reason> {
    ledger.admits_volume(volume).map_err(|refusal| refusal.reason())?;
    if let Some(node) = ledger.home(volume) {
        return Ok(node.to_owned());
    }
    let mut nodes = ledger.nodes.keys();
    match (nodes.next(), nodes.next(), &volume.spec.source) {
        (Some(only), None, None) => Ok((*only).to_owned()),
        (_, _, Some(_)) => Err(Reason {
            next: Some("it goes on when that one is ready".to_owned()),
            ..Reason::new("NoNode", "what the volume begins with is on no node yet")
        }),
        _ => Err(Reason {
            next: Some("run an instance that mounts it".to_owned()),
            ..Reason::new("NoNode", "the volume waits for the first instance that mounts it")
        }),
    }
}

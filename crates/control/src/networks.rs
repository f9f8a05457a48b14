//! Networks: what instances are joined to.

use model::instance::{Instance, NetworkMode};
use model::network::{DEFAULT_NETWORK, Network, NetworkNoun};
use model::{Error, Result};

use crate::batch::Batch;
use crate::mirror::State;
use crate::service::{Context, Rules, Service, first_difference};

/// The verbs of networks.
pub type Networks = Service<NetworkNoun>;

impl Rules for NetworkNoun {
    fn admit(context: &Context<'_>, network: &mut Network, batch: &mut Batch) -> Result<()> {
        crate::subnets::assign(context.state, context.core, network, batch)
    }

    fn change(
        context: &Context<'_>,
        old: &Network,
        new: &mut Network,
        batch: &mut Batch,
    ) -> Result<()> {
        let field = first_difference(&old.spec, &new.spec, &[]);
        let renamed = (old.meta.name != new.meta.name).then(|| "meta.name".to_owned());
        let Some(field) = field.map(|field| format!("spec.{field}")).or(renamed) else {
            return Ok(());
        };
        if let Some(user) = users(context.state, old).next() {
            return Err(Error::conflict(format!(
                "{field} of {} cannot change while {} is joined to it",
                old.title(),
                user.title()
            ))
            .at(field)
            .next("remove the instances that are joined to it, or make another network"));
        }
        crate::subnets::assign(context.state, context.core, new, batch)
    }

    fn delete(context: &Context<'_>, network: &mut Network, _: &mut Batch) -> Result<()> {
        // What is stopped is in no network. It cannot be started until there is one of that name again.
        let held = users(context.state, network).filter(|user| planner::holds(user));
        let names: Vec<_> = held.map(|user| user.meta.name.as_str()).collect();
        if names.is_empty() {
            return Ok(());
        }
        Err(Error::conflict(format!("{} is used by {}", network.title(), some_of(&names)))
            .next(format!("`hull stop {}`, then try again", names[0])))
    }
}

/// A few of many names, for a message.
pub(crate) fn some_of(names: &[&str]) -> String {
    const SHOWN: usize = 5;
    let shown = names.iter().take(SHOWN).map(|name| format!("{name:?}")).collect::<Vec<_>>();
    match names.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// The names of the networks an instance is joined to.
pub(crate) fn joined(instance: &Instance) -> impl Iterator<Item = &str> {
    let (attachments, default) = match &instance.spec.network {
        NetworkMode::Networks { attachments } => (&attachments[..], attachments.is_empty()),
        NetworkMode::Host | NetworkMode::None | NetworkMode::Instance { .. } => (&[][..], false),
    };
    let named = attachments.iter().map(|attachment| attachment.network.as_str());
    named.chain(default.then_some(DEFAULT_NETWORK))
}

/// The instances that are joined to a network.
pub(crate) fn users<'a>(
    state: &'a State,
    network: &'a Network,
) -> impl Iterator<Item = &'a Instance> {
    let members = state.instances.in_project(&network.meta.project);
    let members = members.map(|instance| &**instance);
    members.filter(|instance| joined(instance).any(|name| name == network.meta.name))
}

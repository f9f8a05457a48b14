//! `hull ps`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::process::ExitCode;

use clap::Args;
use client::wire::{Change, ChangeKind, ListQuery};
use futures::StreamExt;
use model::Result;
use model::instance::{Health, Instance, Phase, Port};
use model::service::ServiceNoun;
use model::{Kind, Uid};

use crate::context::{Context, Output};
use crate::objects::{Shown, watch_with};
use crate::out::{self, Format};

const EXAMPLES: &str = "Examples:
  hull ps
  hull ps -a -l app=web
  hull ps -f status.phase=exited -o name
  hull ps -w";

const TITLES: [&str; 8] = ["NAME", "ID", "TYPE", "IMAGE", "STATE", "PORTS", "AGE", "NODE"];

/// Lists instances.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Ps {
    /// Also those that do not run
    #[arg(short, long)]
    all: bool,
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
    /// Only those with these labels: app=web,tier!=db
    #[arg(short = 'l', long, default_value = "", value_name = "SELECTOR")]
    selector: String,
    /// Only those with these fields: status.phase=running
    #[arg(short, long, default_value = "", value_name = "SELECTOR")]
    filter: String,
    /// Go on as they change
    #[arg(short, long, conflicts_with = "quiet")]
    watch: bool,
    /// Full ids and texts
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    output: Output,
}

impl Ps {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        let query = ListQuery {
            labels: self.selector.clone(),
            fields: self.filter.clone(),
            ..ListQuery::default()
        };
        if self.watch {
            self.go_on(context, &query).await?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut instances = context.instances().list_all(&query).await?;
        instances.retain(|instance| self.shows(instance));
        instances.sort_by_key(|instance| std::cmp::Reverse(instance.meta.created));
        let ports = match instances.iter().any(|it| service_of(it).is_some()) {
            true => services_ports(context).await,
            false => Ports::new(),
        };
        self.print(&instances, &ports)?;
        Ok(ExitCode::SUCCESS)
    }

    async fn go_on(&self, context: &Context, query: &ListQuery) -> Result<()> {
        let ports = RefCell::new(services_ports(context).await);
        let row =
            |instance: &Instance| self.shows(instance).then(|| self.row(instance, &ports.borrow()));
        let shown = Shown { titles: &TITLES, right: &[], row: &row };
        let services = context.client.services(&context.project).watch(&ListQuery::default()).await;
        // What cannot be read is not shown, as without watching.
        let services = futures::stream::iter(services.ok()).flatten();
        let changed = services.filter_map(|change| {
            std::future::ready(change.ok().filter(|it| note(&mut ports.borrow_mut(), it)).map(drop))
        });
        watch_with(&context.instances(), query, self.output.output, &shown, changed).await
    }

    fn shows(&self, instance: &Instance) -> bool {
        self.all || !self.filter.is_empty() || is_live(instance.status.phase)
    }

    fn print(&self, instances: &[Instance], ports: &Ports) -> Result<()> {
        let format = self.output.output;
        if out::structured(format, instances)? {
            return Ok(());
        }
        if self.quiet {
            instances.iter().for_each(|instance| out::line(self.id(instance)));
            return Ok(());
        }
        if format == Format::Name {
            instances.iter().for_each(|instance| out::line(&instance.meta.name));
            return Ok(());
        }
        let rows = instances.iter().map(|instance| self.row(instance, ports)).collect();
        out::table(&TITLES, rows, &[]);
        Ok(())
    }

    fn id<'a>(&self, instance: &'a Instance) -> &'a str {
        if self.no_trunc { instance.meta.id.as_str() } else { instance.meta.id.short() }
    }

    fn row(&self, instance: &Instance, of_services: &Ports) -> Vec<String> {
        let most = if self.no_trunc { usize::MAX } else { 40 };
        let images: Vec<&str> =
            instance.spec.containers.iter().map(|container| container.image.as_str()).collect();
        let placement = instance.spec.placement.as_ref();
        let own = placement.map(|placed| &placed.ports).filter(|own| !own.is_empty());
        let lead_here = own.or_else(|| of_services.get(service_of(instance)?));
        vec![
            instance.meta.name.clone(),
            self.id(instance).to_owned(),
            kind(instance).to_owned(),
            out::short(&images.join(","), most),
            out::short(&state(instance), if self.no_trunc { usize::MAX } else { 60 }),
            out::short(&lead_here.map(|all| ports(all)).unwrap_or_default(), most),
            out::age(instance.meta.created),
            placement.map(|placement| placement.node.clone()).unwrap_or_default(),
        ]
    }
}

/// The ports of nodes that lead to services, by the services' identities.
type Ports = BTreeMap<Uid, Vec<Port>>;

/// What cannot be read is not shown: instances are what was asked for.
async fn services_ports(context: &Context) -> Ports {
    let services = context.client.services(&context.project);
    let all = services.list_all(&ListQuery::default()).await.unwrap_or_default();
    all.into_iter().map(|service| (service.meta.id, service.status.ports)).collect()
}

/// Notes what a service's ports have become; whether they are others now.
fn note(ports: &mut Ports, change: &Change<ServiceNoun>) -> bool {
    let Some(service) = &change.object else { return false };
    let (id, now) = (&service.meta.id, &service.status.ports);
    match change.r#type {
        ChangeKind::Added | ChangeKind::Modified => {
            ports.insert(id.clone(), now.clone()).as_ref() != Some(now)
        }
        ChangeKind::Removed => ports.remove(id).is_some_and(|them| !them.is_empty()),
        ChangeKind::Bookmark => false,
    }
}

fn service_of(instance: &Instance) -> Option<&Uid> {
    let owner = instance.meta.owner.as_ref()?;
    (owner.kind == Kind::Service).then_some(&owner.id)
}

/// Whether it is a container or a machine.
pub fn kind(instance: &Instance) -> &'static str {
    match instance.status.machine.is_some() || instance.spec.machine.is_some() {
        true => "machine",
        false => "container",
    }
}

fn is_live(phase: Phase) -> bool {
    !matches!(phase, Phase::Exited | Phase::Failed | Phase::Pending)
}

/// The phase, with what makes it plain: exit code, health, reason.
pub fn state(instance: &Instance) -> String {
    let status = &instance.status;
    let phase = status.phase.as_str();
    let main = instance.spec.main().and_then(|main| status.container(&main.name));
    let code = main.and_then(|main| main.exit_code);
    let detail = match (status.phase, status.health, code, &status.reason) {
        (Phase::Exited | Phase::Restarting, _, Some(code), _) => code.to_string(),
        (Phase::Running, _, _, Some(reason)) if reason.code == "DiskFull" => "disk full".into(),
        (Phase::Running, Health::Healthy, ..) => "healthy".into(),
        (Phase::Running, Health::Unhealthy, ..) => "unhealthy".into(),
        (Phase::Running, Health::Starting, ..) => "health: starting".into(),
        (Phase::Running | Phase::Paused, Health::Unchecked, ..) => return phase.to_owned(),
        (_, _, _, Some(reason)) => reason.message.clone(),
        _ => return if instance.spec.runs == 0 { "created".into() } else { phase.to_owned() },
    };
    format!("{phase} ({detail})")
}

/// Ports in their order, those in a row as one.
pub fn ports(ports: &[Port]) -> String {
    let mut rows: Vec<Port> = Vec::new();
    for port in ports {
        match rows.last_mut() {
            Some(row) if continues(row, port) => row.count += 1,
            _ => rows.push(port.clone()),
        }
    }
    rows.iter().map(row).collect::<Vec<_>>().join(", ")
}

fn continues(row: &Port, port: &Port) -> bool {
    let next = |first: u16| first.checked_add(row.count);
    row.protocol == port.protocol
        && row.address == port.address
        && row.host.and_then(next).is_some_and(|next| port.host == Some(next))
        && next(row.target) == Some(port.target)
        && port.count == 1
}

fn row(port: &Port) -> String {
    let range = |first: u16| match port.count {
        0 | 1 => first.to_string(),
        count => format!("{first}-{}", first.saturating_add(count - 1)),
    };
    let host = port.host.map(range).unwrap_or_default();
    let address = match port.address {
        Some(address @ IpAddr::V6(_)) => format!("[{address}]:"),
        Some(address) => format!("{address}:"),
        None => String::new(),
    };
    format!("{address}{host}->{}/{}", range(port.target), port.protocol.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::instance::Protocol;

    #[test]
    fn ports_in_a_row_are_one() {
        let port = |host, target, address: Option<&str>| Port {
            target,
            host: Some(host),
            address: address.map(|text| text.parse().unwrap()),
            protocol: Protocol::Tcp,
            count: 1,
        };
        let all = [
            port(9100, 80, None),
            port(9101, 81, None),
            port(9102, 82, None),
            port(9103, 80, None),
            port(9104, 81, Some("::1")),
            port(9105, 81, Some("10.0.0.1")),
        ];
        assert_eq!(
            ports(&all),
            "9100-9102->80-82/tcp, 9103->80/tcp, [::1]:9104->81/tcp, 10.0.0.1:9105->81/tcp"
        );
        assert_eq!(ports(&[]), "");
    }
}

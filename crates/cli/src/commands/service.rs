//! `hull service`.

mod access;
mod create;
mod policy;
mod progress;
mod schedule;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use client::Objects;
use client::wire::ListQuery;
use model::instance::Instance;
use model::service::{
    SERVICE, SLOT, Service as Known, ServiceMode, ServiceNoun, ServicePhase, ServiceSpec, Template,
    is_of,
};
use model::{Error, Result};
use serde_json::{Value, json};

use self::access::AccessFlags;
use self::create::Create;
use self::policy::Policy;
use self::progress::settle;
use self::schedule::ScheduleFlags;
use crate::commands::ps::ports;
use crate::commands::{each, update};
use crate::context::{Context, Output};
use crate::objects::{self, Listing, View};
use crate::out::Format;
use crate::parse::env;
use crate::{complete, out, plan};

const EXAMPLES: &str = "Examples:
  hull service create --name web --replicas 3 nginx
  hull service scale web=5
  hull service update --image nginx:1.27 --parallelism 2 web
  hull service rollback web
  hull service create --name once --job --completions 3 busybox true
  hull service create --name nightly --cron '0 3 * * *' --overlap forbid backup
  hull service create --name agent --global node-exporter
  hull explain web";

/// Services.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Service {
    /// Keep instances of an image
    Create(Box<Create>),
    /// List services
    Ls(Ls),
    /// Show services
    #[command(visible_alias = "inspect")]
    Show(Show),
    /// List the instances of services
    Ps(Ps),
    /// Change how many instances there are
    Scale(Scale),
    /// Change what instances are like, some at a time
    Update(Box<Update>),
    /// List the templates that were in force
    History(History),
    /// Take an earlier template again
    Rollback(Rollback),
    /// Leave instances as they are
    Pause(Pause),
    /// Go on changing them
    Resume(Resume),
    /// Remove services and their instances
    Rm(Rm),
}

/// Lists services.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull service ls\n  hull service ls -w")]
pub struct Ls {
    #[command(flatten)]
    listing: Listing,
}

/// Shows services.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull service show web")]
pub struct Show {
    #[command(flatten)]
    output: Output,
    /// The services
    #[arg(required = true, add = ArgValueCompleter::new(complete::services))]
    names: Vec<String>,
}

/// Lists the instances of services.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull service ps web")]
pub struct Ps {
    #[command(flatten)]
    output: Output,
    /// The services
    #[arg(required = true, add = ArgValueCompleter::new(complete::services))]
    names: Vec<String>,
}

/// Changes how many instances there are.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull service scale web=5 worker=0")]
pub struct Scale {
    /// Print the names at once
    #[arg(short, long)]
    detach: bool,
    /// Show what would change, and change nothing
    #[arg(long)]
    plan: bool,
    /// Services and how many instances each is to have
    #[arg(required = true, value_name = "NAME=N")]
    wanted: Vec<String>,
}

/// Changes what instances are like.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull service update --image nginx:1.27 web\n  hull service update -e MODE=slow --env-rm DEBUG --order start-first web"
)]
pub struct Update {
    /// Another image
    #[arg(long, value_name = "IMAGE", add = ArgValueCompleter::new(complete::images))]
    image: Option<String>,
    /// Set a variable
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Take a variable away
    #[arg(long, value_name = "NAME")]
    env_rm: Vec<String>,
    /// Another command instead of the image's
    #[arg(long, value_name = "WORD", num_args = 1.., value_terminator = ";")]
    command: Option<Vec<String>>,
    /// How many instances
    #[arg(long, value_name = "N")]
    replicas: Option<u32>,
    /// Make all instances anew though nothing else changes
    #[arg(long)]
    force: bool,
    /// Only on the node of this name; any for ""
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(complete::nodes))]
    node: Option<String>,
    /// Only on nodes with such labels; any for ""
    #[arg(long, value_name = "SELECTOR")]
    node_labels: Option<String>,
    #[command(flatten)]
    schedule: ScheduleFlags,
    #[command(flatten)]
    access: AccessFlags,
    #[command(flatten)]
    policy: Policy,
    /// Print the name at once
    #[arg(short, long)]
    detach: bool,
    /// Show what would change, and change nothing
    #[arg(long)]
    plan: bool,
    /// The service
    #[arg(add = ArgValueCompleter::new(complete::services))]
    name: String,
}

/// Lists the templates that were in force.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull service history web")]
pub struct History {
    #[command(flatten)]
    output: Output,
    /// The service
    #[arg(add = ArgValueCompleter::new(complete::services))]
    name: String,
}

/// Takes an earlier template again.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull service rollback web\n  hull service rollback --to 3 web"
)]
pub struct Rollback {
    /// Number of its revision; the last one that is not known to fail when not given
    #[arg(long, value_name = "N")]
    to: Option<u64>,
    /// Print the name at once
    #[arg(short, long)]
    detach: bool,
    /// Show what would change, and change nothing
    #[arg(long)]
    plan: bool,
    /// The service
    #[arg(add = ArgValueCompleter::new(complete::services))]
    name: String,
}

/// Leaves instances as they are.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull service pause web")]
pub struct Pause {
    /// The services
    #[arg(required = true, add = ArgValueCompleter::new(complete::services))]
    names: Vec<String>,
}

/// Goes on changing instances.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull service resume web")]
pub struct Resume {
    /// The services
    #[arg(required = true, add = ArgValueCompleter::new(complete::services))]
    names: Vec<String>,
}

/// Removes services and their instances.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull service rm web")]
pub struct Rm {
    /// Show what would be removed, and remove nothing
    #[arg(long)]
    plan: bool,
    /// The services
    #[arg(required = true, add = ArgValueCompleter::new(complete::services))]
    names: Vec<String>,
}

impl Service {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        let services = context.client.services(&context.project);
        match self {
            Service::Create(args) => return args.run(&services).await,
            Service::Ls(args) => args.listing.show(&services, &VIEW).await?,
            Service::Show(args) => {
                return each(&args.names, async |name| {
                    objects::show(&services.get(name).await?, args.output.output)
                })
                .await;
            }
            Service::Ps(args) => args.run(context, &services).await?,
            Service::Scale(args) => return args.run(&services).await,
            Service::Update(args) => return args.run(&services).await,
            Service::History(args) => args.run(&services).await?,
            Service::Rollback(args) => return args.run(&services).await,
            Service::Pause(args) => return set_paused(&services, &args.names, true).await,
            Service::Resume(args) => return set_paused(&services, &args.names, false).await,
            Service::Rm(args) => {
                return each(&args.names, async |name| {
                    objects::remove(&services, name, args.plan, true).await
                })
                .await;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

const VIEW: View<ServiceNoun> = View {
    titles: &["NAME", "ID", "MODE", "READY", "IMAGE", "PORTS", "REVISION", "STATE", "AGE"],
    right: &[],
    row,
};

fn row(service: &Known) -> Vec<String> {
    let status = &service.status;
    let image = service.spec.template.spec.main().map_or("", |main| main.image.as_str());
    let (mode, ready) = match service.spec.mode {
        ServiceMode::Replicated { replicas } => {
            ("replicated", format!("{}/{replicas}", status.ready))
        }
        ServiceMode::Global {} => ("global", format!("{}/{}", status.ready, status.wanted)),
        ServiceMode::Job { completions, .. } => {
            ("job", format!("{}/{completions}", status.succeeded))
        }
        ServiceMode::Cron(_) => ("cron", format!("{} running", status.running)),
    };
    let state = match (&status.reason, status.next_due) {
        (Some(reason), _) => {
            format!("{}: {}", status.phase.as_str(), out::short(&reason.message, 60))
        }
        (None, Some(next)) => format!("{}: next at {next}", status.phase.as_str()),
        (None, None) => status.phase.as_str().to_owned(),
    };
    vec![
        service.meta.name.clone(),
        service.meta.id.short().to_owned(),
        mode.to_owned(),
        ready,
        image.to_owned(),
        out::short(&ports(&status.ports), 40),
        status.revision.to_string(),
        state,
        out::age(service.meta.created),
    ]
}

impl Ps {
    async fn run(&self, context: &Context, services: &Objects<ServiceNoun>) -> Result<()> {
        let mut all: Vec<Instance> = Vec::new();
        for name in &self.names {
            let service = services.get(name).await?;
            let labels = format!("{SERVICE}={}", service.meta.name);
            let query = ListQuery { labels, ..ListQuery::default() };
            let found = context.instances().list_all(&query).await?;
            all.extend(found.into_iter().filter(|it| is_of(it, &service.meta.id)));
        }
        let number = |instance: &Instance| {
            let label = instance.meta.labels.get(SLOT);
            label.and_then(|text| text.parse::<u32>().ok()).unwrap_or(0)
        };
        all.sort_by_key(|instance| {
            let service = instance.meta.labels.get(SERVICE).cloned();
            (service, number(instance), instance.meta.name.clone())
        });
        if out::structured(self.output.output, &all)? {
            return Ok(());
        }
        if self.output.output == Format::Name {
            all.iter().for_each(|instance| out::line(&instance.meta.name));
            return Ok(());
        }
        out::table(
            &["NAME", "IMAGE", "REVISION", "STATE", "NODE", "AGE"],
            all.iter().map(instance_row).collect(),
            &[],
        );
        Ok(())
    }
}

fn instance_row(instance: &Instance) -> Vec<String> {
    let revision = instance.meta.labels.get(model::service::REVISION);
    let phase = instance.status.phase.as_str();
    let state = match &instance.status.reason {
        Some(reason) => format!("{phase}: {}", out::short(&reason.message, 60)),
        None => phase.to_owned(),
    };
    let placed = instance.spec.placement.as_ref();
    vec![
        instance.meta.name.clone(),
        instance.spec.main().map_or_else(String::new, |main| main.image.clone()),
        revision.cloned().unwrap_or_default(),
        state,
        placed.map_or_else(|| "-".to_owned(), |placed| placed.node.clone()),
        out::age(instance.meta.created),
    ]
}

/// Changes a service by a patch made of what it is now.
async fn patched(
    services: &Objects<ServiceNoun>,
    name: &str,
    (show, detach): (bool, bool),
    patch: impl Fn(&ServiceSpec) -> Result<Value>,
) -> Result<ExitCode> {
    let old = services.get(name).await?;
    let patch = patch(&old.spec)?;
    let write = |show| services.patch(name, &patch, Some(old.meta.revision), show);
    if show {
        plan::change(services, name, write(true)).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let new = write(false).await?;
    if new.meta.generation == old.meta.generation {
        out::remark(format!("hull: {name}: nothing changes"));
    }
    settle(services, &new, detach).await
}

impl Scale {
    async fn run(&self, services: &Objects<ServiceNoun>) -> Result<ExitCode> {
        let mut last = ExitCode::SUCCESS;
        for text in &self.wanted {
            let refuse = || {
                Error::invalid(format!("{text:?} does not say how many of what"))
                    .next("write it like web=5")
            };
            let (name, count) = text.split_once('=').ok_or_else(refuse)?;
            let count: u32 = count.parse().map_err(|_| refuse())?;
            let patch = |spec: &ServiceSpec| {
                let mut new = spec.clone();
                scale(name, &mut new, count)?;
                patch_of(spec, &new)
            };
            last = patched(services, name, (self.plan, self.detach), patch).await?;
        }
        Ok(last)
    }
}

fn scale(name: &str, spec: &mut ServiceSpec, count: u32) -> Result<()> {
    match &mut spec.mode {
        ServiceMode::Replicated { replicas } => {
            *replicas = count;
            Ok(())
        }
        ServiceMode::Job { .. } => {
            Err(Error::conflict(format!("service {name:?} is a job: it has no fixed number")))
        }
        ServiceMode::Global {} => Err(Error::conflict(format!(
            "service {name:?} is global: it is on each node that it may be on"
        ))
        .next(format!("hull service update --node-labels SELECTOR {name}"))),
        ServiceMode::Cron(_) => {
            Err(Error::conflict(format!("service {name:?} runs at set times: one at each")))
        }
    }
}

/// The patch (RFC 7396) that makes one spec of another.
fn patch_of(old: &ServiceSpec, new: &ServiceSpec) -> Result<Value> {
    Ok(json!({"spec": difference(&update::encoded(old)?, &update::encoded(new)?)}))
}

fn difference(old: &Value, new: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return new.clone() };
    let gone = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key, Value::Null));
    let changed = new.iter().filter(|(key, value)| old.get(*key) != Some(*value));
    let none = Value::Null;
    let changed =
        changed.map(|(key, value)| (key, difference(old.get(key).unwrap_or(&none), value)));
    Value::Object(gone.chain(changed).map(|(key, value)| (key.clone(), value)).collect())
}

impl Update {
    async fn run(&self, services: &Objects<ServiceNoun>) -> Result<ExitCode> {
        let patch = |spec: &ServiceSpec| {
            let mut new = spec.clone();
            self.change_template(&mut new.template)?;
            new.update = self.policy.over(&spec.update);
            self.access.lay_over(&mut new)?;
            if let ServiceMode::Cron(schedule) = &mut new.mode {
                *schedule = self.schedule.over(schedule);
            } else if self.schedule.is_given() {
                let message = format!("service {:?} does not run at set times", self.name);
                return Err(Error::conflict(message).next("make another service"));
            }
            if let Some(replicas) = self.replicas {
                scale(&self.name, &mut new, replicas)?;
            }
            patch_of(spec, &new)
        };
        patched(services, &self.name, (self.plan, self.detach), patch).await
    }

    fn change_template(&self, template: &mut Template) -> Result<()> {
        let nodes = &mut template.spec.nodes;
        for (given, rule) in [(&self.node, &mut nodes.name), (&self.node_labels, &mut nodes.labels)]
        {
            if let Some(given) = given {
                rule.clone_from(given);
            }
        }
        let Some(main) = template.spec.containers.first_mut() else { return Ok(()) };
        if let Some(image) = &self.image {
            main.image.clone_from(image);
        }
        if self.command.is_some() {
            main.command.clone_from(&self.command);
        }
        let name = |variable: &String| variable.split('=').next().unwrap_or_default().to_owned();
        for variable in env::variables(&[], &self.env, |name| std::env::var(name).ok())? {
            main.env.retain(|old| name(old) != name(&variable));
            main.env.push(variable);
        }
        main.env.retain(|old| !self.env_rm.contains(&name(old)));
        template.renewed += u64::from(self.force);
        Ok(())
    }
}

impl History {
    async fn run(&self, services: &Objects<ServiceNoun>) -> Result<()> {
        let service = services.get(&self.name).await?;
        let revisions = &service.status.revisions;
        if out::structured(self.output.output, revisions)? {
            return Ok(());
        }
        let rows = revisions.iter().rev().map(|revision| {
            let number = revision.number;
            let mut words = Vec::new();
            if number == service.status.revision {
                words.push("present");
            }
            if service.status.failed_revisions.contains(&number) {
                words.push("failed");
            }
            let image = revision.template.spec.main().map_or("", |main| main.image.as_str());
            vec![number.to_string(), image.to_owned(), words.join(", "), out::age(revision.made)]
        });
        out::table(&["REVISION", "IMAGE", "STATE", "AGE"], rows.collect(), &[]);
        Ok(())
    }
}

impl Rollback {
    async fn run(&self, services: &Objects<ServiceNoun>) -> Result<ExitCode> {
        if self.plan {
            let write = services.roll_back(&self.name, self.to, true);
            plan::change(services, &self.name, write).await?;
            return Ok(ExitCode::SUCCESS);
        }
        let service = services.roll_back(&self.name, self.to, false).await?;
        settle(services, &service, self.detach).await
    }
}

async fn set_paused(
    services: &Objects<ServiceNoun>,
    names: &[String],
    paused: bool,
) -> Result<ExitCode> {
    each(names, async |name| {
        let old = services.get(name).await?;
        let mut spec = json!({"paused": paused});
        if matches!(old.spec.mode, ServiceMode::Cron(_)) {
            spec["mode"] = json!({"cron": {"suspended": paused}});
        }
        if !paused && old.status.phase == ServicePhase::Paused {
            spec["resumed"] = json!(old.spec.resumed.saturating_add(1));
        }
        services.patch(name, &json!({"spec": spec}), None, false).await?;
        out::line(name);
        Ok(())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_has_what_differs() {
        for (old, new, expected) in [
            (json!({"a": 1, "b": [1]}), json!({"a": 1, "b": [2]}), json!({"b": [2]})),
            (json!({"a": {"x": 1, "y": 2}}), json!({"a": {"y": 2}}), json!({"a": {"x": null}})),
            (json!({}), json!({"a": {"x": 1}}), json!({"a": {"x": 1}})),
        ] {
            assert_eq!(difference(&old, &new), expected);
        }
    }
}

//! `hull service`.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::ArgValueCompleter;
use client::Objects;
use client::wire::{ChangeKind, Draft, DraftMeta, ListQuery};
use futures::StreamExt;
use model::instance::Instance;
use model::service::{
    OnFailure, SERVICE, SLOT, Service as Known, ServiceMode, ServiceNoun, ServicePhase,
    ServiceSpec, Template, UpdateOrder, UpdatePolicy,
};
use model::{Error, Result, Span};
use serde_json::{Value, json};

use crate::commands::{each, update};
use crate::context::{Context, Output};
use crate::flags::InstanceFlags;
use crate::objects::{self, Listing, View};
use crate::out::Format;
use crate::parse::env;
use crate::{complete, out, plan};

const EXAMPLES: &str = "Examples:
  hull service create --name web --replicas 3 nginx
  hull service scale web=5
  hull service update --image nginx:1.27 --parallelism 2 web
  hull service rollback web
  hull service create --name once --job --completions 3 busybox true";

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
    Update(Update),
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

/// How instances are changed.
#[derive(Debug, Clone, Default, Args)]
struct Policy {
    /// So many at a time; 0 is all at once
    #[arg(long, value_name = "N")]
    parallelism: Option<u32>,
    /// Time between one that is changed and the next
    #[arg(long, value_name = "TIME")]
    delay: Option<Span>,
    /// Which comes first
    #[arg(long, value_enum)]
    order: Option<Order>,
    /// What fails so soon after its start has failed [default: 5s]
    #[arg(long, value_name = "TIME")]
    monitor: Option<Span>,
    /// So many of a hundred may fail [default: 0]
    #[arg(long, value_name = "PERCENT")]
    max_failure: Option<u8>,
    /// What is done when more do [default: pause]
    #[arg(long, value_enum)]
    on_failure: Option<Failure>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Order {
    /// The old one goes, then the new one is made
    StopFirst,
    /// The old one goes when the new one is ready
    StartFirst,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Failure {
    /// Nothing more is changed
    Pause,
    /// Go on all the same
    Continue,
    /// Take the template before
    Rollback,
}

/// Keeps instances of an image.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull service create --name web --replicas 3 -e MODE=fast nginx\n  hull service create --name db --memory 1g debian-cloud\n  hull service create --name sum --job --completions 10 --at-once 2 busybox sh -c 'exit 0'"
)]
pub struct Create {
    /// How many instances [default: 1]
    #[arg(long, value_name = "N", conflicts_with = "job")]
    replicas: Option<u32>,
    /// Run it to its end, and no more
    #[arg(long)]
    job: bool,
    /// How many runs of a job are to end well
    #[arg(long, value_name = "N", default_value_t = 1, requires = "job")]
    completions: u32,
    /// Most runs of a job at a time
    #[arg(long, value_name = "N", default_value_t = 1, requires = "job")]
    at_once: u32,
    /// So many runs of a job may fail
    #[arg(long, value_name = "N", default_value_t = 6, requires = "job")]
    retries: u32,
    /// Longest time for all of a job
    #[arg(long, value_name = "TIME", requires = "job")]
    deadline: Option<Span>,
    #[command(flatten)]
    policy: Policy,
    /// Print the name at once
    #[arg(short, long)]
    detach: bool,
    /// Show what would be made, and make nothing
    #[arg(long)]
    plan: bool,
    /// The image, then the command and its arguments instead of the image's
    #[arg(
        required = true,
        trailing_var_arg = true,
        value_names = ["IMAGE", "COMMAND"],
        num_args = 1..,
        add = ArgValueCompleter::new(complete::images)
    )]
    image: Vec<String>,
    #[command(flatten)]
    flags: InstanceFlags,
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
    titles: &["NAME", "ID", "MODE", "READY", "IMAGE", "REVISION", "STATE", "AGE"],
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
        ServiceMode::Job { completions, .. } => {
            ("job", format!("{}/{completions}", status.succeeded))
        }
    };
    let state = match &status.reason {
        Some(reason) => format!("{}: {}", status.phase.as_str(), out::short(&reason.message, 60)),
        None => status.phase.as_str().to_owned(),
    };
    vec![
        service.meta.name.clone(),
        service.meta.id.short().to_owned(),
        mode.to_owned(),
        ready,
        image.to_owned(),
        status.revision.to_string(),
        state,
        out::age(service.meta.created),
    ]
}

impl Policy {
    /// The policy with what was given laid over it.
    fn over(&self, policy: &UpdatePolicy) -> UpdatePolicy {
        UpdatePolicy {
            parallelism: self.parallelism.unwrap_or(policy.parallelism),
            delay: self.delay.or(policy.delay),
            order: match self.order {
                Some(Order::StopFirst) => UpdateOrder::StopFirst,
                Some(Order::StartFirst) => UpdateOrder::StartFirst,
                None => policy.order,
            },
            monitor: self.monitor.or(policy.monitor),
            max_failure_percent: self.max_failure.unwrap_or(policy.max_failure_percent),
            on_failure: match self.on_failure {
                Some(Failure::Pause) => OnFailure::Pause,
                Some(Failure::Continue) => OnFailure::Continue,
                Some(Failure::Rollback) => OnFailure::RollBack,
                None => policy.on_failure,
            },
        }
    }
}

impl Create {
    fn draft(&self) -> Result<Draft<ServiceSpec>> {
        let [image, command @ ..] = self.image.as_slice() else {
            return Err(Error::invalid("no image is named"));
        };
        if self.flags.rm {
            return Err(Error::invalid("a service removes its instances itself").at("--rm"));
        }
        let labels = env::labels(&self.flags.label_file, &self.flags.label)?;
        let template = Template {
            labels: labels.clone(),
            annotations: env::labels(&[], &self.flags.annotation)?,
            spec: self.flags.spec(image, command)?,
        };
        let mode = match self.job {
            true => ServiceMode::Job {
                completions: self.completions,
                parallelism: self.at_once,
                retries: self.retries,
                deadline: self.deadline,
            },
            false => ServiceMode::Replicated { replicas: self.replicas.unwrap_or(1) },
        };
        let update = self.policy.over(&UpdatePolicy::default());
        let name = self.flags.name.clone().unwrap_or_default();
        let meta = DraftMeta { name, labels, ..DraftMeta::default() };
        Ok(Draft { meta, spec: ServiceSpec { template, mode, update, ..ServiceSpec::default() } })
    }

    async fn run(&self, services: &Objects<ServiceNoun>) -> Result<ExitCode> {
        let service = services.create(&self.draft()?, self.plan).await?;
        if self.plan {
            plan::creation(&service)?;
            return Ok(ExitCode::SUCCESS);
        }
        settle(services, &service, self.detach).await
    }
}

impl Ps {
    async fn run(&self, context: &Context, services: &Objects<ServiceNoun>) -> Result<()> {
        let mut all: Vec<Instance> = Vec::new();
        for name in &self.names {
            let service = services.get(name).await?;
            let labels = format!("{SERVICE}={}", service.meta.name);
            let query = ListQuery { labels, ..ListQuery::default() };
            all.extend(context.instances().list_all(&query).await?);
        }
        let number = |instance: &Instance| {
            let label = instance.meta.labels.get(SLOT);
            label.and_then(|text| text.parse::<u32>().ok()).unwrap_or(0)
        };
        all.sort_by_key(|instance| (instance.meta.labels.get(SERVICE).cloned(), number(instance)));
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
    settle(services, &write(false).await?, detach).await
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
            let patch = |spec: &ServiceSpec| scaled(name, spec, count);
            last = patched(services, name, (self.plan, self.detach), patch).await?;
        }
        Ok(last)
    }
}

fn scaled(name: &str, spec: &ServiceSpec, replicas: u32) -> Result<Value> {
    match spec.mode {
        ServiceMode::Replicated { .. } => {
            Ok(json!({"spec": {"mode": {"replicated": {"replicas": replicas}}}}))
        }
        ServiceMode::Job { .. } => {
            Err(Error::conflict(format!("service {name:?} is a job: it has no fixed number")))
        }
    }
}

impl Update {
    async fn run(&self, services: &Objects<ServiceNoun>) -> Result<ExitCode> {
        let patch = |spec: &ServiceSpec| {
            let mut new = spec.clone();
            self.change_template(&mut new.template)?;
            new.update = self.policy.over(&spec.update);
            let mut patch = json!({"spec": {
                "template": update::encoded(&new.template)?,
                "update": update::encoded(&new.update)?,
            }});
            if let Some(replicas) = self.replicas {
                patch["spec"]["mode"] = scaled(&self.name, spec, replicas)?["spec"]["mode"].take();
            }
            Ok(patch)
        };
        patched(services, &self.name, (self.plan, self.detach), patch).await
    }

    fn change_template(&self, template: &mut Template) -> Result<()> {
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
        services.patch(name, &json!({"spec": {"paused": paused}}), None, false).await?;
        out::line(name);
        Ok(())
    })
    .await
}

/// Follows a service until it has what was asked, or it is known that it will not; tells how far it is.
async fn settle(
    services: &Objects<ServiceNoun>,
    service: &Known,
    detach: bool,
) -> Result<ExitCode> {
    if !detach {
        let fields = format!("meta.id={}", service.meta.id);
        let query = ListQuery { fields, ..ListQuery::default() };
        let mut changes = services.watch(&query).await?;
        let mut told = String::new();
        loop {
            let Some(change) = changes.next().await else {
                return Err(Error::unavailable("the connection to the platform ended")
                    .next("hull service ls"));
            };
            let change = change?;
            let Some(now) = change.object else { continue };
            if change.r#type == ChangeKind::Removed {
                return Err(Error::not_found(format!("{} was removed", now.title())));
            }
            let progress = progress(&now);
            if progress != told {
                out::remark(&progress);
                told = progress;
            }
            if let Some(outcome) = outcome(&now, service.meta.generation) {
                outcome?;
                break;
            }
        }
    }
    out::line(&service.meta.name);
    Ok(ExitCode::SUCCESS)
}

fn progress(service: &Known) -> String {
    let (name, status) = (&service.meta.name, &service.status);
    let phase = status.phase.as_str();
    let count = match service.spec.mode {
        ServiceMode::Replicated { replicas } => format!(
            "{} of {replicas} at revision {}, {} ready",
            status.updated, status.revision, status.ready
        ),
        ServiceMode::Job { completions, .. } => {
            format!(
                "{} of {completions} runs ended well, {} failed",
                status.succeeded, status.failed
            )
        }
    };
    match &status.reason {
        Some(reason) => format!("{name}: {phase}: {count} ({})", out::short(&reason.message, 100)),
        None => format!("{name}: {phase}: {count}"),
    }
}

/// Whether there is nothing more to wait for.
fn outcome(service: &Known, generation: u64) -> Option<Result<()>> {
    let status = &service.status;
    if status.observed_generation < generation {
        return None;
    }
    let failed = || {
        let why = status.reason.as_ref();
        let message = why.map_or("it is not known why", |reason| reason.message.as_str());
        let error =
            Error::conflict(format!("{} is {}: {message}", service.title(), status.phase.as_str()));
        match why.and_then(|reason| reason.next.clone()) {
            Some(next) => error.next(next),
            None => error.next(format!("hull service ps {}", service.meta.name)),
        }
    };
    match status.phase {
        ServicePhase::Steady => {
            (status.ready == status.wanted && status.existing == status.wanted).then_some(Ok(()))
        }
        ServicePhase::Complete => Some(Ok(())),
        ServicePhase::Updating if service.spec.paused => Some(Ok(())),
        ServicePhase::Paused | ServicePhase::RolledBack | ServicePhase::Failed => {
            Some(Err(failed()))
        }
        ServicePhase::Pending
        | ServicePhase::Updating
        | ServicePhase::RollingBack
        | ServicePhase::Removing => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Words {
        #[command(flatten)]
        create: Create,
    }

    fn draft(words: &str) -> Result<Draft<ServiceSpec>> {
        let words = std::iter::once("x").chain(words.split(' '));
        Words::try_parse_from(words).unwrap().create.draft()
    }

    #[test]
    fn words_become_a_service() {
        let made = draft("--name web --replicas 3 --order start-first -e A=1 nginx -g x").unwrap();
        assert_eq!(made.spec.mode, ServiceMode::Replicated { replicas: 3 });
        assert_eq!(made.spec.update.order, UpdateOrder::StartFirst);
        let main = made.spec.template.spec.main().unwrap();
        let words = main.command.as_ref().map_or(0, Vec::len);
        assert_eq!((main.image.as_str(), words), ("nginx", 2));
        let made = draft("--job --completions 3 --at-once 2 --retries 0 busybox true").unwrap();
        let wanted =
            ServiceMode::Job { completions: 3, parallelism: 2, retries: 0, deadline: None };
        assert_eq!(made.spec.mode, wanted);
        assert_eq!(draft("--rm nginx").unwrap_err().field(), Some("--rm"));
    }
}

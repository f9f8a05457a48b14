//! `hull service create`.

use std::process::ExitCode;

use clap::Args;
use clap_complete::ArgValueCompleter;
use client::Objects;
use client::wire::{Draft, DraftMeta};
use model::service::{Schedule, ServiceMode, ServiceNoun, ServiceSpec, Template, UpdatePolicy};
use model::{Error, Result, Span};

use super::access::AccessFlags;
use super::policy::Policy;
use super::progress::settle;
use super::schedule::ScheduleFlags;
use crate::flags::InstanceFlags;
use crate::parse::env;
use crate::{complete, plan};

/// Keeps instances of an image.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull service create --name web --replicas 3 -e MODE=fast nginx\n  hull service create --name db --memory 1g debian-cloud\n  hull service create --name sum --job --completions 10 --at-once 2 busybox sh -c 'exit 0'\n  hull service create --name agent --global --node-labels zone=a node-exporter\n  hull service create --name backup --cron '30 4 * * 1-5' --time-zone Europe/Berlin --overlap forbid backup\n  hull service create --name shop --replicas 3 --depends-on db:healthy --drain 10s -p 80:8080 shop"
)]
pub struct Create {
    /// How many instances [default: 1]
    #[arg(long, value_name = "N", conflicts_with_all = ["job", "global", "cron"])]
    replicas: Option<u32>,
    /// One on each node that it may be on, as nodes come and go
    #[arg(long, conflicts_with_all = ["job", "cron"])]
    global: bool,
    /// Run it to its end, and no more
    #[arg(long, conflicts_with = "cron")]
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
    schedule: ScheduleFlags,
    #[command(flatten)]
    access: AccessFlags,
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
            renewed: 0,
        };
        let mode = self.mode();
        let update = self.policy.over(&UpdatePolicy::default());
        let name = self.flags.name.clone().unwrap_or_default();
        let meta = DraftMeta { name, labels, ..DraftMeta::default() };
        let mut spec = ServiceSpec { template, mode, update, ..ServiceSpec::default() };
        self.access.lay_over(&mut spec)?;
        Ok(Draft { meta, spec })
    }

    fn mode(&self) -> ServiceMode {
        if self.schedule.is_given() {
            return ServiceMode::Cron(self.schedule.over(&Schedule::default()));
        }
        if self.global {
            return ServiceMode::Global {};
        }
        match self.job {
            true => ServiceMode::Job {
                completions: self.completions,
                parallelism: self.at_once,
                retries: self.retries,
                deadline: self.deadline,
            },
            false => ServiceMode::Replicated { replicas: self.replicas.unwrap_or(1) },
        }
    }

    pub(super) async fn run(&self, services: &Objects<ServiceNoun>) -> Result<ExitCode> {
        let service = services.create(&self.draft()?, self.plan).await?;
        if self.plan {
            plan::creation(&service)?;
            return Ok(ExitCode::SUCCESS);
        }
        settle(services, &service, self.detach).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use model::service::UpdateOrder;

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
        let made = draft("--global --node-labels zone=a --drain 5s --depends-on db nginx").unwrap();
        assert_eq!(made.spec.mode, ServiceMode::Global {});
        assert_eq!(made.spec.template.spec.nodes.labels, "zone=a");
        assert_eq!(made.spec.access.drain, Some(Span::seconds(5)));
        assert_eq!(made.spec.depends_on[0].service, "db");
        let made = draft("--cron @daily --time-zone Asia/Shanghai busybox true").unwrap();
        let ServiceMode::Cron(schedule) = made.spec.mode else { panic!("{:?}", made.spec.mode) };
        assert_eq!((schedule.times.as_str(), schedule.keep_succeeded), ("@daily", 3));
        assert_eq!(draft("--rm nginx").unwrap_err().field(), Some("--rm"));
    }
}

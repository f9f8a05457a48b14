//! `hull run` and `hull create`.

use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use clap_complete::ArgValueCompleter;
use client::wire::{DeleteQuery, Draft, DraftMeta, Goal, SettleQuery};
use link::instance::AttachRequest;
use model::error::Context as _;
use model::instance::{Instance, InstanceSpec, PullPolicy, RunState};
use model::{Error, ErrorKind, Result};

use crate::commands::image::pull_with_progress;
use crate::commands::start::settle;
use crate::context::Context;
use crate::flags::InstanceFlags;
use crate::parse::{env, port};
use crate::terminal::{End, Part, converse, detach_keys};
use crate::{complete, exit, out, plan};

const EXAMPLES: &str = "Examples:
  hull run -it --rm debian bash
  hull run -d --name web -p 8080:80 nginx
  hull run -d --name db -e POSTGRES_PASSWORD=x -v data:/var/lib/postgresql/data postgres
  hull run -d --name vm --memory 2g --root-size 20g --ssh-key ~/.ssh/id_ed25519.pub debian-cloud
  hull run -f instance.yaml";

/// Runs an image as a new instance.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Run {
    /// Leave it running and print its id
    #[arg(short, long)]
    detach: bool,
    /// Don't pass signals on
    #[arg(long)]
    no_sig_proxy: bool,
    /// Keys that leave it running
    #[arg(long, default_value = "ctrl-p,ctrl-q", value_name = "KEYS")]
    detach_keys: String,
    #[command(flatten)]
    what: What,
}

/// Makes an instance without starting it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull create --name web -p 8080:80 nginx\n  hull start web")]
pub struct Create {
    #[command(flatten)]
    what: What,
}

/// What is run.
#[derive(Debug, Args)]
struct What {
    /// Read the whole instance from a YAML or JSON file instead of the flags
    #[arg(short, long, value_name = "FILE", conflicts_with = "image")]
    file: Option<String>,
    /// Write the id to a file, which must not exist
    #[arg(long, value_name = "FILE")]
    cidfile: Option<String>,
    /// Show what would be made, and make nothing
    #[arg(long)]
    plan: bool,
    /// The image, then the command and its arguments instead of the image's; what follows the image is
    /// the command's, whether it looks like an option or not
    #[arg(
        required_unless_present = "file",
        trailing_var_arg = true,
        value_names = ["IMAGE", "COMMAND"],
        num_args = 1..,
        add = ArgValueCompleter::new(complete::images)
    )]
    image: Vec<String>,
    #[command(flatten)]
    flags: InstanceFlags,
}

/// What is to be made, and what a file said of it.
struct Wanted {
    draft: Draft<InstanceSpec>,
    written: Option<serde_json::Value>,
}

impl What {
    fn draft(&self) -> Result<Wanted> {
        let (spec, written) = match (&self.file, self.image.as_slice()) {
            (Some(file), _) => {
                let (spec, written) = read_spec(file)?;
                (spec, Some(written))
            }
            (None, [image, command @ ..]) => (self.flags.spec(image, command)?, None),
            (None, []) => return Err(Error::invalid("no image is named")),
        };
        let flags = &self.flags;
        let meta = DraftMeta {
            name: flags.name.clone().unwrap_or_default(),
            labels: env::labels(&flags.label_file, &flags.label)?,
            annotations: env::labels(&[], &flags.annotation)?,
        };
        Ok(Wanted { draft: Draft { meta, spec }, written })
    }

    /// Makes the instance: fetches the image first, with progress, if it is not there.
    async fn create(&self, context: &Context, wanted: Wanted) -> Result<Instance> {
        let Wanted { mut draft, written } = wanted;
        if self.cidfile.as_deref().is_some_and(|file| std::path::Path::new(file).exists()) {
            return Err(Error::exists("the file for the id exists already").at("--cidfile"));
        }
        if let Some(spec) = written {
            // What no instance has is lost in reading, so the platform is asked about the file itself.
            context.instances().check(&Draft { meta: draft.meta.clone(), spec }).await?;
        }
        if !self.plan {
            self.fetch(context, &mut draft.spec).await?;
        }
        let instance = context.instances().create(&draft, self.plan).await?;
        if let Some(file) = &self.cidfile {
            std::fs::write(file, instance.meta.id.as_str())
                .context(ErrorKind::Unavailable, || format!("cannot write {file}"))?;
        }
        Ok(instance)
    }

    async fn fetch(&self, context: &Context, spec: &mut InstanceSpec) -> Result<()> {
        let net = &self.flags.network;
        for container in spec.init.iter().chain(&spec.containers) {
            if container.pull == PullPolicy::Never {
                continue;
            }
            let present = match context.client.images().show(&container.image).await {
                Ok(_) => container.pull == PullPolicy::Missing,
                Err(error) if error.kind() == ErrorKind::NotFound => false,
                Err(error) => return Err(error),
            };
            if !present {
                pull_with_progress(context, &container.image, container.pull).await?;
            }
        }
        let Some(main) = spec.containers.first_mut() else { return Ok(()) };
        let image = match context.client.images().show(&main.image).await {
            Ok(image) => image,
            Err(error) if net.publish_all => return Err(error),
            // The node says better why it cannot start; and it may start once its engine is back.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Unavailable) => {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if image.machine.is_some() {
            // Its terminal is the guest's serial line, open to whoever attaches.
            (main.tty, main.stdin, main.stdin_once) = (true, true, false);
            spec.machine.get_or_insert_default();
        }
        if net.publish_all {
            for text in image.config.exposed_ports.iter().chain(&net.expose) {
                spec.ports.push(port::exposed(text)?);
            }
        }
        Ok(())
    }
}

/// What a file says, as an instance and as it stands there.
fn read_spec(file: &str) -> Result<(InstanceSpec, serde_json::Value)> {
    let text = match file {
        "-" => std::io::read_to_string(std::io::stdin()),
        file => std::fs::read_to_string(file),
    };
    let text = text.context(ErrorKind::Invalid, || format!("cannot read {file}"))?;
    let refused =
        |error| Error::invalid(format!("{file} does not describe an instance")).caused_by(error);
    let spec = serde_saphyr::from_str(&text).map_err(refused)?;
    Ok((spec, serde_saphyr::from_str(&text).map_err(refused)?))
}

impl Create {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        let mut wanted = self.what.draft()?;
        wanted.draft.spec.run = RunState::Stopped;
        wanted.draft.spec.runs = 0;
        let instance = self.what.create(context, wanted).await?;
        show(&self.what, &instance)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Time for warnings about what ended before they came.
const LATE: Duration = Duration::from_secs(1);

/// Says what of it is not as it was asked, as soon as it runs. What keeps it from running is said by
/// whoever takes part in it.
async fn tell(context: &Context, instance: &Instance, tty: bool) {
    let Ok(started) = settle(&context.instances(), instance, Goal::Started, None).await else {
        return;
    };
    for warning in &started.status.warnings {
        // The terminal is the program's by now, and begins no line by itself.
        out::remark(format!("warning: {warning}{}", if tty { "\r" } else { "" }));
    }
}

/// What `work` comes to, with `aside` done beside it.
async fn beside<T>(work: impl Future<Output = T>, aside: impl Future<Output = ()>) -> T {
    let (mut work, mut aside) = (pin!(work), pin!(aside));
    tokio::select! {
        outcome = &mut work => {
            // Nothing is lost but the remark.
            let _ = tokio::time::timeout(LATE, aside).await;
            outcome
        }
        () = &mut aside => work.await,
    }
}

fn show(what: &What, instance: &Instance) -> Result<()> {
    if what.plan {
        return plan::creation(instance);
    }
    out::line(instance.meta.id.as_str());
    Ok(())
}

impl Run {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        let mut wanted = self.what.draft()?;
        let spec = &mut wanted.draft.spec;
        spec.run = RunState::Running;
        spec.runs = 1;
        spec.attended = !self.detach;
        if let Some(main) = spec.containers.first_mut() {
            main.stdin_once = main.stdin && !self.detach;
        }
        let instance = self.what.create(context, wanted).await?;
        let part = self.part(&instance.spec)?;
        if self.what.plan {
            show(&self.what, &instance)?;
            return Ok(ExitCode::SUCCESS);
        }
        let ran = match self.detach {
            true => self.leave(context, &instance).await,
            false => self.stay(context, &instance, &part).await,
        };
        if let Err(error) = ran {
            out::failure(&error);
            self.give_up(context, &instance).await;
            return Ok(exit::of_start(&error));
        }
        ran
    }

    /// One that is to be removed at its end and never began does not stay to begin later. One that
    /// runs is refused, and runs on.
    async fn give_up(&self, context: &Context, instance: &Instance) {
        if self.what.flags.rm {
            let query = DeleteQuery { volumes: true, ..DeleteQuery::default() };
            // The user has been told what went wrong.
            let _ = context.instances().delete(instance.meta.id.as_str(), query).await;
        }
    }

    fn part(&self, spec: &InstanceSpec) -> Result<Part> {
        let main = spec.main();
        // A machine's serial line is open always; who did not ask to type only looks on.
        let looks_on = spec.machine.is_some() && !self.what.flags.interactive;
        Ok(Part {
            stdin: main.is_some_and(|main| main.stdin) && !looks_on,
            tty: main.is_some_and(|main| main.tty) && !looks_on,
            signals: !self.no_sig_proxy,
            redraw: false,
            detach: detach_keys(&self.detach_keys)?,
        })
    }

    /// Prints the id once it runs.
    async fn leave(&self, context: &Context, instance: &Instance) -> Result<ExitCode> {
        let id = instance.meta.id.as_str();
        match settle(&context.instances(), instance, Goal::Started, None).await {
            Ok(started) => out::warnings(&started.status.warnings),
            // It ran and is gone already.
            Err(error) if error.kind() == ErrorKind::NotFound && self.what.flags.rm => {}
            Err(error) => return Err(error),
        }
        out::line(id);
        Ok(ExitCode::SUCCESS)
    }

    /// Takes part in it until it ends.
    async fn stay(&self, context: &Context, instance: &Instance, part: &Part) -> Result<ExitCode> {
        let id = instance.meta.id.as_str();
        let request = AttachRequest { stdin: part.stdin, replay: true, tail: None, run: 1 };
        let instances = context.instances();
        let talk = async {
            let session = instances.attach(id, "", &request).await?;
            Ok::<_, Error>(converse(session, part).await)
        };
        let end = beside(talk, tell(context, instance, part.tty)).await?;
        if self.what.flags.rm && !matches!(end, Ok(End::Detached | End::GivenUp)) {
            let query = SettleQuery { goal: Goal::Removed, timeout: None };
            match context.instances().settle(id, &query).await {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        end.map(End::code)
    }
}

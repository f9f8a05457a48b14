//! The commands, one file each.

mod app;
mod attach;
mod audit;
mod backup;
mod catalog;
mod check;
mod commit;
mod completion;
mod config;
mod console;
mod cp;
mod daemon;
mod diff;
mod env;
mod events;
mod exec;
mod explain;
mod export;
mod image;
mod inspect;
mod kill;
mod logs;
mod network;
mod node;
mod operation;
mod pause;
mod project;
mod ps;
mod rename;
mod restart;
mod rm;
mod run;
mod secret;
mod service;
mod snapshot;
mod start;
mod stats;
mod status;
mod stop;
mod system;
mod token;
mod top;
mod update;
mod user;
mod version;
mod volume;
mod wait;

use std::process::ExitCode;

use clap::Subcommand;
use model::Result;

use crate::context::{Context, Global};

/// What can be done. Verbs without a noun are about instances.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run an image as a new instance
    Run(Box<run::Run>),
    /// Make an instance without starting it
    Create(Box<run::Create>),
    /// Start instances
    Start(start::Start),
    /// Stop instances: their stop signal, then SIGKILL
    Stop(stop::Stop),
    /// Stop and start instances
    Restart(restart::Restart),
    /// Send a signal to instances
    Kill(kill::Kill),
    /// Freeze instances
    Pause(pause::Pause),
    /// Unfreeze instances
    Unpause(pause::Unpause),
    /// Keep machines as they are at a moment
    #[command(subcommand)]
    Snapshot(snapshot::Snapshot),
    /// Take a machine back to a snapshot
    Restore(snapshot::Restore),
    /// Remove instances
    Rm(rm::Rm),
    /// Give an instance another name
    Rename(rename::Rename),
    /// List instances
    #[command(visible_alias = "ls")]
    Ps(ps::Ps),
    /// Show everything that is known of instances
    Inspect(inspect::Inspect),
    /// Show what instances printed
    Logs(logs::Logs),
    /// Run a further program in an instance
    Exec(exec::Exec),
    /// Take part in an instance's main process
    Attach(attach::Attach),
    /// Sit down at the console of a machine
    Console(console::Console),
    /// Wait until instances end, and print their exit codes
    Wait(wait::Wait),
    /// Copy files into and out of an instance
    Cp(cp::Cp),
    /// Show what instances use
    Stats(stats::Stats),
    /// Show the processes of an instance
    Top(top::Top),
    /// Change limits, disks and the restart policy of instances
    Update(Box<update::Update>),
    /// Say what something waits for, and what would help
    Explain(explain::Explain),
    /// Show which files of an instance differ from its image
    Diff(diff::Diff),
    /// Make an image of an instance
    Commit(commit::Commit),
    /// Write the whole file system of an instance as an archive
    Export(export::Export),
    /// Show what happened
    Events(events::Events),
    /// What happened
    #[command(subcommand)]
    Event(events::Event),
    /// Images
    #[command(subcommand)]
    Image(image::Image),
    /// Services: instances that are kept
    #[command(subcommand)]
    Service(service::Service),
    /// Apps: what a Compose file consists of
    #[command(subcommand)]
    App(app::App),
    /// Catalogs: where apps come from
    #[command(subcommand)]
    Catalog(Box<catalog::Catalog>),
    /// Secrets: data that its instances read, and nobody else
    #[command(subcommand)]
    Secret(secret::Secret),
    /// Configs: files that instances read
    #[command(subcommand)]
    Config(config::Config),
    /// Networks
    #[command(subcommand)]
    Network(network::Network),
    /// Volumes and their snapshots
    #[command(subcommand)]
    Volume(Box<volume::Volume>),
    /// Projects
    #[command(subcommand)]
    Project(project::Project),
    /// Machines of the cluster
    #[command(subcommand)]
    Node(node::Node),
    /// Users: people who sign in, and what they may do
    #[command(subcommand)]
    User(user::User),
    /// Tokens: what people and programs show to the API
    #[command(subcommand)]
    Token(token::Token),
    /// Show who asked for what
    Audit(audit::Audit),
    /// Long work, under way and done
    #[command(subcommand)]
    Operation(operation::Operation),
    /// The platform itself
    #[command(subcommand)]
    System(system::System),
    /// Backups of the platform's records
    #[command(subcommand)]
    Backup(backup::Backup),
    /// Is this machine fit?
    Check(check::Check),
    /// Start the platform on this machine
    Up(daemon::Up),
    /// Stop the platform on this machine; instances run on
    Down(daemon::Down),
    /// How the platform is
    Status(status::Status),
    /// Print the environment that makes clients use this cluster
    Env(env::Env),
    /// Show the versions of this program and of the platform
    Version(version::Version),
    /// Print what teaches a shell to complete the words of hull
    Completion(completion::Completion),
    /// Write the manual pages into a directory
    #[command(hide = true)]
    Man(completion::Man),
}

/// Runs a command.
pub async fn run(command: Command, global: &Global) -> Result<ExitCode> {
    let context = || Context::new(global);
    match command {
        Command::Run(args) => args.run(&context()?).await,
        Command::Create(args) => args.run(&context()?).await,
        Command::Start(args) => args.run(&context()?).await,
        Command::Stop(args) => args.run(&context()?).await,
        Command::Restart(args) => args.run(&context()?).await,
        Command::Kill(args) => args.run(&context()?).await,
        Command::Pause(args) => args.run(&context()?).await,
        Command::Unpause(args) => args.run(&context()?).await,
        Command::Snapshot(args) => args.run(&context()?).await,
        Command::Restore(args) => args.run(&context()?).await,
        Command::Rm(args) => args.run(&context()?).await,
        Command::Rename(args) => args.run(&context()?).await,
        Command::Ps(args) => args.run(&context()?).await,
        Command::Inspect(args) => args.run(&context()?).await,
        Command::Logs(args) => args.run(&context()?).await,
        Command::Exec(args) => args.run(&context()?).await,
        Command::Attach(args) => args.run(&context()?).await,
        Command::Console(args) => args.run(&context()?).await,
        Command::Wait(args) => args.run(&context()?).await,
        Command::Cp(args) => args.run(&context()?).await,
        Command::Stats(args) => args.run(&context()?).await,
        Command::Top(args) => args.run(&context()?).await,
        Command::Update(args) => args.run(&context()?).await,
        Command::Explain(args) => args.run(&context()?).await,
        Command::Diff(args) => args.run(&context()?).await,
        Command::Commit(args) => args.run(&context()?).await,
        Command::Export(args) => args.run(&context()?).await,
        Command::Events(args) | Command::Event(events::Event::Ls(args)) => {
            args.run(&context()?).await
        }
        Command::Image(args) => args.run(&context()?).await,
        Command::Service(args) => args.run(&context()?).await,
        Command::App(args) => args.run(&context()?).await,
        Command::Catalog(args) => args.run(&context()?).await,
        Command::Secret(args) => args.run(&context()?).await,
        Command::Config(args) => args.run(&context()?).await,
        Command::Network(args) => args.run(&context()?).await,
        Command::Volume(args) => args.run(&context()?).await,
        Command::Project(args) => args.run(&context()?).await,
        Command::Node(args) => args.run(&context()?).await,
        Command::User(args) => args.run(&context()?).await,
        Command::Audit(args) => args.run(&context()?).await,
        Command::Token(args) => args.run(&context()?).await,
        Command::Operation(args) => args.run(&context()?).await,
        Command::System(args) => args.run(&context()?).await,
        Command::Backup(args) => args.run(&context()?).await,
        Command::Check(args) => args.run(&context()?).await,
        Command::Up(args) => args.run(&context()?).await,
        Command::Down(args) => args.run(&context()?).await,
        Command::Status(args) => args.run(&context()?).await,
        Command::Env(args) => args.run(&context()?),
        Command::Version(args) => args.run(&context()?).await,
        Command::Completion(args) => args.run(),
        Command::Man(args) => args.run(),
    }
}

/// Does the same for several names; goes on after a failure, which is told and decides the exit
/// code.
pub async fn each(
    names: &[String],
    mut work: impl AsyncFnMut(&str) -> Result<()>,
) -> Result<ExitCode> {
    let mut last = ExitCode::SUCCESS;
    for name in names {
        if let Err(error) = work(name).await {
            crate::out::failure(&error);
            last = crate::exit::code(&error);
        }
    }
    Ok(last)
}

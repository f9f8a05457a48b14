//! The daemon: settings, build, serve, wait for a signal, drain with a deadline.

use std::future::Future;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use agent::{Agent, ContainerdContent, Drivers};
use clap::Parser;
use containers::supervisor::{Settings, Supervisor};
use control::{Caller, Control, Keyring};
use model::error::Context;
use model::{Error, ErrorKind, Result};
use network::{Names, NetDriver, NodeTag};
use store::sqlite::SqliteStore;
use telemetry::metrics::Metrics;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Places, create_dir};
use crate::librarian::DiskLibrarian;
use crate::notify::{machine_goes_down, notify};
use crate::pki::{Pki, write_private};
use crate::settle::settle;
use crate::{program, records};

/// Time to stop in before the process just ends; what runs, runs on.
const STOP_DEADLINE: Duration = Duration::from_secs(10);

/// Time for instances to end in when the machine goes down; the unit's own limit lies above.
const FAREWELL: Duration = Duration::from_secs(80);

/// Runs the platform on this machine, in the foreground.
#[derive(Debug, Parser)]
#[command(name = "hull daemon", version)]
struct Arguments {
    /// Everything of the node lies below this directory
    #[arg(long, env = "HULL_ROOT", default_value = "/", value_name = "DIR")]
    root: PathBuf,
    /// Put this backup in the place of the stopped daemon's records, and end
    #[arg(long, value_name = "FILE")]
    restore: Option<PathBuf>,
}

/// Runs the daemon of this process.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse_from(std::env::args_os().skip(1));
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        // This is what `hull backup restore` becomes: its user reads the terminal, not the log.
        Err(error) if arguments.restore.is_some() => cli::fail(&error),
        Err(error) => {
            telemetry::init(telemetry::Format::Text, "info");
            tracing::error!(error = error.chain(), next = error.next_step(), "cannot go on");
            leave_word(&Places::below(&arguments.root), &error);
            ExitCode::FAILURE
        }
    }
}

/// Tells `hull up` and `hull status`, which cannot ask, why nobody answers.
fn leave_word(places: &Places, error: &Error) {
    let line = |text: &str| text.replace('\n', " ");
    let text =
        format!("{}\n{}\n", line(&error.chain()), line(error.next_step().unwrap_or_default()));
    if let Err(error) = write_private(&places.failure(), text.as_bytes()) {
        tracing::warn!(error = error.chain(), "the reason could not be left");
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let places = Places::below(&absolute(&arguments.root)?);
    places.create()?;
    // What kept an earlier daemon from starting says nothing of this one.
    let _ = std::fs::remove_file(places.failure());
    let config = Config::load(&places.config())?;
    // The only failure is that a provider is there already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context(ErrorKind::Exhausted, || "threads cannot be started".into())?;
    let outcome = runtime.block_on(async {
        match &arguments.restore {
            Some(backup) => restore(backup, &places).await,
            None => serve(config, places).await,
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

fn absolute(root: &Path) -> Result<PathBuf> {
    std::path::absolute(root)
        .context(ErrorKind::Invalid, || format!("{} is not a directory", root.display()))
}

async fn restore(backup: &Path, places: &Places) -> Result<()> {
    let done = store::sqlite::restore(backup, &places.store()).await;
    let done = done.map_err(|error| records::cannot_restore(backup, error))?;
    println!("{}", records::restored(backup, &done));
    Ok(())
}

async fn serve(config: Config, places: Places) -> Result<()> {
    let format = if config.log.json { telemetry::Format::Json } else { telemetry::Format::Text };
    telemetry::init(format, &config.log.filter);
    let name = node_name(&config)?;
    let settings = store::sqlite::Config {
        boot: Some(host::facts::boot_id()),
        ..store::sqlite::Config::new(places.store())
    };
    let store = SqliteStore::open(settings).await;
    let store = store.map_err(|error| records::cannot_open(&places.store(), error))?;
    let control = open_control(&config, &places, &name, Arc::new(store)).await?;
    let supervisor = start_engine(&config, &places).await?;
    let agent = start_agent(&config, &places, &name, &control, &supervisor).await?;
    control.connect_node(&name, agent.port());
    agent.settled().await;
    let library = catalog::Library::new(places.state.join("catalogs"));
    control.connect_librarian(Arc::new(DiskLibrarian(library)));
    let pki = open_pki(&config, &places, &name)?;
    let audit = Arc::new(audit::Log::open(&places.state.join("audit"))?);
    let server = bind_api(&config, &places, &name, &pki, &control, &audit).await?;
    let docker = bind_docker(&config, &places, &name, &pki, &control, &audit).await?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), node = name, "ready");
    notify("READY=1");

    let stop = CancellationToken::new();
    let stopped = || stop.clone().cancelled_owned();
    let docker = async {
        if let Some(docker) = docker {
            docker.serve(stopped()).await;
        }
    };
    let signalled = async {
        stop_signal().await;
        stop.cancel();
    };
    let settled = async {
        tokio::select! {
            never = settle() => match never {},
            () = stop.cancelled() => {}
        }
    };
    tokio::join!(server.serve(stopped()), docker, signalled, settled);
    notify("STOPPING=1");
    let stopping = async {
        agent.shutdown().await;
        control.shutdown().await;
    };
    if tokio::time::timeout(STOP_DEADLINE, stopping).await.is_err() {
        tracing::warn!("stopping took too long");
    }
    if machine_goes_down().await {
        agent.end_instances(FAREWELL).await;
    }
    Ok(())
}

/// The node's name: the one configured, else the host's first label.
fn node_name(config: &Config) -> Result<String> {
    let uname = rustix::system::uname();
    let host = uname.nodename().to_string_lossy();
    let name = match config.node.name.as_str() {
        "" => host.split('.').next().unwrap_or("node").to_owned(),
        name => name.to_owned(),
    };
    model::name::check_name(&name)
        .map_err(|error| error.next("give the node a name: [node] name = \"n1\" in hull.toml"))?;
    Ok(name)
}

async fn open_control(
    config: &Config,
    places: &Places,
    name: &str,
    store: Arc<dyn store::Store>,
) -> Result<Arc<Control>> {
    let mut settings = control::Config::new(store, name);
    // The first administrator's token stands where root alone can read it.
    let token = places.admin_token();
    settings.keep_secret =
        Arc::new(move |secret| write_private(&token, format!("{secret}\n").as_bytes()));
    let keys = places.keyring();
    let keyring = open_keyring(&keys, &settings.random)?;
    settings.keyring = Arc::new(keyring.kept_by(Arc::new(move |text| write_keyring(&keys, text))));
    settings.pool = config.network.pool;
    Control::open(settings).await
}

/// The keys of secrets, made at the first start. A file that cannot be used stops the start: with new
/// keys, nothing that was sealed before could be read.
fn open_keyring(path: &Path, random: &control::Random) -> Result<Keyring> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let keyring = Keyring::fresh(random);
            write_keyring(path, &keyring.text())?;
            return Ok(keyring);
        }
        Err(error) => {
            return Err(error)
                .context(ErrorKind::Unavailable, || format!("cannot read {}", path.display()));
        }
    };
    Keyring::parse(&text).map_err(|error| {
        let next = error.next_step().unwrap_or_default().to_owned();
        Error::new(error.kind(), format!("{} cannot be used", path.display()))
            .next(next)
            .caused_by(error)
    })
}

/// What it will seal is safe on the disk at once, and so must the file and its name be.
fn write_keyring(path: &Path, text: &str) -> Result<()> {
    write_private(path, text.as_bytes())?;
    let directory = path.parent().unwrap_or(path);
    std::fs::File::open(directory)
        .and_then(|directory| directory.sync_all())
        .context(ErrorKind::Unavailable, || format!("cannot write {}", path.display()))
}

async fn start_engine(config: &Config, places: &Places) -> Result<Supervisor> {
    let state = places.state.join("containerd");
    let run = places.run.join("containerd");
    let mut settings = Settings::new(state, run)?;
    settings.containerd.clone_from(&config.containerd.binary);
    Supervisor::start(settings).await
}

async fn start_agent(
    config: &Config,
    places: &Places,
    name: &str,
    control: &Arc<Control>,
    supervisor: &Supervisor,
) -> Result<Agent> {
    let node = control.nodes().get(&Caller::platform(), "", name)?;
    let engine = supervisor.engine();
    let volumes = open_volumes(places).await?;
    let tag = NodeTag::of(&node.meta.id);
    keep_tag(&tag, places)?;
    let settings = agent::Config {
        node: name.to_owned(),
        node_id: node.meta.id.clone(),
        places: agent::Places::new(&places.state, &places.run),
        api: config.api.listen,
        metadata: config.metadata.enabled.then_some(config.metadata.port),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        program: program::file()?,
        build_kit: agent::BuildKit {
            daemon: config.build.buildkitd.clone(),
            image: config.build.buildkit_image.clone(),
            idle: config.build.buildkit_idle.0,
        },
    };
    let drivers = Drivers {
        engine_title: format!("containerd {}", supervisor.version()),
        content: Arc::new(ContainerdContent::new(engine.clone())),
        engine: Arc::new(engine),
        images: images::Settings {
            registries: crate::config::registries(places.config(), config.registries.clone()),
            credentials: Some(places.state.join("registry/config.json")),
            limits: config.images.clone(),
            ..images::Settings::default()
        },
        network: Arc::new(NetDriver::new(Names::new(tag), &places.run)),
        volumes,
        dns: Arc::new(crate::names::process(places)),
    };
    Agent::start(settings, drivers, control.clone()).await
}

/// The node's own storage, and that of Docker's volume plugins.
async fn open_volumes(places: &Places) -> Result<volumes::Services> {
    let (own, theirs) = (places.state.join("volumes"), places.state.join("plugin-volumes"));
    let found = volumes::plugin::Places::below(&places.root);
    let found = found.barring(&places.state).barring(&places.run).barring(&places.etc);
    let open = move || {
        let local = volumes::local::LocalDriver::open(&own)?;
        let boot = host::facts::boot_id();
        let plugins = volumes::plugin::PluginVolumes::open(&theirs, found, &boot)?;
        Ok(volumes::Services::new(Arc::new(local), plugins))
    };
    let opened = tokio::task::spawn_blocking(open).await;
    opened.context(ErrorKind::Internal, || "opening the volumes failed".into())?
}

/// Writes the node's tag down before anything carries it.
fn keep_tag(tag: &NodeTag, places: &Places) -> Result<()> {
    let path = places.tag();
    std::fs::write(&path, format!("{tag}\n"))
        .context(ErrorKind::Unavailable, || format!("cannot write {}", path.display()))
}

/// Certificates for all addresses that this node is reached at.
fn open_pki(config: &Config, places: &Places, name: &str) -> Result<Pki> {
    let facts = host::facts::facts(&places.state)?;
    let mut addresses: Vec<IpAddr> = facts.addresses;
    // Those of instances' networks come and go, and nobody reaches the API by them.
    addresses.retain(|address| !ipnet::IpNet::V4(config.network.pool).contains(address));
    Pki::open(&places.state.join("pki"), name, &addresses)
}

/// Docker's front-end, unless it is turned off.
async fn bind_docker(
    config: &Config,
    places: &Places,
    name: &str,
    pki: &Pki,
    control: &Arc<Control>,
    audit: &Arc<audit::Log>,
) -> Result<Option<docker_api::Server>> {
    if !config.docker.enabled {
        return Ok(None);
    }
    let tls = match config.docker.listen.is_empty() {
        true => None,
        false => Some(pki.docker(&places.etc.join("docker"))?),
    };
    let settings = docker_api::Config {
        audit: audit.clone(),
        socket: places.run.join("docker.sock"),
        listen: config.docker.listen.clone(),
        tls,
        project: config.docker.project.clone(),
        node: name.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        root: places.state.clone(),
    };
    docker_api::bind(settings, control.clone()).await.map(Some)
}

async fn bind_api(
    config: &Config,
    places: &Places,
    name: &str,
    pki: &Pki,
    control: &Arc<Control>,
    audit: &Arc<audit::Log>,
) -> Result<api::Server> {
    let scratch = empty_dir(&places.state.join("scratch"))?;
    let settings = api::Config {
        audit: audit.clone(),
        listen: vec![config.api.listen],
        tls: pki.server()?,
        authority: pki.authority()?,
        socket: Some(places.run.join("api.sock")),
        node: name.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        scratch,
        library: catalog::Library::new(places.state.join("catalogs")),
        sign_ins: Some(places.state.join("sign-ins.json")),
        limits: api::Limits::default(),
        metrics: Metrics::default(),
    };
    let server = api::bind(settings, control.clone()).await?;
    if config.api.listen.port() != 0 && server.addresses().is_empty() {
        return Err(Error::unavailable("the API listens nowhere"));
    }
    Ok(server)
}

/// A directory of the daemon's own, without what one that was killed left in it.
fn empty_dir(dir: &Path) -> Result<PathBuf> {
    if let Err(error) = std::fs::remove_dir_all(dir)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(dir = %dir.display(), %error, "old copies could not be removed");
    }
    create_dir(dir, 0o700)?;
    Ok(dir.to_owned())
}

/// Comes with the first SIGTERM or SIGINT.
fn stop_signal() -> impl Future<Output = ()> {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    async move {
        match signals {
            (Ok(mut terminate), Ok(mut interrupt)) => {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            }
            _ => std::future::pending().await,
        }
    }
}

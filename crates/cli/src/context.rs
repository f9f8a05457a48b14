//! What every command needs: the cluster, the project, how to print.

use std::path::{Path, PathBuf};

use clap::Args;
use client::{Client, Config, Host, Instances, Trust};
use model::Result;

use crate::out::Format;

/// Flags that every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Global {
    /// The cluster: unix:///run/hull/api.sock or https://host:7443
    #[arg(long, env = "HULL_HOST", hide_env_values = true, global = true, value_name = "HOST")]
    pub host: Option<String>,
    /// The project
    #[arg(
        long,
        env = "HULL_PROJECT",
        hide_env_values = true,
        global = true,
        default_value = "default",
        value_name = "NAME"
    )]
    pub project: String,
    /// Everything of the node lies below this directory
    #[arg(
        long,
        env = "HULL_ROOT",
        hide_env_values = true,
        global = true,
        default_value = "/",
        value_name = "DIR"
    )]
    pub root: PathBuf,
}

impl Global {
    /// What words of a command line that is not complete yet say, and the environment.
    pub fn of_words(words: impl Iterator<Item = String>) -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let mut global = Self {
            host: variable("HULL_HOST"),
            project: variable("HULL_PROJECT").unwrap_or_else(|| "default".into()),
            root: variable("HULL_ROOT").unwrap_or_else(|| "/".into()).into(),
        };
        let words: Vec<String> = words.collect();
        for (index, word) in words.iter().enumerate() {
            let (flag, value) = match word.split_once('=') {
                Some((flag, value)) => (flag, Some(value.to_owned())),
                None => (word.as_str(), words.get(index + 1).cloned()),
            };
            match (flag, value) {
                ("--host", Some(value)) => global.host = Some(value),
                ("--project", Some(value)) => global.project = value,
                ("--root", Some(value)) => global.root = value.into(),
                _ => {}
            }
        }
        global
    }
}

/// What every command needs.
pub struct Context {
    /// The cluster.
    pub client: Client,
    /// The project.
    pub project: String,
    /// The node's root.
    pub root: PathBuf,
}

impl Context {
    /// Finds out where the cluster is. Nothing is sent yet.
    pub fn new(global: &Global) -> Result<Self> {
        let mut config = match &global.host {
            Some(host) => {
                let mut config = Config::local(socket(&global.root));
                config.host = host.parse()?;
                config
            }
            None => Config::local(socket(&global.root)),
        };
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        config.token = variable("HULL_TOKEN");
        if let Some(trust) = variable("HULL_CA") {
            config.trust = trust.parse()?;
        } else if matches!(config.host, Host::Https { .. }) {
            config.trust = local_authority(&global.root);
        }
        let client = Client::connect(config)?;
        Ok(Self { client, project: global.project.clone(), root: global.root.clone() })
    }

    /// Instances of the project.
    pub fn instances(&self) -> Instances {
        self.client.instances(&self.project)
    }
}

/// The local daemon's socket below a root.
pub fn socket(root: &Path) -> PathBuf {
    root.join("run/hull/api.sock")
}

/// On a machine of the cluster its own authority is known.
fn local_authority(root: &Path) -> Trust {
    let path = root.join("var/lib/hull/pki/ca.crt");
    if path.exists() { Trust::File(path) } else { Trust::None }
}

/// How a read is printed.
#[derive(Debug, Clone, Copy, Args)]
pub struct Output {
    /// How it is printed
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
}

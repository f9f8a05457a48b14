//! `hull commit`.

use std::process::ExitCode;

use clap::Args;
use clap_complete::ArgValueCompleter;
use link::instance::CommitRequest;
use model::image::{ImageConfig, Reference};
use model::{Error, Result};

use crate::context::Context;
use crate::{complete, out, plan};

const EXAMPLES: &str = "Examples:
  hull commit web web:patched
  hull commit -m 'with vim' --change 'CMD [\"nginx\", \"-g\", \"daemon off;\"]' web web:2";

/// Makes an image of an instance, and prints its id. What is mounted in it is left out.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Commit {
    /// Who made it
    #[arg(short, long, default_value = "", value_name = "NAME")]
    author: String,
    /// A remark
    #[arg(short, long, default_value = "", value_name = "TEXT")]
    message: String,
    /// Change the configuration: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME,
    /// WORKDIR
    #[arg(short, long, value_name = "LINE")]
    change: Vec<String>,
    /// Don't freeze it meanwhile
    #[arg(long)]
    no_pause: bool,
    /// The container, in a group of several
    #[arg(long, default_value = "", value_name = "NAME")]
    container: String,
    /// Show what would be made, and make nothing
    #[arg(long)]
    plan: bool,
    /// The instance
    #[arg(add = ArgValueCompleter::new(complete::instances))]
    name: String,
    /// Name of the image
    image: Option<String>,
}

impl Commit {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        if let Some(image) = &self.image {
            Reference::parse(image)?;
        }
        let request = CommitRequest {
            name: self.image.clone().unwrap_or_default(),
            author: self.author.clone(),
            message: self.message.clone(),
            config: self.config(context).await?,
            pause: !self.no_pause,
        };
        if self.plan {
            plan::creation(&request)?;
            return Ok(ExitCode::SUCCESS);
        }
        out::line(context.instances().commit(&self.name, &self.container, &request).await?);
        Ok(ExitCode::SUCCESS)
    }

    /// The changed configuration: lists that it has entries added to are the image's first.
    async fn config(&self, context: &Context) -> Result<Option<ImageConfig>> {
        if self.change.is_empty() {
            return Ok(None);
        }
        let instance = context.instances().get(&self.name).await?;
        let container = instance.spec.container(&self.container)?;
        // What it was made from, wherever its image's name points now.
        let seen = instance.status.container(&container.name).map(|seen| &seen.image_digest);
        let image = seen.filter(|digest| !digest.is_empty()).unwrap_or(&container.image);
        let old = context.client.images().show(image).await?.config;
        let mut config = ImageConfig {
            env: old.env,
            exposed_ports: old.exposed_ports,
            volumes: old.volumes,
            labels: old.labels,
            ..ImageConfig::default()
        };
        for line in &self.change {
            change(&mut config, line)?;
        }
        Ok(Some(config))
    }
}

/// Applies a line of a Dockerfile.
fn change(config: &mut ImageConfig, line: &str) -> Result<()> {
    let refuse = || {
        Error::invalid(format!("{line:?} is not a change"))
            .at("--change")
            .next("write a line such as: ENV NAME=value")
    };
    let (word, rest) = line.trim().split_once(char::is_whitespace).ok_or_else(refuse)?;
    let rest = rest.trim();
    match word.to_ascii_uppercase().as_str() {
        "CMD" => config.command = command(rest),
        "ENTRYPOINT" => config.entrypoint = command(rest),
        "USER" => rest.clone_into(&mut config.user),
        "WORKDIR" => rest.clone_into(&mut config.workdir),
        "STOPSIGNAL" => rest.clone_into(&mut config.stop_signal),
        "VOLUME" => config.volumes.extend(words(rest)),
        "EXPOSE" => config.exposed_ports.extend(
            words(rest)
                .into_iter()
                .map(|port| if port.contains('/') { port } else { format!("{port}/tcp") }),
        ),
        "ENV" => {
            let (name, value) = pair(rest).ok_or_else(refuse)?;
            config.env.retain(|entry| entry.split('=').next() != Some(name.as_str()));
            config.env.push(format!("{name}={value}"));
        }
        "LABEL" => {
            let (name, value) = pair(rest).ok_or_else(refuse)?;
            config.labels.insert(name, value);
        }
        _ => return Err(refuse()),
    }
    Ok(())
}

/// A JSON list of words, or a line for the shell.
fn command(text: &str) -> Vec<String> {
    let shell = || vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()];
    serde_json::from_str(text).unwrap_or_else(|_| shell())
}

fn words(text: &str) -> Vec<String> {
    let split = || text.split_whitespace().map(str::to_owned).collect();
    serde_json::from_str(text).unwrap_or_else(|_| split())
}

/// `NAME=value` or `NAME value`.
fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once(['=', ' '])?;
    let value = value.trim();
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    (!name.is_empty()).then(|| (name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_change_the_configuration() {
        let mut config =
            ImageConfig { env: vec!["A=1".into(), "B=1".into()], ..Default::default() };
        for line in [
            "CMD [\"a\", \"b c\"]",
            "entrypoint run it",
            "ENV A=2",
            "ENV C \"x y\"",
            "EXPOSE 80 53/udp",
            "LABEL app=web",
            "WORKDIR /srv",
        ] {
            change(&mut config, line).unwrap();
        }
        assert_eq!(config.command, ["a", "b c"]);
        assert_eq!(config.entrypoint, ["/bin/sh", "-c", "run it"]);
        assert_eq!(config.env, ["B=1", "A=2", "C=x y"]);
        assert_eq!(config.exposed_ports, ["80/tcp", "53/udp"]);
        assert_eq!(config.labels["app"], "web");
        assert_eq!(config.workdir, "/srv");
        for line in ["", "CMD", "RUN x", "ENV A"] {
            assert!(change(&mut config, line).is_err(), "{line}");
        }
    }
}

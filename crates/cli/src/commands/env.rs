//! `hull env`.

use std::path::Path;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use client::Host;
use model::{Error, Result};

use crate::context::{Context, socket};
use crate::out;

/// Prints the environment that makes clients use this cluster.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  eval \"$(hull env)\"\n  eval \"$(hull env docker)\" && docker ps\n  eval \"$(hull --host https://n1:7443 --project shop env)\""
)]
pub struct Env {
    /// Whose clients: hull's own when not given
    #[arg(value_enum)]
    dialect: Option<Dialect>,
}

/// Whose clients.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Dialect {
    /// docker, docker compose
    Docker,
    /// kubectl, helm
    Kube,
}

impl Env {
    /// Runs the command.
    pub fn run(&self, context: &Context) -> Result<ExitCode> {
        let missing = |whose: &str| {
            Err(Error::unsupported(format!("{whose} clients cannot be used with Monohull yet"))
                .next("use hull itself; hull env prints its environment"))
        };
        match self.dialect {
            Some(Dialect::Docker) => {
                out::line(docker(context)?);
                return Ok(ExitCode::SUCCESS);
            }
            Some(Dialect::Kube) => return missing("Kubernetes"),
            None => {}
        }
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        for line in lines(context, variable) {
            out::line(line);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Where Docker's clients find this machine's engine.
fn docker(context: &Context) -> Result<String> {
    match context.client.host() {
        Host::Unix(path) => {
            let engine = path.with_file_name("docker.sock");
            Ok(export("DOCKER_HOST", &format!("unix://{}", engine.display())))
        }
        Host::Https { .. } => Err(Error::unsupported(
            "Docker's clients reach the engine of another machine with a certificate, not with a token",
        )
        .next(
            "set [docker] listen in its hull.toml, copy its /etc/hull/docker, and set DOCKER_HOST=tcp://HOST:2376, \
             DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH; or use DOCKER_HOST=ssh://root@HOST/run/hull/docker.sock",
        )),
    }
}

fn lines(context: &Context, variable: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut lines = vec![export("HULL_HOST", &context.client.host().to_string())];
    lines.push(export("HULL_PROJECT", &context.project));
    let own = *context.client.host() == Host::Unix(socket(&context.root));
    if own && context.root != Path::new("/") {
        lines.push(export("HULL_ROOT", &context.root.display().to_string()));
    }
    for name in ["HULL_CA", "HULL_TOKEN"] {
        lines.extend(variable(name).map(|value| export(name, &value)));
    }
    lines
}

/// A line for sh(1). Within single quotes only the single quote means something.
fn export(name: &str, value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/:._-@%+=,".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        return format!("export {name}={value}");
    }
    format!("export {name}='{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_safe_for_a_shell() {
        for (value, line) in [
            ("unix:///run/hull/api.sock", "export A=unix:///run/hull/api.sock"),
            ("", "export A=''"),
            ("a b", "export A='a b'"),
            ("$(x)'`y`", r"export A='$(x)'\''`y`'"),
        ] {
            assert_eq!(export("A", value), line);
        }
    }
}

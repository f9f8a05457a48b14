//! `hull version`.

use std::process::ExitCode;

use clap::Args;
use model::Result;
use serde::Serialize;

use crate::context::{Context, Output};
use crate::out::{self, Format};

/// Shows the versions of this program and of the platform it talks to.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull version\n  hull version -o json")]
pub struct Version {
    #[command(flatten)]
    output: Output,
}

/// The versions.
#[derive(Debug, Serialize)]
struct Versions {
    client: &'static str,
    /// Nothing when the platform does not answer.
    server: Option<String>,
}

impl Version {
    /// Runs the command.
    pub async fn run(&self, context: &Context) -> Result<ExitCode> {
        let server = context.client.system().status().await;
        let versions = Versions {
            client: env!("CARGO_PKG_VERSION"),
            server: server.as_ref().ok().map(|status| status.version.clone()),
        };
        if out::structured(self.output.output, &versions)? {
            return Ok(ExitCode::SUCCESS);
        }
        if self.output.output == Format::Name {
            out::line(versions.client);
            return Ok(ExitCode::SUCCESS);
        }
        out::line(format!("hull      {}", versions.client));
        match server {
            Ok(status) => out::line(format!("platform  {}", status.version)),
            Err(error) => out::line(format!("platform  unknown: {}", error.message())),
        }
        Ok(ExitCode::SUCCESS)
    }
}

//! `hull commit`.

use std::process::ExitCode;

use clap::Args;
use clap_complete::ArgValueCompleter;
use link::instance::CommitRequest;
use model::Result;
use model::image::{ImageConfig, Reference};

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
            whole: false,
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
        let seen = instance.status.container(&container.name);
        let image = container.made_from(seen).unwrap_or(&container.image);
        let old = context.client.images().show(image).await?.config;
        let mut config = ImageConfig {
            env: old.env,
            exposed_ports: old.exposed_ports,
            volumes: old.volumes,
            labels: old.labels,
            ..ImageConfig::default()
        };
        for line in &self.change {
            config.change(line).map_err(|error| error.at("--change"))?;
        }
        Ok(Some(config))
    }
}

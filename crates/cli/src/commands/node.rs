//! `hull node`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use model::Result;
use model::node::{Node as Known, NodeNoun};
use serde_json::json;

use crate::commands::each;
use crate::complete;
use crate::context::{Context, Output};
use crate::objects::{self, Listing, View};

/// Machines of the cluster.
#[derive(Debug, Subcommand)]
pub enum Node {
    /// List nodes
    Ls(Ls),
    /// Show nodes
    Show(Show),
    /// Place nothing new on nodes
    Cordon(Cordon),
    /// Place instances on nodes again
    Uncordon(Cordon),
}

/// Lists nodes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull node ls\n  hull node ls -w")]
pub struct Ls {
    #[command(flatten)]
    listing: Listing,
}

/// Shows nodes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull node show n1")]
pub struct Show {
    #[command(flatten)]
    output: Output,
    /// The nodes
    #[arg(required = true, add = ArgValueCompleter::new(complete::nodes))]
    names: Vec<String>,
}

/// Says whether something new is placed on nodes. What runs there, runs on.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull node cordon n1\n  hull node uncordon n1")]
pub struct Cordon {
    /// Show what would change, and change nothing
    #[arg(long)]
    plan: bool,
    /// The nodes
    #[arg(required = true, add = ArgValueCompleter::new(complete::nodes))]
    names: Vec<String>,
}

impl Node {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        let nodes = context.client.nodes();
        match self {
            Node::Ls(args) => args.listing.show(&nodes, &VIEW).await?,
            Node::Show(args) => {
                return each(&args.names, async |name| {
                    objects::show(&nodes.get(name).await?, args.output.output)
                })
                .await;
            }
            Node::Cordon(args) => return args.run(context, true).await,
            Node::Uncordon(args) => return args.run(context, false).await,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Cordon {
    async fn run(&self, context: &Context, cordoned: bool) -> Result<ExitCode> {
        let patch = json!({ "spec": { "cordoned": cordoned } });
        each(&self.names, async |name| {
            objects::patch(&context.client.nodes(), name, &patch, self.plan).await
        })
        .await
    }
}

const VIEW: View<NodeNoun> = View {
    titles: &["NAME", "STATE", "CPUS", "MEMORY", "OS", "KERNEL", "VERSION"],
    right: &[2, 3],
    row: |node: &Known| {
        let status = &node.status;
        let ready = if status.ready { "ready" } else { "not ready" };
        let cordoned = if node.spec.cordoned { ", cordoned" } else { "" };
        vec![
            node.meta.name.clone(),
            format!("{ready}{cordoned}"),
            status.cpus.to_string(),
            status.memory.to_string(),
            status.os.clone(),
            status.kernel.clone(),
            status.version.clone(),
        ]
    },
};

//! `hull user`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use client::wire::{Draft, DraftMeta, PasswordRequest};
use model::role::Grant;
use model::user::{User as Known, UserNoun, UserSpec, check_password};
use model::{Error, Result};
use serde_json::json;

use crate::commands::each;
use crate::context::{Context, Output};
use crate::objects::{self, Listing, View};
use crate::{complete, out, password, plan};

/// Users: people who sign in at the console, and what they may do.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Roles, each with all that the one before it may:\n  viewer    reads\n  operator  starts, stops, enters instances\n  editor    makes, changes, removes\n  admin     everything, of the whole cluster\n\nA role with @PROJECT holds in that project only.\n\nExamples:\n  hull user create ann --role editor@shop --role viewer\n  hull user grant ann operator@bank\n  hull token create ann-laptop --user ann --expires 90d"
)]
pub enum User {
    /// Make a user
    Create(Create),
    /// List users
    Ls(Ls),
    /// Show users
    #[command(visible_alias = "inspect")]
    Show(Show),
    /// Give a user roles
    Grant(Roles),
    /// Take roles away from a user
    Revoke(Roles),
    /// Change what is known of a user, or whether they may do anything
    Update(Update),
    /// Set a user's password
    Password(Password),
    /// Remove users and their tokens
    Rm(Rm),
}

/// Makes a user.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull user create ann --role editor@shop\n  hull user create bob --role viewer --password-stdin < password.txt\n  hull user create ci --role editor@shop --no-password"
)]
pub struct Create {
    /// For people: a full name, an address
    #[arg(short, long, default_value = "", value_name = "TEXT")]
    description: String,
    /// What they may do; nothing when none is given
    #[arg(long, value_name = "ROLE[@PROJECT]")]
    role: Vec<Grant>,
    /// Read the password from standard input without asking
    #[arg(long)]
    password_stdin: bool,
    /// Set no password: they use tokens only
    #[arg(long, conflicts_with = "password_stdin")]
    no_password: bool,
    /// Show what would be made, and make nothing
    #[arg(long)]
    plan: bool,
    /// Their name
    name: String,
}

/// Lists users.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull user ls")]
pub struct Ls {
    #[command(flatten)]
    listing: Listing,
}

/// Shows users.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull user show ann")]
pub struct Show {
    #[command(flatten)]
    output: Output,
    /// The users
    #[arg(required = true, add = ArgValueCompleter::new(complete::users))]
    names: Vec<String>,
}

/// Gives roles, or takes them away. It counts from the next request on.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull user grant ann editor@shop viewer\n  hull user revoke ann editor@shop"
)]
pub struct Roles {
    /// Show what would change, and change nothing
    #[arg(long)]
    plan: bool,
    /// The user
    #[arg(add = ArgValueCompleter::new(complete::users))]
    name: String,
    /// The roles
    #[arg(required = true, value_name = "ROLE[@PROJECT]")]
    roles: Vec<Grant>,
}

/// Changes a user.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull user update --disable ann\n  hull user update --enable ann"
)]
pub struct Update {
    /// For people
    #[arg(short, long, value_name = "TEXT")]
    description: Option<String>,
    /// They may do nothing for now, by password or token
    #[arg(long)]
    disable: bool,
    /// They may again
    #[arg(long, conflicts_with = "disable")]
    enable: bool,
    /// Show what would change, and change nothing
    #[arg(long)]
    plan: bool,
    /// The user
    #[arg(add = ArgValueCompleter::new(complete::users))]
    name: String,
}

/// Sets a user's password. Whoever signed in with the one before is signed out.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull user password ann\n  hull user password ann --password-stdin < password.txt"
)]
pub struct Password {
    /// Read it from standard input without asking
    #[arg(long)]
    password_stdin: bool,
    /// The user
    #[arg(add = ArgValueCompleter::new(complete::users))]
    name: String,
}

/// Removes users and their tokens, and signs them out.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull user rm ann")]
pub struct Rm {
    /// Show what would go, and remove nothing
    #[arg(long)]
    plan: bool,
    /// The users
    #[arg(required = true, add = ArgValueCompleter::new(complete::users))]
    names: Vec<String>,
}

impl User {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        let users = context.client.users();
        match self {
            User::Create(args) => args.run(context).await?,
            User::Ls(args) => args.listing.show(&users, &VIEW).await?,
            User::Show(args) => {
                return each(&args.names, async |name| {
                    objects::show(&users.get(name).await?, args.output.output)
                })
                .await;
            }
            User::Grant(args) => {
                args.change(context, |roles, given| {
                    roles.extend(
                        given.iter().filter(|it| !roles.contains(it)).cloned().collect::<Vec<_>>(),
                    );
                    Ok(())
                })
                .await?;
            }
            User::Revoke(args) => {
                let name = args.name.clone();
                args.change(context, |roles, given| {
                    if let Some(absent) = given.iter().find(|it| !roles.contains(it)) {
                        return Err(Error::not_found(format!(
                            "user {name:?} has no role {absent}"
                        ))
                        .next(format!("`hull user show {name}` tells what they have")));
                    }
                    roles.retain(|role| !given.contains(role));
                    Ok(())
                })
                .await?;
            }
            User::Update(args) => args.run(context).await?,
            User::Password(args) => {
                let request = PasswordRequest {
                    password: password::read_new(args.password_stdin)?,
                    present: None,
                };
                users.set_password(&args.name, &request).await?;
                out::line(&args.name);
            }
            User::Rm(args) => {
                return each(&args.names, async |name| {
                    objects::remove(&users, name, args.plan, true).await
                })
                .await;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Create {
    async fn run(self, context: &Context) -> Result<()> {
        let users = context.client.users();
        let meta = DraftMeta { name: self.name, ..DraftMeta::default() };
        let spec =
            UserSpec { description: self.description, roles: self.role, ..UserSpec::default() };
        let draft = Draft { meta, spec };
        if self.plan {
            return plan::creation(&users.create(&draft, true).await?);
        }
        // Asked for and checked before anything is made.
        let password = match self.no_password {
            true => None,
            false => Some(password::read_new(self.password_stdin)?),
        };
        if let Some(password) = &password {
            check_password(password)?;
        }
        let user = users.create(&draft, false).await?;
        if let Some(password) = password {
            let request = PasswordRequest { password, present: None };
            users.set_password(&user.meta.name, &request).await?;
        }
        out::line(&user.meta.name);
        Ok(())
    }
}

impl Roles {
    /// Changes the roles that the user has now; nothing when somebody else changed them meanwhile.
    async fn change(
        self,
        context: &Context,
        edit: impl FnOnce(&mut Vec<Grant>, &[Grant]) -> Result<()>,
    ) -> Result<()> {
        let users = context.client.users();
        let user = users.get(&self.name).await?;
        let mut roles = user.spec.roles.clone();
        edit(&mut roles, &self.roles)?;
        let patch = json!({ "spec": { "roles": roles } });
        let write = users.patch(&self.name, &patch, Some(user.meta.revision), self.plan);
        if self.plan {
            return plan::change(&users, &self.name, write).await;
        }
        out::line(words(&write.await?.spec.roles));
        Ok(())
    }
}

impl Update {
    async fn run(self, context: &Context) -> Result<()> {
        let users = context.client.users();
        let mut spec = json!({});
        if let Some(description) = self.description {
            spec["description"] = description.into();
        }
        if self.disable || self.enable {
            spec["disabled"] = self.disable.into();
        }
        if spec == json!({}) {
            return Err(Error::invalid("nothing is to change")
                .next("give --description, --disable or --enable"));
        }
        objects::patch(&users, &self.name, &json!({ "spec": spec }), self.plan).await
    }
}

/// Roles as people write them.
pub(super) fn words(roles: &[Grant]) -> String {
    roles.iter().map(Grant::to_string).collect::<Vec<_>>().join(", ")
}

const VIEW: View<UserNoun> = View {
    titles: &["NAME", "ROLES", "SIGNS IN", "DESCRIPTION", "AGE"],
    right: &[],
    row: |user: &Known| {
        let signs_in = match (user.spec.disabled, user.status.has_password) {
            (true, _) => "disabled",
            (false, true) => "password",
            (false, false) => "no",
        };
        vec![
            user.meta.name.clone(),
            out::short(&words(&user.spec.roles), 40),
            signs_in.to_owned(),
            out::short(&user.spec.description, 30),
            out::age(user.meta.created),
        ]
    },
};

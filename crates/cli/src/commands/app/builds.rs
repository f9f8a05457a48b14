//! Images that an app's files say how to build: which are, from what, and in what order.

use std::path::{Path, PathBuf};

use clap::Args;
use client::wire::BuildQuery;
use compose::{Build, BuildSecret, SecretSource, Wanted};
use model::error::Context as _;
use model::instance::PullPolicy;
use model::{Error, ErrorKind, Result};

use crate::archive::context::{self, Dockerfile, Ground, Sent};
use crate::commands::image::build::{self, empty};
use crate::commands::image::handed::{self, Handed};
use crate::context::Context;
use crate::out;

/// Whether images are built, as flags.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Building {
    /// Build images also where they are here already
    #[arg(long, conflicts_with = "no_build")]
    build: bool,
    /// Build none, also where they are not here
    #[arg(long)]
    no_build: bool,
}

/// An image that is built for an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Its name.
    image: String,
    /// The services that run it.
    services: Vec<String>,
    how: Build,
    pull: PullPolicy,
    /// What the files say of it: `compose.yaml:7`.
    place: String,
    /// Where the files are that its context is below.
    ground: Ground,
}

/// The images that files say how to build, below where the files are.
pub fn of(wanted: &Wanted, ground: &Ground) -> Vec<Planned> {
    let mut all: Vec<Planned> = Vec::new();
    for service in &wanted.services {
        for container in &service.spec.template.spec.containers {
            let Some(how) = service.builds.get(&container.name) else { continue };
            let known = all.iter_mut().find(|it| it.image == container.image && it.how == *how);
            if let Some(known) = known {
                known.services.push(container.name.clone());
                continue;
            }
            all.push(Planned {
                image: container.image.clone(),
                services: vec![container.name.clone()],
                how: how.clone(),
                pull: container.pull,
                place: format!("{}:{}", service.file, service.line),
                ground: ground.clone(),
            });
        }
    }
    all
}

fn is_address(context: &str) -> bool {
    context.contains("://") || context.starts_with("git@") || context.starts_with("github.com/")
}

/// A file or directory of this machine that nothing leads out of the app's.
fn below(root: &Path, path: &Path) -> Result<PathBuf> {
    let plain = |path: &Path| {
        std::fs::canonicalize(path)
            .context(ErrorKind::NotFound, || format!("there is no {}", path.display()))
    };
    let (full, root) = (plain(&root.join(path))?, plain(root)?);
    match full.starts_with(&root) {
        true => Ok(full),
        false => Err(Error::invalid(format!("{} is not below {}", full.display(), root.display()))
            .next("keep the files of an app, and contexts of its images, in one directory")),
    }
}

/// The context of an image, and its Dockerfile. One that lies beside the context is sent with it.
fn context_of(how: &Build, ground: &Ground) -> Result<(Ground, Dockerfile)> {
    let path = how.dockerfile.trim_start_matches("./");
    let dockerfile = match how.dockerfile_inline.as_str() {
        "" => Dockerfile::Inside(path.to_owned()),
        text => Dockerfile::Text(text.to_owned()),
    };
    let root = match ground {
        Ground::Disk(root) => root,
        Ground::Given(given, _) => {
            return Ok((Ground::Given(given.clone(), how.context.clone()), dockerfile));
        }
    };
    let place = below(root, Path::new(&how.context))?;
    if !place.is_dir() {
        return Err(Error::invalid(format!("{} is no directory", place.display())));
    }
    if !path.split('/').any(|part| part == "..") {
        return Ok((Ground::Disk(place), dockerfile));
    }
    let full = below(root, &place.join(path))?;
    let absent = || Error::not_found(format!("there is no {}", full.display()));
    let text = context::text(&full)?.ok_or_else(absent)?;
    Ok((Ground::Disk(place), Dockerfile::Text(text)))
}

impl Planned {
    /// Why it is to be built; `None` when it is not.
    async fn why(&self, context: &Context, flags: Building) -> Result<Option<&'static str>> {
        if flags.no_build {
            return Ok(None);
        }
        if flags.build {
            return Ok(Some("it is asked for; what runs it changes if another comes of it"));
        }
        if self.how.always {
            let why = "its pull_policy is build; what runs it changes if another comes of it";
            return Ok(Some(why));
        }
        if self.pull == PullPolicy::Always {
            return Ok(None);
        }
        match context.client.images().show(&self.image).await {
            Ok(_) => Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Some("it is not here")),
            Err(error) => Err(error),
        }
    }

    /// What steps are handed.
    fn handed(&self) -> Result<Handed> {
        let value = |(id, secret): (&String, &BuildSecret)| {
            let told = |why: String| {
                let note = compose::Note { why, ..secret.place.clone() };
                Error::invalid(note.to_string())
            };
            let value = match &secret.from {
                SecretSource::Platform(name) => Ok(handed::Value::Named(name.clone())),
                SecretSource::Environment(name) => match &secret.value {
                    Some(value) => handed::given(value.bytes().to_vec()),
                    None => return Err(told(format!("variable {name} is not set"))),
                },
                SecretSource::File(path) => match &self.ground {
                    Ground::Disk(root) => {
                        below(root, Path::new(path)).and_then(|it| handed::file(&it))
                    }
                    Ground::Given(given, _) => match given.files.get(path) {
                        Some(bytes) => handed::given(bytes.clone()),
                        None => return Err(told(format!("there is no file {path}"))),
                    },
                },
            };
            Ok((
                id.clone(),
                value.map_err(|error| told(error.message().to_owned()).caused_by(error))?,
            ))
        };
        self.how.secrets.iter().map(value).collect::<Result<_>>().map(Handed::of)
    }

    /// What is asked of the platform, and what is sent. Nothing is built yet.
    fn prepare(&self) -> Result<(BuildQuery, Option<Sent>)> {
        let failed = |error: Error| {
            let next = format!(
                "build it otherwise, name it {}, and then: hull app up --no-build",
                self.image
            );
            error.at(self.place.clone()).next(next)
        };
        if let Some(note) = self.how.unserved.first() {
            return Err(failed(Error::unsupported(note.to_string())));
        }
        if self.how.platforms.len() > 1 {
            return Err(failed(Error::unsupported("an image is built for one platform at a time")));
        }
        let mut query = self.query()?;
        if is_address(&self.how.context) {
            if !self.how.dockerfile_inline.is_empty() {
                let what = "a context that is fetched has its own Dockerfile";
                return Err(failed(Error::unsupported(what)));
            }
            query.remote.clone_from(&self.how.context);
            query.dockerfile.clone_from(&self.how.dockerfile);
            return Ok((query, None));
        }
        let sent = context_of(&self.how, &self.ground)
            .and_then(|(ground, dockerfile)| ground.send(&dockerfile))
            .map_err(|error| error.at(self.place.clone()))?;
        query.dockerfile.clone_from(&sent.dockerfile);
        Ok((query, Some(sent)))
    }

    fn query(&self) -> Result<BuildQuery> {
        let how = &self.how;
        let names = std::iter::once(&self.image).chain(&how.tags);
        Ok(BuildQuery {
            names: names.map(String::as_str).collect::<Vec<_>>().join(","),
            target: how.target.clone(),
            arguments: build::object(&how.args)?,
            labels: build::object(&how.labels)?,
            platform: how.platforms.join(","),
            no_cache: how.no_cache,
            pull: how.pull,
            network: how.network.clone(),
            extra_hosts: how.extra_hosts.join(","),
            shm_size: how.shm_size,
            ulimits: how.ulimits.join(","),
            ..BuildQuery::default()
        })
    }

    /// What a plan says.
    fn lines(&self, why: &str) -> [String; 2] {
        let place = if self.how.context.is_empty() { "." } else { &self.how.context };
        [
            format!("{:<8} {:<8} {}", "build", "image", self.image),
            format!("           of {place} for {}: {why}", self.services.join(", ")),
        ]
    }
}

/// An image that is going to be built, and why.
pub struct Due<'a> {
    planned: &'a Planned,
    why: &'static str,
    query: BuildQuery,
    sent: Option<Sent>,
    handed: Handed,
}

/// Which of these are to be built, each ready to be sent.
///
/// # Errors
/// What of it cannot be built.
pub async fn due<'a>(
    context: &Context,
    all: &'a [Planned],
    flags: Building,
) -> Result<Vec<Due<'a>>> {
    let mut due = Vec::new();
    for planned in all {
        if let Some(why) = planned.why(context, flags).await? {
            let (query, sent) = planned.prepare()?;
            let handed = planned.handed()?;
            due.push(Due { planned, why, query, sent, handed });
        }
    }
    Ok(due)
}

/// Tells what would be built.
pub fn show(due: &[Due<'_>], tell: impl Fn(String)) {
    due.iter().flat_map(|it| it.planned.lines(it.why)).for_each(tell);
}

/// Builds them, one after the other.
///
/// # Errors
/// The first that fails; those behind it are not built.
pub async fn build(context: &Context, due: Vec<Due<'_>>) -> Result<()> {
    for Due { planned, mut query, sent, handed, why: _ } in due {
        out::remark(format!("Building {} …", planned.image));
        let archive = handed.before(sent.map_or_else(empty, Sent::archive), &mut query, context)?;
        let built = build::build(context, &query, archive, false).await;
        built.map_err(|error| error.at(format!("services.{}.build", planned.services[0])))?;
    }
    Ok(())
}

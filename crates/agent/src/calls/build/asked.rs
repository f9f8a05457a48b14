//! Builds that are asked of BuildKit in the words of the classic endpoint (`version=2` of `POST /build`): the
//! archive that comes as the context is put where BuildKit can fetch it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use build::kit::{Handed, KitJob, Logins, inputs};
use futures::TryStreamExt;
use link::build::{BuildReach, BuildRequest, BuildSecrets, BuildStep};
use link::{ByteStream, ResultStream};
use model::error::Context as _;
use model::image::Reference;
use model::{Error, ErrorKind, Result};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::kit::{User, take_in};
use super::{Calls, LARGEST, WAITING, id, ignored};
use crate::calls::images::registry::registry_of;
use crate::context::Context;

/// A context that the client's session has.
const IN_SESSION: &str = "client-session";

/// Builds. It ends when nobody reads what it says.
pub(super) async fn build(
    calls: &Calls,
    request: BuildRequest,
    secrets: BuildSecrets,
    archive: ByteStream,
) -> Result<ResultStream<BuildStep>> {
    if request.squash {
        return Err(Error::unsupported("BuildKit has no squash").at("squash"));
    }
    for name in &request.names {
        Reference::parse(name).map_err(|error| error.at("names"))?;
    }
    let user = calls.kit.user(&calls.context).await?;
    let place = Place::make(&calls.context, &id())?;
    let file = match request.remote.as_str() {
        "" => Some(place.keep(archive).await?),
        _ => None,
    };
    let (sender, receiver) = mpsc::channel(WAITING);
    let context = calls.context.clone();
    tokio::spawn(async move {
        let done = tokio::select! {
            done = run(&user, &context, &request, secrets, file, &sender) => done,
            () = sender.closed() => return,
        };
        // The directory goes before anybody hears of the end.
        drop(place);
        let _ = sender.send(done).await;
    });
    Ok(Box::pin(ReceiverStream::new(receiver)))
}

async fn run(
    user: &User,
    context: &Arc<Context>,
    request: &BuildRequest,
    secrets: BuildSecrets,
    file: Option<PathBuf>,
    sender: &mpsc::Sender<Result<BuildStep>>,
) -> Result<BuildStep> {
    let own = request.session.as_ref().is_none_or(String::is_empty);
    let left_out = match &file {
        // Docker's clients send no more than steps are to have.
        Some(file) if own => ignored::patterns(file, &request.dockerfile).await?,
        Some(_) | None => Vec::new(),
    };
    let shown = file.map(|file| user.show(file));
    let address = shown.as_ref().map(|(_, address)| address.clone());
    let mut job = job(request, address, &left_out);
    if own {
        job.session = id();
    }
    let (told, mut messages) = mpsc::channel::<bytes::Bytes>(WAITING);
    let telling = async {
        while let Some(message) = messages.recv().await {
            let _ = sender.send(Ok(BuildStep::Trace { message: message.to_vec() })).await;
        }
    };
    let session = async {
        if own {
            let take_in = take_in(context.clone());
            let handed = Handed { logins: logins(request), secrets };
            user.daemon().own_session(&job.session, handed, take_in).await?;
            return Err(Error::unavailable("BuildKit has gone"));
        }
        std::future::pending::<Result<String>>().await
    };
    let building = async {
        let built = tokio::select! {
            built = user.daemon().build(&job, told) => built,
            lost = session => lost,
        };
        match built {
            Ok(id) => Ok(BuildStep::Built { id, names: request.names.clone() }),
            Err(error) if error.kind() == ErrorKind::Invalid => {
                Ok(BuildStep::Failed { message: error.message().to_owned(), code: None })
            }
            Err(error) => Err(error),
        }
    };
    futures::join!(telling, building).1
}

/// What the frontend for Dockerfiles is told, as Engine tells it.
fn job(request: &BuildRequest, address: Option<String>, left_out: &[String]) -> KitJob {
    let mut attrs = BTreeMap::new();
    let mut put = |key: &str, value: &str| {
        if !value.is_empty() {
            attrs.insert(key.to_owned(), value.to_owned());
        }
    };
    put("filename", &request.dockerfile);
    put("target", &request.target);
    put("platform", &request.platform);
    put("image-resolve-mode", if request.pull { "pull" } else { "local" });
    let remote = (request.remote != IN_SESSION).then_some(request.remote.as_str());
    let inputs = match &address {
        Some(address) if !left_out.is_empty() => inputs(address, left_out),
        Some(_) | None => Vec::new(),
    };
    if inputs.is_empty() {
        put("context", address.as_deref().or(remote).unwrap_or_default());
    }
    put(
        "force-network-mode",
        match request.reach {
            BuildReach::World => "",
            BuildReach::Host => "host",
            BuildReach::Nothing => "none",
        },
    );
    let hosts = request.extra_hosts.iter().map(|host| host.replacen(':', "=", 1));
    put("add-hosts", &hosts.collect::<Vec<_>>().join(","));
    put("ulimit", &request.ulimits.join(","));
    if request.shm_size > 0 {
        put("shm-size", &request.shm_size.to_string());
    }
    if request.no_cache {
        attrs.insert("no-cache".into(), String::new());
    }
    let given = request.arguments.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    attrs.extend(given.map(|(name, value)| (format!("build-arg:{name}"), value.clone())));
    let labels = request.labels.iter();
    attrs.extend(labels.map(|(name, value)| (format!("label:{name}"), value.clone())));
    KitJob {
        id: id(),
        session: request.session.clone().unwrap_or_default(),
        attrs,
        inputs,
        names: request.names.clone(),
        host_network: request.reach == BuildReach::Host,
    }
}

/// What a session of nobody's has to show. A token stands for a password without a user.
fn logins(request: &BuildRequest) -> Logins {
    let login = |login: &link::image::Login| {
        let secret = match login.identity_token.is_empty() {
            true => login.password.clone(),
            false => login.identity_token.clone(),
        };
        (registry_of(&login.registry), (login.username.clone(), secret))
    };
    request.logins.iter().map(login).collect()
}

/// The directory of a build, until it is dropped.
struct Place(PathBuf);

impl Place {
    fn make(context: &Context, id: &str) -> Result<Self> {
        let place = Self(context.places.build().join("jobs").join(id));
        std::fs::create_dir_all(&place.0)
            .context(ErrorKind::Exhausted, || "a build's directory cannot be made".to_owned())?;
        Ok(place)
    }

    /// Keeps an archive in a file.
    async fn keep(&self, mut archive: ByteStream) -> Result<PathBuf> {
        let path = self.0.join("context");
        let failed = || "the context cannot be kept".to_owned();
        let mut file =
            tokio::fs::File::create(&path).await.context(ErrorKind::Exhausted, failed)?;
        let mut length = 0;
        while let Some(piece) = archive.try_next().await? {
            length += piece.len() as u64;
            if length > LARGEST {
                return Err(Error::exhausted("the context is over 64 GiB").at("context"));
            }
            file.write_all(&piece).await.context(ErrorKind::Exhausted, failed)?;
        }
        file.flush().await.context(ErrorKind::Exhausted, failed)?;
        Ok(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, "a build's directory cannot be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_frontend_is_told() {
        let request = BuildRequest {
            names: vec!["a:1".into()],
            arguments: vec![("A".into(), Some("1".into())), ("B".into(), None)],
            labels: vec![("l".into(), "x".into())],
            extra_hosts: vec!["h:1.2.3.4".into(), "six:::1".into()],
            no_cache: true,
            reach: BuildReach::Host,
            session: Some("s".into()),
            ..BuildRequest::default()
        };
        let told = job(&request, Some("http://place".into()), &[]);
        let expected = [
            ("add-hosts", "h=1.2.3.4,six=::1"),
            ("build-arg:A", "1"),
            ("context", "http://place"),
            ("force-network-mode", "host"),
            ("image-resolve-mode", "local"),
            ("label:l", "x"),
            ("no-cache", ""),
        ];
        let told_attrs: Vec<_> =
            told.attrs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(told_attrs, expected);
        assert!(told.host_network && told.session == "s");
        let told = job(&request, Some("http://place".into()), &["x".into()]);
        assert!(!told.attrs.contains_key("context") && told.inputs.len() == 2);
        let request = BuildRequest { remote: IN_SESSION.into(), pull: true, ..Default::default() };
        let told = job(&request, None, &[]);
        assert_eq!(told.attrs, [("image-resolve-mode".to_owned(), "pull".to_owned())].into());
        let request = BuildRequest { remote: "https://e.org/x.git".into(), ..Default::default() };
        assert_eq!(job(&request, None, &[]).attrs["context"], "https://e.org/x.git");
    }
}

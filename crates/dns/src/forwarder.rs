//! Names of the outside: kept answers, one question at a time for each name, servers in order.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::cache::Cache;
use crate::exchange;
use crate::upstream::Upstream;

/// How long each server has, in the rounds that are made through all of them.
const ROUNDS: [Duration; 2] = [Duration::from_millis(1000), Duration::from_millis(2000)];
/// How long all of it may take: as long as the C library waits (`RES_TIMEOUT`, resolv.h).
const IN_ALL: Duration = Duration::from_secs(5);
/// Questions on their way at one time; more are turned away, so that a flood costs bounded memory.
const AT_ONCE: usize = 512;
/// A question as others are asked it. Equal questions have equal answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    /// In lower case.
    pub(crate) name: Name,
    pub(crate) kind: RecordType,
    pub(crate) dnssec: bool,
    pub(crate) checking_disabled: bool,
    /// Those to ask; none: the host's.
    pub(crate) servers: Vec<IpAddr>,
}

impl Question {
    /// What `request` asks, on behalf of one with these servers.
    pub(crate) fn of(request: &Message, query: &Query, servers: Vec<IpAddr>) -> Self {
        Self {
            name: query.name().to_lowercase(),
            kind: query.query_type(),
            dnssec: request.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok),
            checking_disabled: request.metadata.checking_disabled,
            servers,
        }
    }

    #[cfg(test)]
    pub(crate) fn plain(name: &str, kind: RecordType) -> Self {
        let name = Name::from_ascii(name).unwrap();
        Self { name, kind, dnssec: false, checking_disabled: false, servers: Vec::new() }
    }
}

type Asking = Shared<BoxFuture<'static, Option<Arc<Message>>>>;

/// Asks others.
#[derive(Debug)]
pub(crate) struct Forwarder {
    upstream: Upstream,
    /// Port that others are asked at.
    port: u16,
    /// Where we listen ourselves: asking there would go round in circles.
    own: Mutex<HashSet<IpAddr>>,
    cache: Cache,
    asking: Mutex<HashMap<Question, Asking>>,
    room: Semaphore,
}

impl Forwarder {
    pub(crate) fn new(resolv_conf: PathBuf, port: u16) -> Self {
        Self {
            upstream: Upstream::new(resolv_conf),
            port,
            own: Mutex::default(),
            cache: Cache::default(),
            asking: Mutex::default(),
            room: Semaphore::new(AT_ONCE),
        }
    }

    /// Where we listen from now on.
    pub(crate) fn set_own(&self, own: HashSet<IpAddr>) {
        *self.own.lock().expect("no holder of the lock panics") = own;
    }

    /// An answer that is kept.
    pub(crate) fn kept(&self, question: &Question) -> Option<Message> {
        self.cache.get(question)
    }

    /// The answer of the first server that has one; none if there is none in time.
    pub(crate) async fn ask(self: &Arc<Self>, question: Question) -> Option<Message> {
        let servers = self.servers(&question);
        if let Some(kept) = self.cache.get(&question) {
            return Some(kept);
        }
        let asking = self.join(&question, servers)?;
        let answer = asking.await;
        self.asking.lock().expect("no holder of the lock panics").remove(&question);
        answer.map(|answer| Message::clone(&answer))
    }

    /// The question on its way: the one that somebody asked already, or a new one. None if too many
    /// are.
    fn join(self: &Arc<Self>, question: &Question, servers: Vec<SocketAddr>) -> Option<Asking> {
        let mut all = self.asking.lock().expect("no holder of the lock panics");
        if let Some(asking) = all.get(question) {
            return Some(asking.clone());
        }
        if all.len() >= AT_ONCE {
            return None;
        }
        let (this, asked) = (self.clone(), question.clone());
        let work = async move {
            let _permit = this.room.acquire().await.ok()?;
            let answer = timeout(IN_ALL, in_turn(&servers, &asked)).await.ok().flatten()?;
            let answer = Arc::new(answer);
            this.cache.put(&asked, &answer);
            Some(answer)
        };
        let asking = work.boxed().shared();
        all.insert(question.clone(), asking.clone());
        Some(asking)
    }

    fn servers(&self, question: &Question) -> Vec<SocketAddr> {
        let (hosts, changed) = self.upstream.servers();
        if changed {
            self.cache.clear();
        }
        let own = self.own.lock().expect("no holder of the lock panics");
        let all: Vec<_> = match question.servers.as_slice() {
            [] => hosts.to_vec(),
            some => some.iter().map(|server| SocketAddr::new(*server, self.port)).collect(),
        };
        let others = all.into_iter().filter(|server| !own.contains(&server.ip()));
        others
            .map(|mut server| {
                server.set_port(self.port);
                server
            })
            .collect()
    }
}

/// Asks one after the other. "I failed" of one isn't the answer while another is left.
async fn in_turn(servers: &[SocketAddr], question: &Question) -> Option<Message> {
    let mut failed = None;
    for patience in ROUNDS {
        for server in servers {
            match exchange::ask(*server, question, patience).await {
                Ok(answer) if is_final(answer.metadata.response_code) => return Some(answer),
                Ok(answer) => failed = Some(answer),
                Err(error) => tracing::debug!(%server, %error, "name server did not answer"),
            }
        }
        if failed.is_some() {
            break;
        }
    }
    failed
}

fn is_final(code: ResponseCode) -> bool {
    !matches!(code, ResponseCode::ServFail | ResponseCode::Refused | ResponseCode::NotImp)
}

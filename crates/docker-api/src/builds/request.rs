//! The query of a build.

use std::collections::BTreeMap;

use link::build::{BuildLimits, BuildReach, BuildRequest};
use link::image::Login;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::failure::{Failure, Reply};
use crate::images::names;
use crate::query::Query;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Ulimit {
    name: String,
    #[serde(default)]
    soft: i64,
    #[serde(default)]
    hard: i64,
}

/// Reads it. What would change the result and cannot be done is refused.
pub(super) fn read(query: &Query, logins: Vec<Login>) -> Reply<BuildRequest> {
    let by_kit = query.text("version") == "2";
    refuse(query, by_kit)?;
    let mut tagged = Vec::new();
    for name in query.all("t").filter(|name| !name.is_empty()) {
        let reference = names::parse(name)?;
        if reference.digest.is_some() {
            return Err(Failure::bad("build tag cannot contain a digest"));
        }
        let name = reference.to_string();
        if !tagged.contains(&name) {
            tagged.push(name);
        }
    }
    let arguments: BTreeMap<String, Option<String>> = json(query, "buildargs")?;
    let labels: BTreeMap<String, String> = json(query, "labels")?;
    let ulimits: Vec<Ulimit> = json(query, "ulimits")?;
    // What steps are taken from is the builder's own cache; images named here add nothing to it.
    let _: Vec<String> = json(query, "cachefrom")?;
    let ulimit = |it: Ulimit| format!("{}={}:{}", it.name, it.soft, it.hard);
    Ok(BuildRequest {
        names: tagged,
        dockerfile: query.text("dockerfile").to_owned(),
        remote: query.text("remote").to_owned(),
        target: query.text("target").to_owned(),
        arguments: arguments.into_iter().collect(),
        labels: labels.into_iter().collect(),
        platform: query.text("platform").to_owned(),
        no_cache: query.flag("nocache"),
        pull: query.flag("pull"),
        squash: query.flag("squash"),
        reach: match query.text("networkmode") {
            "none" => BuildReach::Nothing,
            "host" => BuildReach::Host,
            _ => BuildReach::World,
        },
        extra_hosts: extra_hosts(query),
        shm_size: number(query, "shmsize")?,
        ulimits: ulimits.into_iter().map(ulimit).collect(),
        limits: BuildLimits {
            memory: number(query, "memory")?,
            memory_swap: number(query, "memswap")?,
            cpu_shares: number(query, "cpushares")?,
            cpu_quota: number(query, "cpuquota")?,
            cpu_period: number(query, "cpuperiod")?,
            cpus: cpus(query.text("cpusetcpus"))?,
        },
        logins,
        session: by_kit.then(|| query.text("session").to_owned()),
        plain: false,
        contained: false,
    })
}

fn refuse(query: &Query, by_kit: bool) -> Reply<()> {
    let network = query.text("networkmode");
    if !matches!(network, "" | "default" | "bridge" | "host" | "none") {
        return Err(Failure::unserved(format!(
            "a build cannot run in the network {network}: there are 'default', 'host' and 'none'"
        )));
    }
    for field in ["cgroupparent", "cpusetmems"] {
        if !query.text(field).is_empty() {
            return Err(Failure::unserved(format!("a build cannot have {field} here")));
        }
    }
    let isolation = query.text("isolation");
    if !matches!(isolation, "" | "default") {
        return Err(Failure::bad(format!("Unsupported isolation: {isolation:?}")));
    }
    if query.all("outputs").any(|output| !matches!(output, "" | "null" | "[]")) {
        return Err(Failure::unserved("outputs of a build are had from BuildKit itself, by /grpc"));
    }
    match query.text("remote") {
        "client-session" if !by_kit => {
            Err(Failure::unserved("a context in a session needs BuildKit"))
        }
        "upload-request" => Err(Failure::unserved("a context cannot come by another request")),
        _ => Ok(()),
    }
}

/// Older clients send one list of JSON.
fn extra_hosts(query: &Query) -> Vec<String> {
    let mut hosts = Vec::new();
    for text in query.all("extrahosts") {
        match serde_json::from_str::<Vec<String>>(text) {
            Ok(list) => hosts.extend(list),
            Err(_) => hosts.extend(text.split(',').map(str::to_owned)),
        }
    }
    hosts.retain(|host| !host.is_empty());
    hosts
}

/// A field that has JSON in it.
fn json<T: DeserializeOwned + Default>(query: &Query, name: &str) -> Reply<T> {
    let text = query.text(name);
    if text.is_empty() {
        return Ok(T::default());
    }
    let value: Option<T> = serde_json::from_str(text)
        .map_err(|error| Failure::bad(format!("error reading {name}: {error}")))?;
    Ok(value.unwrap_or_default())
}

/// A number; none when it is not positive.
fn number(query: &Query, name: &str) -> Reply<u64> {
    let number: i64 = query.number(name)?.unwrap_or(0);
    Ok(u64::try_from(number).unwrap_or(0))
}

fn cpus(text: &str) -> Reply<String> {
    if text.bytes().all(|c| c.is_ascii_digit() || matches!(c, b',' | b'-')) {
        return Ok(text.to_owned());
    }
    Err(Failure::bad(format!("invalid value for cpuset: {text}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Reply<BuildRequest> {
        let request = http::Request::builder().uri(format!("/build?{text}")).body(()).unwrap();
        let (mut parts, ()) = request.into_parts();
        let query = futures::executor::block_on(
            <Query as axum::extract::FromRequestParts<()>>::from_request_parts(&mut parts, &()),
        );
        read(&query.unwrap(), Vec::new())
    }

    #[test]
    fn what_clients_send() {
        let request =
            of("t=a&t=h:5/b:1&t=a&buildargs=%7B%22A%22:%221%22,%22B%22:null%7D&labels=%7B%7D\
            &ulimits=%5B%7B%22Name%22:%22nofile%22,%22Hard%22:2,%22Soft%22:1%7D%5D&cachefrom=null\
            &memory=5&memswap=-1&nocache=1&extrahosts=%5B%22h:1.2.3.4%22%5D&networkmode=none")
            .unwrap();
        assert_eq!(request.names, ["docker.io/library/a:latest", "h:5/b:1"]);
        assert_eq!(request.arguments, [("A".into(), Some("1".into())), ("B".into(), None)]);
        assert_eq!(request.ulimits, ["nofile=1:2"]);
        assert_eq!((request.limits.memory, request.limits.memory_swap), (5, 0));
        assert!(request.no_cache && !request.pull);
        assert_eq!(request.reach, BuildReach::Nothing);
        assert_eq!(of("networkmode=host").unwrap().reach, BuildReach::Host);
        assert_eq!(of("networkmode=default").unwrap().reach, BuildReach::World);
        assert_eq!(request.extra_hosts, ["h:1.2.3.4"]);
    }

    #[test]
    fn what_is_refused() {
        for (query, status) in [
            ("t=A%20b", 400),
            ("buildargs=x", 400),
            ("networkmode=mine", 501),
            ("cgroupparent=x", 501),
            ("cpusetcpus=0;x", 400),
            ("isolation=hyperv", 400),
            ("remote=client-session", 501),
        ] {
            assert_eq!(of(query).unwrap_err().status.as_u16(), status, "{query}");
        }
    }
}

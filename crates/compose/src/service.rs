//! One service of a tree, read into a draft: the words of the model, and what is to be resolved between
//! services.

mod build;
mod deploy;
mod health;
mod limits;
mod machine;
mod mounts;
mod networks;
mod ports;

use std::collections::{BTreeMap, BTreeSet};

use model::instance::{
    ContainerSpec, Dns, ExtraHost, Handed, InstanceSpec, LogOptions, PullPolicy, RestartPolicy,
    Seccomp, Sharing,
};
use model::meta::Labels;
use model::quantity::{Bytes, Span};
use model::service::{Access, ServiceMode, UpdatePolicy};

use crate::asked::Asked;
use crate::env_file::Format;
use crate::field::{Field, sentence};
use crate::files::{Reading, resolve, shorten};
use crate::interpolate::Variables;
use crate::load::read_variables;
use crate::rancher;
use crate::rancher::roles::Role;
use crate::told::{At, Told};
use crate::wanted::{Build, SecretSource, WantedConfig};
use crate::yaml::Value;

pub(crate) use mounts::{MOST_MOUNTS, volume_name};

/// What is there while services are read.
pub(crate) struct Context<'a, 'f> {
    pub reading: &'a mut Reading<'f>,
    pub asked: &'a Asked,
    pub variables: &'a Variables,
    pub told: &'a Told,
    /// What the app is called.
    pub app: String,
    /// Volumes need not be declared.
    pub lenient: bool,
    /// Keys of what is declared.
    pub volumes: BTreeSet<String>,
    pub networks: BTreeSet<String>,
    pub configs: BTreeSet<String>,
    /// Keys of secrets, and where their values come from, where that is said well.
    pub secrets: BTreeMap<String, Option<SecretSource>>,
    /// Volumes that are used and not declared, where that is allowed.
    pub undeclared: BTreeMap<String, Option<String>>,
    /// Paths of files that are mounted, and the configs that they become.
    pub mounted: Vec<(String, WantedConfig)>,
}

/// A service as it is written.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub name: String,
    pub at: At,
    pub path: String,
    /// Labels of the service.
    pub service_labels: Labels,
    /// Labels of its instances.
    pub labels: Labels,
    pub annotations: Labels,
    pub container: ContainerSpec,
    /// Without its containers.
    pub instance: InstanceSpec,
    pub mode: Option<ServiceMode>,
    pub update: UpdatePolicy,
    pub access: Access,
    /// Labels of nodes it may be on: terms of a selector.
    pub nodes: Vec<String>,
    pub needs: Vec<Need>,
    pub volumes_from: Vec<From>,
    /// It uses the network of this service.
    pub network_of: Option<(String, At)>,
    pub links: Vec<Link>,
    /// Links to services of other apps.
    pub external_links: Vec<Link>,
    pub build: Option<Build>,
    /// Services that Rancher has beside each instance of it.
    pub sidekicks: Vec<String>,
    /// It runs once, beside the service whose sidekick it is.
    pub once: bool,
    pub metadata: Option<serde_json::Value>,
    pub role: Role,
    /// Its container's name, which others may know it by.
    pub other_name: Option<String>,
}

/// A service that another waits for.
#[derive(Debug, Clone)]
pub(crate) struct Need {
    pub service: String,
    pub condition: Condition,
    pub required: bool,
    pub restart: bool,
    pub at: At,
}

/// How far it is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Condition {
    Started,
    Healthy,
    Completed,
}

/// A service whose volumes another has.
#[derive(Debug, Clone)]
pub(crate) struct From {
    pub service: String,
    pub read_only: bool,
    pub at: At,
}

/// A name under which a service finds another.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub service: String,
    pub alias: String,
    pub at: At,
}

/// Reads a service. What does not fit is told.
pub(crate) fn read(name: &str, service: &Field<'_>, context: &mut Context<'_, '_>) -> Draft {
    let mut draft = Draft {
        name: name.to_owned(),
        at: service.at().clone(),
        path: service.path.clone(),
        service_labels: Labels::new(),
        labels: Labels::new(),
        annotations: Labels::new(),
        container: ContainerSpec { name: name.to_owned(), ..ContainerSpec::default() },
        instance: InstanceSpec::default(),
        mode: None,
        update: UpdatePolicy::default(),
        access: Access::default(),
        nodes: Vec::new(),
        needs: Vec::new(),
        volumes_from: Vec::new(),
        network_of: None,
        links: Vec::new(),
        external_links: Vec::new(),
        build: None,
        sidekicks: Vec::new(),
        once: false,
        metadata: None,
        role: Role::default(),
        other_name: None,
    };
    image(service, &mut draft, context);
    program(service, &mut draft);
    environment(service, &mut draft, context);
    labels(service, &mut draft, context);
    relations(service, &mut draft);
    limits::read(service, &mut draft);
    isolation(service, &mut draft);
    names(service, &mut draft);
    networks::read(service, &mut draft, context);
    ports::read(service, &mut draft);
    mounts::read(service, &mut draft, context);
    grants(service, &mut draft, context);
    health::read(service, &mut draft);
    logging(service, &mut draft);
    restart(service, &mut draft);
    deploy::read(service, &mut draft);
    rancher::read(service, &mut draft);
    rancher::roles::read(service, &mut draft);
    machine::read(service, &mut draft, context);
    draft
}

fn image(service: &Field<'_>, draft: &mut Draft, context: &Context<'_, '_>) {
    draft.build = service.get("build").and_then(|field| build::read(&field, context));
    if let Some(field) = service.get("image") {
        let image = field.text().unwrap_or_default().trim();
        if let Err(error) = model::image::Reference::parse(image) {
            field.refuse(sentence(&error));
        }
        draft.container.image = image.to_owned();
    } else if draft.build.is_some() {
        // Who reads files without a name gives the app one, and reads them again.
        let app = if context.app.is_empty() { "app" } else { context.app.as_str() };
        draft.container.image = format!("{app}-{}", draft.name).to_ascii_lowercase();
        draft.container.pull = PullPolicy::Never;
    }
    if let Some(field) = service.get("pull_policy") {
        draft.container.pull = match field.text().unwrap_or("missing") {
            "always" => PullPolicy::Always,
            "never" => PullPolicy::Never,
            "missing" | "if_not_present" => PullPolicy::Missing,
            "build" => {
                if let Some(build) = &mut draft.build {
                    build.always = true;
                }
                PullPolicy::Never
            }
            "daily" | "weekly" => often(&field),
            text if text.starts_with("every_") => often(&field),
            other => {
                field.refuse(format!("{other:?} is none of always, missing, never, daily, weekly"));
                PullPolicy::Missing
            }
        };
    }
}

fn often(field: &Field<'_>) -> PullPolicy {
    field.ignore("images are not looked for by the clock: one is pulled when it is missing");
    PullPolicy::Missing
}

/// What is run: the words of `command` and `entrypoint`, and how.
fn program(service: &Field<'_>, draft: &mut Draft) {
    let container = &mut draft.container;
    container.command = service.get("command").and_then(|field| words(&field));
    container.entrypoint = service.get("entrypoint").and_then(|field| words(&field));
    let text = |key: &str| service.get(key).and_then(|it| it.text().map(str::to_owned));
    let flag = |key: &str| service.get(key).and_then(|it| it.flag()).unwrap_or_default();
    if let Some(workdir) = text("working_dir") {
        container.workdir = workdir;
    }
    if let Some(user) = text("user") {
        container.user = user;
    }
    container.groups = service.get("group_add").map(|it| it.texts()).unwrap_or_default();
    container.tty = flag("tty");
    container.stdin = flag("stdin_open");
    container.init = flag("init");
    if let Some(signal) = text("stop_signal") {
        container.stop_signal = signal;
    }
    if let Some(field) = service.get("stop_grace_period") {
        draft.instance.stop_timeout = duration(&field);
    }
}

/// A program's words: a list, or a line that is split as a shell would.
pub(crate) fn words(field: &Field<'_>) -> Option<Vec<String>> {
    let Value::Text(line) = &field.node.value else { return Some(field.texts()) };
    let words = shlex::split(line);
    if words.is_none() {
        field.refuse(format!("{:?} lacks a closing quote", shorten(line)));
    }
    words
}

/// A length of time; a number alone is seconds.
pub(crate) fn duration(field: &Field<'_>) -> Option<Span> {
    field.read()
}

/// An amount of bytes.
pub(crate) fn bytes(field: &Field<'_>) -> Option<Bytes> {
    field.read()
}

fn environment(service: &Field<'_>, draft: &mut Draft, context: &mut Context<'_, '_>) {
    let mut values: Vec<(String, Option<String>)> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    // One that is set again stands where it was set last.
    let mut set = |name: String, value: Option<String>| {
        if let Some(place) = places.insert(name.clone(), values.len()) {
            values[place].1 = None;
        }
        values.push((name, value));
    };
    if let Some(files) = service.get("env_file") {
        let entries = match files.node.value {
            Value::Map(_) => vec![files],
            Value::Null | Value::Text(_) | Value::List(_) => files.one_or_more(),
        };
        for entry in entries {
            for (name, value) in env_file(&entry, context) {
                set(name, value);
            }
        }
    }
    if let Some(field) = service.get("environment") {
        for (name, value, field) in field.pairs() {
            if name.trim().is_empty() || name.contains('=') {
                field.refuse("a variable needs a name");
                continue;
            }
            let value = value.or_else(|| context.variables.get(&name).cloned());
            set(name, value);
        }
    }
    let set = values.iter().filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?)));
    draft.container.env = set.collect();
}

fn env_file(entry: &Field<'_>, context: &mut Context<'_, '_>) -> Vec<(String, Option<String>)> {
    let (path, required, format) = match &entry.node.value {
        Value::Map(_) => {
            let required = entry.get("required").and_then(|it| it.flag()).unwrap_or(true);
            let format = match entry.get("format").and_then(|it| it.text()) {
                Some("raw") => Format::Raw,
                Some(_) | None => Format::Usual,
            };
            (entry.get("path"), required, format)
        }
        Value::Null | Value::Text(_) | Value::List(_) => (Some(entry.clone()), true, Format::Usual),
    };
    let Some(field) = path else {
        entry.refuse("a file of variables has a path");
        return Vec::new();
    };
    let Some(written) = field.text() else { return Vec::new() };
    match resolve(&field.at().source.directory, written) {
        Ok(path) => {
            let place = (field.at(), field.path.as_str());
            let Context { reading, told, variables, .. } = context;
            read_variables(reading, told, place, &path, format, required, variables)
        }
        Err(why) => {
            field.refuse(why);
            Vec::new()
        }
    }
}

fn labels(service: &Field<'_>, draft: &mut Draft, context: &mut Context<'_, '_>) {
    if let Some(files) = service.get("label_file") {
        for entry in files.one_or_more() {
            for (name, value) in env_file(&entry, context) {
                draft.labels.insert(name, value.unwrap_or_default());
            }
        }
    }
    if let Some(field) = service.get("labels") {
        draft.labels.extend(field.labels());
    }
    if let Some(field) = service.get("annotations") {
        draft.annotations.extend(field.labels());
    }
}

/// What a service has to do with others: those it waits for, links to, has volumes of.
fn relations(service: &Field<'_>, draft: &mut Draft) {
    if let Some(field) = service.get("depends_on") {
        match &field.node.value {
            Value::Map(_) => {
                for (name, entry) in field.entries() {
                    draft.needs.push(need(name, &entry));
                }
            }
            Value::Null | Value::Text(_) | Value::List(_) => {
                for entry in field.items() {
                    if let Some(name) = entry.text() {
                        draft.needs.push(need(name, &entry));
                    }
                }
            }
        }
    }
    for (key, external) in [("links", false), ("external_links", true)] {
        let Some(field) = service.get(key) else { continue };
        let links: Vec<Link> = match &field.node.value {
            // Rancher's files have mappings, too: name of the service to its alias.
            Value::Map(_) => field
                .pairs()
                .into_iter()
                .map(|(service, alias, field)| {
                    let alias = alias.filter(|alias| !alias.is_empty());
                    let alias = alias.unwrap_or_else(|| service.clone());
                    Link { service, alias, at: field.at().clone() }
                })
                .collect(),
            Value::Null | Value::Text(_) | Value::List(_) => {
                field.items().iter().filter_map(link).collect()
            }
        };
        match external {
            true => draft.external_links.extend(links),
            false => draft.links.extend(links),
        }
    }
    if let Some(field) = service.get("volumes_from") {
        draft.volumes_from = field.items().iter().filter_map(from).collect();
    }
}

fn link(field: &Field<'_>) -> Option<Link> {
    let text = field.text()?;
    let (service, alias) = text.split_once(':').unwrap_or((text, ""));
    let last = service.rsplit('/').next().unwrap_or(service);
    let alias = if alias.is_empty() { last } else { alias };
    Some(Link { service: service.to_owned(), alias: alias.to_owned(), at: field.at().clone() })
}

fn from(field: &Field<'_>) -> Option<From> {
    let text = field.text()?;
    if let Some(other) = text.strip_prefix("container:") {
        let name = other.split(':').next().unwrap_or(other);
        field.refuse(format!(
            "the volumes of container {name:?}, which is not of this app, cannot be had; name the \
             volume instead"
        ));
        return None;
    }
    let (service, mode) = text.split_once(':').unwrap_or((text, "rw"));
    let read_only = match mode {
        "ro" => true,
        "rw" | "z" | "Z" => false,
        other => {
            field.refuse(format!("{other:?} is neither ro nor rw"));
            false
        }
    };
    Some(From { service: service.to_owned(), read_only, at: field.at().clone() })
}

fn need(name: &str, entry: &Field<'_>) -> Need {
    let flag = |key: &str, usual| entry.get(key).and_then(|it| it.flag()).unwrap_or(usual);
    let condition = match entry.get("condition") {
        None => Condition::Started,
        Some(field) => match field.text().unwrap_or_default() {
            "service_started" => Condition::Started,
            "service_healthy" => Condition::Healthy,
            "service_completed_successfully" => Condition::Completed,
            other => {
                field.refuse(format!(
                    "{other:?} is none of service_started, service_healthy, \
                     service_completed_successfully"
                ));
                Condition::Started
            }
        },
    };
    Need {
        service: name.to_owned(),
        condition,
        required: flag("required", true),
        restart: flag("restart", false),
        at: entry.at().clone(),
    }
}

/// Capabilities, namespaces and what else keeps it apart.
fn isolation(service: &Field<'_>, draft: &mut Draft) {
    let flag = |key: &str| service.get(key).and_then(|it| it.flag()).unwrap_or_default();
    let list = |key: &str| service.get(key).map(|it| it.texts()).unwrap_or_default();
    draft.container.privileged = flag("privileged");
    draft.container.read_only = flag("read_only");
    draft.container.capabilities.add = list("cap_add");
    draft.container.capabilities.drop = list("cap_drop");
    if let Some(field) = service.get("security_opt") {
        field.items().iter().for_each(|option| security(option, draft));
    }
    let spaces = [("pid", true), ("ipc", true), ("uts", false), ("cgroup", false)];
    for (key, shareable) in spaces {
        let Some(field) = service.get(key) else { continue };
        let Some(sharing) = sharing(&field, shareable) else { continue };
        match key {
            "pid" => draft.instance.pid = sharing,
            "ipc" => draft.instance.ipc = sharing,
            "uts" => draft.instance.uts = sharing,
            _ => draft.instance.cgroup = sharing,
        }
    }
    if let Some(field) = service.get("userns_mode")
        && field.text().is_some_and(|mode| mode != "host")
    {
        field.refuse("users are mapped by the node's settings only");
    }
    if let Some(field) = service.get("runtime")
        && field.text().is_some_and(|name| !matches!(name, "runc" | "io.containerd.runc.v2"))
    {
        field.refuse("containers are run by runc");
    }
    if let Some(field) = service.get("sysctls") {
        for (name, value, _) in field.pairs() {
            draft.instance.sysctls.insert(name, value.unwrap_or_default());
        }
    }
}

fn sharing(field: &Field<'_>, shareable: bool) -> Option<Sharing> {
    match field.text()? {
        "host" => Some(Sharing::Host),
        "private" | "none" | "" => Some(Sharing::Private),
        "shareable" if shareable => Some(Sharing::Private),
        text => {
            match text.strip_prefix("service:").or_else(|| text.strip_prefix("container:")) {
                Some(_) => field.refuse("that of another service cannot be had; host can"),
                None => field.refuse(format!("{:?} is neither host nor private", shorten(text))),
            }
            None
        }
    }
}

fn security(option: &Field<'_>, draft: &mut Draft) {
    let Some(text) = option.text() else { return };
    let container = &mut draft.container;
    let (name, value) = text.split_once([':', '=']).unwrap_or((text, ""));
    match (name, value) {
        ("no-new-privileges", value) => container.no_new_privileges = value != "false",
        ("seccomp", "unconfined") => container.seccomp = Seccomp::Unconfined,
        ("seccomp", _) => option.refuse("a profile of your own is not read; unconfined is known"),
        ("apparmor", profile) => container.apparmor = profile.to_owned(),
        ("label", _) => option.ignore("the platform does not label for SELinux"),
        ("systempaths" | "unmask" | "mask", _) => {
            option.refuse("paths are masked as the platform does it; privileged masks nothing");
        }
        (_, _) => option.refuse(format!("{:?} is not known", shorten(text))),
    }
}

/// Its host name, its search domains, its lines of `/etc/hosts`.
fn names(service: &Field<'_>, draft: &mut Draft) {
    let text = |key: &str| service.get(key).and_then(|it| it.text().map(str::to_owned));
    draft.instance.hostname = text("hostname").unwrap_or_default();
    draft.instance.domainname = text("domainname").unwrap_or_default();
    draft.other_name = text("container_name");
    let list = |key: &str| service.get(key).map(|it| it.texts()).unwrap_or_default();
    let mut dns = Dns { search: list("dns_search"), options: list("dns_opt"), ..Dns::default() };
    if let Some(field) = service.get("dns") {
        let servers = field.one_or_more();
        dns.servers = servers.iter().filter_map(|it| it.parsed("an address")).collect();
    }
    draft.instance.dns = dns;
    if let Some(field) = service.get("extra_hosts") {
        draft.instance.extra_hosts = host_names(&field);
    }
}

/// Names and addresses for `/etc/hosts`.
fn host_names(field: &Field<'_>) -> Vec<ExtraHost> {
    let mut hosts = Vec::new();
    let mut add = |field: &Field<'_>, name: &str, address: &str| {
        let address = address.trim_start_matches('[').trim_end_matches(']');
        let known = address == "host-gateway" || address.parse::<std::net::IpAddr>().is_ok();
        if name.is_empty() || !known {
            field.refuse(format!("{name:?} and {address:?} are not a host name and an address"));
            return;
        }
        hosts.push(ExtraHost { name: name.to_owned(), address: address.to_owned() });
    };
    match &field.node.value {
        Value::List(_) => {
            for item in field.items() {
                let Some(text) = item.text() else { continue };
                let pair = text.split_once('=').or_else(|| text.split_once(':'));
                let (name, address) = pair.unwrap_or((text, ""));
                add(&item, name.trim(), address.trim());
            }
        }
        Value::Null | Value::Text(_) | Value::Map(_) => {
            for (name, addresses) in field.entries() {
                for address in addresses.one_or_more() {
                    if let Some(text) = address.text() {
                        add(&address, name, text);
                    }
                }
            }
        }
    }
    hosts
}

/// Secrets and configs that it has as files.
fn grants(service: &Field<'_>, draft: &mut Draft, context: &Context<'_, '_>) {
    let secrets = context.secrets.keys().cloned().collect();
    for (key, known) in [("secrets", &secrets), ("configs", &context.configs)] {
        let Some(field) = service.get(key) else { continue };
        for item in field.items() {
            let Some(grant) = grant(&item) else { continue };
            if !known.contains(&grant.source) {
                let source = &grant.source;
                item.refuse(format!("{key} has no {source:?} at the top of the file"));
                continue;
            }
            match key {
                "secrets" => draft.container.secrets.push(grant),
                _ => draft.container.configs.push(grant),
            }
        }
    }
}

fn grant(item: &Field<'_>) -> Option<Handed> {
    let usual = |source: &str| Handed::named(&volume_name(source));
    if let Value::Text(source) = &item.node.value {
        return Some(usual(source));
    }
    let Some(source) = item.get("source").and_then(|it| it.text()) else {
        item.refuse("a source is missing: the key of a secret or config");
        return None;
    };
    let mut grant = usual(source);
    if let Some(target) = item.get("target").and_then(|it| it.text()) {
        grant.target = target.to_owned();
    }
    let number = |key: &str| item.get(key).and_then(|it| it.integer::<u32>());
    grant.uid = number("uid").unwrap_or(0);
    grant.gid = number("gid").unwrap_or(0);
    if let Some(field) = item.get("mode")
        && let Some(mode) = mode(&field)
    {
        // The specification has writing bits ignored.
        grant.mode = mode & 0o555;
    }
    Some(grant)
}

/// Permission bits: octal, with a leading zero or without one where it is written as a text.
pub(crate) fn mode(field: &Field<'_>) -> Option<u32> {
    let text = field.text()?.trim();
    let digits = text.strip_prefix("0o").unwrap_or(text);
    // A number without a zero before it is decimal in YAML: 292 is 0444, and 444 can only be meant so.
    let octal = u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o7777);
    let decimal = text.parse().ok().filter(|_: &u32| !text.starts_with('0'));
    let found = octal.filter(|_| digits.len() <= 4).or(decimal).filter(|mode| *mode <= 0o7777);
    if found.is_none() {
        field.refuse(format!("{:?} is not permissions such as 0440", shorten(text)));
    }
    found
}

fn logging(service: &Field<'_>, draft: &mut Draft) {
    let Some(field) = service.get("logging") else { return };
    let mut log = LogOptions::default();
    let driver = field.get("driver");
    match driver.as_ref().and_then(|it| it.text()).unwrap_or_default() {
        "" | "json-file" | "local" | "db" => {}
        "none" => log.off = true,
        name => {
            if let Some(driver) = &driver {
                driver.ignore(format!("logs are kept by the platform, not by {name:?}"));
            }
            return draft.container.log = log;
        }
    }
    for (name, value) in field.get("options").map(|it| it.entries()).unwrap_or_default() {
        match name {
            "max-size" if value.text() == Some("-1") => {}
            "max-size" => log.max_size = bytes(&value).unwrap_or(log.max_size),
            "max-file" => log.max_files = value.integer().unwrap_or(log.max_files),
            _ => value.ignore("logs have a max-size and a max-file"),
        }
    }
    draft.container.log = log;
}

fn restart(service: &Field<'_>, draft: &mut Draft) {
    // What a service keeps is started again unless its file says otherwise.
    draft.instance.restart = RestartPolicy::Always;
    let Some(field) = service.get("restart") else { return };
    let Some(text) = field.text() else { return };
    let (word, most) = text.split_once(':').unwrap_or((text, ""));
    draft.instance.restart = match word {
        "no" | "false" => RestartPolicy::No,
        "always" | "yes" | "true" => RestartPolicy::Always,
        "unless-stopped" => RestartPolicy::UnlessStopped,
        "on-failure" if most.is_empty() => RestartPolicy::OnFailure { max: None },
        "on-failure" => match most.parse() {
            Ok(most) => RestartPolicy::OnFailure { max: Some(most) },
            Err(_) => {
                field.refuse(format!("{most:?} is not a number of tries"));
                return;
            }
        },
        _ => {
            field.refuse(format!("{text:?} is none of no, always, on-failure, unless-stopped"));
            return;
        }
    };
}

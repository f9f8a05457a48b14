//! System call filters: the default one, and profiles in Docker's or the runtime's JSON.

use std::sync::OnceLock;

use model::instance::{ContainerSpec, Seccomp};
use model::{Error, Result};
use serde::Deserialize;

use super::oci;
use crate::host::HostFacts;

/// The default filter; its head explains its form.
const DEFAULT: &str = include_str!("seccomp_default.txt");

/// EPERM, what a call that is not allowed answers.
const REFUSED: u32 = 1;

/// The filter of a container with this bounding set.
pub(super) fn seccomp(
    spec: &ContainerSpec,
    bounding: &[String],
    host: &HostFacts,
    warnings: &mut Vec<String>,
) -> Result<Option<oci::Seccomp>> {
    let filter = match &spec.seccomp {
        Seccomp::Unconfined => None,
        Seccomp::Default if spec.privileged => None,
        Seccomp::Default => Some(default(bounding, architecture())),
        Seccomp::Profile(json) => Some(profile(json, bounding, architecture())?),
    };
    if filter.is_some() && !host.seccomp {
        warnings.push("left out the system call filter: the kernel has none".to_owned());
        return Ok(None);
    }
    Ok(filter)
}

/// This machine's name in profiles (Go's).
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The architectures whose calls this one's kernel takes, its own first.
fn architectures(own: &str) -> Vec<String> {
    let names: &[&str] = match own {
        "amd64" => &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "arm64" => &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        "riscv64" => &["SCMP_ARCH_RISCV64"],
        "s390x" => &["SCMP_ARCH_S390X", "SCMP_ARCH_S390"],
        "ppc64le" => &["SCMP_ARCH_PPC64LE"],
        _ => &[],
    };
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// One rule of the default filter.
#[derive(Debug, Default)]
struct Rule {
    call: oci::Syscall,
    when: Condition,
    unless: Condition,
}

/// What a rule depends on; an empty list is no condition.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Condition {
    caps: Vec<String>,
    arches: Vec<String>,
    #[serde(rename = "minKernel")]
    _min_kernel: String,
}

impl Condition {
    fn met(&self, bounding: &[String], architecture: &str) -> bool {
        let caps = self.caps.is_empty() || self.has_cap(bounding);
        let arches = self.arches.is_empty() || self.arches.iter().any(|a| a == architecture);
        caps && arches
    }

    /// Whether any part of an exclusion holds.
    fn hits(&self, bounding: &[String], architecture: &str) -> bool {
        self.has_cap(bounding) || self.arches.iter().any(|a| a == architecture)
    }

    fn has_cap(&self, bounding: &[String]) -> bool {
        self.caps.iter().any(|cap| bounding.contains(cap))
    }
}

fn default(bounding: &[String], architecture: &str) -> oci::Seccomp {
    static RULES: OnceLock<Vec<Rule>> = OnceLock::new();
    let rules = RULES.get_or_init(|| parse(DEFAULT));
    let holds = |rule: &&Rule| {
        rule.when.met(bounding, architecture) && !rule.unless.hits(bounding, architecture)
    };
    oci::Seccomp {
        default_action: "SCMP_ACT_ERRNO".to_owned(),
        default_errno_ret: Some(REFUSED),
        architectures: architectures(architecture),
        syscalls: rules.iter().filter(holds).map(|rule| rule.call.clone()).collect(),
        ..oci::Seccomp::default()
    }
}

/// Reads the default filter. It is part of the program, so a fault in it is ours: tested below.
fn parse(text: &str) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        match (line.strip_prefix("  "), rules.last_mut()) {
            (Some(names), Some(rule)) => {
                rule.call.names.extend(names.split_whitespace().map(str::to_owned));
            }
            _ => rules.push(parse_head(line)),
        }
    }
    rules
}

fn parse_head(line: &str) -> Rule {
    let mut rule = Rule::default();
    let mut words = line.split_whitespace().peekable();
    while let Some(word) = words.next() {
        match word {
            "allow" => rule.call.action = "SCMP_ACT_ALLOW".to_owned(),
            "errno" => {
                rule.call.action = "SCMP_ACT_ERRNO".to_owned();
                rule.call.errno_ret = words.next().and_then(|number| number.parse().ok());
            }
            "if" | "unless" => {
                let caps = words.next() == Some("cap");
                let condition = if word == "if" { &mut rule.when } else { &mut rule.unless };
                while let Some(name) = words.next_if(|next| !is_keyword(next)) {
                    if caps {
                        condition.caps.push(format!("CAP_{name}"));
                    } else {
                        condition.arches.push(name.to_owned());
                    }
                }
            }
            _ => {
                let mut number = || words.next().and_then(|text| text.parse::<u64>().ok());
                let index = number().and_then(|index| u32::try_from(index).ok());
                let op = words.next().unwrap_or_default();
                let mut number = || words.next_if(|next| !is_keyword(next))?.parse::<u64>().ok();
                rule.call.args.push(oci::SyscallArg {
                    index: index.unwrap_or_default(),
                    value: number().unwrap_or_default(),
                    value_two: number(),
                    op: format!("SCMP_CMP_{op}"),
                });
            }
        }
    }
    rule
}

fn is_keyword(word: &str) -> bool {
    matches!(word, "if" | "unless" | "when")
}

/// A profile as people give it: the runtime's own form, or Docker's with conditions.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    #[serde(default)]
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    arch_map: Vec<ArchMap>,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    listener_path: String,
    #[serde(default)]
    listener_metadata: String,
    #[serde(default)]
    syscalls: Option<Vec<ProfileRule>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: String,
    #[serde(default)]
    sub_architectures: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProfileRule {
    #[serde(default)]
    name: String,
    #[serde(default)]
    names: Vec<String>,
    action: String,
    #[serde(default)]
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<ProfileArg>>,
    #[serde(default)]
    includes: Option<Condition>,
    #[serde(default)]
    excludes: Option<Condition>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProfileArg {
    index: u32,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

fn profile(json: &str, bounding: &[String], architecture: &str) -> Result<oci::Seccomp> {
    let refuse = |why: &str| {
        Error::invalid(format!("the seccomp profile {why}"))
            .at("seccomp")
            .next("give a profile in Docker's or the OCI runtime's JSON")
    };
    let profile: Profile =
        serde_json::from_str(json).map_err(|error| refuse("cannot be read").caused_by(error))?;
    if !profile.architectures.is_empty() && !profile.arch_map.is_empty() {
        return Err(refuse("has both architectures and archMap"));
    }
    if !profile.default_action.starts_with("SCMP_ACT_") {
        return Err(refuse("has an unknown default action"));
    }
    let own = architectures(architecture);
    let mapped = profile.arch_map.into_iter().find(|map| own.first() == Some(&map.architecture));
    let architectures = match mapped {
        Some(map) => {
            { std::iter::once(map.architecture).chain(map.sub_architectures.into_iter().flatten()) }
                .collect()
        }
        None => profile.architectures,
    };
    let holds = |rule: &ProfileRule| {
        rule.includes.as_ref().is_none_or(|when| when.met(bounding, architecture))
            && !rule.excludes.as_ref().is_some_and(|when| when.hits(bounding, architecture))
    };
    let rules = profile.syscalls.unwrap_or_default();
    Ok(oci::Seccomp {
        default_action: profile.default_action,
        default_errno_ret: profile.default_errno_ret,
        architectures,
        flags: profile.flags,
        listener_path: profile.listener_path,
        listener_metadata: profile.listener_metadata,
        syscalls: rules.into_iter().filter(holds).map(ProfileRule::into_oci).collect(),
    })
}

impl ProfileRule {
    fn into_oci(self) -> oci::Syscall {
        let names = if self.name.is_empty() { self.names } else { vec![self.name] };
        let arg = |arg: ProfileArg| oci::SyscallArg {
            index: arg.index,
            value: arg.value,
            value_two: (arg.value_two != 0).then_some(arg.value_two),
            op: arg.op,
        };
        oci::Syscall {
            names,
            action: self.action,
            errno_ret: self.errno_ret,
            args: self.args.into_iter().flatten().map(arg).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(filter: &oci::Seccomp, call: &str) -> bool {
        filter.syscalls.iter().any(|rule| {
            rule.action == "SCMP_ACT_ALLOW"
                && rule.args.is_empty()
                && rule.names.iter().any(|name| name == call)
        })
    }

    #[test]
    fn the_default_filter_reads_whole() {
        let rules = parse(DEFAULT);
        assert_eq!(rules.len(), 34);
        assert!(rules.iter().all(|rule| !rule.call.names.is_empty()));
        assert!(rules.iter().all(|rule| rule.call.action.starts_with("SCMP_ACT_")));
        assert_eq!(rules[0].call.names.len(), 361);
        let masked = rules
            .iter()
            .flat_map(|rule| &rule.call.args)
            .find(|arg| arg.op == "SCMP_CMP_MASKED_EQ");
        assert_eq!(masked.map(|arg| (arg.value, arg.value_two)), Some((2_114_060_288, Some(0))));
    }

    #[test]
    fn the_default_filter_depends_on_capabilities_and_machine() {
        let plain = default(&[], "amd64");
        assert!(allowed(&plain, "read") && allowed(&plain, "arch_prctl"));
        assert!(!allowed(&plain, "mount") && !allowed(&plain, "s390_runtime_instr"));
        assert!(plain.syscalls.iter().any(|rule| rule.errno_ret == Some(38)));
        let admin = default(&["CAP_SYS_ADMIN".to_owned()], "amd64");
        assert!(allowed(&admin, "mount") && allowed(&admin, "clone3"));
        assert!(!admin.syscalls.iter().any(|rule| rule.errno_ret == Some(38)));
    }

    #[test]
    fn profiles_people_bring() {
        let docker = r#"{
            "defaultAction": "SCMP_ACT_ALLOW",
            "archMap": [
                {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
                {"architecture": "SCMP_ARCH_S390X", "subArchitectures": null}],
            "syscalls": [
                {"name": "mkdir", "action": "SCMP_ACT_ERRNO"},
                {"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5, "args": null,
                 "excludes": {"caps": ["CAP_FOWNER"]}},
                {"names": ["bpf"], "action": "SCMP_ACT_KILL", "includes": {"arches": ["arm64"]},
                 "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}]}"#;
        let filter = profile(docker, &[], "amd64").unwrap();
        assert_eq!(filter.architectures, ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]);
        assert_eq!(filter.syscalls.len(), 2);
        assert_eq!(filter.syscalls[0].names, ["mkdir"]);
        assert_eq!(profile(docker, &["CAP_FOWNER".to_owned()], "arm64").unwrap().syscalls.len(), 2);
        for bad in ["", "{}", "[]", r#"{"defaultAction": "NO"}"#] {
            assert!(profile(bad, &[], "amd64").is_err(), "{bad}");
        }
    }
}

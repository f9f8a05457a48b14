//! Rules of the host's own that stop instances' packets. They are named, never changed.
//!
//! In nftables a packet has to be accepted by every table: what ours accepts, another still drops.

use std::io;
use std::process::{Command, Stdio};

use serde_json::Value;

/// What the kernel's tables hold, as far as it concerns the platform.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Firewall {
    /// Names of the tables of family `inet` with at least one chain, ours among them.
    pub tables: Vec<String>,
    /// What stops instances' traffic.
    pub obstacles: Vec<Obstacle>,
}

/// A rule of the host's own that will stop instances' traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// What was found, e.g. "chain FORWARD of the firewall table ip filter drops what it does not know".
    pub finding: String,
    /// What it means for instances.
    pub effect: String,
    /// What to do about it.
    pub remedy: String,
    /// Whether it stands in the way of published ports.
    pub forwards: bool,
}

impl std::fmt::Display for Obstacle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { finding, effect, remedy, forwards: _ } = self;
        write!(f, "{finding}; {effect}: {remedy}")
    }
}

/// Looks at all tables. Takes some milliseconds, more with many rules.
///
/// # Errors
/// When nft cannot be run (`NotFound` if it is not installed), or does not answer as it should.
pub fn look() -> io::Result<Firewall> {
    let output = nft().args(["-j", "list", "ruleset"]).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(io::Error::other(said));
    }
    let listed: Value = serde_json::from_slice(&output.stdout)?;
    let mut obstacles: Vec<_> = closed_chains(&listed).iter().map(obstacle).collect();
    obstacles.extend(legacy_tables());
    Ok(Firewall { tables: tables(&listed), obstacles })
}

/// The program, wherever it is.
pub(crate) fn nft() -> Command {
    let program = crate::programs::PROGRAMS.iter().find(|program| program.name == "nft");
    let path = program.and_then(|program| program.path()).unwrap_or_else(|| "nft".into());
    let mut command = Command::new(path);
    command.env("LC_ALL", "C").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn tables(listed: &Value) -> Vec<String> {
    let chains = objects(listed).iter().filter_map(|object| object.get("chain"));
    let inet = chains.filter(|chain| chain["family"] == "inet");
    let mut names: Vec<String> =
        inet.filter_map(|chain| Some(chain["table"].as_str()?.to_owned())).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn objects(listed: &Value) -> &[Value] {
    listed["nftables"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A chain of somebody else's that ends with "no".
#[derive(Debug, Clone, PartialEq, Eq)]
struct Closed {
    family: String,
    table: String,
    chain: String,
    hook: String,
}

fn obstacle(closed: &Closed) -> Obstacle {
    let Closed { family, table, chain, hook } = closed;
    let effect = match hook.as_str() {
        "forward" => "instances cannot reach the outside, and published ports cannot be reached",
        _ => "instances cannot ask the host's name server",
    };
    Obstacle {
        finding: format!(
            "chain {chain} of the firewall table {family} {table} drops what it does not know"
        ),
        effect: effect.into(),
        remedy: remedy(table, chain, hook),
        forwards: hook == "forward",
    }
}

fn remedy(table: &str, chain: &str, hook: &str) -> String {
    let ports = "for ports 53/udp and 53/tcp";
    match (table, chain, hook) {
        ("firewalld", _, _) => {
            "put the bridges into a zone that accepts: `firewall-cmd --permanent --zone=trusted \
             --add-interface=hb+`"
                .into()
        }
        (_, "FORWARD", _) => "accept both directions: `iptables -I FORWARD -i hb+ -j ACCEPT` and \
                              `iptables -I FORWARD -o hb+ -j ACCEPT` (with Docker: in DOCKER-USER)"
            .into(),
        (_, "INPUT", _) => {
            format!("accept from the bridges {ports}: `iptables -I INPUT -i hb+ -j ACCEPT`")
        }
        (_, _, "forward") => format!(
            "accept both directions in {chain}: `iifname \"hb*\" accept` and `oifname \"hb*\" accept`"
        ),
        _ => format!("accept from the bridges {ports} in {chain}: `iifname \"hb*\" accept`"),
    }
}

/// Chains hooked into input or forward, not ours, whose policy or last rule is to drop or reject.
fn closed_chains(listed: &Value) -> Vec<Closed> {
    let objects = objects(listed);
    let chains = objects.iter().filter_map(|object| object.get("chain"));
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let hooked = chains.filter(|chain| {
        let hook = text(chain, "hook");
        // Another node's table has the same rules as ours and stops nothing of ours.
        matches!(hook.as_str(), "input" | "forward")
            && !text(chain, "table").starts_with("hull-")
            && matches!(text(chain, "family").as_str(), "ip" | "ip6" | "inet")
    });
    let closed = hooked
        .filter(|chain| chain["policy"] == "drop" || ends_with_refusal(objects, chain))
        .filter(|chain| !lets_ours_pass(objects, chain))
        .map(|chain| Closed {
            family: text(chain, "family"),
            table: text(chain, "table"),
            chain: text(chain, "name"),
            hook: text(chain, "hook"),
        });
    closed.collect()
}

fn rules_of<'a>(
    objects: &'a [Value],
    chain: &'a Value,
) -> impl DoubleEndedIterator<Item = &'a Value> {
    let rules = objects.iter().filter_map(|object| object.get("rule"));
    rules.filter(|rule| {
        rule["family"] == chain["family"]
            && rule["table"] == chain["table"]
            && rule["chain"] == chain["name"]
    })
}

/// Whether the remedy was taken: packets that come by our bridges are accepted, and, on the way through,
/// those that go there.
fn lets_ours_pass(objects: &[Value], chain: &Value) -> bool {
    let accepts = |key: &str| {
        rules_of(objects, chain).any(|rule| {
            let expressions = rule["expr"].as_array().map(Vec::as_slice).unwrap_or_default();
            let ours = |expression: &Value| {
                let matched = &expression["match"];
                let bridges = matched["right"].as_str().is_some_and(|name| name.starts_with("hb"));
                bridges && matched["op"] == "==" && matched["left"]["meta"]["key"] == key
            };
            expressions.iter().any(ours) && expressions.iter().any(|e| e.get("accept").is_some())
        })
    };
    accepts("iifname") && (chain["hook"] == "input" || accepts("oifname"))
}

fn ends_with_refusal(objects: &[Value], chain: &Value) -> bool {
    let last = rules_of(objects, chain).next_back().and_then(|rule| rule["expr"].as_array());
    last.is_some_and(|expressions| match expressions.as_slice() {
        [only] | [.., only]
            if expressions.iter().all(|e| is_verdict(e) || e.get("counter").is_some()) =>
        {
            only.get("drop").is_some() || only.get("reject").is_some()
        }
        _ => false,
    })
}

fn is_verdict(expression: &Value) -> bool {
    ["drop", "reject", "accept"].iter().any(|verdict| expression.get(verdict).is_some())
}

/// Tables of the older kernel interface, which nft doesn't list.
fn legacy_tables() -> Vec<Obstacle> {
    let legacy = [("ip_tables_names", "iptables-legacy"), ("ip6_tables_names", "ip6tables-legacy")];
    let loaded = legacy.iter().filter(|(file, _)| {
        std::fs::read_to_string(format!("/proc/thread-self/net/{file}"))
            .is_ok_and(|text| text.lines().any(|table| table == "filter"))
    });
    loaded.filter_map(|(_, program)| legacy_policy(program)).collect()
}

fn legacy_policy(program: &str) -> Option<Obstacle> {
    let listed = Command::new(program).args(["-S", "FORWARD"]).output();
    let text = match &listed {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(_) => {
            return Some(Obstacle {
                finding: format!(
                    "rules of {program} are loaded, and the program to read them is not here"
                ),
                effect: "they may stop instances' traffic".into(),
                remedy: format!("install iptables and look at `{program} -S`"),
                forwards: true,
            });
        }
    };
    text.lines().any(|line| line == "-P FORWARD DROP").then(|| Obstacle {
        finding: format!("chain FORWARD of {program} drops what it does not know"),
        effect: "instances cannot reach the outside, and published ports cannot be reached".into(),
        remedy: format!(
            "accept both directions: `{program} -I FORWARD -i hb+ -j ACCEPT` and `{program} -I \
             FORWARD -o hb+ -j ACCEPT`"
        ),
        forwards: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn chain(table: &str, name: &str, hook: &str, policy: &str) -> Value {
        json!({"chain": {"family": "ip", "table": table, "name": name, "hook": hook, "policy": policy}})
    }

    fn found(objects: &[Value]) -> Vec<String> {
        let closed = closed_chains(&json!({ "nftables": objects }));
        closed.into_iter().map(|closed| closed.chain).collect()
    }

    #[test]
    fn closed_chains_of_others_are_found() {
        let rule = |expr: Value| json!({"rule": {"family": "ip", "table": "fw", "chain": "last", "expr": expr}});
        assert_eq!(found(&[chain("filter", "FORWARD", "forward", "drop")]), ["FORWARD"]);
        assert!(found(&[chain("filter", "FORWARD", "forward", "accept")]).is_empty());
        assert!(found(&[chain("hull-ab12c", "f", "forward", "drop")]).is_empty());
        assert!(found(&[chain("nat", "POSTROUTING", "postrouting", "drop")]).is_empty());
        let last = chain("fw", "last", "input", "accept");
        assert_eq!(found(&[last.clone(), rule(json!([{"reject": null}]))]), ["last"]);
        assert_eq!(
            found(&[last.clone(), rule(json!([{"counter": {"packets": 1}}, {"drop": null}]))]),
            ["last"]
        );
        assert!(found(&[last, rule(json!([{"match": {}}, {"drop": null}]))]).is_empty());
    }

    #[test]
    fn a_chain_with_the_remedy_is_open() {
        let chain = |hook: &str| chain("fw", "own", hook, "drop");
        let accept = |key: &str| {
            let ours = json!({"op": "==", "left": {"meta": {"key": key}}, "right": "hb*"});
            json!({"rule": {"family": "ip", "table": "fw", "chain": "own",
                            "expr": [{"match": ours}, {"accept": null}]}})
        };
        assert!(found(&[chain("input"), accept("iifname")]).is_empty());
        assert_eq!(found(&[chain("forward"), accept("iifname")]), ["own"]);
        assert!(found(&[chain("forward"), accept("iifname"), accept("oifname")]).is_empty());
    }

    #[test]
    fn tables_with_chains_are_listed() {
        let chain =
            |family: &str, table: &str| json!({"chain": {"family": family, "table": table}});
        let objects = [
            json!({"table": {"family": "inet", "name": "empty"}}),
            chain("inet", "hull-ab12c"),
            chain("inet", "hull-ab12c"),
            chain("ip", "nat"),
        ];
        assert_eq!(tables(&json!({ "nftables": objects })), ["hull-ab12c"]);
    }

    #[test]
    fn nonsense_is_no_finding() {
        for value in [json!(null), json!({"nftables": 3}), json!({"nftables": [{"chain": []}]})] {
            assert!(closed_chains(&value).is_empty());
        }
    }
}

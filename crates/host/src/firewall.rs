//! Other people's rules that stop our packets. They are named, never changed.

use model::{ErrorKind, Result};
use serde_json::Value;

use super::nft;
use crate::facts::FirewallWarning;
use crate::names::Names;

/// A chain of somebody else's that ends with "no".
#[derive(Debug, Clone, PartialEq, Eq)]
struct Closed {
    family: String,
    table: String,
    chain: String,
    hook: String,
}

/// What stops instances' traffic on this host.
pub(crate) fn warnings(names: &Names) -> Result<Vec<FirewallWarning>> {
    let listed = match nft::list() {
        Ok(listed) => listed,
        Err(error) if error.kind() == ErrorKind::Unsupported => return Ok(vec![missing()]),
        Err(error) => return Err(error),
    };
    let found = closed_chains(&listed, names);
    let mut warnings: Vec<_> = found.iter().map(warning).collect();
    warnings.extend(legacy_tables());
    Ok(warnings)
}

fn missing() -> FirewallWarning {
    FirewallWarning {
        finding: "the program nft is not installed".into(),
        effect: "instances reach nothing outside their network, and no port is published".into(),
        remedy: "install the package nftables: `apt install nftables`".into(),
    }
}

fn warning(closed: &Closed) -> FirewallWarning {
    let Closed { family, table, chain, hook } = closed;
    let effect = match hook.as_str() {
        "forward" => "instances cannot reach the outside, and published ports cannot be reached",
        _ => "instances cannot ask the host's name server",
    };
    FirewallWarning {
        finding: format!(
            "chain {chain} of the firewall table {family} {table} drops what it does not know"
        ),
        effect: effect.into(),
        remedy: remedy(table, chain, hook),
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
fn closed_chains(listed: &Value, names: &Names) -> Vec<Closed> {
    let objects = listed["nftables"].as_array().map(Vec::as_slice).unwrap_or_default();
    let chains = objects.iter().filter_map(|object| object.get("chain"));
    let ours = names.table();
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let hooked = chains.filter(|chain| {
        let hook = text(chain, "hook");
        let table = text(chain, "table");
        // Another node's table has the same rules as ours and stops nothing of ours.
        matches!(hook.as_str(), "input" | "forward")
            && table != ours
            && !table.starts_with("hull-")
            && matches!(text(chain, "family").as_str(), "ip" | "ip6" | "inet")
    });
    let closed = hooked
        .filter(|chain| chain["policy"] == "drop" || ends_with_refusal(objects, chain))
        .map(|chain| Closed {
            family: text(chain, "family"),
            table: text(chain, "table"),
            chain: text(chain, "name"),
            hook: text(chain, "hook"),
        });
    closed.collect()
}

fn ends_with_refusal(objects: &[Value], chain: &Value) -> bool {
    let rules = objects.iter().filter_map(|object| object.get("rule"));
    let mut of_chain = rules.filter(|rule| {
        rule["family"] == chain["family"]
            && rule["table"] == chain["table"]
            && rule["chain"] == chain["name"]
    });
    let last = of_chain.next_back().and_then(|rule| rule["expr"].as_array());
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
fn legacy_tables() -> Vec<FirewallWarning> {
    let legacy = [("ip_tables_names", "iptables-legacy"), ("ip6_tables_names", "ip6tables-legacy")];
    let loaded = legacy.iter().filter(|(file, _)| {
        std::fs::read_to_string(format!("/proc/thread-self/net/{file}"))
            .is_ok_and(|text| text.lines().any(|table| table == "filter"))
    });
    loaded.filter_map(|(_, program)| legacy_policy(program)).collect()
}

fn legacy_policy(program: &str) -> Option<FirewallWarning> {
    let listed = std::process::Command::new(program).args(["-S", "FORWARD"]).output();
    let text = match &listed {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(_) => {
            return Some(FirewallWarning {
                finding: format!(
                    "rules of {program} are loaded, and the program to read them is not here"
                ),
                effect: "they may stop instances' traffic".into(),
                remedy: format!("install iptables and look at `{program} -S`"),
            });
        }
    };
    text.lines().any(|line| line == "-P FORWARD DROP").then(|| FirewallWarning {
        finding: format!("chain FORWARD of {program} drops what it does not know"),
        effect: "instances cannot reach the outside, and published ports cannot be reached".into(),
        remedy: format!(
            "accept both directions: `{program} -I FORWARD -i hb+ -j ACCEPT` and `{program} -I \
             FORWARD -o hb+ -j ACCEPT`"
        ),
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
        let names = Names::new("ab12c".parse().unwrap());
        let closed = closed_chains(&json!({ "nftables": objects }), &names);
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
    fn nonsense_is_no_finding() {
        let names = Names::new("ab12c".parse().unwrap());
        for value in [json!(null), json!({"nftables": 3}), json!({"nftables": [{"chain": []}]})] {
            assert!(closed_chains(&value, &names).is_empty());
        }
    }
}

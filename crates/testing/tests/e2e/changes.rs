//! Changes of instances that are there, and changes that are only shown.

use serde_json::json;

use super::process::{begin, node};
use super::sandbox::limit;

#[test]
fn limits_change_while_it_runs() {
    let Some(node) = node() else { return };
    let _it = begin(node, "limited", &["-m", "64m"], "exec sleep 600");
    let pid = node.field("limited", "/status/containers/0/pid");
    node.ok(&["update", "-m", "96m", "--pids-limit", "40", "limited"]);
    let seen = format!(
        "{}; {}",
        limit("memory/memory.limit_in_bytes", "memory.max"),
        limit("pids/pids.max", "pids.max")
    );
    assert_eq!(node.ok(&["exec", "limited", "sh", "-c", &seen]), "100663296\n40");
    node.ok(&["update", "--restart", "always", "--stop-timeout", "1s", "limited"]);
    assert_eq!(node.field("limited", "/spec/restart"), json!("always"));
    assert_eq!(node.field("limited", "/status/containers/0/pid"), pid, "it ran on");
    let refused = node.hull(&["update", "-m", "1m", "limited"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert_eq!(node.hull(&["update", "limited"]).code, 2, "nothing to change");
}

#[test]
fn what_would_change_is_shown_and_does_not() {
    let Some(node) = node() else { return };
    let _it = begin(node, "planned", &[], "exec sleep 600");
    let before = node.inspect("planned").unwrap();
    for (command, shown) in [
        (&["stop", "--plan", "planned"][..], "spec.run: running → stopped"),
        (&["restart", "--plan", "planned"], "spec.runs: 1 → 2"),
        (&["start", "--plan", "planned"], "nothing would change"),
        (&["pause", "--plan", "planned"], "spec.run: running → paused"),
        (&["kill", "--plan", "planned"], "would be sent KILL"),
        (&["rename", "--plan", "planned", "other"], "meta.name: planned → other"),
        (&["rm", "-f", "--plan", "planned"], "would be removed"),
        (
            &["update", "--plan", "-m", "64m", "planned"],
            "spec.containers[0].resources.memory: - → 67108864",
        ),
    ] {
        let plan = node.ok(command);
        assert!(plan.contains(shown), "{command:?}:\n{plan}");
        assert!(plan.starts_with("instance \"planned\"\n"), "{command:?}:\n{plan}");
    }
    let plan = node.ok(&["run", "--plan", "--name", "never", "-m", "64m", "busybox", "true"]);
    assert!(plan.contains("memory: 67108864"), "{plan}");
    assert_eq!(node.hull(&["inspect", "never"]).code, 3);
    assert_eq!(node.inspect("planned").unwrap(), before);
}

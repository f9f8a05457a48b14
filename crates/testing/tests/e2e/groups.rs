//! Groups of containers in one instance.

use serde_json::json;
use testing::node::Node;

use super::process::{Named, node};

fn run<'a>(node: &'a Node, name: &'a str, spec: &str) -> Named<'a> {
    let named = Named(node, name);
    let made = node.hull_with(&["run", "-d", "--name", name, "-f", "-"], Some(spec.as_bytes()));
    assert_eq!(made.code, 0, "{}", made.stderr);
    named
}

#[test]
fn two_containers_share_localhost() {
    let Some(node) = node() else { return };
    let spec = "
containers:
  - name: server
    image: busybox
    command: [nc, -ll, -p, '80', -e, echo, hello]
  - name: client
    image: busybox
    command: [sh, -c, 'until nc -w 2 127.0.0.1 80 </dev/null; do usleep 10000; done 2>/dev/null; exec sleep 600']
";
    let _it = run(node, "pair", spec);
    let heard = testing::node::until("the client hears the server", || {
        let heard = node.ok(&["logs", "--container", "client", "pair"]);
        (!heard.is_empty()).then_some(heard)
    });
    assert_eq!(heard, "hello");
    assert_eq!(node.hull(&["exec", "--container", "client", "pair", "sh", "-c", "exit 3"]).code, 3);
}

#[test]
fn initial_containers_run_first() {
    let Some(node) = node() else { return };
    let spec = "
init:
  - name: prepare
    image: busybox
    command: [sh, -c, 'echo prepared >/d/f']
    mounts: [{type: volume, name: prepared, target: /d}]
containers:
  - name: main
    image: busybox
    command: [cat, /d/f]
    mounts: [{type: volume, name: prepared, target: /d}]
";
    let _it = run(node, "inits", spec);
    node.ok(&["wait", "inits"]);
    assert_eq!(node.ok(&["logs", "inits"]), "prepared");
    assert_eq!(node.field("inits", "/status/containers/0/exitCode"), json!(0));
}

#[test]
fn a_failed_initial_container_keeps_the_rest_from_starting() {
    let Some(node) = node() else { return };
    let spec = "
init: [{name: prepare, image: busybox, command: [sh, -c, 'exit 8']}]
containers: [{name: main, image: busybox, command: [echo, started]}]
";
    let _it = Named(node, "unready");
    node.hull_with(&["run", "-d", "--name", "unready", "-f", "-"], Some(spec.as_bytes()));
    testing::node::until("it is given up", || {
        let phase = node.field("unready", "/status/phase");
        (phase == "failed" || phase == "exited").then_some(())
    });
    assert_eq!(node.ok(&["logs", "unready"]), "");
}

#[test]
fn volumes_of_a_container_that_ends_are_another_one_s() {
    let Some(node) = node() else { return };
    let spec = "
restart: always
containers:
  - name: main
    image: busybox
    command: [sh, -c, 'until [ -e /d/f ]; do usleep 10000; done; cat /d/f; touch /d/x || exec sleep 600']
    volumesFrom: [{container: data, readOnly: true}]
  - name: data
    image: busybox
    once: true
    command: [sh, -c, 'echo kept >/d/f']
    mounts: [{type: volume, name: '', target: /d}]
";
    let _it = run(node, "sidekicks", spec);
    let heard = testing::node::until("it has what the other one wrote", || {
        let heard = node.ok(&["logs", "--container", "main", "sidekicks"]);
        (!heard.is_empty()).then_some(heard)
    });
    assert!(heard.starts_with("kept"), "{heard}");
    testing::node::until("the one has ended, the other goes on", || {
        let data = node.inspect("sidekicks")?["status"]["containers"]
            .as_array()?
            .iter()
            .find_map(|it| (it["name"] == "data").then(|| it.clone()))?;
        (data["state"] == "exited" && data["restarts"] == 0).then_some(())
    });
    assert_eq!(node.field("sidekicks", "/status/phase"), json!("running"));
    let circle = spec.replace("once: true", "volumesFrom: [{container: main}]");
    let refused =
        node.hull_with(&["run", "-d", "--name", "circle", "-f", "-"], Some(circle.as_bytes()));
    assert!(refused.code != 0 && refused.stderr.contains("volumesFrom"), "{}", refused.stderr);
}

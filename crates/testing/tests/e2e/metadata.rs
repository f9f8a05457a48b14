//! Instances ask what they are, as in a cloud.

use super::process::{Named, begin, node};

const TOOLS: &str = "hull-test/tools";

/// What `curl` prints inside an instance, and its exit code as the last line.
fn curl(node: &testing::node::Node, name: &str, arguments: &str) -> String {
    let script = format!("curl -sS -m 10 -w '%{{http_code}}' {arguments}");
    node.ok(&["exec", name, "sh", "-c", &script])
}

#[test]
fn an_instance_is_told_of_itself_alone() {
    let Some(node) = node() else { return };
    let _network = Network::internal(node, "told");
    let keep = "exec sleep 600";
    let _one = begin_tools(node, "told-1", &["--hostname", "first"]);
    // Of two networks, the one that has a way out.
    let _two = begin_tools(node, "told-2", &["--network", "told", "--network", "default"]);
    let _bare = begin(node, "told-3", &[], keep);
    let base = "http://169.254.169.254";
    assert_eq!(curl(node, "told-1", &format!("{base}/latest/meta-data/hostname")), "first200");
    for name in ["told-1", "told-2"] {
        let id = node.field(name, "/meta/id");
        let url = format!("{base}/latest/meta-data/instance-id");
        assert_eq!(curl(node, name, &url), format!("i-{}200", &id.as_str().unwrap()[..17]));
        let address = node.field(name, "/spec/placement/interfaces/0/ipv4");
        let address = address.as_str().unwrap().split('/').next().unwrap().to_owned();
        let url = format!("{base}/latest/meta-data/local-ipv4");
        assert_eq!(curl(node, name, &url), format!("{address}200"));
    }
    // Tokens, and what is refused.
    let token = curl(
        node,
        "told-1",
        &format!("-X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' {base}/latest/api/token"),
    );
    let token = token.strip_suffix("200").unwrap();
    let with =
        format!("-o /dev/null -H 'X-aws-ec2-metadata-token: {token}' {base}/latest/meta-data/");
    assert_eq!(curl(node, "told-1", &with), "200");
    assert_eq!(curl(node, "told-2", &with), "401", "another's token");
    let rebound = format!("-o /dev/null -H 'Host: evil.example' {base}/");
    assert_eq!(curl(node, "told-1", &rebound), "403");
    assert_eq!(curl(node, "told-1", &format!("-o /dev/null {base}/latest/user-data")), "404");
    // Nothing but busybox.
    let script = format!("timeout 5 wget -q -O - {base}/openstack/latest/meta_data.json");
    let meta = node.ok(&["exec", "told-3", "sh", "-c", &script]);
    let meta: serde_json::Value = serde_json::from_str(&meta).unwrap();
    assert_eq!(meta["uuid"], node.field("told-3", "/meta/id"));
}

fn begin_tools<'a>(node: &'a testing::node::Node, name: &'a str, flags: &[&str]) -> Named<'a> {
    let named = Named(node, name);
    let head = ["run", "-d", "--name", name];
    node.ok(&[&head, flags, &[TOOLS, "sleep", "600"]].concat());
    named
}

struct Network<'a>(&'a testing::node::Node, &'a str);

impl<'a> Network<'a> {
    fn internal(node: &'a testing::node::Node, name: &'a str) -> Self {
        node.ok(&["network", "create", "--internal", name]);
        Self(node, name)
    }
}

impl Drop for Network<'_> {
    fn drop(&mut self) {
        self.0.hull(&["network", "rm", self.1]);
    }
}

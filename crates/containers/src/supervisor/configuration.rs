//! containerd's configuration file.

use std::fmt::Write;
use std::path::Path;

use super::{Places, Version};

/// Parts left out: the kubelet's interface, other snapshotters, tracing, and whatever else this
/// platform does not use. They cost start-up time and memory. Names not known to a version are
/// passed over by it.
const DISABLED: [&str; 20] = [
    "io.containerd.grpc.v1.cri",
    "io.containerd.cri.v1.images",
    "io.containerd.cri.v1.runtime",
    "io.containerd.podsandbox.controller.v1.podsandbox",
    "io.containerd.nri.v1.nri",
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.blockfile",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.erofs",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.differ.v1.erofs",
    "io.containerd.internal.v1.opt",
    "io.containerd.internal.v1.restart",
    "io.containerd.internal.v1.tracing",
    "io.containerd.tracing.processor.v1.otlp",
    "io.containerd.monitor.v1.cgroups",
    "io.containerd.monitor.task.v1.cgroups",
    "io.containerd.image-verifier.v1.bindir",
    "io.containerd.grpc.v1.healthcheck",
];

/// How long a shim may take to say how its container is. After the usual two seconds, which pass on a
/// machine with more to do than it can, containerd says that it does not know.
const STATE_TIMEOUT: &str = "\"io.containerd.timeout.task.state\" = \"20s\"";

/// The file for this version: its form is 2 before containerd 2.0, and 3 since.
pub(super) fn render(places: &Places, version: Version) -> String {
    let form = if version.major >= 2 { 3 } else { 2 };
    let mut text = String::new();
    let mut line = |line: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line}");
    };
    line("# Written by hull at each start; changes are lost.".to_owned());
    line(format!("version = {form}"));
    line(format!("root = {}", quoted(&places.state.join("data"))));
    line(format!("state = {}", quoted(&places.run.join("state"))));
    line("disabled_plugins = [".to_owned());
    for name in DISABLED {
        line(format!("  \"{name}\","));
    }
    line("]".to_owned());
    line("[grpc]".to_owned());
    line(format!("  address = {}", quoted(&places.socket)));
    line("[debug]".to_owned());
    line("  level = \"warn\"".to_owned());
    line("[timeouts]".to_owned());
    line(format!("  {STATE_TIMEOUT}"));
    text
}

/// A basic string of TOML 1.0.
fn quoted(path: &Path) -> String {
    let mut text = String::from('"');
    for c in path.to_string_lossy().chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(text, "\\u{:04X}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted() {
        assert_eq!(quoted(Path::new("/a \"b\"\\\n")), r#""/a \"b\"\\\u000A""#);
    }
}

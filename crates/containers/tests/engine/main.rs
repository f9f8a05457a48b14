//! What an engine promises, checked on the fake and on containerd.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod crash;
mod fake;
mod image;
mod inside;
mod node;
mod output;
mod real;
mod scenarios;
mod store;

/// Skips a test with its reason where this machine cannot run it.
macro_rules! a_node {
    () => {
        match crate::node::Node::new().await {
            Ok(node) => node,
            Err(reason) => {
                assert!(std::env::var_os("HULL_E2E").is_none(), "cannot be tested: {reason}");
                eprintln!("skipped: {reason}");
                return;
            }
        }
    };
}
pub(crate) use a_node;

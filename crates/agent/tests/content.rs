//! The engine's content store under the suite of all content stores: what is learnt of images on a
//! directory holds on containerd.

use std::sync::Arc;

use agent::ContainerdContent;
use containers::{Settings, Supervisor};

/// Why this machine has no containerd for a test, if so.
fn missing() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("only root can run containerd");
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&paths).any(|path| path.join("containerd").exists());
    (!there).then_some("containerd is not installed")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containerd_conforms() {
    if let Some(why) = missing() {
        assert!(std::env::var_os("HULL_E2E").is_none(), "cannot run: {why}");
        eprintln!("passed over: {why}");
        return;
    }
    let dir = tempfile::Builder::new().prefix("hull-content-").tempdir().unwrap();
    let settings = Settings::new(dir.path().join("state"), dir.path().join("run")).unwrap();
    let supervisor = Supervisor::start(settings).await.unwrap();
    let store = Arc::new(ContainerdContent::new(supervisor.engine()));
    let suite = tokio::spawn(images::conformance::run(store)).await;
    supervisor.stop().await.unwrap();
    suite.unwrap();
}

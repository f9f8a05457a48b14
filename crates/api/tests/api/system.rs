//! The platform itself.

use futures::StreamExt;
use model::ErrorKind;

use crate::raw;
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn the_platform_tells_how_it_is() {
    let world = World::start().await;
    world.run("web").await;
    let system = world.remote().system();
    let status = system.status().await.unwrap();
    assert_eq!((status.node.as_str(), status.version.as_str()), ("n1", "0.0.0-test"));
    assert!(status.ready && status.revision > 0);
    assert_eq!(status.addresses, [format!("https://{}", world.address)]);
    assert_eq!(status.authority, "sha256:ca11");
    assert_eq!((status.instances, status.running, status.nodes), (1, 1, 1));
    assert_eq!(system.check().await.unwrap().findings[0].outcome, "pass");
    assert_eq!(system.disk_usage().await.unwrap().images.0, 42);
    system.ready().await.unwrap();
    let metrics = raw::get(&world, "/metrics").await;
    assert!(metrics.says("hull_api_requests_total{method=\"GET\",path=\"/v1/system/status\""));
    assert!(metrics.says("hull_api_open{what=\"connection\"}"));
    world.control.disconnect_node("n1");
    let error = system.disk_usage().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_a_database_and_leaves_nothing_behind() {
    let world = World::start().await;
    world.run("web").await;
    let parts: Vec<_> = world.remote().system().backup().await.unwrap().collect().await;
    let copy: Vec<u8> = parts.into_iter().flat_map(|part| part.unwrap().to_vec()).collect();
    assert!(copy.starts_with(b"SQLite format 3\0"));
    let dir = world.socket.parent().unwrap();
    let left = std::fs::read_dir(dir).unwrap().filter(|entry| {
        entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("backup")
    });
    assert_eq!(left.count(), 0);
    world.stop().await;
}

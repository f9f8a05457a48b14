//! The suite of all drivers, on each of them.

mod ground;

use network::fake::FakeDriver;
use network::{Names, conformance};

#[tokio::test]
async fn the_fake_driver_conforms() {
    let driver = FakeDriver::new(Names::new("fake0".parse().unwrap()));
    conformance::check(&driver).await;
}

#[tokio::test]
async fn the_real_driver_conforms() {
    if !ground::is_root() {
        return;
    }
    let ground = ground::Ground::new().await;
    conformance::check(&ground.driver).await;
    ground.end().await;
}

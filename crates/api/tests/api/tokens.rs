//! What the general routes do not do with tokens.

use client::wire::Draft;
use model::ErrorKind;
use model::token::TokenSpec;

use crate::raw;
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn nobody_chooses_a_secret() {
    let world = World::start().await;
    let draft = Draft::new("mine", TokenSpec { hash: "00".repeat(32), ..TokenSpec::default() });
    let error = world.local().tokens().create(&draft, false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let body = br#"{"name":"mine","secret":"hull_x"}"#;
    assert_eq!(raw::post(&world, "/v1/tokens", body).await.problem().field.unwrap(), "secret");
    world.stop().await;
}

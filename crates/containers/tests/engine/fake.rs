//! The suite on the fake, and what only the fake can do.

use containers::fake::Verb;
use containers::{ContainerConfig, Engine, EngineEvent, FakeEngine, State};
use futures::StreamExt;
use model::ErrorKind;
use model::instance::ContainerSpec;

use crate::scenarios::{self, Subject, id, within};

struct Fake(FakeEngine);

impl Subject for Fake {
    fn engine(&self) -> &dyn Engine {
        &self.0
    }

    fn config(&self, name: &str, command: &[&str]) -> ContainerConfig {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        let spec = ContainerSpec { command: Some(command), ..ContainerSpec::default() };
        ContainerConfig::new(id(name), "", spec)
    }
}

#[tokio::test]
async fn keeps_the_promises() {
    scenarios::all(&Fake(FakeEngine::new())).await;
}

#[tokio::test]
async fn does_what_a_script_says() {
    let fake = Fake(FakeEngine::new());
    let engine = fake.0.clone();
    let config = fake.config("web", &["serve"]);
    engine.fail_next(Verb::Create, ErrorKind::Exhausted);
    assert_eq!(engine.create(&config).await.unwrap_err().kind(), ErrorKind::Exhausted);
    engine.create(&config).await.unwrap();
    engine.start(&config.id).await.unwrap();
    let mut events = engine.events().await.unwrap();
    assert_eq!(within(events.next()).await, Some(EngineEvent::Resync));
    engine.run_out_of_memory(&config.id);
    assert!(matches!(within(events.next()).await, Some(EngineEvent::OutOfMemory { .. })));
    assert!(matches!(within(events.next()).await, Some(EngineEvent::Exited { .. })));
    assert!(engine.observe(&config.id).await.unwrap().unwrap().oom_killed);
    engine.delete_task(&config.id).await.unwrap();
    engine.start(&config.id).await.unwrap();
    engine.reboot();
    assert_eq!(within(events.next()).await, Some(EngineEvent::Resync));
    let lost = engine.observe(&config.id).await.unwrap().unwrap();
    assert_eq!((lost.state, lost.exit_code), (State::Exited, None));
    engine.lose_engine();
    assert_eq!(engine.list().await.unwrap_err().kind(), ErrorKind::Unavailable);
    engine.regain_engine();
    assert_eq!(engine.list().await.unwrap().len(), 1);
    assert!(engine.calls().contains(&(Verb::Start, Some(config.id.clone()))));
    assert_eq!(engine.config(&config.id), Some(config));
}

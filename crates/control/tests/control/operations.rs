//! Long work.

use model::Error;
use model::operation::OperationPhase;

use crate::support::*;

#[tokio::test]
async fn an_operation_is_followed_to_its_end() {
    let rig = Rig::alone().await;
    let operations = rig.control.operations();
    let pull = operations.begin(caller(), "pull nginx").await.unwrap();
    assert_eq!(
        (&*pull.operation().spec.title, &*pull.operation().spec.by),
        ("pull nginx", "tester")
    );
    pull.progress(10, 100);
    let done = pull.finish(Ok(())).await.unwrap();
    assert_eq!(
        (done.status.phase, done.status.done, done.status.total),
        (OperationPhase::Done, 100, 100)
    );
    let push = operations.begin(caller(), "push nginx").await.unwrap();
    let failed = push.finish(Err(&Error::unavailable("no route"))).await.unwrap();
    let reason = failed.status.reason.clone().unwrap();
    assert_eq!(
        (failed.status.phase, &*reason.code, &*reason.message),
        (OperationPhase::Failed, "unavailable", "no route")
    );
}

#[tokio::test]
async fn work_that_nobody_does_any_more_has_failed() {
    let rig = Rig::alone().await;
    let operations = rig.control.operations();
    let dropped = operations.begin(caller(), "pull a").await.unwrap();
    let id = dropped.operation().meta.id.clone();
    drop(dropped);
    rig.eventually("it failed", || {
        operations.get_by_id(caller(), &id).unwrap().status.phase == OperationPhase::Failed
    })
    .await;
    let under_way = operations.begin(caller(), "pull b").await.unwrap();
    let id = under_way.operation().meta.id.clone();
    std::mem::forget(under_way);
    drop(operations);
    let Rig { control, dir, .. } = rig;
    // The store is still held by what was forgotten: a copy of it is what a crash leaves.
    let copy = tempfile::tempdir().unwrap();
    control.backup(&copy.path().join("state.db")).await.unwrap();
    let control = open(copy.path()).await;
    let operation = control.operations().get_by_id(caller(), &id).unwrap();
    assert_eq!(operation.status.reason.as_ref().unwrap().code, "Interrupted");
    drop(dir);
}

use model::instance::{ContainerSpec, ContainerStatus, InstanceSpec};
use model::node::NodeSpec;
use model::quantity::Span;
use model::service::{
    Dependency, DependencyCondition, Overlap, Schedule, ServiceSpec, Template, UpdatePolicy,
};
use model::{Meta, Object};

use super::*;

const SECOND: i64 = 1;

fn time(seconds: i64) -> Time {
    Time::from_unix(1_800_000_000 + seconds, 0)
}

fn id(number: usize) -> Uid {
    Uid::from_bytes([u8::try_from(number).unwrap(); 32])
}

fn template(image: &str) -> Template {
    let container = ContainerSpec { image: image.into(), ..ContainerSpec::default() };
    let spec = InstanceSpec { containers: vec![container], ..InstanceSpec::default() };
    Template { spec, ..Template::default() }
}

/// A service, its instances, and a world that does what is asked: what is removed goes, what is made
/// starts when [`World::start`] says so.
struct World {
    service: Service,
    instances: Vec<Instance>,
    others: Vec<Service>,
    nodes: Vec<Node>,
    made: usize,
    now: i64,
}

impl World {
    fn new(mode: ServiceMode, update: UpdatePolicy) -> Self {
        let spec =
            ServiceSpec { template: template("one"), mode, update, ..ServiceSpec::default() };
        let service = Object::new(Meta::new("default", "web", id(0), time(0)), spec);
        let (instances, others, nodes) = (Vec::new(), Vec::new(), Vec::new());
        Self { service, instances, others, nodes, made: 0, now: 0 }
    }

    fn replicas(count: u32, update: UpdatePolicy) -> Self {
        let mut world = Self::new(ServiceMode::Replicated { replicas: count }, update);
        world.go();
        world.start();
        world.go();
        world
    }

    /// The platform dies behind what it wrote: nothing is removed or made.
    fn go_and_die(&mut self) {
        let before = self.instances.clone();
        self.go();
        self.instances = before;
    }

    /// Does one step; how many were made and removed by it.
    fn go(&mut self) -> (usize, usize) {
        self.now += SECOND;
        let all: Vec<&Instance> = self.instances.iter().collect();
        let times = match &self.service.spec.mode {
            ServiceMode::Cron(schedule) => schedule.read().ok(),
            ServiceMode::Replicated { .. } | ServiceMode::Global {} | ServiceMode::Job { .. } => {
                None
            }
        };
        let around = Around {
            services: self.others.iter().map(|it| (it.meta.name.as_str(), it)).collect(),
            nodes: self.nodes.iter().collect(),
            times: times.as_ref(),
        };
        let step = step(&self.service, &all, &around, time(self.now));
        let counts = (step.create.len(), step.remove.len());
        self.instances.retain(|instance| !step.remove.contains(&instance.meta.id));
        for slot in step.create {
            self.made += 1;
            let name = slot.name;
            assert!(self.instances.iter().all(|it| it.meta.name != name), "{name} twice");
            let meta = Meta::new("default", &name, id(self.made), time(self.now));
            let mut instance = Instance::new(meta, self.service.spec.template.spec.clone());
            instance.meta.labels.insert(SLOT.into(), slot.key.to_string());
            instance.meta.labels.insert(REVISION.into(), step.status.revision.to_string());
            self.instances.push(instance);
        }
        self.service.status = step.status;
        self.service.spec.template.renewed += u64::from(step.renew);
        if let Some(number) = step.roll_back {
            let revision = self.service.status.revision(number).unwrap();
            self.service.spec.template = revision.template.clone();
        }
        counts
    }

    fn start(&mut self) {
        let waiting = self.instances.iter_mut().filter(|it| it.status.phase == State::Pending);
        for instance in waiting {
            instance.status.phase = State::Running;
            let started = Some(time(self.now));
            instance.status.containers =
                vec![ContainerStatus { started, ..ContainerStatus::default() }];
        }
    }

    fn end(&mut self, code: i32) {
        for instance in self.instances.iter_mut().filter(|it| it.status.phase == State::Pending) {
            instance.status.phase = State::Exited;
            instance.status.containers = vec![ContainerStatus {
                exit_code: Some(code),
                finished: Some(time(self.now)),
                ..ContainerStatus::default()
            }];
        }
    }

    fn phase(&self) -> ServicePhase {
        self.service.status.phase
    }

    fn images(&self) -> String {
        let mut all: Vec<_> = self.instances.iter().collect();
        all.sort_by_key(|it| &it.meta.name);
        let words =
            all.iter().map(|it| format!("{}={}", it.meta.name, it.spec.main().unwrap().image));
        words.collect::<Vec<_>>().join(" ")
    }
}

#[test]
fn instances_are_kept_and_counted() {
    let mut world = World::replicas(3, UpdatePolicy::default());
    assert_eq!(world.images(), "web-1=one web-2=one web-3=one");
    assert_eq!((world.phase(), world.service.status.ready), (ServicePhase::Steady, 3));
    world.instances.remove(1);
    assert_eq!(world.go(), (1, 0));
    assert_eq!(world.images(), "web-1=one web-2=one web-3=one");
    world.service.spec.mode = ServiceMode::Replicated { replicas: 1 };
    assert_eq!(world.go(), (0, 2));
    assert_eq!(world.images(), "web-1=one");
    world.service.meta.deleted = Some(time(0));
    assert_eq!(world.go(), (0, 1));
    assert_eq!(world.phase(), ServicePhase::Removing);
}

#[test]
fn slots_are_changed_some_at_a_time() {
    for (order, parallelism, steps) in [
        (UpdateOrder::StopFirst, 1, vec!["web-2=one web-3=one", "web-1=two web-2=one web-3=one"]),
        (UpdateOrder::StopFirst, 2, vec!["web-3=one", "web-1=two web-2=two web-3=one"]),
        (UpdateOrder::StopFirst, 0, vec!["", "web-1=two web-2=two web-3=two"]),
        (UpdateOrder::StartFirst, 1, vec!["web-1-r2=two web-1=one web-2=one web-3=one"]),
    ] {
        let policy = UpdatePolicy { order, parallelism, ..UpdatePolicy::default() };
        let mut world = World::replicas(3, policy);
        world.service.spec.template = template("two");
        for expected in steps {
            world.go();
            assert_eq!(world.images().split(' ').count(), expected.split(' ').count());
            for word in expected.split(' ') {
                assert!(world.images().contains(word), "{} has not {word}", world.images());
            }
            assert_eq!(world.phase(), ServicePhase::Updating);
        }
        for _ in 0..20 {
            // Nobody goes on while what was made does not run.
            let before = world.images();
            let waiting = world.instances.iter().any(|it| it.status.phase == State::Pending);
            world.go();
            assert!(!waiting || world.images() == before || parallelism == 0);
            world.start();
        }
        assert_eq!(world.phase(), ServicePhase::Steady, "{order:?} {parallelism}");
        assert!(!world.images().contains("one") && world.instances.len() == 3);
        assert_eq!(world.service.status.updated, 3);
    }
}

#[test]
fn a_pause_and_a_delay_hold_it_back() {
    let delay = Some(Span::seconds(60));
    let mut world = World::replicas(2, UpdatePolicy { delay, ..UpdatePolicy::default() });
    world.service.spec.template = template("two");
    world.service.spec.paused = true;
    assert_eq!(world.go(), (0, 0));
    assert_eq!(world.service.status.reason.as_ref().unwrap().code, "Paused");
    world.service.spec.paused = false;
    world.go();
    world.go();
    world.start();
    assert_eq!(world.images(), "web-1=two web-2=one");
    assert_eq!(world.go(), (0, 0), "the next one waits");
    world.now += 60;
    assert_eq!(world.go(), (0, 1));
}

#[test]
fn what_fails_is_stopped_or_taken_back() {
    for (on_failure, phase, images) in [
        (OnFailure::Pause, ServicePhase::Paused, "web-1=two web-2=one web-3=one"),
        (OnFailure::RollBack, ServicePhase::RolledBack, "web-1=one web-2=one web-3=one"),
    ] {
        let mut world = World::replicas(3, UpdatePolicy { on_failure, ..UpdatePolicy::default() });
        world.service.spec.template = template("two");
        for _ in 0..20 {
            world.go();
            for it in &mut world.instances {
                if it.spec.main().unwrap().image == "two" {
                    it.status.phase = State::Restarting;
                }
            }
            world.start();
        }
        assert_eq!((world.phase(), world.images().as_str()), (phase, images));
        assert_eq!(world.service.status.failed_revisions, [2]);
    }
    let mut world = World::replicas(
        2,
        UpdatePolicy { on_failure: OnFailure::Continue, ..UpdatePolicy::default() },
    );
    world.service.spec.template = template("two");
    for _ in 0..20 {
        world.go();
        for it in &mut world.instances {
            if it.spec.main().unwrap().image == "two" {
                it.status.phase = State::Restarting;
            }
        }
    }
    assert_eq!(world.images(), "web-1=two web-2=two");
    assert_eq!((world.phase(), world.service.status.failed), (ServicePhase::Steady, 2));
}

#[test]
fn a_rollout_that_was_held_goes_on_when_it_is_resumed() {
    let mut world = World::replicas(2, UpdatePolicy::default());
    world.service.spec.template = template("two");
    world.go();
    world.go();
    let at = world.instances.iter().position(|it| it.status.phase == State::Pending).unwrap();
    world.instances[at].status.phase = State::Failed;
    world.go();
    assert_eq!(world.phase(), ServicePhase::Paused);
    world.instances[at].status.phase = State::Pending;
    world.start();
    world.service.spec.resumed += 1;
    for _ in 0..12 {
        world.go();
        world.start();
    }
    assert_eq!(world.images(), "web-1=two web-2=two");
    assert_eq!(world.phase(), ServicePhase::Steady);
    assert!(world.service.status.failed_revisions.is_empty());
}

#[test]
fn going_back_leaves_alone_what_was_never_changed() {
    let on_failure = OnFailure::RollBack;
    let mut world = World::replicas(3, UpdatePolicy { on_failure, ..UpdatePolicy::default() });
    let kept: Vec<Uid> = world.instances[1..].iter().map(|it| it.meta.id.clone()).collect();
    world.service.spec.template = template("two");
    world.go();
    world.go();
    let at = world.instances.iter().position(|it| it.status.phase == State::Pending).unwrap();
    world.instances[at].status.phase = State::Failed;
    for _ in 0..10 {
        world.go();
        world.start();
    }
    assert_eq!(world.phase(), ServicePhase::RolledBack);
    assert!(kept.iter().all(|id| world.instances.iter().any(|it| it.meta.id == *id)));
}

#[test]
fn earlier_templates_are_kept_and_the_oldest_forgotten() {
    let mut world = World::replicas(1, UpdatePolicy::default());
    world.service.spec.keep = Some(2);
    for number in 2..8 {
        world.service.spec.template = template(&format!("image-{number}"));
        for _ in 0..12 {
            world.go();
            world.start();
        }
    }
    let numbers: Vec<_> = world.service.status.revisions.iter().map(|it| it.number).collect();
    assert_eq!(numbers, [5, 6, 7]);
    // The same template again is a new revision.
    world.service.spec.template = template("image-6");
    world.go();
    assert_eq!(world.service.status.revision, 8);
}

#[test]
fn a_job_runs_until_so_many_ended_well() {
    let mode = ServiceMode::Job { completions: 5, parallelism: 2, retries: 1, deadline: None };
    let mut world = World::new(mode, UpdatePolicy::default());
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(world.go().0);
        world.end(0);
    }
    assert_eq!((made, world.phase()), (vec![2, 2, 1, 0, 0], ServicePhase::Complete));
    assert_eq!(world.service.status.succeeded, 5);
}

#[test]
fn a_job_that_is_done_is_not_run_again() {
    let mode = ServiceMode::Job { completions: 2, parallelism: 1, retries: 0, deadline: None };
    let mut world = World::new(mode, UpdatePolicy::default());
    world.go();
    world.end(0);
    world.go();
    // Somebody takes the first away while the second runs, and the second later.
    world.instances.remove(0);
    world.end(0);
    world.go();
    assert_eq!((world.phase(), world.service.status.succeeded), (ServicePhase::Complete, 2));
    world.instances.clear();
    assert_eq!((world.go(), world.phase()), ((0, 0), ServicePhase::Complete));
}

#[test]
fn a_job_is_tried_again_and_given_up() {
    let deadline = Some(Span::seconds(600));
    let mode = ServiceMode::Job { completions: 1, parallelism: 1, retries: 1, deadline };
    let mut world = World::new(mode.clone(), UpdatePolicy::default());
    assert_eq!(world.go(), (1, 0));
    world.end(3);
    assert_eq!(world.go(), (0, 0), "it waits a little");
    world.now += 10;
    assert_eq!(world.go(), (1, 0));
    world.end(3);
    world.go();
    assert_eq!((world.phase(), world.service.status.failed), (ServicePhase::Failed, 2));
    let mut world = World::new(mode, UpdatePolicy::default());
    world.go();
    world.start();
    world.now += 600;
    assert_eq!(world.go(), (0, 1));
    assert_eq!(world.service.status.reason.as_ref().unwrap().code, "DeadlineExceeded");
}

fn other(name: &str, mode: ServiceMode) -> Service {
    let spec = ServiceSpec { mode, ..ServiceSpec::default() };
    Object::new(Meta::new("default", name, id(200), time(0)), spec)
}

fn depends(condition: DependencyCondition) -> Dependency {
    Dependency { service: "db".into(), condition, required: true, restart: false }
}

const TWO: ServiceMode = ServiceMode::Replicated { replicas: 2 };
const JOB: ServiceMode =
    ServiceMode::Job { completions: 1, parallelism: 1, retries: 0, deadline: None };

#[test]
fn others_are_waited_for() {
    use DependencyCondition::{Completed, Healthy, Started};
    // The other's mode, phase, wanted, updated, running, ready and succeeded.
    type Seen = (ServiceMode, ServicePhase, [u32; 5]);
    let cases: [(DependencyCondition, Seen, bool); 12] = [
        (Started, (TWO, ServicePhase::Steady, [2, 2, 1, 1, 0]), false),
        (Started, (TWO, ServicePhase::Steady, [2, 2, 2, 0, 0]), true),
        (Started, (TWO, ServicePhase::Updating, [2, 1, 2, 2, 0]), false),
        (Started, (TWO, ServicePhase::Steady, [0, 0, 0, 0, 0]), true),
        (Healthy, (TWO, ServicePhase::Steady, [2, 2, 2, 1, 0]), false),
        (Healthy, (TWO, ServicePhase::Steady, [2, 2, 2, 2, 0]), true),
        (Healthy, (TWO, ServicePhase::Paused, [2, 1, 1, 1, 0]), false),
        (Completed, (TWO, ServicePhase::Steady, [2, 2, 2, 2, 0]), false),
        (Completed, (JOB, ServicePhase::Updating, [1, 1, 1, 0, 0]), false),
        (Completed, (JOB, ServicePhase::Complete, [1, 0, 0, 0, 1]), true),
        (Completed, (JOB, ServicePhase::Failed, [1, 0, 0, 0, 0]), false),
        (Started, (JOB, ServicePhase::Updating, [1, 1, 1, 0, 0]), true),
    ];
    for (condition, (mode, phase, [wanted, updated, running, ready, succeeded]), made) in cases {
        let mut world = World::new(TWO, UpdatePolicy::default());
        world.service.spec.depends_on = vec![depends(condition)];
        let mut db = other("db", mode.clone());
        let status = &mut db.status;
        (status.phase, status.observed_generation) = (phase, db.meta.generation);
        (status.wanted, status.updated, status.running) = (wanted, updated, running);
        (status.ready, status.succeeded) = (ready, succeeded);
        world.others = vec![db];
        assert_eq!(world.go().0 > 0, made, "{condition:?} {mode:?} {phase:?}");
        let code = world.service.status.reason.as_ref().map(|reason| reason.code.as_str());
        assert_eq!(code, (!made).then_some("DependencyNotReady"));
    }
}

#[test]
fn what_need_not_be_there_is_not_waited_for() {
    for (required, made) in [(true, 0), (false, 2)] {
        let mut world = World::new(TWO, UpdatePolicy::default());
        world.service.spec.depends_on =
            vec![Dependency { required, ..depends(DependencyCondition::Started) }];
        assert_eq!(world.go().0, made);
    }
}

#[test]
fn a_new_revision_waits_and_what_runs_goes_on() {
    let mut world = World::replicas(2, UpdatePolicy::default());
    world.service.spec.depends_on = vec![depends(DependencyCondition::Healthy)];
    world.service.spec.template = template("two");
    assert_eq!(world.go(), (0, 0));
    assert_eq!(world.images(), "web-1=one web-2=one");
    let mut db = other("db", ServiceMode::Replicated { replicas: 0 });
    db.status.phase = ServicePhase::Steady;
    db.status.observed_generation = db.meta.generation;
    world.others = vec![db];
    for _ in 0..12 {
        world.go();
        world.start();
    }
    assert_eq!(world.images(), "web-1=two web-2=two");
    // What is lost later is replaced whatever has become of the other one.
    world.others.clear();
    world.instances.remove(0);
    assert_eq!(world.go(), (1, 0));
}

#[test]
fn it_is_made_anew_with_another() {
    let mut world = World::new(TWO, UpdatePolicy::default());
    let restart = Dependency { restart: true, ..depends(DependencyCondition::Started) };
    world.service.spec.depends_on = vec![restart];
    let mut db = other("db", ServiceMode::Replicated { replicas: 0 });
    (db.status.phase, db.status.revision) = (ServicePhase::Steady, 1);
    db.status.observed_generation = db.meta.generation;
    world.others = vec![db];
    for _ in 0..3 {
        world.go();
        world.start();
    }
    assert_eq!((world.service.status.revision, world.instances.len()), (1, 2));
    world.others[0].status.revision = 2;
    for _ in 0..12 {
        world.go();
        world.start();
    }
    assert_eq!((world.service.status.revision, world.service.status.updated), (2, 2));
    assert_eq!(world.phase(), ServicePhase::Steady);
}

#[test]
fn what_serves_drains_before_it_goes() {
    let mut world = World::replicas(2, UpdatePolicy::default());
    world.service.spec.access.drain = Some(Span::seconds(30));
    world.service.spec.mode = ServiceMode::Replicated { replicas: 1 };
    assert_eq!(world.go(), (0, 0));
    assert_eq!(world.service.status.leaving.len(), 1);
    // Wanted again: it takes connections again.
    world.service.spec.mode = TWO;
    world.go();
    assert!(world.service.status.leaving.is_empty());
    world.service.spec.template = template("two");
    world.go();
    let leaving = world.service.status.leaving.clone();
    world.now += 20;
    assert_eq!((world.go(), &world.service.status.leaving), ((0, 0), &leaving));
    world.now += 10;
    assert_eq!(world.go(), (0, 1));
    // What does not run has nothing to drain.
    world.instances[0].status.phase = State::Restarting;
    world.service.meta.deleted = Some(time(0));
    assert_eq!(world.go(), (0, 1));
}

fn node(name: &str, zone: &str) -> Node {
    let mut node = Node::new(Meta::new("", name, id(100), time(0)), NodeSpec::default());
    node.meta.labels.insert("zone".into(), zone.into());
    node.status.ready = true;
    node
}

#[test]
fn a_service_is_on_each_node_that_fits() {
    let mut world = World::new(ServiceMode::Global {}, UpdatePolicy::default());
    world.service.spec.template.spec.nodes.labels = "zone!=b".into();
    world.nodes = vec![node("n1", "a"), node("n2", "a"), node("n3", "b")];
    world.nodes[1].spec.cordoned = true;
    assert_eq!(world.go(), (1, 0));
    world.nodes[1].spec.cordoned = false;
    world.go();
    world.start();
    world.go();
    assert_eq!(world.images(), "web-n1=one web-n2=one");
    assert_eq!((world.service.status.wanted, world.service.status.ready), (2, 2));
    // One that answers no more keeps its own; one that is gone does not.
    world.nodes[0].status.ready = false;
    assert_eq!(world.go(), (0, 0));
    world.nodes.remove(0);
    assert_eq!(world.go(), (0, 1));
    world.nodes.push(node("n4", "a"));
    world.go();
    assert_eq!(world.images(), "web-n2=one web-n4=one");
    world.start();
    world.service.spec.template.spec.containers[0].image = "two".into();
    for _ in 0..12 {
        world.go();
        world.start();
    }
    assert_eq!(
        (world.images().as_str(), world.phase()),
        ("web-n2=two web-n4=two", ServicePhase::Steady)
    );
    let long = "n".repeat(120);
    world.nodes = vec![node(&long, "a")];
    world.go();
    world.go();
    assert!(world.instances.iter().all(|it| it.meta.name.len() <= 128 - 8), "{}", world.images());
}

/// 2027-01-15T08:00:00Z is [`time`] of 0: runs each minute.
fn cron(schedule: Schedule) -> World {
    let schedule = Schedule { times: "* * * * *".into(), ..schedule };
    let mut world = World::new(ServiceMode::Cron(schedule), UpdatePolicy::default());
    assert_eq!(world.go(), (0, 0));
    world
}

#[test]
fn runs_begin_at_set_times() {
    let mut world = cron(Schedule { keep_succeeded: 1, keep_failed: 1, ..Schedule::default() });
    let mut made = Vec::new();
    for code in [0, 0, 1, 0] {
        world.now += 59;
        made.push(world.go());
        assert_eq!(world.phase(), ServicePhase::Scheduled);
        world.end(code);
    }
    assert_eq!(made, [(1, 0), (1, 0), (1, 1), (1, 0)]);
    world.go();
    assert_eq!(world.images(), "web-3=one web-4=one");
    let status = &world.service.status;
    assert_eq!((status.succeeded, status.failed, status.left_out), (3, 1, 0));
    assert_eq!(status.last_due, Some(time(240)));
}

#[test]
fn runs_that_overlap() {
    for (overlap, all) in [
        (Overlap::Allow, "web-1=one web-2=one"),
        (Overlap::Forbid, "web-1=one"),
        (Overlap::Replace, "web-2=one"),
    ] {
        let mut world = cron(Schedule { overlap, ..Schedule::default() });
        for _ in 0..2 {
            world.now += 59;
            world.go();
            world.start();
        }
        assert_eq!(world.images(), all, "{overlap:?}");
        assert_eq!(world.service.status.left_out, u32::from(overlap == Overlap::Forbid));
    }
}

#[test]
fn what_was_missed_is_made_up_for_once_or_left_out() {
    for (deadline, made, left_out) in [(None, 1, 9), (Some(Span::seconds(10)), 0, 10)] {
        let mut world = cron(Schedule { starting_deadline: deadline, ..Schedule::default() });
        world.now += 630;
        assert_eq!(world.go(), (made, 0));
        assert_eq!(world.service.status.left_out, left_out);
    }
    let mut world = cron(Schedule::default());
    let ServiceMode::Cron(schedule) = &mut world.service.spec.mode else { return };
    schedule.suspended = true;
    world.now += 600;
    assert_eq!(world.go(), (0, 0));
    assert_eq!(world.service.status.reason.as_ref().unwrap().code, "Suspended");
    let ServiceMode::Cron(schedule) = &mut world.service.spec.mode else { return };
    schedule.suspended = false;
    assert_eq!(world.go(), (0, 0), "what was suspended is not made up for");
    world.now += 60;
    assert_eq!(world.go(), (1, 0));
}

#[test]
fn a_run_that_was_not_made_is_made_after_a_death() {
    let mut world = cron(Schedule::default());
    world.now += 59;
    world.go();
    // Its instance was not made any more.
    world.instances.clear();
    world.now += 1;
    assert_eq!(world.go(), (1, 0));
    // Once it was there, it is not made again.
    world.go();
    world.instances.clear();
    assert_eq!(world.go(), (0, 0));
    assert!(world.service.status.runs.is_empty());
}

#[test]
fn what_was_to_go_goes_after_a_death() {
    // A run that another one took the place of.
    let mut world = cron(Schedule { overlap: Overlap::Replace, ..Schedule::default() });
    world.now += 59;
    world.go();
    world.start();
    world.now += 59;
    world.go_and_die();
    assert_eq!((world.images().as_str(), world.service.status.wanted), ("web-1=one", 1));
    world.go();
    assert_eq!(world.images(), "web-2=one");
    world.go();
    assert_eq!((world.service.status.runs.len(), world.service.status.failed), (1, 0));

    // What runs beside the run that had the job given up.
    let mode = ServiceMode::Job { completions: 3, parallelism: 2, retries: 0, deadline: None };
    let mut world = World::new(mode, UpdatePolicy::default());
    world.go();
    world.instances[0].status.phase = State::Failed;
    world.start();
    world.go_and_die();
    assert_eq!((world.phase(), world.instances.len()), (ServicePhase::Failed, 2));
    assert_eq!(world.go(), (0, 1));
    // One that ended and was started by hand stays.
    world.instances[0].status.phase = State::Running;
    assert_eq!(world.go(), (0, 0));

    // Slots of older revisions, and those that are not wanted any more.
    let mut world = World::replicas(3, UpdatePolicy { parallelism: 0, ..UpdatePolicy::default() });
    world.service.spec.mode = TWO;
    world.service.spec.template = template("two");
    world.go_and_die();
    for _ in 0..3 {
        world.go();
        world.start();
    }
    assert_eq!(world.images(), "web-1=two web-2=two");
}

#[test]
fn a_clock_that_was_set_back() {
    // By a little: nothing runs twice.
    let mut world = cron(Schedule::default());
    world.now += 59;
    assert_eq!(world.go(), (1, 0));
    world.end(0);
    world.now -= 50 * 60;
    for _ in 0..3 {
        assert_eq!(world.go(), (0, 0));
        world.now += 60;
    }
    world.now += 48 * 60;
    assert_eq!(world.go(), (1, 0));
    world.end(0);
    // From years ahead: it goes on at once.
    world.now += 9 * 365 * 86400;
    assert_eq!(world.go(), (1, 0));
    world.end(0);
    world.now -= 9 * 365 * 86400;
    assert_eq!(world.go(), (0, 0));
    world.now += 60;
    assert_eq!(world.go(), (1, 0));
    // Also where it never ran meanwhile.
    let mut world = cron(Schedule::default());
    world.service.status.next_due = Some(time(9 * 365 * 86400));
    world.go();
    assert_eq!(world.service.status.next_due, Some(time(60)));
}

#[test]
fn times_that_nobody_knows_any_more() {
    let mut world = cron(Schedule::default());
    let ServiceMode::Cron(schedule) = &mut world.service.spec.mode else { return };
    schedule.time_zone = "Mars/Base".into();
    assert_eq!(world.go(), (0, 0));
    assert_eq!(world.service.status.reason.as_ref().unwrap().code, "ScheduleUnreadable");
}

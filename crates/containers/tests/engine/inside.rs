//! What a container finds inside.

use containers::{Bind, ChangeKind, CommitConfig, Engine, EngineEvent, Namespace, UserNamespace};
use futures::StreamExt;
use model::Bytes;
use model::instance::{Mount, MountKind, Resources, Seccomp, Ulimit, UserMapping};

use crate::a_node;
use crate::scenarios::{Subject, within};

#[tokio::test]
async fn who_and_where() {
    let node = a_node!();
    let mut config = node.logged("who", &["sh", "-c", "id; pwd; hostname; env"]);
    config.spec.user = "web".to_owned();
    config.spec.groups = vec!["7".to_owned()];
    config.spec.workdir = "/not/there/yet".to_owned();
    config.spec.env = vec!["A=1 2".to_owned()];
    config.hostname = "named".to_owned();
    let (_, text) = within(node.run(&config)).await;
    assert!(text.contains("uid=33(web) gid=33(web) groups=7,33(web),40(logs)"), "{text}");
    assert!(text.contains("\n/not/there/yet\nnamed\n"), "{text}");
    for line in ["A=1 2", "HOME=/srv", "HOSTNAME=named"] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
}

#[tokio::test]
async fn confined_as_asked() {
    let node = a_node!();
    let look = "grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status; \
        cat /proc/interrupts | wc -c; echo x 2>/dev/null > /proc/sys/kernel/hostname || echo ro1; \
        D=/sys/fs/cgroup; [ -d $D/memory ] && D=$D/memory; mkdir $D/x 2>/dev/null || echo ro2";
    let text = node.shell("plain", look).await;
    assert!(text.contains("CapEff:\t00000000a80425fb"), "{text}");
    assert!(text.contains("NoNewPrivs:\t0") && text.contains("Seccomp:\t2"), "{text}");
    assert!(text.ends_with("0\nro1\nro2\n"), "{text}");

    let mut config = node.logged("bare", &["sh", "-c", look]);
    config.spec.capabilities.drop = vec!["ALL".to_owned()];
    config.spec.no_new_privileges = true;
    config.spec.seccomp = Seccomp::Unconfined;
    config.spec.read_only = true;
    config.spec.command = Some(
        ["sh", "-c", &format!("{look}; touch /x 2>/dev/null || echo ro")]
            .map(str::to_owned)
            .to_vec(),
    );
    let (_, text) = within(node.run(&config)).await;
    assert!(text.contains("CapEff:\t0000000000000000"), "{text}");
    assert!(text.contains("NoNewPrivs:\t1") && text.contains("Seccomp:\t0"), "{text}");
    assert!(text.ends_with("ro\n"), "{text}");

    let mut config = node.logged("free", &["sh", "-c", "grep CapEff /proc/self/status; ls /dev"]);
    config.spec.privileged = true;
    let created = node.engine.create(&config).await.unwrap();
    let lacks = !node.engine.host().may_raise_limits();
    assert_eq!(created.warnings.iter().any(|w| w.contains("CAP_SYS_RESOURCE")), lacks);
    let (code, text) = within(node.run(&config)).await;
    assert!(code == 0 && text.contains("kmsg"), "{text}");
}

#[tokio::test]
async fn mounted_as_asked() {
    let node = a_node!();
    let source = node.directory.join("shared");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("file"), "from outside\n").unwrap();
    let script = "cat /in/file; echo x > /in/file || echo ro; echo made > /out/made; \
        grep -E ' /(tmp|dev/shm) ' /proc/mounts";
    let mut config = node.logged("mounts", &["sh", "-c", script]);
    config.binds = vec![Bind::new(&source, "/in").read_only(), Bind::new(&source, "/out")];
    config.spec.shm_size = Some(Bytes::mib(8));
    config.spec.mounts = vec![Mount {
        kind: MountKind::Tmpfs { size: Some(Bytes::mib(4)), mode: None, options: Vec::new() },
        target: "/tmp".to_owned(),
        read_only: false,
        disk: None,
    }];
    let (_, text) = within(node.run(&config)).await;
    assert!(text.starts_with("from outside\n"), "{text}");
    assert!(text.contains("ro\n") && text.contains("size=4096k") && text.contains("size=8192k"));
    assert_eq!(std::fs::read_to_string(source.join("made")).unwrap(), "made\n");
}

#[tokio::test]
async fn limits_now_and_later() {
    let node = a_node!();
    let mut config = node.logged("limits", &["sleep", "1000"]);
    config.spec.resources = Resources {
        memory: Some(Bytes::mib(64)),
        pids: Some(20),
        cpus: Some(model::Cpus::from_milli(500)),
        ..Resources::default()
    };
    config.spec.ulimits = vec![Ulimit { name: "nofile".to_owned(), soft: 100, hard: 1 << 29 }];
    let created = node.engine.create(&config).await.unwrap();
    let most = node.engine.host().most("nofile");
    assert_eq!(created.warnings.len(), usize::from(most < 1 << 29), "{:?}", created.warnings);
    let started = node.engine.start(&config.id).await.unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", started.pid)).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert!(files.contains(" 100 "), "{files}");
    let stats = node.engine.stats(&config.id).await.unwrap();
    assert_eq!((stats.memory.limit, stats.pids.limit), (64 << 20, Some(20)));
    assert!(stats.cpu.system > stats.cpu.total && stats.cpu.online >= 1);
    assert!(stats.memory.usage > 0 && !stats.memory.detail.is_empty());
    let more = Resources { memory: Some(Bytes::mib(96)), pids: Some(30), ..Resources::default() };
    let warnings = node.engine.update(&config.id, &more).await.unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let stats = node.engine.stats(&config.id).await.unwrap();
    assert_eq!((stats.memory.limit, stats.pids.limit), (96 << 20, Some(30)));
    node.engine.delete_task(&config.id).await.unwrap();
    node.engine.start(&config.id).await.unwrap();
    let stats = node.engine.stats(&config.id).await.unwrap();
    assert_eq!((stats.memory.limit, stats.pids.limit), (96 << 20, Some(30)));
    node.engine.remove(&config.id).await.unwrap();
}

#[tokio::test]
async fn out_of_memory_is_told() {
    let node = a_node!();
    let mut events = node.engine.events().await.unwrap();
    assert_eq!(within(events.next()).await, Some(EngineEvent::Resync));
    let mut config = node.config("hungry", &["tail", "/dev/zero"]);
    config.spec.resources.memory = Some(Bytes::mib(16));
    node.engine.create(&config).await.unwrap();
    node.engine.start(&config.id).await.unwrap();
    assert_eq!(within(node.engine.wait(&config.id)).await.unwrap().code, 137);
    assert!(node.engine.observe(&config.id).await.unwrap().unwrap().oom_killed);
    let told = async {
        while let Some(event) = events.next().await {
            if matches!(&event, EngineEvent::OutOfMemory { id } if *id == config.id) {
                return true;
            }
        }
        false
    };
    assert!(within(told).await);
    node.engine.remove(&config.id).await.unwrap();
}

#[tokio::test]
async fn an_init_reaps_and_forwards() {
    let node = a_node!();
    let script = "cat /proc/1/comm; (sleep 0.01 &); sleep 0.2; ps | grep -c '\\[sleep\\]'; exit 6";
    let mut config = node.logged("init", &["sh", "-c", script]);
    config.spec.init = true;
    let (code, text) = within(node.run(&config)).await;
    assert_eq!(code, 6);
    assert!(text.starts_with("docker-init\n") && text.ends_with("\n0\n"), "{text}");

    // sleep as process 1 would not hear it.
    let mut config = node.config("hears", &["sleep", "1000"]);
    config.spec.init = true;
    node.engine.create(&config).await.unwrap();
    node.engine.start(&config.id).await.unwrap();
    let processes = async {
        while node.engine.processes(&config.id).await.unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    within(processes).await;
    node.engine.kill(&config.id, containers::Signal::TERM).await.unwrap();
    assert_eq!(within(node.engine.wait(&config.id)).await.unwrap().code, 143);
    node.engine.remove(&config.id).await.unwrap();
}

#[tokio::test]
async fn users_of_its_own() {
    let node = a_node!();
    let mapping = UserMapping { first_uid: 100_000, first_gid: 200_000, size: 65536 };
    let script = "id -u; cat /proc/self/uid_map; stat -c %u:%g /etc/passwd; touch /mine; echo ok; sleep 1000";
    let mut config = node.logged("mapped", &["sh", "-c", script]);
    config.user = UserNamespace::Mapped(mapping);
    let begun = std::time::Instant::now();
    node.engine.create(&config).await.unwrap_or_else(|error| panic!("{}", error.chain()));
    eprintln!("created with users of its own in {:?}", begun.elapsed());
    let started = node.engine.start(&config.id).await;
    let started = started.unwrap_or_else(|error| panic!("{}", error.chain()));
    let said = async {
        while !crate::output::text(&node.log("mapped")).await.contains("ok") {
            tokio::task::yield_now().await;
        }
    };
    within(said).await;
    let text = crate::output::text(&node.log("mapped")).await;
    let lines: Vec<Vec<&str>> = text.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(lines, [vec!["0"], vec!["0", "100000", "65536"], vec!["0:0"], vec!["ok"]]);
    let outside = std::fs::metadata(format!("/proc/{}", started.pid)).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&outside), 100_000);
    let rootfs = node.engine.rootfs(&config.id).await.unwrap();
    let mine = rootfs.stat("/mine").unwrap();
    assert_eq!((mine.uid, mine.gid), (100_000, 200_000));
    drop(rootfs);
    let begun = std::time::Instant::now();
    let mut second = config.clone();
    second.id = crate::scenarios::id("mapped-too");
    node.engine.create(&second).await.unwrap();
    eprintln!("a second in {:?}", begun.elapsed());
    node.engine.remove(&second.id).await.unwrap();
    node.engine.remove(&config.id).await.unwrap();
}

#[tokio::test]
async fn namespaces_of_others() {
    let node = a_node!();
    let first = node.config("first", &["sleep", "1000"]);
    node.engine.create(&first).await.unwrap();
    let pid = node.engine.start(&first.id).await.unwrap().pid;
    let of = |kind: &str| Namespace::Path(format!("/proc/{pid}/ns/{kind}").into());
    let mut second = node.logged("second", &["sh", "-c", "ps; hostname"]);
    second.pid = of("pid");
    second.network = of("net");
    second.uts = of("uts");
    second.ipc = of("ipc");
    let (_, text) = within(node.run(&second)).await;
    assert!(text.contains("sleep 1000") && text.ends_with("first\n"), "{text}");
    let mut host = node.logged("host", &["sh", "-c", "ls /proc/sys/net/ipv4/conf; hostname"]);
    host.network = Namespace::Host;
    host.uts = Namespace::Host;
    host.pid = Namespace::Host;
    host.ipc = Namespace::Host;
    let (code, text) = within(node.run(&host)).await;
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert!(code == 0 && text.ends_with(&own), "{text}");
    node.engine.remove(&first.id).await.unwrap();
}

#[tokio::test]
async fn changes_and_an_image_of_them() {
    let node = a_node!();
    let script = "rm /etc/deleted; echo y > /etc/changed; mkdir -p /new/deep; echo kept > /new/deep/file; \
        touch /gone; rm /gone";
    let config = node.config("worked", &["sh", "-c", script]);
    node.engine.create(&config).await.unwrap();
    node.engine.start(&config.id).await.unwrap();
    assert_eq!(within(node.engine.wait(&config.id)).await.unwrap().code, 0);
    let changes: Vec<String> = node
        .engine
        .changes(&config.id)
        .await
        .unwrap()
        .iter()
        .map(|change| format!("{} {}", change.kind.letter(), change.path))
        .collect();
    assert_eq!(
        changes,
        ["C /etc", "C /etc/changed", "D /etc/deleted", "A /new", "A /new/deep", "A /new/deep/file"]
    );
    let _ = ChangeKind::Added;
    let commit = CommitConfig { name: "test/worked:latest".to_owned(), ..CommitConfig::default() };
    let made = within(node.engine.commit(&config.id, &commit)).await.unwrap();
    let image = node.engine.image("test/worked:latest").await.unwrap().unwrap();
    assert_eq!(image.target.digest, made.digest);
    let manifest = node.engine.read_whole_blob(&made.digest, 1 << 20).await.unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let layer = manifest["layers"][0]["digest"].as_str().unwrap().to_owned();
    let config_blob = node.engine.read_whole_blob(&made.id, 1 << 20).await.unwrap();
    let described: serde_json::Value = serde_json::from_slice(&config_blob).unwrap();
    let layer = containers::containerd::Layer {
        digest: layer.clone(),
        diff_id: described["rootfs"]["diff_ids"][0].as_str().unwrap().to_owned(),
        media_type: manifest["layers"][0]["mediaType"].as_str().unwrap().to_owned(),
        size: manifest["layers"][0]["size"].as_u64().unwrap(),
    };
    let (base, _) = crate::image::busybox();
    let chain = node.engine.unpack(&[base, layer], &made.id, |_| {}).await.unwrap();
    node.engine.remove(&config.id).await.unwrap();
    let mut again = node.logged("again", &["sh", "-c", "cat /new/deep/file; ls /etc"]);
    again.chain = chain;
    let (_, text) = within(node.run(&again)).await;
    assert_eq!(text, "kept\nchanged\ngroup\npasswd\n");
}

#[tokio::test]
async fn further_processes_inside() {
    use containers::{ExecConfig, ExecId, WindowSize};
    use tokio::io::AsyncReadExt;
    let node = a_node!();
    let mut config = node.config("host", &["sleep", "1000"]);
    config.spec.env = vec!["A=1".to_owned()];
    node.engine.create(&config).await.unwrap();
    node.engine.start(&config.id).await.unwrap();
    let run = async |exec: ExecConfig| {
        let mut streams = node.engine.exec(&config.id, &exec).await.unwrap();
        let mut text = String::new();
        streams.stdout.read_to_string(&mut text).await.unwrap();
        let exit = node.engine.exec_wait(&config.id, &exec.id).await.unwrap();
        (exit.code, text)
    };
    let mut exec = ExecConfig::new(
        ExecId::parse("who").unwrap(),
        ["sh", "-c", "id -un; pwd; echo $A $B $HOME; grep CapEff /proc/self/status"],
    );
    exec.user = "web".to_owned();
    exec.workdir = "/tmp".to_owned();
    exec.env = vec!["B=2".to_owned()];
    let (_, text) = within(run(exec)).await;
    assert_eq!(text, "web\n/tmp\n1 2 /srv\nCapEff:\t0000000000000000\n");

    let mut exec = ExecConfig::new(
        ExecId::parse("tty").unwrap(),
        ["sh", "-c", "sleep 0.2; stty size; exit 9"],
    );
    exec.tty = true;
    exec.size = Some(WindowSize { width: 70, height: 20 });
    let (code, text) = within(run(exec)).await;
    assert_eq!((code, text.as_str()), (9, "20 70\r\n"));

    let mut exec =
        ExecConfig::new(ExecId::parse("free").unwrap(), ["grep", "CapEff", "/proc/self/status"]);
    exec.privileged = true;
    let (_, text) = within(run(exec)).await;
    assert!(text.contains("CapEff:\t000001f"), "{text}");

    let missing = ExecConfig::new(ExecId::parse("missing").unwrap(), ["nowhere"]);
    let error = node.engine.exec(&config.id, &missing).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.field()),
        (model::ErrorKind::Invalid, Some("command")),
        "{}",
        error.chain()
    );

    // More than pipes hold, read only after it has ended.
    let flood = ExecConfig::new(ExecId::parse("flood").unwrap(), ["sh", "-c", "seq 1 9000"]);
    let mut streams = node.engine.exec(&config.id, &flood).await.unwrap();
    assert_eq!(within(node.engine.exec_wait(&config.id, &flood.id)).await.unwrap().code, 0);
    let mut text = String::new();
    within(streams.stdout.read_to_string(&mut text)).await.unwrap();
    assert_eq!(text.lines().count(), 9000);
    node.engine.remove(&config.id).await.unwrap();
}

//! The Docker Engine API, by a client that nobody here wrote.

use std::collections::HashMap;
use std::future::Future;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use bollard::Docker;
use bollard::container::{AttachContainerResults, LogOutput};
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::{
    ContainerCreateBody, EndpointSettings, ExecConfig, HostConfig, NetworkConnectRequest,
    NetworkCreateRequest, VolumeCreateRequest,
};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, EventsOptionsBuilder,
    InspectContainerOptions, ListContainersOptionsBuilder, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveVolumeOptions, StatsOptionsBuilder,
    WaitContainerOptionsBuilder,
};
use futures::StreamExt;
use testing::node::{Node, until, within};
use tokio::io::AsyncWriteExt;

use super::machines::PATIENCE;
use super::process::{Named, able, node};

/// A client of the node's socket.
fn client(node: &Node) -> Docker {
    let socket = node.root().join("run/hull/docker.sock");
    let path = socket.to_str().unwrap();
    Docker::connect_with_unix(path, 60, bollard::API_DEFAULT_VERSION).unwrap()
}

/// Runs a test's work, a minute at most.
fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(60), work).await.expect("takes over a minute")
    })
}

fn shell(script: &str) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some("busybox".into()),
        cmd: Some(vec!["sh".into(), "-c".into(), script.into()]),
        ..ContainerCreateBody::default()
    }
}

async fn create(docker: &Docker, name: &str, body: ContainerCreateBody) -> String {
    let options = CreateContainerOptionsBuilder::new().name(name).build();
    docker.create_container(Some(options), body).await.unwrap().id
}

async fn begin(docker: &Docker, name: &str, body: ContainerCreateBody) -> String {
    let id = create(docker, name, body).await;
    docker.start_container(name, None).await.unwrap();
    id
}

async fn text(
    mut output: impl futures::Stream<Item = Result<LogOutput, bollard::errors::Error>> + Unpin,
) -> (String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    while let Some(item) = output.next().await {
        match item.unwrap() {
            LogOutput::StdErr { message } => err.extend_from_slice(&message),
            LogOutput::StdOut { message } | LogOutput::Console { message } => {
                out.extend_from_slice(&message);
            }
            LogOutput::StdIn { .. } => {}
        }
    }
    (String::from_utf8_lossy(&out).into_owned(), String::from_utf8_lossy(&err).into_owned())
}

/// The busybox must be there: images are not pulled by a create.
fn ready() -> Option<&'static Node> {
    let node = node()?;
    node.ok(&["image", "pull", "-q", "busybox"]);
    Some(node)
}

#[test]
fn a_container_from_attach_to_removal() {
    let Some(node) = ready() else { return };
    let _it = Named(node, "dk-life");
    let docker = client(node);
    run(async {
        let body = ContainerCreateBody {
            open_stdin: Some(true),
            stdin_once: Some(true),
            env: Some(vec!["WORD=hello".into()]),
            ..shell("read line; echo $WORD $line; echo oops >&2; exit 3")
        };
        let id = create(&docker, "dk-life", body).await;
        assert_eq!(id.len(), 64);
        let options = AttachContainerOptionsBuilder::new();
        let options = options.stream(true).stdin(true).stdout(true).stderr(true).build();
        let AttachContainerResults { output, mut input } =
            docker.attach_container("dk-life", Some(options)).await.unwrap();
        let options = WaitContainerOptionsBuilder::new().condition("next-exit").build();
        let mut waiting = docker.wait_container("dk-life", Some(options));
        let feed = async {
            docker.start_container("dk-life", None).await.unwrap();
            input.write_all(b"there\n").await.unwrap();
            input.shutdown().await.unwrap();
            text(output).await
        };
        // The wait is asked for when it is first looked at.
        let (ended, (out, err)) = tokio::join!(waiting.next(), feed);
        assert_eq!((out.as_str(), err.as_str()), ("hello there\n", "oops\n"));
        let ended = ended.unwrap();
        // This client makes an error of an exit code that is not 0.
        assert!(format!("{ended:?}").contains('3'), "{ended:?}");
        let seen =
            docker.inspect_container(&id[..12], None::<InspectContainerOptions>).await.unwrap();
        let state = seen.state.unwrap();
        assert_eq!((state.exit_code, state.running), (Some(3), Some(false)));
        assert_eq!(seen.name.as_deref(), Some("/dk-life"));
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).build();
        assert_eq!(text(docker.logs("dk-life", Some(options))).await, (out, err));
        docker.remove_container("dk-life", None).await.unwrap();
        let gone =
            docker.inspect_container(&id, None::<InspectContainerOptions>).await.unwrap_err();
        assert!(gone.to_string().contains("No such container"), "{gone}");
    });
}

#[test]
fn further_processes_with_their_streams_and_codes() {
    let Some(node) = ready() else { return };
    let _it = Named(node, "dk-exec");
    let docker = client(node);
    run(async {
        begin(&docker, "dk-exec", shell("sleep 600")).await;
        let exec = async |cmd: &[&str], stdin: &str| {
            let config = ExecConfig {
                cmd: Some(cmd.iter().map(|&word| word.into()).collect()),
                attach_stdin: Some(true),
                attach_stdout: Some(true),
                attach_stderr: Some(true),
                ..ExecConfig::default()
            };
            let id = docker.create_exec("dk-exec", config).await.unwrap().id;
            let started = docker.start_exec(&id, None::<StartExecOptions>).await.unwrap();
            let StartExecResults::Attached { output, mut input } = started else {
                panic!("not attached")
            };
            input.write_all(stdin.as_bytes()).await.unwrap();
            input.shutdown().await.unwrap();
            let told = text(output).await;
            let seen = docker.inspect_exec(&id).await.unwrap();
            assert_eq!(seen.running, Some(false));
            (told, seen.exit_code.unwrap())
        };
        let ((out, err), code) = exec(&["sh", "-c", "cat; echo e >&2; exit 7"], "typed").await;
        assert_eq!((out.as_str(), err.as_str(), code), ("typed", "e\n", 7));
        let ((out, _), code) = exec(&["nosuch"], "").await;
        assert_eq!(code, 127);
        assert!(out.contains("executable file not found"), "{out}");
    });
}

#[test]
fn networks_and_volumes_hold_containers_together() {
    let Some(node) = ready() else { return };
    let (_one, _two) = (Named(node, "dk-net-a"), Named(node, "dk-net-b"));
    let docker = client(node);
    run(async {
        let network = NetworkCreateRequest { name: "dk-net".into(), ..Default::default() };
        docker.create_network(network).await.unwrap();
        let volume = VolumeCreateRequest { name: Some("dk-vol".into()), ..Default::default() };
        docker.create_volume(volume).await.unwrap();
        let joined = |script: &str| ContainerCreateBody {
            host_config: Some(HostConfig {
                network_mode: Some("dk-net".into()),
                binds: Some(vec!["dk-vol:/data".into()]),
                ..HostConfig::default()
            }),
            ..shell(script)
        };
        begin(&docker, "dk-net-a", joined("echo kept >/data/file; exec sleep 600")).await;
        let script = "until cat /data/file; do usleep 50000; done; ping -c 1 -W 5 dk-net-a >/dev/null && echo reached";
        begin(&docker, "dk-net-b", joined(script)).await;
        let options = LogsOptionsBuilder::new().stdout(true).follow(true).build();
        let (out, _) = text(docker.logs("dk-net-b", Some(options))).await;
        assert_eq!(out, "kept\nreached\n");
        let connect = NetworkConnectRequest {
            container: "dk-net-a".into(),
            endpoint_config: Some(EndpointSettings::default()),
        };
        docker.connect_network("bridge", connect).await.unwrap();
        let seen =
            docker.inspect_container("dk-net-a", None::<InspectContainerOptions>).await.unwrap();
        let networks = seen.network_settings.unwrap().networks.unwrap();
        let mut names: Vec<_> = networks.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["bridge", "dk-net"]);
        let used = docker.remove_volume("dk-vol", None::<RemoveVolumeOptions>).await.unwrap_err();
        assert!(used.to_string().contains("volume is in use"), "{used}");
        for name in ["dk-net-a", "dk-net-b"] {
            let options = RemoveContainerOptionsBuilder::new().force(true).build();
            docker.remove_container(name, Some(options)).await.unwrap();
        }
        docker.remove_volume("dk-vol", None::<RemoveVolumeOptions>).await.unwrap();
        docker.remove_network("dk-net").await.unwrap();
    });
}

#[test]
fn what_docker_made_outlives_the_daemon() {
    if !able() {
        return;
    }
    let node = Node::start().unwrap();
    node.ok(&["image", "pull", "-q", "busybox"]);
    let id = run(begin(&client(&node), "dk-kept", shell("sleep 600")));
    let pid = node.field("dk-kept", "/status/containers/0/pid");
    node.kill_daemon().unwrap();
    node.up();
    node.await_ready();
    let docker = client(&node);
    run(async {
        let filters = HashMap::from([("id", vec![&id[..12]])]);
        let options = ListContainersOptionsBuilder::new().filters(&filters).build();
        let listed = docker.list_containers(Some(options)).await.unwrap();
        assert_eq!(listed.len(), 1, "{listed:?}");
        assert_eq!(listed[0].names.as_deref(), Some(&["/dk-kept".to_owned()][..]));
    });
    assert_eq!(node.field("dk-kept", "/status/containers/0/pid"), pid, "it runs on");
}

/// Descriptors of the daemon, and tasks of its runtime.
fn held(node: &Node) -> (usize, u64) {
    let pid = node.daemon().unwrap();
    let open = std::fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fd"));
    let metrics = metrics(node);
    let line = metrics.lines().find(|line| line.starts_with("hull_runtime_tasks")).unwrap();
    let tasks = line.rsplit(' ').next().unwrap().parse().unwrap();
    (open.unwrap().count(), tasks)
}

fn metrics(node: &Node) -> String {
    let mut stream = UnixStream::connect(node.root().join("run/hull/api.sock")).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn clients_that_vanish_leave_nothing() {
    if !able() {
        return;
    }
    let node = Node::start().unwrap();
    node.ok(&["image", "pull", "-q", "busybox"]);
    let docker = client(&node);
    run(begin(&docker, "dk-leak", shell("while :; do echo tick; usleep 200000; done")));
    // What is made once, by the first of each.
    run(vanish(&docker, 0));
    let (files, tasks) = held(&node);
    for round in 0..340 {
        run(vanish(&docker, round));
    }
    drop(docker);
    until("what the clients held is given back", || {
        let (files_now, tasks_now) = held(&node);
        (files_now <= files + 5 && tasks_now <= tasks + 5).then_some(())
    });
}

/// Begins five streams, and drops each in the middle.
async fn vanish(docker: &Docker, _round: usize) {
    let options = LogsOptionsBuilder::new().stdout(true).follow(true).build();
    docker.logs("dk-leak", Some(options)).next().await.unwrap().unwrap();
    let options = StatsOptionsBuilder::new().stream(true).one_shot(false).build();
    let stats = docker.stats("dk-leak", Some(options));
    let events = docker.events(Some(EventsOptionsBuilder::new().build()));
    let options = AttachContainerOptionsBuilder::new();
    let options = options.stream(true).stdout(true).stderr(true).build();
    let attached = docker.attach_container("dk-leak", Some(options)).await.unwrap();
    let config = ExecConfig {
        cmd: Some(vec!["sh".into(), "-c".into(), "echo begun; read line".into()]),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        ..ExecConfig::default()
    };
    let id = docker.create_exec("dk-leak", config).await.unwrap().id;
    let started = docker.start_exec(&id, None::<StartExecOptions>).await.unwrap();
    if let StartExecResults::Attached { mut output, input } = started {
        output.next().await.unwrap().unwrap();
        drop(input);
    }
    drop((stats, events, attached));
}

/// Runs a program in a container; its output and exit code, once it can be begun.
async fn exec(docker: &Docker, name: &str, cmd: &[&str]) -> Option<(String, i64)> {
    let config = ExecConfig {
        cmd: Some(cmd.iter().map(|&word| word.into()).collect()),
        attach_stdout: Some(true),
        ..ExecConfig::default()
    };
    let id = docker.create_exec(name, config).await.ok()?.id;
    let started = docker.start_exec(&id, None::<StartExecOptions>).await.ok()?;
    let StartExecResults::Attached { output, input: _ } = started else { return None };
    let (out, _) = text(output).await;
    Some((out, docker.inspect_exec(&id).await.ok()?.exit_code?))
}

#[test]
fn a_machine_through_dockers_door() {
    let Some(node) = node() else { return };
    node.ok(&["image", "pull", "-q", "hull-tiny"]);
    let _it = Named(node, "dk-machine");
    let docker = client(node);
    let body = ContainerCreateBody {
        image: Some("hull-tiny".into()),
        host_config: Some(HostConfig { memory: Some(192 << 20), ..HostConfig::default() }),
        ..ContainerCreateBody::default()
    };
    run(begin(&docker, "dk-machine", body));
    let kernel = within(PATIENCE, "the guest's agent answers", || {
        run(exec(&docker, "dk-machine", &["uname", "-v"])).filter(|(_, code)| *code == 0)
    });
    assert!(kernel.0.contains("Debian"), "the guest has a kernel of its own: {kernel:?}");
    run(async {
        let (_, code) = exec(&docker, "dk-machine", &["sh", "-c", "exit 7"]).await.unwrap();
        assert_eq!(code, 7);
        let seen = docker.inspect_container("dk-machine", None::<InspectContainerOptions>).await;
        let seen = seen.unwrap();
        assert_eq!(seen.host_config.unwrap().memory, Some(192 << 20));
        docker.stop_container("dk-machine", None).await.unwrap();
        let seen = docker.inspect_container("dk-machine", None::<InspectContainerOptions>).await;
        let state = seen.unwrap().state.unwrap();
        assert_eq!((state.running, state.exit_code), (Some(false), Some(0)), "it was shut down");
        let options = LogsOptionsBuilder::new().stdout(true).build();
        let (console, _) = text(docker.logs("dk-machine", Some(options))).await;
        assert!(console.contains("Power down"), "{console}");
    });
}

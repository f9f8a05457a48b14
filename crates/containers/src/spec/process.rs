//! The process: what is run, as whom, with what.

use model::{Error, Result};

use super::{INIT_TARGET, Inputs, capabilities, command, env, oci, rlimits, user};
use crate::engine::{ContainerConfig, ExecConfig};
use crate::host::HostFacts;
use crate::rootfs::Rootfs;

pub(super) fn process(
    config: &ContainerConfig,
    inputs: &Inputs<'_>,
    warnings: &mut Vec<String>,
) -> Result<oci::Process> {
    let (spec, image, host) = (&config.spec, &config.image_config, inputs.host);
    let asked = if spec.user.is_empty() { &image.user } else { &spec.user };
    let account = user::look_up(inputs.rootfs, asked, &spec.groups)?;
    let mut variables = env::container(&config.hostname, spec.tty, &image.env, &spec.env);
    env::set_default(&mut variables, "HOME", &account.home);
    Ok(oci::Process {
        terminal: spec.tty,
        console_size: None,
        user: account.oci(),
        args: arguments(config, inputs, warnings)?,
        env: variables,
        cwd: first_of(&[&spec.workdir, &image.workdir, "/"]),
        capabilities: Some(capabilities::capabilities(spec, account.uid, host, warnings)?),
        rlimits: rlimits::rlimits(&spec.ulimits, host, warnings)?,
        no_new_privileges: spec.no_new_privileges.then_some(true),
        apparmor_profile: apparmor(config, host, warnings),
        oom_score_adj: oom_score(spec.oom_score_adj, host, warnings),
    })
}

fn arguments(
    config: &ContainerConfig,
    inputs: &Inputs<'_>,
    warnings: &mut Vec<String>,
) -> Result<Vec<String>> {
    let command = command::command(&config.spec, &config.image_config)?;
    if !config.spec.init {
        return Ok(command);
    }
    if inputs.init.is_none() {
        warnings.push("left out the init process: this machine has no static init".to_owned());
        return Ok(command);
    }
    Ok([INIT_TARGET.to_owned(), "--".to_owned()].into_iter().chain(command).collect())
}

fn first_of(choices: &[&str]) -> String {
    choices.iter().find(|choice| !choice.is_empty()).copied().unwrap_or_default().to_owned()
}

/// The profile that confines it: the one asked for, else the usual one where it is loaded.
fn apparmor(config: &ContainerConfig, host: &HostFacts, warnings: &mut Vec<String>) -> String {
    let asked = config.spec.apparmor.as_str();
    if !host.apparmor {
        if !asked.is_empty() && asked != "unconfined" {
            warnings.push(format!("left out AppArmor profile {asked}: the kernel has no AppArmor"));
        }
        return String::new();
    }
    match asked {
        "" if config.spec.privileged => String::new(),
        "" => host.apparmor_default.clone().unwrap_or_default(),
        "unconfined" => String::new(),
        name => name.to_owned(),
    }
}

/// Lower than the daemon's own needs a capability it may not have.
fn oom_score(asked: Option<i32>, host: &HostFacts, warnings: &mut Vec<String>) -> Option<i32> {
    let asked = asked?;
    if asked >= host.oom_score_adj || host.may_raise_limits() {
        return Some(asked);
    }
    warnings.push(format!(
        "out-of-memory score is {}, not {asked}: the daemon may not go below its own",
        host.oom_score_adj
    ));
    Some(host.oom_score_adj)
}

/// A further process beside `container`'s own.
pub(crate) fn exec_process(
    container: &oci::Process,
    exec: &ExecConfig,
    rootfs: &Rootfs,
    host: &HostFacts,
) -> Result<oci::Process> {
    if exec.command.first().is_none_or(String::is_empty) {
        return Err(Error::invalid("nothing to execute").at("command").next("give a command"));
    }
    let mut process = container.clone();
    process.args.clone_from(&exec.command);
    process.terminal = exec.tty;
    process.console_size = exec
        .size
        .filter(|_| exec.tty)
        .map(|size| oci::ConsoleSize { height: size.height, width: size.width });
    if exec.tty {
        env::set_default(&mut process.env, "TERM", "xterm");
    }
    if !exec.user.is_empty() {
        let account = user::look_up(rootfs, &exec.user, &[])?;
        process.user = account.oci();
        process.env.retain(|entry| !entry.starts_with("HOME="));
        env::set_default(&mut process.env, "HOME", &account.home);
    }
    env::merge(&mut process.env, &exec.env);
    if !exec.workdir.is_empty() {
        process.cwd.clone_from(&exec.workdir);
    }
    let uid = process.user.uid;
    process.capabilities = Some(if exec.privileged {
        capabilities::all(uid, host)
    } else {
        let bounding = process.capabilities.map(|caps| caps.bounding).unwrap_or_default();
        capabilities::of_user(bounding, uid)
    });
    Ok(process)
}

//! A job as the words of buildah's command line (buildah-build(1), buildah-push(1)).

use std::path::Path;

use crate::job::{Context, Job};

/// Words that come before those of a command: where everything is kept.
pub(crate) fn global(room: &Path) -> Vec<String> {
    let at = |name: &str| room.join(name).display().to_string();
    vec![
        "--root".into(),
        at("storage"),
        "--runroot".into(),
        at("run"),
        "--storage-driver".into(),
        "overlay".into(),
    ]
}

/// Builds; `place` has the files that belong to the job.
pub(crate) fn build(job: &Job, place: &Path) -> Vec<String> {
    let at = |name: &str| place.join(name).display().to_string();
    let mut words = vec![
        "build".to_owned(),
        // RUN stays in the namespaces and the cgroup that the build has anyway.
        "--isolation=chroot".into(),
        // HEALTHCHECK, SHELL and ONBUILD have no words in OCI's format.
        "--format=docker".into(),
        // What a name means is asked each time; what it means is answered from this node. (Were it
        // to pull always, buildah would take no ids.)
        "--pull".into(),
        format!("--authfile={}", at("auth.json")),
        format!("--signature-policy={}", at("policy.json")),
        format!("--iidfile={}", at("id")),
        "--identity-label=false".into(),
    ];
    words.push(if job.squash { "--squash".into() } else { "--layers".into() });
    if job.no_cache {
        words.push("--no-cache".into());
    }
    for (name, value) in &job.arguments {
        let value = value.as_deref().filter(|_| !is_handed_over(name));
        let value = value.map(|value| format!("={value}")).unwrap_or_default();
        words.push(format!("--build-arg={name}{value}"));
    }
    words.extend(job.labels.iter().map(|(key, value)| format!("--label={key}={value}")));
    words.extend(job.extra_hosts.iter().map(|host| format!("--add-host={host}")));
    words.extend(job.ulimits.iter().map(|limit| format!("--ulimit={limit}")));
    for (id, file) in &job.secrets {
        words.push(format!("--secret=id={id},src={}", file.display()));
    }
    if !job.target.is_empty() {
        words.push(format!("--target={}", job.target));
    }
    if !job.platform.is_empty() {
        words.push(format!("--platform={}", job.platform));
    }
    if job.shm_size > 0 {
        words.push(format!("--shm-size={}b", job.shm_size));
    }
    match (&job.dockerfile, job.dockerfile_path.as_str()) {
        (Some(_), _) => words.push(format!("--file={}", at("Dockerfile"))),
        (None, "") => {}
        (None, path) => words.push(format!("--file={path}")),
    }
    words.push("--".into());
    words.push(match &job.context {
        Context::Directory(path) => path.display().to_string(),
        Context::Remote(url) => url.clone(),
    });
    words
}

/// Values of arguments that are in the environment, where a name without a value has the builder look
/// (buildah-build(1)). Words of a program can be read by everybody on the machine.
pub(crate) fn environment(job: &Job) -> Vec<(String, String)> {
    let arguments = job.arguments.iter().filter(|(name, _)| is_handed_over(name));
    arguments.filter_map(|(name, value)| Some((name.clone(), value.clone()?))).collect()
}

/// Beginnings of names by which the builder, or what starts it and what it starts, is told something
/// itself. Values of arguments that are called so stay words.
const OWN: [&str; 32] = [
    "BUILDAH_",
    "CONTAINER",
    "CURL_",
    "DBUS_",
    "DOCKER_",
    "ENV",
    "GCONV_",
    "GIT_",
    "GLIBC_",
    "GNUPG",
    "GO",
    "GPG_",
    "HOME",
    "IFS",
    "LANG",
    "LC_",
    "LD_",
    "LISTEN_",
    "LOCPATH",
    "MALLOC_",
    "NLSPATH",
    "NOTIFY_",
    "PATH",
    "PODMAN_",
    "PWD",
    "REGISTR",
    "SOURCE_DATE_",
    "SSH_",
    "SSL_",
    "STORAGE_",
    "TMPDIR",
    "XDG_",
];

fn is_handed_over(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|c| c.is_ascii_alphabetic());
    let word = name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
    let upper = name.to_ascii_uppercase();
    first && word && !upper.ends_with("_PROXY") && !OWN.iter().any(|own| upper.starts_with(own))
}

/// Writes an image into a directory, its documents as they are.
pub(crate) fn export(id: &str, place: &Path, directory: &Path) -> Vec<String> {
    vec![
        "push".into(),
        "--quiet".into(),
        format!("--signature-policy={}", place.join("policy.json").display()),
        "--".into(),
        id.to_owned(),
        format!("dir:{}", directory.display()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_a_word() {
        let job = Job {
            context: Context::Directory("/c".into()),
            dockerfile: Some(String::new()),
            target: "t".into(),
            arguments: vec![
                ("A".into(), Some("1".into())),
                ("B".into(), None),
                ("http_proxy".into(), Some("p".into())),
            ],
            labels: vec![("k".into(), "v".into())],
            platform: "linux/amd64".into(),
            no_cache: true,
            extra_hosts: vec!["h:1.2.3.4".into()],
            shm_size: 5,
            ulimits: vec!["nofile=1:2".into()],
            secrets: vec![("npm".into(), "/run/0".into())],
            ..Job::default()
        };
        let words = build(&job, Path::new("/p"));
        for word in [
            "--build-arg=A",
            "--build-arg=B",
            "--build-arg=http_proxy=p",
            "--label=k=v",
            "--target=t",
            "--platform=linux/amd64",
            "--no-cache",
            "--add-host=h:1.2.3.4",
            "--shm-size=5b",
            "--ulimit=nofile=1:2",
            "--secret=id=npm,src=/run/0",
            "--file=/p/Dockerfile",
        ] {
            assert!(words.iter().any(|own| own == word), "{word}: {words:?}");
        }
        assert_eq!(words[words.len() - 2..], ["--", "/c"]);
    }

    #[test]
    fn values_are_not_for_everybody_to_read() {
        let names =
            ["TOKEN", "npm_token", "PATH", "LD_PRELOAD", "GIT_SSH_COMMAND", "A-B", "_X", "A=B"];
        let arguments = names.map(|name| (name.to_owned(), Some("s3cret".to_owned())));
        let job = Job { arguments: arguments.into(), ..Job::default() };
        let handed = environment(&job);
        let handed: Vec<&str> = handed.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(handed, ["TOKEN", "npm_token"]);
        let words = build(&job, Path::new("/p"));
        let open = words.iter().filter(|word| word.contains("s3cret")).count();
        assert_eq!(open, names.len() - handed.len());
    }

    #[test]
    fn a_context_is_never_an_option() {
        let context = Context::Remote("--help".into());
        let words = build(&Job { context, ..Job::default() }, Path::new("/p"));
        assert_eq!(words[words.len() - 2..], ["--", "--help"]);
    }
}

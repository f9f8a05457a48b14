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
        let value = value.as_deref().map(|value| format!("={value}")).unwrap_or_default();
        words.push(format!("--build-arg={name}{value}"));
    }
    words.extend(job.labels.iter().map(|(key, value)| format!("--label={key}={value}")));
    words.extend(job.extra_hosts.iter().map(|host| format!("--add-host={host}")));
    words.extend(job.ulimits.iter().map(|limit| format!("--ulimit={limit}")));
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
            arguments: vec![("A".into(), Some("1".into())), ("B".into(), None)],
            labels: vec![("k".into(), "v".into())],
            platform: "linux/amd64".into(),
            no_cache: true,
            extra_hosts: vec!["h:1.2.3.4".into()],
            shm_size: 5,
            ulimits: vec!["nofile=1:2".into()],
            ..Job::default()
        };
        let words = build(&job, Path::new("/p"));
        for word in [
            "--build-arg=A=1",
            "--build-arg=B",
            "--label=k=v",
            "--target=t",
            "--platform=linux/amd64",
            "--no-cache",
            "--add-host=h:1.2.3.4",
            "--shm-size=5b",
            "--ulimit=nofile=1:2",
            "--file=/p/Dockerfile",
        ] {
            assert!(words.iter().any(|own| own == word), "{word}: {words:?}");
        }
        assert_eq!(words[words.len() - 2..], ["--", "/c"]);
    }

    #[test]
    fn a_context_is_never_an_option() {
        let context = Context::Remote("--help".into());
        let words = build(&Job { context, ..Job::default() }, Path::new("/p"));
        assert_eq!(words[words.len() - 2..], ["--", "--help"]);
    }
}

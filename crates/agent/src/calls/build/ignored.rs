//! What of a context steps are not to have, read from the archive that it came in.

use std::io::Read;
use std::path::Path;

use model::error::Context as _;
use model::{ErrorKind, Result};
use tokio_util::io::SyncIoBridge;

/// Bytes of a `.dockerignore`.
const LARGEST: u64 = 1 << 20;
/// What clients of the platform call a Dockerfile that is none of the context's.
pub(super) const OWN_DOCKERFILE: &str = ".hull.dockerfile";

/// Patterns of paths, of the list beside the Dockerfile or of that for all of the context.
pub(super) async fn patterns(archive: &Path, dockerfile: &str) -> Result<Vec<String>> {
    let name = if dockerfile.is_empty() { "Dockerfile" } else { dockerfile };
    let beside = format!("{}.dockerignore", name.trim_start_matches("./"));
    let failed = || "the context cannot be read".to_owned();
    let file = tokio::fs::File::open(archive).await.context(ErrorKind::Unavailable, failed)?;
    let reader = images::decompressed(tokio::io::BufReader::new(file)).await?;
    let looked = tokio::task::spawn_blocking(move || {
        look(SyncIoBridge::new(reader), &[&beside, ".dockerignore"])
    });
    let text = looked
        .await
        .context(ErrorKind::Internal, failed)?
        .context(ErrorKind::Invalid, failed)?
        .unwrap_or_default();
    let mut patterns = build::kit::patterns(&text);
    if dockerfile == OWN_DOCKERFILE {
        patterns.push(OWN_DOCKERFILE.to_owned());
    }
    Ok(patterns)
}

/// The text of the first of these files that an archive has.
fn look(archive: impl Read, wanted: &[&str]) -> std::io::Result<Option<String>> {
    let mut found: Vec<Option<String>> = vec![None; wanted.len()];
    for entry in tar::Archive::new(archive).entries()? {
        let entry = entry?;
        let path = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
        let Some(index) = wanted.iter().position(|it| *it == path) else { continue };
        if entry.header().entry_type().is_file() {
            let mut text = Vec::new();
            entry.take(LARGEST).read_to_end(&mut text)?;
            found[index] = Some(String::from_utf8_lossy(&text).into_owned());
        }
    }
    Ok(found.into_iter().flatten().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(files: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            builder.append_data(&mut header, path, text.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[tokio::test]
    async fn the_list_beside_the_dockerfile_counts_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("context");
        let both = [("./.dockerignore", "all\n"), ("d/Dockerfile.dockerignore", "one\n")];
        std::fs::write(&path, archive(&both)).unwrap();
        assert_eq!(patterns(&path, "").await.unwrap(), ["all"]);
        assert_eq!(patterns(&path, "./d/Dockerfile").await.unwrap(), ["one"]);
        assert_eq!(patterns(&path, OWN_DOCKERFILE).await.unwrap(), ["all", OWN_DOCKERFILE]);
        std::fs::write(&path, archive(&[("page", "x")])).unwrap();
        assert!(patterns(&path, "").await.unwrap().is_empty());
    }
}

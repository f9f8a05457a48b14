//! The files that buildah writes (containers-transports(5), `dir:`) as an OCI layout, which the platform
//! takes in. Nothing is copied.

use std::path::Path;

use model::error::Context;
use model::{Error, ErrorKind, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Bytes of a manifest.
const LARGEST: u64 = 8 << 20;
/// What a manifest without a type is.
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Moves the files to where a layout has them.
pub(crate) fn arrange(directory: &Path) -> Result<()> {
    let failed = || format!("the image in {} cannot be arranged", directory.display());
    let read = |path: &Path| -> std::io::Result<Vec<u8>> {
        use std::io::Read;
        let mut data = Vec::new();
        std::fs::File::open(path)?.take(LARGEST).read_to_end(&mut data)?;
        Ok(data)
    };
    let manifest = read(&directory.join("manifest.json")).context(ErrorKind::Internal, failed)?;
    let parsed: Value = serde_json::from_slice(&manifest).context(ErrorKind::Internal, failed)?;
    let blobs = directory.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).context(ErrorKind::Internal, failed)?;
    for digest in parts(&parsed)? {
        let to = blobs.join(&digest);
        if !to.exists() {
            std::fs::rename(directory.join(&digest), to).context(ErrorKind::Internal, failed)?;
        }
    }
    let hex: String = Sha256::digest(&manifest).iter().map(|byte| format!("{byte:02x}")).collect();
    let index = json!({
        "schemaVersion": 2,
        "manifests": [{
            "mediaType": parsed["mediaType"].as_str().unwrap_or(MANIFEST),
            "digest": format!("sha256:{hex}"),
            "size": manifest.len(),
        }],
    });
    let files = [
        (blobs.join(hex), manifest),
        (directory.join("index.json"), index.to_string().into_bytes()),
        (directory.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
    ];
    for (path, data) in files {
        std::fs::write(path, data).context(ErrorKind::Internal, failed)?;
    }
    Ok(())
}

/// The digests of all parts, without their algorithm.
fn parts(manifest: &Value) -> Result<Vec<String>> {
    let layers = manifest["layers"].as_array().map_or(&[][..], Vec::as_slice);
    let digest = |part: &Value| {
        let digest = part["digest"].as_str().and_then(|digest| digest.strip_prefix("sha256:"));
        let good = digest.filter(|hex| hex.bytes().all(|c| c.is_ascii_hexdigit()));
        good.map(str::to_owned).ok_or_else(|| Error::internal("the builder wrote no digests"))
    };
    layers.iter().chain([&manifest["config"]]).map(digest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_become_a_layout() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let manifest = json!({
            "mediaType": MANIFEST, "config": { "digest": "sha256:aa" },
            "layers": [{ "digest": "sha256:bb" }, { "digest": "sha256:bb" }],
        });
        std::fs::write(at("manifest.json"), manifest.to_string()).unwrap();
        for name in ["aa", "bb"] {
            std::fs::write(at(name), name).unwrap();
        }
        arrange(directory.path()).unwrap();
        let index: Value =
            serde_json::from_slice(&std::fs::read(at("index.json")).unwrap()).unwrap();
        let digest = index["manifests"][0]["digest"].as_str().unwrap().replace("sha256:", "");
        for blob in ["aa", "bb", &digest] {
            assert!(at("blobs/sha256").join(blob).is_file(), "{blob}");
        }
        std::fs::write(at("manifest.json"), r#"{"config":{"digest":"sha256:../x"}}"#).unwrap();
        assert!(arrange(directory.path()).is_err());
    }
}

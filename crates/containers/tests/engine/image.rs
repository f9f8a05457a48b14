//! A small image, made of the machine's static busybox.

use std::io::Write;
use std::path::Path;

use containers::containerd::{Containerd, Layer};
use sha2::Digest;

pub const BUSYBOX: &str = "/usr/bin/busybox";

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33:web:/srv:/bin/sh\n";
const GROUP: &str = "root:x:0:\ntty:x:5:\nweb:x:33:\nlogs:x:40:web\n";

pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(sha2::Sha256::digest(bytes)))
}

/// A layer with these files, and its archive.
pub fn layer(files: &[(&str, &[u8], u32)], links: &[(&str, &str)]) -> (Layer, Vec<u8>) {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes, mode) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(*mode);
        header.set_size(bytes.len() as u64);
        if name.ends_with('/') {
            header.set_entry_type(tar::EntryType::Directory);
        }
        archive.append_data(&mut header, name, *bytes).unwrap();
    }
    for (name, target) in links {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_mode(0o777);
        header.set_size(0);
        archive.append_link(&mut header, name, target).unwrap();
    }
    let mut archive = archive.into_inner().unwrap();
    archive.flush().unwrap();
    let diff_id = digest(&archive);
    let layer = Layer {
        digest: diff_id.clone(),
        diff_id,
        media_type: "application/vnd.oci.image.layer.v1.tar".to_owned(),
        size: archive.len() as u64,
    };
    (layer, archive)
}

/// The layer of a busybox image.
pub fn busybox() -> (Layer, Vec<u8>) {
    let program = std::fs::read(BUSYBOX).unwrap();
    let directory: &[u8] = b"";
    let files = [
        ("bin/", directory, 0o755),
        ("bin/busybox", &program, 0o755),
        ("etc/", directory, 0o755),
        ("etc/passwd", PASSWD.as_bytes(), 0o644),
        ("etc/group", GROUP.as_bytes(), 0o644),
        ("etc/deleted", b"x", 0o644),
        ("etc/changed", b"x", 0o644),
        ("tmp/", directory, 0o1777),
        ("root/", directory, 0o700),
    ];
    let names = [
        "sh", "true", "false", "echo", "cat", "sleep", "id", "pwd", "env", "grep", "ls", "rm",
        "dd", "stty", "tail", "mkdir", "hostname", "mount", "kill", "yes", "head", "stat", "touch",
        "tty", "ulimit", "seq", "wc", "date", "ps",
    ];
    let names: Vec<String> = names.iter().map(|name| format!("bin/{name}")).collect();
    let links: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "busybox")).collect();
    layer(&files, &links)
}

/// Puts the layer into the store and unpacks it; the chain id.
pub async fn unpack(engine: &Containerd, layer: &Layer, archive: &[u8]) -> String {
    let lease = engine.lease(std::time::Duration::from_secs(600)).await.unwrap();
    engine.put_blob(&layer.digest, archive, [].into(), Some(&lease)).await.unwrap();
    // Nothing names the image, so the test's own mark keeps it; before the unpack, which lets go of
    // what it made when it is done.
    let root = ("containerd.io/gc.root".to_owned(), "test".to_owned());
    engine.label_blob(&layer.digest, [root]).await.unwrap();
    let chain = engine.unpack(std::slice::from_ref(layer), &layer.digest, |_| {}).await.unwrap();
    engine.release(&lease).await.unwrap();
    chain
}

pub fn is_there() -> bool {
    Path::new(BUSYBOX).exists()
}

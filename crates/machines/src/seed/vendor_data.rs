//! The platform's own part of the first-boot data.
//!
//! Shared directories are mounted by a hook that cloud-init runs early in each boot. `mounts:` would be
//! the natural word, but it takes devices only, and one of the user's own would replace it: of
//! settings, the user's win whole. A hook stands beside whatever else is there.

use std::fmt::Write as _;

use super::{Seed, SharedFile};
use crate::config::Share;

/// Gives a copy of another machine's disk an identity of its own (machine-id(5)), once. cloud-init itself
/// sees by the instance's id that it is new, and makes new host keys.
const NEW_IDENTITY: &str = "#cloud-boothook\n#!/bin/sh\n\
    # This machine began as a copy of another.\n\
    cloud-init-per instance hull-machine-id sh -c '\n\
    \x20 command -v systemd-machine-id-setup >/dev/null || exit 0\n\
    \x20 rm -f /etc/machine-id /var/lib/dbus/machine-id\n\
    \x20 systemd-machine-id-setup && ln -sf /etc/machine-id /var/lib/dbus/machine-id'\n";

/// Puts a file in its place without copying it: what is in it stays in the node's memory, and on the guest's
/// disk is an empty file at most. Without the share there is no file: an empty secret is worse than none.
const PLACE: &str = "place() {\n\
    \x20 [ -e \"$1\" ] || { echo \"hull: $2 is not there: its share could not be mounted\" >&2; return 1; }\n\
    \x20 [ \"$1\" -ef \"$2\" ] && return\n\
    \x20 mkdir -p \"$(dirname \"$2\")\"\n\
    \x20 [ -e \"$2\" ] || : > \"$2\"\n\
    \x20 mount --bind \"$1\" \"$2\"\n\
    }\n";

/// The user's vendor data with the platform's part, as one text.
pub(super) fn merged(own: &str, seed: &Seed) -> String {
    let shares: Vec<&Share> = seed.shares.iter().filter(|it| !it.target.is_empty()).collect();
    let mount = (!shares.is_empty()).then(|| hook(&shares, &seed.files));
    let parts = [
        Some(own).filter(|own| !own.trim().is_empty()),
        seed.copied.then_some(NEW_IDENTITY),
        mount.as_deref(),
    ];
    let parts: Vec<&str> = parts.into_iter().flatten().collect();
    match parts.as_slice() {
        [] => own.to_owned(),
        [one] => (*one).to_owned(),
        several => multipart(several),
    }
}

/// A script that mounts what isn't mounted. The guest knows which of the two file systems it is.
fn hook(shares: &[&Share], files: &[SharedFile]) -> String {
    let mut text = "#cloud-boothook\n#!/bin/sh\n\
        # Directories that the platform shares with this machine.\n\
        share() {\n\
        \x20 mkdir -p \"$2\"\n\
        \x20 grep -q \"^$1 \" /proc/mounts && return\n\
        \x20 mount -t virtiofs -o \"$3\" \"$1\" \"$2\" 2>/dev/null ||\n\
        \x20 mount -t 9p -o \"$3,trans=virtio,version=9p2000.L,msize=524288\" \"$1\" \"$2\"\n\
        }\n"
    .to_owned();
    for share in shares {
        let mode = if share.read_only { "ro" } else { "rw" };
        let (tag, target) = (quoted(&share.tag), quoted(&share.target));
        let _ = writeln!(text, "share {tag} {target} {mode}");
    }
    if !files.is_empty() {
        text.push_str(PLACE);
    }
    for file in files {
        let (source, target) = (quoted(&file.source), quoted(&file.target));
        let _ = writeln!(text, "place {source} {target}");
    }
    text
}

/// A word of a shell that means itself.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A message of several parts (RFC 2046, section 5.1). What a part is, cloud-init sees by the word it
/// begins with; one that is a message itself comes as it is, inside.
fn multipart(parts: &[&str]) -> String {
    let mut boundary = "hull".to_owned();
    while parts.iter().any(|part| part.contains(&boundary)) {
        boundary.push('-');
    }
    let mut text =
        format!("Content-Type: multipart/mixed; boundary=\"{boundary}\"\nMIME-Version: 1.0\n");
    for part in parts {
        let header = match super::user_data::kind(part) {
            Some(super::user_data::Kind::Mime) => "",
            _ => "Content-Type: text/plain; charset=\"utf-8\"\nContent-Transfer-Encoding: 8bit\n\n",
        };
        let _ = write!(text, "\n--{boundary}\n{header}{}\n", part.trim_start());
    }
    let _ = writeln!(text, "--{boundary}--");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share() -> Share {
        let target = "/srv/it's".to_owned();
        Share { tag: "data".to_owned(), path: "/x".into(), target, read_only: true }
    }

    fn with(shares: Vec<Share>) -> Seed {
        Seed { shares, ..Seed::default() }
    }

    #[test]
    fn both_parts_are_there() {
        let own = "#cloud-config\npackages: [jq]\n";
        assert_eq!(merged(own, &with(vec![])), own);
        assert_eq!(merged("", &with(vec![])), "");
        assert!(merged(" \n", &with(vec![share()])).starts_with("#cloud-boothook\n#!/bin/sh\n"));
        let both = merged(own, &with(vec![share()]));
        assert!(both.contains("\n\n#cloud-config\npackages: [jq]\n"), "{both}");
        assert!(both.contains(r"share 'data' '/srv/it'\''s' ro"), "{both}");
        assert_eq!(both.matches("\n--hull\n").count(), 2);
        assert!(both.ends_with("\n--hull--\n"));
    }

    #[test]
    fn files_are_put_in_their_places() {
        let file = |source: &str, target: &str| SharedFile {
            source: source.to_owned(),
            target: target.to_owned(),
        };
        let files = vec![file("/run/hull/handed/a", "/etc/it's")];
        let text = merged("", &Seed { files, ..with(vec![share()]) });
        assert!(text.contains(r"place '/run/hull/handed/a' '/etc/it'\''s'"), "{text}");
        assert!(!merged("", &with(vec![share()])).contains("place"));
    }

    #[test]
    fn a_copy_gets_an_identity_of_its_own() {
        let copied = Seed { copied: true, ..with(vec![share()]) };
        let all = merged("#cloud-config\n{}\n", &copied);
        assert_eq!(all.matches("Content-Transfer-Encoding").count(), 3, "{all}");
        assert!(all.contains("systemd-machine-id-setup"), "{all}");
        assert_eq!(merged("", &Seed { copied: true, ..Seed::default() }), NEW_IDENTITY);
        assert!(!merged("", &with(vec![share()])).contains("machine-id"));
    }

    #[test]
    fn a_message_goes_inside_as_it_is() {
        let own =
            "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"hull\"\n\n--hull--\n";
        let both = merged(own, &with(vec![share()]));
        assert!(both.starts_with("Content-Type: multipart/mixed; boundary=\"hull-"), "{both}");
        assert!(both.contains(&format!("\n{own}")), "{both}");
    }

    #[test]
    fn a_share_nobody_asked_to_mount_is_left() {
        let unmounted = Share { target: String::new(), ..share() };
        assert_eq!(merged("", &with(vec![unmounted])), "");
    }
}

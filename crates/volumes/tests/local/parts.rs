//! Parts of volumes that are mounted, and how they go.

use std::fs::{self, File};
use std::os::fd::AsRawFd;

use rustix::mount::{MountFlags, mount};
use volumes::subpath;

/// A part that a process has a file open in, and one whose server is dead: neither keeps the others, nor the place.
#[test]
fn parts_in_use_and_dead_ones_go_with_the_others() {
    if !rustix::process::geteuid().is_root() {
        println!("not root: skipped");
        return;
    }
    let base = tempfile::tempdir().unwrap();
    let (volume, places) = (base.path().join("volume"), base.path().join("places"));
    fs::create_dir(&volume).unwrap();
    for part in ["a", "b", "c"] {
        subpath::mount(&volume, part, &places.join(part), None).unwrap();
        fs::write(volume.join(part).join("kept"), part).unwrap();
    }
    let dead = places.join("dead");
    fs::create_dir(&dead).unwrap();
    let server = File::options().read(true).write(true).open("/dev/fuse").unwrap();
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
    let options = std::ffi::CString::new(options).unwrap();
    mount("dead", &dead, "fuse", MountFlags::empty(), &*options).unwrap();
    drop(server);
    assert!(fs::symlink_metadata(&dead).is_err(), "its server is dead");
    let used = File::open(places.join("b/kept")).unwrap();
    subpath::unmount_all(&places).unwrap();
    assert!(!places.exists());
    drop(used);
    for part in ["a", "b", "c"] {
        assert_eq!(fs::read_to_string(volume.join(part).join("kept")).unwrap(), part);
    }
}

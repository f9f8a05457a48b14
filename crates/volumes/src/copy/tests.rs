use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};

use super::*;

fn copy(source: &Path, target: &Path) -> Result<Tally> {
    tree(&File::open(source).unwrap(), &File::open(target).unwrap(), true, &|| {})
}

fn pair() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::create_dir(&from).unwrap();
    fs::create_dir(&to).unwrap();
    (dir, from, to)
}

#[test]
fn everything_a_file_has_is_copied() {
    let (_dir, from, to) = pair();
    fs::create_dir(from.join("sub")).unwrap();
    fs::write(from.join("sub/a"), "contents").unwrap();
    fs::set_permissions(from.join("sub/a"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::set_permissions(from.join("sub"), fs::Permissions::from_mode(0o1705)).unwrap();
    fs::hard_link(from.join("sub/a"), from.join("b")).unwrap();
    symlink("sub/a", from.join("link")).unwrap();
    let file = File::open(from.join("sub/a")).unwrap();
    let _ = rustix::fs::fsetxattr(&file, c"user.note", b"kept", rustix::fs::XattrFlags::empty());
    rustix::fs::mknodat(rustix::fs::CWD, from.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();

    copy(&from, &to).unwrap();

    let (old, new) = (from.join("sub/a").metadata().unwrap(), to.join("sub/a").metadata().unwrap());
    assert_eq!(fs::read(to.join("sub/a")).unwrap(), b"contents");
    assert_eq!(
        (old.mode(), old.mtime(), old.mtime_nsec()),
        (new.mode(), new.mtime(), new.mtime_nsec())
    );
    assert_eq!(to.join("sub").metadata().unwrap().mode() & 0o7777, 0o1705);
    assert_eq!(to.join("b").metadata().unwrap().ino(), new.ino(), "a hard link stays one");
    assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("sub/a"));
    assert_eq!(to.join("pipe").symlink_metadata().unwrap().mode() & 0o777, 0o400);
    let (mut was, mut is) = ([0; 16], [0; 16]);
    let copied = File::open(to.join("sub/a")).unwrap();
    assert_eq!(
        rustix::fs::fgetxattr(&file, c"user.note", &mut was[..]),
        rustix::fs::fgetxattr(&copied, c"user.note", &mut is[..])
    );
    assert_eq!(was, is);
}

#[test]
fn devices_and_owners_are_copied_by_root() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (_dir, from, to) = pair();
    let null = rustix::fs::makedev(1, 3);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        from.join("null"),
        FileType::CharacterDevice,
        Mode::RUSR,
        null,
    )
    .unwrap();
    fs::write(from.join("owned"), "").unwrap();
    std::os::unix::fs::chown(from.join("owned"), Some(1234), Some(4321)).unwrap();
    std::os::unix::fs::chown(&from, Some(99), Some(98)).unwrap();
    symlink("/nowhere", from.join("link")).unwrap();
    std::os::unix::fs::lchown(from.join("link"), Some(7), Some(8)).unwrap();

    copy(&from, &to).unwrap();

    assert_eq!(to.join("null").metadata().unwrap().rdev(), null);
    let owner = |name: &str| {
        let found = to.join(name).symlink_metadata().unwrap();
        (found.uid(), found.gid())
    };
    assert_eq!(owner("owned"), (1234, 4321));
    assert_eq!(owner("link"), (7, 8));
    assert_eq!(owner(""), (99, 98), "the directory itself too");
}

#[test]
fn holes_stay_holes() {
    let (_dir, from, to) = pair();
    let file = File::create(from.join("sparse")).unwrap();
    file.set_len(64 << 20).unwrap();
    file.write_all_at(b"middle", 32 << 20).unwrap();
    file.sync_all().unwrap();

    copy(&from, &to).unwrap();

    let copied = to.join("sparse").metadata().unwrap();
    assert_eq!(copied.len(), 64 << 20);
    assert!(copied.blocks() * 512 < 1 << 20, "{} blocks", copied.blocks());
    let mut found = [0; 6];
    File::open(to.join("sparse")).unwrap().read_exact_at(&mut found, 32 << 20).unwrap();
    assert_eq!(&found, b"middle");
}

#[test]
fn an_earlier_copy_is_made_equal_again() {
    let (_dir, from, to) = pair();
    let (old, new) = (from.join("x"), to.join("x"));
    let source = File::options().create_new(true).read(true).write(true).open(&old).unwrap();
    source.set_len(8 << 20).unwrap();
    source.write_all_at(&[1; 4096], 0).unwrap();
    source.write_all_at(&[2; 4096], 4 << 20).unwrap();
    copy(&from, &to).unwrap();

    source.write_all_at(&[3; 10], 5).unwrap();
    source.write_all_at(&[4; 4096], 6 << 20).unwrap();
    let flags = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(&source, flags, 4 << 20, 4096).unwrap();
    source.set_len(9 << 20).unwrap();
    let target = File::options().read(true).write(true).open(&new).unwrap();
    renew(&source, &target).unwrap();

    assert!(fs::read(&old).unwrap() == fs::read(&new).unwrap());
    assert_eq!(renew(&source, &target).unwrap(), 0, "nothing differs any more");
}

#[test]
fn links_of_the_source_lead_nowhere() {
    let (dir, from, to) = pair();
    fs::write(dir.path().join("secret"), "outside").unwrap();
    symlink(dir.path().join("secret"), from.join("file")).unwrap();
    symlink(dir.path(), from.join("dir")).unwrap();
    copy(&from, &to).unwrap();
    assert!(to.join("file").symlink_metadata().unwrap().is_symlink());
    assert!(to.join("dir").symlink_metadata().unwrap().is_symlink());

    // The directory asked for may itself be, or lie behind, a link that leads out.
    fs::create_dir(dir.path().join("etc")).unwrap();
    assert!(open_inside(&from, Path::new("/dir/etc")).unwrap().is_none());
    symlink("../../../..", from.join("up")).unwrap();
    let inside = open_inside(&from, Path::new("up")).unwrap().unwrap();
    assert_eq!(inside.metadata().unwrap().ino(), from.metadata().unwrap().ino());
    assert!(open_inside(&from, Path::new("/none")).unwrap().is_none());
    assert!(open_inside(&from, Path::new("/")).unwrap().is_some());
}

#[test]
fn nothing_that_exists_is_overwritten() {
    let (dir, from, to) = pair();
    fs::write(from.join("x"), "new").unwrap();
    let victim = dir.path().join("victim");
    File::create(&victim).unwrap().write_all(b"old").unwrap();
    symlink(&victim, to.join("x")).unwrap();
    assert!(copy(&from, &to).is_err());
    assert_eq!(fs::read(&victim).unwrap(), b"old");
}

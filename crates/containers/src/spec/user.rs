//! Who a process runs as, looked up in the container's own passwd(5) and group(5).

use model::error::Code;
use model::{Error, Result};

use super::oci;
use crate::rootfs::Rootfs;

/// Bytes of a user file that are read; more is not a user file.
const LARGEST: u64 = 4 << 20;

/// A user, and where it is at home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// The group in force first, then the further ones.
    pub(super) groups: Vec<u32>,
    pub(super) home: String,
}

impl Account {
    pub(super) fn oci(&self) -> oci::User {
        oci::User { uid: self.uid, gid: self.gid, additional_gids: self.groups.clone() }
    }
}

/// Looks up `user[:group]` (names or numbers, root when empty) and further groups.
///
/// # Errors
/// `Invalid` for a name the container does not know.
pub(super) fn look_up(rootfs: &Rootfs, user: &str, further: &[String]) -> Result<Account> {
    let passwd = rootfs.read_text("/etc/passwd", LARGEST).unwrap_or_default();
    let group = rootfs.read_text("/etc/group", LARGEST).unwrap_or_default();
    resolve(&passwd, &group, user, further)
}

fn resolve(passwd: &str, group: &str, user: &str, further: &[String]) -> Result<Account> {
    let (user, group_asked) = user.split_once(':').unwrap_or((user, ""));
    let user = if user.is_empty() { "0" } else { user };
    let entry = passwd
        .lines()
        .filter_map(Passwd::parse)
        .find(|entry| entry.name == user || user.parse::<u32>().is_ok_and(|uid| uid == entry.uid));
    let mut account = match (&entry, number(user)?) {
        (Some(entry), _) => Account {
            uid: entry.uid,
            gid: entry.gid,
            groups: Vec::new(),
            home: entry.home.to_owned(),
        },
        (None, Some(uid)) => Account { uid, gid: 0, groups: Vec::new(), home: "/".to_owned() },
        (None, None) => {
            return Err(Error::invalid(format!("the image has no user {user:?}"))
                .coded(Code::UserMissing)
                .at("user")
                .next("name a user of its /etc/passwd, or a number"));
        }
    };
    if !group_asked.is_empty() {
        account.gid = gid(group, group_asked, "user")?;
    }
    account.groups.push(account.gid);
    if let (Some(entry), true) = (&entry, group_asked.is_empty()) {
        let member = |line: &Group<'_>| line.members.split(',').any(|name| name == entry.name);
        account
            .groups
            .extend(group.lines().filter_map(Group::parse).filter(member).map(|line| line.gid));
    }
    for name in further {
        account.groups.push(gid(group, name, "groups")?);
    }
    let mut seen = std::collections::BTreeSet::new();
    account.groups.retain(|gid| seen.insert(*gid));
    Ok(account)
}

fn gid(group: &str, name: &str, field: &str) -> Result<u32> {
    let named = group.lines().filter_map(Group::parse).find(|line| line.name == name);
    match (named, number(name)?) {
        (Some(line), _) => Ok(line.gid),
        (None, Some(gid)) => Ok(gid),
        (None, None) => Err(Error::invalid(format!("the image has no group {name:?}"))
            .coded(Code::GroupMissing)
            .at(field)
            .next("name a group of its /etc/group, or a number")),
    }
}

/// A number, if it is written as one.
fn number(text: &str) -> Result<Option<u32>> {
    if text.is_empty() || !text.bytes().all(|c| c.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(id) if id <= i32::MAX as u32 => Ok(Some(id)),
        Ok(_) | Err(_) => {
            Err(Error::invalid(format!("{text} is no user or group number")).at("user"))
        }
    }
}

struct Passwd<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> Passwd<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Self { name, uid, gid, home: fields.nth(1).unwrap_or("/") })
    }
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl<'a> Group<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some(Self { name, gid, members: fields.next().unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
        # a remark\n\
        broken\n\
        bin:x:1:1::/bin:\n\
        web:x:33:33:Web:/srv:/bin/false\n";
    const GROUP: &str = "root:x:0:\nadm:x:4:root,web\nweb:x:33:\nlogs:x:40:web\n1000:x:7:\n";

    fn account(user: &str, further: &[&str]) -> Option<(u32, u32, Vec<u32>, String)> {
        let further: Vec<String> = further.iter().map(|name| (*name).to_owned()).collect();
        let a = resolve(PASSWD, GROUP, user, &further).ok()?;
        Some((a.uid, a.gid, a.groups, a.home))
    }

    #[test]
    fn names_and_numbers() {
        for (user, further, expected) in [
            ("", &[][..], Some((0, 0, vec![0, 4], "/root"))),
            ("0", &[], Some((0, 0, vec![0, 4], "/root"))),
            ("web", &[], Some((33, 33, vec![33, 4, 40], "/srv"))),
            ("33", &["40", "adm"], Some((33, 33, vec![33, 4, 40], "/srv"))),
            ("web:adm", &[], Some((33, 4, vec![4], "/srv"))),
            ("web:77", &["logs"], Some((33, 77, vec![77, 40], "/srv"))),
            ("1234", &[], Some((1234, 0, vec![0], "/"))),
            ("1234:web", &[], Some((1234, 33, vec![33], "/"))),
            ("1234:1000", &[], Some((1234, 7, vec![7], "/"))),
            (":adm", &[], Some((0, 4, vec![4], "/root"))),
            ("nobody", &[], None),
            ("web:nogroup", &[], None),
            ("web", &["nogroup"], None),
            ("4294967295", &[], None),
            ("99999999999", &[], None),
            ("-1", &[], None),
        ] {
            let expected =
                expected.map(|(uid, gid, groups, home)| (uid, gid, groups, home.to_owned()));
            assert_eq!(account(user, further), expected, "{user} {further:?}");
        }
    }
}

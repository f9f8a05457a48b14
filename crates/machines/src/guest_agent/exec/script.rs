//! The shell scripts in the guest: POSIX sh with `mkfifo`, `dd`, `cat` and `rm`, which coreutils and
//! busybox have. They are the shell's standard input, so that neither arguments nor environment are
//! seen in the guest's list of processes longer than the program shows them itself.

use model::{Error, Result};

use super::Exec;

/// Reads that go into one file: 16 KiB each at most, a byte at least.
pub(super) const READS: u64 = 64;
/// Files that may wait to be read, in either direction.
pub(super) const AHEAD: u64 = 4;

/// Exit code of a script that finds nothing to make a terminal with.
pub(super) const NO_TERMINAL: i32 = 124;

/// The script that runs a process, in a directory called `name`.
pub(super) fn write(exec: &Exec, name: &str) -> Result<String> {
    let program = program(exec)?;
    let place = format!(
        "m=$(umask)\numask 077\nd=/run; [ -d $d ] && [ -w $d ] || d=/tmp\nd=$d/{name}\n\
         mkdir $d && mkfifo $d/in $d/out $d/err $d/ack0 $d/ack1 $d/ack2 || exit 125\n"
    );
    let needs = match exec.terminal {
        Some(_) => format!("command -v script >/dev/null || exit {NO_TERMINAL}\n"),
        None => String::new(),
    };
    let feed = if exec.stdin { "feed >$d/in & feeder=$!\n" } else { "feeder=\n" };
    let run = match exec.terminal {
        None => plain(exec, &program, name),
        Some(size) => on_terminal(exec, &program, name, size),
    };
    Ok(format!("{needs}{place}{RELAY}{FEED}{feed}{run}{END}"))
}

/// `relay N` copies its input into the files `N.0`, `N.1`… No new one is begun before the fourth before
/// it was read. `dd` makes its file before it reads: the first one says that all has begun.
const RELAY: &str = "\
relay() {
exec 9<>$d/ack$1
n=0
while [ $n -lt 4 ] || read -r _ <&9; do
[ $n -lt 4 ] || rm -f $d/$1.$((n-4))
dd bs=16k count=64 of=$d/$1.$n 2>/dev/null || break
[ -s $d/$1.$n ] || break
n=$((n+1))
done
}
";

/// Copies the files that `ack0` names to its output.
const FEED: &str = "\
feed() {
exec 9<>$d/ack0
while read -r n <&9 && [ \"$n\" != end ]; do
[ -e $d/0.$n ] || continue
cat $d/0.$n || break
rm -f $d/0.$n
done
}
";

/// When the process has ended, waits for all it wrote, whoever holds its output now.
const END: &str = "\
code=$?
[ -z \"$feeder\" ] || kill $feeder
wait $relays
[ ! -s $d/code ] || read -r code <$d/code
exit $code
";

/// Ends the processes whose daemon is gone, all but those of the daemon `own`: the process itself, then the
/// shells that wait for somebody to read what it wrote.
pub(super) fn sweep(own: u32, places: &[&str]) -> String {
    let all: Vec<String> = places.iter().map(|place| format!("{place}/hull-exec-*")).collect();
    let all = all.join(" ");
    format!(
        "for d in {all}; do\n\
         case $d in */hull-exec-{own:08x}-*) continue ;; esac\n\
         # Users of the guest may have made one in /tmp.\n\
         [ -d $d ] && [ ! -L $d ] && [ -O $d ] || continue\n\
         p=; [ ! -s $d/pid ] || read -r p <$d/pid\n\
         [ -z \"$p\" ] || kill -9 $p 2>/dev/null\n\
         for a in 0 1 2; do [ -p $d/ack$a ] && (exec 9<>$d/ack$a; printf 'end\\nend\\nend\\nend\\n' >&9); done\n\
         rm -rf $d\n\
         done\n"
    )
}

/// The process is a shell's that reads a file, and no part of this shell behind a `&`: there a shell
/// has SIGINT and SIGQUIT ignored, by all that come of it. In brackets, so that this shell tells of a
/// signal's death where nobody reads it.
fn plain(exec: &Exec, program: &str, name: &str) -> String {
    let stdin = if exec.stdin { "$d/in" } else { "/dev/null" };
    format!(
        "cat >$d/run <<'{name}'\nd=$1; m=$2\necho $$ >$d/pid\numask $m\n{program}{name}\n\
         relay 1 <$d/out & relays=$!\nrelay 2 <$d/err & relays=\"$relays $!\"\n\
         (exec sh $d/run $d $m <{stdin} >$d/out 2>$d/err)\n"
    )
}

/// On a terminal that `script` makes, of util-linux or busybox. It tells no exit code everywhere, so
/// the code goes by a file; a shell that takes no notice of the terminal's signals writes it. A signal
/// is for `script`, which hangs up on all that is on its terminal.
fn on_terminal(exec: &Exec, program: &str, name: &str, size: Option<(u16, u16)>) -> String {
    // Nobody types: a terminal without an input is silent, and not at its end.
    let stdin = if exec.stdin { "<$d/in" } else { "<>$d/in" };
    let (width, height) = size.unwrap_or((80, 24));
    format!(
        "cat >$d/run <<'{name}'\nd=$1; m=$2\n\
         stty rows {height} cols {width}\ntty >$d/tty\nexport TERM=\"${{TERM:-xterm}}\"\n\
         trap : INT QUIT\n(umask $m\n{program})\necho $? >$d/code\n\
         {name}\n\
         relay 1 <$d/out & relays=$!\n\
         (exec sh -c \"echo \\$\\$ >$d/pid; exec script -q -c 'sh $d/run $d $m' /dev/null\" \
         {stdin} >$d/out 2>&1)\n"
    )
}

/// Becomes the program.
fn program(exec: &Exec) -> Result<String> {
    if exec.command.is_empty() {
        return Err(Error::invalid("no program is named").at("command"));
    }
    let mut text = String::from(
        "export HOME=\"${HOME:-/root}\" \
         PATH=\"${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}\"\n",
    );
    let mut words = String::new();
    let user = exec.user.split_once(':').unwrap_or((&exec.user, ""));
    if !matches!(user.0, "" | "0" | "root") {
        text.push_str(&format!("HOME=~{0}\n[ -d \"$HOME\" ] || HOME=/\n", checked_user(user.0)?));
    }
    // A shell drops variables whose names are not its own.
    let mut odd = Vec::new();
    for variable in &exec.env {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        if is_shell_name(name) {
            text.push_str(&format!("export {name}={}\n", quote(value)?));
        } else if !name.is_empty() {
            odd.push(quote(variable)?);
        }
    }
    if !odd.is_empty() {
        words.push_str(&format!("env {} ", odd.join(" ")));
    }
    let command: Vec<String> =
        exec.command.iter().map(|word| quote(word)).collect::<Result<_>>()?;
    words.push_str(&command.join(" "));
    if !exec.workdir.is_empty() {
        // A path that begins with a dash is no option.
        text.push_str(&format!("cd -- {} || exit 126\n", quote(&exec.workdir)?));
    }
    text.push_str(&become_user(user.0, user.1, &words)?);
    Ok(text)
}

/// `setpriv` of util-linux where it is, else `su`, which busybox has as well.
fn become_user(user: &str, group: &str, words: &str) -> Result<String> {
    if matches!((user, group), ("" | "0" | "root", "")) {
        return Ok(format!("exec {words}\n"));
    }
    let user = checked_user(if user.is_empty() { "0" } else { user })?;
    let groups = match group {
        "" => format!(
            "if id -u {user} >/dev/null 2>&1; then set -- --regid \"$(id -g {user})\" --init-groups; \
             else set -- --regid 0 --clear-groups; fi\n"
        ),
        group => format!("set -- --regid {} --clear-groups\n", checked_user(group)?),
    };
    let otherwise = match group {
        "" => format!("exec su -s /bin/sh -c 'exec \"$@\"' -- {user} sh {words}"),
        _ => "echo 'another group needs the program setpriv: install util-linux' >&2; exit 126"
            .to_owned(),
    };
    Ok(format!(
        "if setpriv --help 2>&1 | grep -q -e --reuid; then\n\
         {groups}exec setpriv --reuid {user} \"$@\" {words}\nfi\n{otherwise}\n"
    ))
}

/// A new size for the process's terminal, which tells it.
pub(super) fn resize(dir: &str, width: u16, height: u16) -> String {
    format!("stty -F \"$(cat {dir}/tty)\" rows {height} cols {width}\n")
}

/// A signal for the process; `None` when it is not the name or number of one.
pub(super) fn signal(dir: &str, name: &str) -> Option<String> {
    let name = name.strip_prefix("SIG").unwrap_or(name);
    let plain = (1..=16).contains(&name.len()) && name.bytes().all(|c| c.is_ascii_alphanumeric());
    plain.then(|| format!("kill -s {name} \"$(cat {dir}/pid)\"\n"))
}

/// Removes what a process left.
pub(super) fn remove(dir: &str) -> String {
    format!("rm -rf {dir}\n")
}

fn checked_user(name: &str) -> Result<&str> {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.');
    if name.is_empty() || name.starts_with('-') || !name.bytes().all(plain) {
        return Err(Error::invalid(format!("{name:?} is no user or group")).at("user"));
    }
    Ok(name)
}

fn is_shell_name(name: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    !name.is_empty() && !name.as_bytes()[0].is_ascii_digit() && name.bytes().all(plain)
}

/// A word that the shell takes as it is.
fn quote(word: &str) -> Result<String> {
    if word.contains('\0') {
        return Err(Error::invalid("a zero byte cannot be passed to a program"));
    }
    Ok(format!("'{}'", word.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn what_another_daemon_ran_is_swept() {
        let place = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let dir = place.path().join(name);
            std::fs::create_dir(&dir).unwrap();
            let made =
                Command::new("mkfifo").args(["ack0", "ack1", "ack2"]).current_dir(&dir).status();
            assert!(made.unwrap().success());
            let program = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
            std::fs::write(dir.join("pid"), format!("{}\n", program.id())).unwrap();
            (dir, program)
        };
        let (old, mut ended) = make("hull-exec-00000001-a");
        let (kept, mut runs) = make("hull-exec-00000002-b");
        let (alone, mut goes_on) = make("hull-alone-c");
        let script = sweep(2, &[place.path().to_str().unwrap()]);
        let swept = Command::new("/bin/sh").args(["-c", &script]).status().unwrap();
        assert!(swept.success());
        assert!(!ended.wait().unwrap().success());
        assert!(!old.exists());
        for (dir, program) in [(kept, &mut runs), (alone, &mut goes_on)] {
            assert!(dir.exists() && program.try_wait().unwrap().is_none());
            program.kill().unwrap();
            program.wait().unwrap();
        }
    }

    #[test]
    fn words_are_taken_as_they_are() {
        let cases = [("", "''"), ("a b", "'a b'"), ("it's", r"'it'\''s'"), ("$(x)\n", "'$(x)\n'")];
        for (word, quoted) in cases {
            assert_eq!(quote(word).unwrap(), quoted);
        }
        quote("a\0b").unwrap_err();
    }

    #[test]
    fn users_and_signals_are_no_code() {
        for name in ["", "-u", "a b", "$(reboot)", "a;b", "a'"] {
            checked_user(name).unwrap_err();
        }
        assert_eq!(checked_user("www-data").unwrap(), "www-data");
        for name in ["", "TERM 1", "$(reboot)", "SIG"] {
            assert_eq!(signal("/d", name), None, "{name}");
        }
        assert_eq!(signal("/d", "SIGTERM").unwrap(), "kill -s TERM \"$(cat /d/pid)\"\n");
    }
}

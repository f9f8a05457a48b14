//! Input that means no good.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::*;

fn bomb() -> String {
    let mut text = String::from("x-a: &a [x, x, x, x, x, x, x, x, x]\n");
    for (from, to) in
        ["ab", "bc", "cd", "de", "ef", "fg", "gh", "hi"].iter().map(|it| it.split_at(1))
    {
        let again = vec![format!("*{from}"); 9].join(", ");
        writeln!(text, "x-{to}: &{to} [{again}]").unwrap();
    }
    text.push_str("services: {web: {image: x}}\n");
    text
}

#[test]
fn nothing_takes_long_or_climbs_out() {
    let deep = format!("x-a: {}{}\n", "[".repeat(5000), "]".repeat(5000));
    let deep_block = (0..200).fold(String::new(), |mut text, i| {
        writeln!(text, "{}a:", " ".repeat(i)).unwrap();
        text
    });
    let huge = format!("services: {{web: {{image: \"{}\"}}}}", "x".repeat(10 << 20));
    let wide = format!("services: {{web: {{image: x, cap_add: [{}]}}}}", "a,".repeat(200_000));
    let merged = format!(
        "x-m: &m {{{}}}\nservices: {{web: {{image: x, environment: {{{}}}}}}}\n",
        (0..1000).fold(String::new(), |mut text, i| {
            write!(text, "k{i}: 1, ").unwrap();
            text
        }),
        (0..1).map(|_| "<<: *m").collect::<Vec<_>>().join(", "),
    );
    let chain = (0..40).fold(String::from("services:\n"), |mut text, i| {
        writeln!(text, "  s{i}: {{image: x, extends: s{}}}", i + 1).unwrap();
        text
    }) + "  s40: {image: x}\n";
    let variables =
        format!("services: {{web: {{image: \"{}\"}}}}", "${A:-".repeat(100) + &"}".repeat(100));
    let growing = (0..64).fold(String::from("A0=xxxxxxxxxxxxxxxx\n"), |mut text, i| {
        writeln!(text, "A{}=$A{i}$A{i}$A{i}$A{i}", i + 1).unwrap();
        text
    });
    for (what, text, why) in [
        ("a bomb", bomb().as_str(), "too much in this file"),
        ("deep lists", &deep, "this is not YAML"),
        ("deep mappings", &deep_block, "levels deep"),
        ("a huge text", &huge, "more than 2 MiB"),
        ("many items", &wide, "too much in this file"),
        ("a chain", &chain, "that extend each other"),
        ("nested variables", &variables, "nested more than"),
        ("a circle", "services: {a: {extends: b, image: x}, b: {extends: a}}", "in a circle"),
        ("itself", "a: &a [*a]", "stands for what it is in"),
        ("a path", "services: {w: {image: x, env_file: ../../etc/passwd}}", "leaves the directory"),
        ("a path", "services: {w: {image: x, env_file: /etc/passwd}}", "of your machine"),
        (
            "a path",
            "services: {w: {image: x, extends: {file: ../x.yaml, service: y}}}",
            "leaves the directory",
        ),
        ("a path", "include: [../x.yaml]\nservices: {}", "leaves the directory"),
        ("a path", "secrets: {s: {file: ../../x}}\nservices: {}", "leaves the directory"),
        ("a path", "services: {w: {image: x, build: ../..}}", "leaves the directory"),
        ("a tag", "services: !!python/object:os.system {}", "means nothing here"),
        ("a list", "[a, b]", "a Compose file is a mapping"),
        ("a key", "? [a]\n: b\n", "a key must be a text"),
        ("no YAML", "services: [", "this is not YAML"),
        ("nothing", "services: {web: }", "neither an image nor a build"),
    ] {
        let started = Instant::now();
        let faults = refused(text);
        assert!(faults.iter().any(|it| it.contains(why)), "{what}: {faults:?}");
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "{what} takes {:?}",
            started.elapsed()
        );
    }
    assert!(read(&files(&[("compose.yaml", &merged)]), &asked()).is_ok());
    let env = [("compose.yaml", "services: {w: {image: x}}"), (".env", growing.as_str())];
    let faults = refused_of(&env, &asked());
    assert!(faults.iter().any(|it| it.contains("MiB together")), "{faults:?}");
}

#[test]
fn few_bytes_do_not_stand_for_many() {
    let services = |count: usize, body: &str| {
        (0..count).fold(String::from("services:\n"), |mut text, i| {
            writeln!(text, "  s{i}: {{image: x, {body}}}").unwrap();
            text
        })
    };
    let keys = |count: usize| {
        (0..count).fold(String::new(), |mut text, i| {
            write!(text, "k{i}: 1, ").unwrap();
            text
        })
    };
    let big = format!("  big: {{image: x, environment: {{{}}}}}\n", keys(10_000));
    let mounts = (0..200).map(|i| format!("/m{i}")).collect::<Vec<_>>().join(", ");
    let double = format!("services: {{w: {{image: x, labels: {{{}{}}}}}}}", keys(5000), keys(5000));
    for (what, text, why) in [
        ("extended", services(450, "extends: big") + &big, "too much in services that extend"),
        ("services", services(501, "tty: true"), "500 services at most"),
        ("keys", double, "too many keys that stand twice"),
        (
            "volumes",
            services(3, &format!("volumes: [{mounts}], volumes_from: [big]"))
                + &format!("  big: {{image: x, volumes: [{}]}}\n", mounts.replace("/m", "/b")),
            "mounts 256 things at most",
        ),
    ] {
        let started = Instant::now();
        let faults = refused(&text);
        assert!(faults.iter().any(|it| it.contains(why)), "{what}: {faults:?}");
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "{what} takes {:?}",
            started.elapsed()
        );
    }
    let value = "v".repeat(1 << 20);
    let used = services(400, "hostname: $V, labels: [\"a=$V\"]");
    let asked = Asked { variables: [("V".into(), value.clone())].into(), ..asked() };
    let faults = refused_of(&[("compose.yaml", &used)], &asked);
    assert!(faults.iter().any(|it| it.contains("variables make too much")), "{faults:?}");
    let mut lines = format!("V={value}\n");
    (0..500).for_each(|i| writeln!(lines, "W{i}=$V").unwrap());
    let faults = refused_of(&[("compose.yaml", "services: {}"), (".env", &lines)], &self::asked());
    assert!(faults.iter().any(|it| it.contains("MiB together")), "{faults:?}");
}

#[test]
fn circles_of_files_end() {
    let pairs = [
        ("compose.yaml", "include: [a.yaml]\nservices: {}\n"),
        ("a.yaml", "include: [b.yaml]\n"),
        ("b.yaml", "include: [a.yaml]\n"),
        ("x.yaml", "services: {s: {extends: {file: y.yaml, service: s}, image: x}}\n"),
        ("y.yaml", "services: {s: {extends: {file: x.yaml, service: s}, image: x}}\n"),
    ];
    let faults = refused_of(&pairs, &asked());
    assert!(faults[0].contains("include each other"), "{faults:?}");
    let other = Asked { files: vec!["x.yaml".into()], ..asked() };
    let faults = refused_of(&pairs, &other);
    assert!(faults[0].contains("in a circle"), "{faults:?}");
}

#[test]
fn bytes_that_are_no_text() {
    let mut files = files(&[("compose.yaml", "services: {}")]);
    files.insert("compose.yaml".into(), vec![b'a', 0xff, 0xfe]);
    let refusal = read(&files, &asked()).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "compose.yaml:1:1: compose.yaml is not UTF-8: byte 1 fits nowhere"
    );
    assert!(refused_of(&[("other", "")], &asked())[0].contains("there is none of compose.yaml"));
}

#[test]
fn faults_and_notes_have_an_end() {
    let many = (0..500).fold(String::from("services:\n"), |mut text, i| {
        writeln!(text, "  s{i}: {{image: UPPER, nothing: 1}}").unwrap();
        text
    });
    assert_eq!(refused(&many).len(), 50);
}

/// What is refused after much work must not have cost more than what is allowed.
#[test]
fn work_that_comes_to_nothing_counts() {
    let started = Instant::now();
    let value = "v".repeat(1 << 20);
    let asked_for = Asked { variables: [("V".into(), value)].into(), ..asked() };
    // Each is refused: some for their length, some for what they demand.
    let long = (0..20_000).fold(String::from("x-a:\n"), |mut text, _| {
        text.push_str("  - $V$V$V$V$V\n  - ${W:?$V$V}\n");
        text
    });
    let faults = refused_of(&[("compose.yaml", &long)], &asked_for);
    assert!(faults.iter().any(|it| it.contains("variables make too much")), "{faults:?}");
    assert!(faults.iter().all(|it| it.len() < 1000), "a fault is as long as what it is about");
    let big =
        (0..40_000).fold(String::from("services:\n  s: {image: x}\nx-b:\n"), |mut text, _| {
            text.push_str("- x\n");
            text
        });
    let many = (0..5_000).fold(String::from("services:\n"), |mut text, i| {
        writeln!(text, "  s{i}: {{extends: {{file: big.yaml, service: s}}}}").unwrap();
        text
    });
    let faults = refused_of(&[("compose.yaml", &many), ("big.yaml", &big)], &asked());
    assert!(faults.iter().any(|it| it.contains("500 services at most")), "{faults:?}");
    let included = (0..10_000).fold(String::from("services: {}\ninclude:\n"), |mut text, _| {
        text.push_str("- big.yaml\n");
        text
    });
    let faults = refused_of(&[("compose.yaml", &included), ("big.yaml", &big)], &asked());
    assert!(!faults.is_empty());
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

#[test]
fn large_trees_are_merged_in_time() {
    let list = |start: usize, line: &dyn Fn(usize) -> String| {
        (start..start + 20_000).fold(String::new(), |mut text, i| {
            text.push_str("\n      - ");
            text.push_str(&line(i));
            text
        })
    };
    type Line = fn(usize) -> String;
    let words: [(&str, Line); 4] = [
        ("ports", |i| format!("\"{i}:{i}\"")),
        ("environment", |i| format!("V{i}=1")),
        ("cap_add", |i| format!("c{i}")),
        ("depends_on", |i| format!("d{i}")),
    ];
    for (word, line) in words {
        let started = Instant::now();
        let file =
            |start| format!("services:\n  web:\n    image: x\n    {word}:{}\n", list(start, &line));
        let both = [("a.yaml", file(0)), ("b.yaml", file(10_000))];
        let both: Vec<(&str, &str)> = both.iter().map(|(path, it)| (*path, it.as_str())).collect();
        let asked = Asked { files: vec!["a.yaml".into(), "b.yaml".into()], ..asked() };
        let _ = read(&files(&both), &asked);
        assert!(started.elapsed() < Duration::from_secs(30), "{word} {:?}", started.elapsed());
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 200, ..Default::default() })]

    /// Whatever comes in, something is answered.
    #[test]
    fn nothing_panics(text in "[a-z{}\\[\\]:,&*!|>#%@$\"' \n-]{0,200}") {
        let _ = read(&files(&[("compose.yaml", &text), (".env", &text)]), &asked());
        let service = format!("services:\n  web:\n    image: x\n    {}", text.replace('\n', "\n    "));
        let _ = read(&files(&[("compose.yaml", &service), ("rancher-compose.yml", &text)]), &asked());
    }
}

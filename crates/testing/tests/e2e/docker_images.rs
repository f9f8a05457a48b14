//! Images through Docker's door: what clients read of them, and what they are refused with.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testing::docker::{Docker, Reply};
use testing::node::{Node, REGISTRY};
use testing::registry::{PASSWORD, Registry, USER};

use super::process::able;

/// A node of one's own: others pull and remove the same images.
fn own() -> Option<Node> {
    able().then(|| Node::start().unwrap())
}

fn pull(docker: &Docker<'_>, name: &str) -> Reply {
    let (image, tag) = name.rsplit_once(':').unwrap();
    docker.post(&format!("/images/create?fromImage={image}&tag={tag}"))
}

/// Names under which images are listed.
fn listed(docker: &Docker<'_>, query: &str) -> BTreeSet<String> {
    let reply = docker.get(&format!("/images/json{query}"));
    assert_eq!(reply.status, 200, "{}", reply.message());
    let all = reply.json();
    let tags = all.as_array().unwrap().iter().flat_map(|it| it["RepoTags"].as_array().unwrap());
    tags.map(|tag| tag.as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_image_from_its_registry_to_its_end() {
    let Some(node) = own() else { return };
    let docker = Docker::of(&node);
    let first = pull(&docker, "busybox:latest");
    assert!(first.head.contains("application/json"), "{}", first.head);
    let told = first.told("status");
    assert_eq!(told[0], "Pulling from library/busybox");
    assert!(told.contains(&"Pull complete".to_owned()), "{told:?}");
    assert_eq!(told.last().unwrap(), "Status: Downloaded newer image for busybox:latest");
    let again = pull(&docker, "busybox:latest").told("status");
    assert_eq!(again.len(), 3, "{again:?}");
    assert_eq!(again[2], "Status: Image is up to date for busybox:latest");

    let image = docker.get("/images/busybox/json").json();
    let id = image["Id"].as_str().unwrap().to_owned();
    assert_eq!(image["RepoTags"], json!(["busybox:latest"]));
    assert!(image["RepoDigests"][0].as_str().unwrap().starts_with("busybox@sha256:"));
    let size = image["Size"].as_u64().unwrap();
    assert!(size > 1 << 20, "{size}");
    for name in [&id, &id[7..], &id[7..19], "docker.io/library/busybox:latest"] {
        assert_eq!(docker.get(&format!("/images/{name}/json")).json()["Id"], *id, "{name}");
    }
    let old = Docker::speaking(&node, "v1.43").get("/images/busybox/json").json();
    assert_eq!(old["VirtualSize"], size);
    assert_eq!(old["Config"]["Entrypoint"], Value::Null);
    assert_eq!(old["ContainerConfig"]["Tty"], false);
    let history = docker.get("/images/busybox/history").json();
    assert_eq!((&history[0]["Id"], &history[0]["Tags"]), (&json!(id), &json!(["busybox:latest"])));

    let tagged = docker.post("/images/busybox/tag?repo=localhost:1/a/b&tag=2");
    assert_eq!((tagged.status, tagged.body.len()), (201, 0));
    let both = docker.delete(&format!("/images/{}", &id[7..19]));
    assert_eq!(both.status, 409);
    assert!(both.message().ends_with("image is referenced in multiple repositories"));
    let gone = docker.delete("/images/busybox").json();
    assert_eq!(gone[0], json!({ "Untagged": "busybox:latest" }));
    assert!(gone[1]["Untagged"].as_str().unwrap().starts_with("busybox@sha256:"));
    assert_eq!(gone.as_array().unwrap().len(), 2);
    let last = docker.delete("/images/localhost:1/a/b:2").json();
    assert_eq!(last[0], json!({ "Untagged": "localhost:1/a/b:2" }));
    assert_eq!(last[1], json!({ "Deleted": id }));
    assert_eq!(docker.get("/images/busybox/json").status, 404);
}

#[test]
fn refusals_are_engines() {
    let Some(node) = own() else { return };
    let docker = Docker::of(&node);
    let refused = |method: &str, path: &str| {
        let reply = docker.call(method, path, &[], b"").unwrap();
        (reply.status, reply.message())
    };
    for (method, path, status, message) in [
        ("GET", "/images/nosuch/json", 404, "No such image: nosuch:latest"),
        ("DELETE", "/images/nosuch:1", 404, "No such image: nosuch:1"),
        ("GET", "/images/nosuch/history", 404, "No such image: nosuch:latest"),
        ("POST", "/images/nosuch/tag?repo=a", 404, "No such image: nosuch:latest"),
        ("POST", "/images/create?fromImage=a%20b", 400, "invalid reference format"),
        ("POST", "/images/create?fromImage=a&tag=b%2Fc", 400, "invalid tag format"),
        ("POST", "/images/create?fromImage=scratch", 403, "'scratch' is a reserved name"),
        ("GET", "/images/json?filters=%7B%22x%22:%5B%221%22%5D%7D", 400, "invalid filter 'x'"),
        (
            "GET",
            "/images/search?term=a&limit=101",
            400,
            "limit 101 is outside the range of [1, 100]",
        ),
        ("GET", "/images/nosuch/nothing", 404, "page not found"),
        ("PUT", "/images/json", 404, "page not found"),
    ] {
        assert_eq!(refused(method, path), (status, message.to_owned()), "{method} {path}");
    }
    let absent = pull(&docker, &format!("{REGISTRY}/library/busybox:nope"));
    assert_eq!(absent.status, 404);
    let message =
        format!("manifest for {REGISTRY}/library/busybox:nope not found: manifest unknown");
    assert!(absent.message().starts_with(&message), "{}", absent.message());
    let pushed = docker.post("/images/nosuch/push?tag=1");
    assert_eq!(pushed.status, 200);
    let told = "An image does not exist locally with the tag: nosuch";
    assert_eq!(pushed.told("error"), [told]);
    let loaded = docker.post_tar("/images/load", &[], &[0; 100]);
    assert_eq!((loaded.status, loaded.told("error").len()), (200, 1));
}

#[test]
fn images_that_containers_use() {
    let Some(node) = own() else { return };
    let docker = Docker::of(&node);
    pull(&docker, "busybox:latest");
    let id = docker.get("/images/busybox/json").json()["Id"].as_str().unwrap().to_owned();
    let script = "head -c 3000000 /dev/zero >/big; sleep 1000";
    let body = json!({ "Image": "busybox", "Cmd": ["sh", "-c", script] });
    let made = docker.post_json("/containers/create?name=user", &body);
    assert_eq!(made.status, 201, "{}", made.message());
    let container = made.json()["Id"].as_str().unwrap().to_owned();
    let short = &container[..12];
    let by_name = docker.delete("/images/busybox");
    let message = format!(
        "conflict: unable to remove repository reference \"busybox\" (must force) - container {short} \
         is using its referenced image {}",
        &id[7..19]
    );
    assert_eq!((by_name.status, by_name.message()), (409, message));
    assert_eq!(docker.post("/containers/user/start").status, 204);
    let sized = || {
        let all = docker.get("/containers/json?size=1").json();
        all[0]["SizeRw"].as_u64().filter(|size| *size >= 3_000_000)
    };
    let written = testing::node::until("the container to write", sized);
    let inspected = docker.get("/containers/user/json?size=1").json();
    let image = docker.get("/images/busybox/json").json()["Size"].as_u64().unwrap();
    assert_eq!(inspected["SizeRootFs"], image + written);
    let by_id = docker.delete(&format!("/images/{}?force=1", &id[7..19]));
    let message = format!(
        "conflict: unable to delete {} (cannot be forced) - image is being used by running container \
         {short}",
        &id[7..19]
    );
    assert_eq!((by_id.status, by_id.message()), (409, message));
    // Its name goes, it stays for the container.
    let untagged = docker.delete("/images/busybox?force=1").json();
    assert_eq!(untagged.as_array().unwrap().len(), 2, "{untagged}");
    let dangling = docker.get("/images/json?filters=%7B%22dangling%22:%5B%22true%22%5D%7D").json();
    assert_eq!(dangling[0]["Id"], id);
    assert_eq!(docker.post("/images/prune").json()["ImagesDeleted"], Value::Null);
    assert_eq!(docker.delete("/containers/user?force=1").status, 204);
    let pruned = docker.post("/images/prune").json();
    assert_eq!(pruned["ImagesDeleted"][0]["Deleted"], id);
    assert_eq!(pruned["SpaceReclaimed"], image);
}

#[test]
fn archives_of_images() {
    let Some(node) = own() else { return };
    let docker = Docker::of(&node);
    pull(&docker, "busybox:latest");
    docker.post("/images/busybox/tag?repo=busybox&tag=two");
    let saved = docker.get("/images/busybox/get");
    assert!(saved.head.contains("application/x-tar"), "{}", saved.head);
    docker.delete("/images/busybox:two");
    docker.delete("/images/busybox");
    assert_eq!(listed(&docker, ""), BTreeSet::new());
    let loaded = docker.post_tar("/images/load?quiet=1", &[], &saved.body).told("stream");
    assert_eq!(loaded, ["Loaded image: busybox:latest\n", "Loaded image: busybox:two\n"]);
    let made = docker.post_json("/containers/create?name=box", &json!({ "Image": "busybox" }));
    assert_eq!(made.status, 201);
    // On a node that has just come up, it waits a moment for its place.
    let exported = || Some(docker.get("/containers/box/export")).filter(|it| it.status == 200);
    let files = testing::node::until("the container's files", exported).body;
    let path = "/images/create?fromSrc=-&repo=made&tag=1&message=hello&changes=CMD%20%5B%22x%22%5D";
    let imported = docker.post_tar(path, &[], &files).told("status");
    let image = docker.get("/images/made:1/json").json();
    assert!(image["Id"].is_string(), "{imported:?} {image}: {}", String::from_utf8_lossy(&files));
    assert_eq!(imported, [image["Id"].as_str().unwrap()]);
    assert_eq!((&image["Config"]["Cmd"], &image["Comment"]), (&json!(["x"]), &json!("hello")));
    let filters = "?filters=%7B%22reference%22:%5B%22busy*%22%5D%7D";
    assert_eq!(
        listed(&docker, filters),
        ["busybox:latest", "busybox:two"].map(str::to_owned).into()
    );
    let df = docker.get("/system/df").json();
    assert_eq!(df["Images"].as_array().unwrap().len(), 2);
    assert_eq!(
        df["LayersSize"].as_u64(),
        df["Images"].as_array().unwrap().iter().map(|it| it["Size"].as_u64()).sum()
    );
}

#[test]
fn a_registry_that_asks_for_a_login() {
    let Some(node) = own() else { return };
    let docker = Docker::of(&node);
    let registry = Registry::guarded().unwrap();
    pull(&docker, "busybox:latest");
    let name = registry.name("lab/app");
    docker.post(&format!("/images/busybox/tag?repo={name}&tag=1"));
    let nobody = docker.post(&format!("/images/{name}/push?tag=1"));
    assert_eq!(nobody.told("error"), ["no basic auth credentials"]);
    let login = |password: &str| {
        json!({
            "username": USER, "password": password, "serveraddress": registry.address.to_string(),
        })
    };
    let wrong = docker.post_json("/auth", &login("guess"));
    assert_eq!(wrong.status, 401, "{}", wrong.message());
    let right = docker.post_json("/auth", &login(PASSWORD));
    assert_eq!((right.status, &right.json()["Status"]), (200, &json!("Login Succeeded")));
    // A check keeps nothing.
    let nobody = docker.post(&format!("/images/{name}/push?tag=1"));
    assert_eq!(nobody.told("error"), ["no basic auth credentials"]);
    let header = format!("X-Registry-Auth: {}", base64url(&login(PASSWORD).to_string()));
    let path = format!("/images/{name}/push?tag=1");
    let pushed = docker.call("POST", &path, &[&header], b"").unwrap();
    let aux = pushed.lines().into_iter().find_map(|line| line.get("aux").cloned()).unwrap();
    assert_eq!(aux["Tag"], "1");
    let path = format!("/distribution/{name}:1/json");
    let listing = docker.call("GET", &path, &[&header], b"").unwrap().json();
    assert_eq!(listing["Descriptor"]["digest"], aux["Digest"]);
    assert_eq!(listing["Platforms"][0]["os"], "linux");
}

/// Base64 for URLs, with padding (RFC 4648, section 5).
fn base64url(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut encoded = String::new();
    for piece in text.as_bytes().chunks(3) {
        let bits = piece.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - piece.len()));
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at)) as usize & 63] as char;
            encoded.push(if at <= piece.len() { letter } else { '=' });
        }
    }
    encoded
}

#[test]
fn what_happens_to_images_is_told() {
    let Some(node) = own() else { return };
    let docker = Docker::of(&node);
    let since = docker.get("/info").json()["SystemTime"].as_str().unwrap_or("1").to_owned();
    pull(&docker, "busybox:latest");
    let id = docker.get("/images/busybox/json").json()["Id"].as_str().unwrap().to_owned();
    docker.post("/images/busybox/tag?repo=other&tag=1");
    docker.get("/images/other:1/get");
    docker.delete("/images/other:1");
    docker.delete("/images/busybox");
    let told = || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?;
        let path = format!("/events?since={since}&until={}", now.as_secs() + 1);
        let events = docker.get(&path).lines();
        let images = events.into_iter().filter(|event| event["Type"] == "image");
        let told: Vec<(String, String)> = images
            .map(|event| {
                (
                    event["Action"].as_str().unwrap().to_owned(),
                    event["Actor"]["ID"].as_str().unwrap().to_owned(),
                )
            })
            .collect();
        told.iter().any(|(action, _)| action == "delete").then_some(told)
    };
    let told = testing::node::until("the removal to be told", told);
    let words: Vec<&str> = told.iter().map(|(action, _)| action.as_str()).collect();
    assert_eq!(words, ["pull", "tag", "save", "untag", "untag", "untag", "delete"]);
    assert_eq!(told[0].1, "busybox:latest");
    assert!(told[1..].iter().all(|(_, actor)| *actor == id), "{told:?}");
}

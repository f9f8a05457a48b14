//! Archives that are refused, with nothing left behind.

use images::{Digest, ImportKind, ImportOptions, Limits, media};
use model::{Bytes, ErrorKind};
use serde_json::json;

use crate::archives::{docker_files, layout_files, oci_files, path, tar_files};
use crate::sample::{Packing, Sample, SampleLayer, gzip, tar_of, zstd};
use crate::store::Fixture;

type Files = Vec<(String, Vec<u8>)>;

fn sample() -> Sample {
    Sample::of_size(700, 20_000)
}

fn limits() -> Limits {
    Limits {
        config: Bytes(100_000),
        unpacked: Bytes::mib(8),
        ratio: 20,
        ratio_floor: Bytes::mib(1),
        entries: 1000,
        ..Limits::default()
    }
}

async fn refused(what: &str, data: &[u8], why: &str) {
    let fixture = Fixture::with_limits(limits());
    let error = match fixture.images.import(data, ImportOptions::default()).await {
        Ok(images) => panic!("{what}: taken as {images:?}"),
        Err(error) => error,
    };
    let expected = [ErrorKind::Invalid, ErrorKind::Unsupported];
    assert!(expected.contains(&error.kind()), "{what}: {} {}", error.kind(), error.chain());
    assert!(error.message().contains(why), "{what}: {}", error.chain());
    fixture.assert_empty(what).await;
}

/// A tar with one more member whose header is as given.
fn with_member(name: &str, kind: tar::EntryType, link: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, data) in oci_files(&sample(), Some("a:1")) {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        builder.append_data(&mut header, name, &data[..]).unwrap();
    }
    let mut header = tar::Header::new_gnu();
    let gnu = header.as_gnu_mut().unwrap();
    gnu.name[..name.len()].copy_from_slice(name.as_bytes());
    gnu.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_cksum();
    builder.append(&header, std::io::empty()).unwrap();
    builder.into_inner().unwrap()
}

#[tokio::test]
async fn members_that_are_not_plain_files_inside() {
    use tar::EntryType as T;
    for (name, kind, link, why) in [
        ("../escape", T::Regular, "", "leads elsewhere"),
        ("blobs/../../escape", T::Regular, "", "leads elsewhere"),
        ("/etc/passwd", T::Regular, "", "leads elsewhere"),
        ("blobs//x", T::Regular, "", "leads elsewhere"),
        ("", T::Regular, "", "leads elsewhere"),
        ("../d/", T::Directory, "", "leads elsewhere"),
        ("x", T::Symlink, "/etc/passwd", "is a link"),
        ("x", T::Symlink, "../../etc/passwd", "is a link"),
        ("x", T::Symlink, "index.json", "is a link"),
        ("x", T::Link, "index.json", "is a link"),
        ("x", T::Char, "", "not a file"),
        ("x", T::Block, "", "not a file"),
        ("x", T::Fifo, "", "not a file"),
        ("x", T::Continuous, "", "unknown type"),
        ("index.json", T::Regular, "", "there twice"),
        ("./index.json", T::Regular, "", "there twice"),
    ] {
        refused(&format!("{name} {kind:?} {link}"), &with_member(name, kind, link), why).await;
    }
}

fn change(files: &mut Files, name: &str, new: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let file = files.iter_mut().find(|(known, _)| known == name).unwrap();
    file.1 = new(std::mem::take(&mut file.1));
}

#[tokio::test]
async fn contents_that_do_not_agree() {
    let sample = sample();
    let layer = path(&sample.layers[1].digest());
    let config = path(&sample.id());
    type Edit<'a> = Box<dyn Fn(&mut Files) + 'a>;
    let drop_file = |name: &str| {
        let name = name.to_owned();
        Box::new(move |files: &mut Files| files.retain(|(known, _)| *known != name)) as Edit<'_>
    };
    let flip = |name: &str| {
        let name = name.to_owned();
        Box::new(move |files: &mut Files| {
            change(files, &name, |mut data| {
                data[20] ^= 1;
                data
            });
        }) as Edit<'_>
    };
    let index = |text: &str| {
        let text = text.to_owned();
        Box::new(move |files: &mut Files| {
            change(files, "index.json", |_| text.clone().into_bytes())
        }) as Edit<'_>
    };
    let mut big = sample.descriptor();
    big.size += 1;
    let wrong_size = json!({ "manifests": [big] }).to_string();
    let huge = format!("{{\"x\":\"{}\"}}", "y".repeat(200_000));
    let deep = "[".repeat(100_000);
    let cases: Vec<(&str, Edit<'_>, &str)> = vec![
        ("layer missing", drop_file(&layer), "lacks blob"),
        ("config missing", drop_file(&config), "lacks blob"),
        ("manifest missing", drop_file(&path(&sample.digest())), "lacks blob"),
        ("no index", drop_file("index.json"), "neither"),
        ("layer flipped", flip(&layer), "not that of its name"),
        ("config flipped", flip(&config), "not that of its name"),
        ("index is junk", index("junk"), "cannot be read"),
        ("index is empty", index("{\"manifests\":[]}"), "no image"),
        ("index is a manifest", index("{\"manifests\":[],\"layers\":[]}"), "at once"),
        ("manifest size", index(&wrong_size), "bytes where"),
        ("enormous index", index(&huge), "too many for a document"),
        ("deep index", index(&deep), "cannot be read"),
    ];
    for (what, edit, why) in cases {
        let mut files = oci_files(&sample, Some("a:1"));
        edit(&mut files);
        refused(what, &tar_files(&files), why).await;
    }
}

#[tokio::test]
async fn layers_that_are_refused() {
    let good = SampleLayer::noisy(710, 100);
    let bomb = vec![0; 4 << 20];
    let raw =
        |blob: Vec<u8>| SampleLayer { tar: good.tar.clone(), blob, media_type: media::LAYER_GZIP };
    let climbing = {
        let mut tar = good.tar.clone();
        tar[..9].copy_from_slice(b"../../etc");
        let sum: u32 = tar[..512]
            .iter()
            .enumerate()
            .map(|(at, byte)| match at {
                148..156 => 32,
                _ => u32::from(*byte),
            })
            .sum();
        tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        SampleLayer::of_tar(tar, Packing::Gzip)
    };
    let whiteout = SampleLayer::of_tar(tar_of(&[("a/.wh...", b"")]), Packing::Gzip);
    let cut = SampleLayer::of_tar(good.tar[..700].to_vec(), Packing::Gzip);
    for (what, layer, why) in [
        ("climbs", climbing, "'..'"),
        ("whiteout outside", whiteout, "removes something outside"),
        ("cut tar", cut, "cut off"),
        ("gzip bomb", SampleLayer::of_tar(bomb.clone(), Packing::Gzip), "times its size"),
        ("zstd bomb", SampleLayer::of_tar(bomb, Packing::Zstd), "times its size"),
        ("other tar", raw(gzip(&tar_of(&[("other", b"")]))), "configuration says"),
        ("half a gzip", raw(gzip(&good.tar)[..60].to_vec()), "damaged or cut off"),
        ("no tar", raw(b"\x00\x01 no layer".repeat(100)), "not a sound tar"),
        ("xz", raw(b"\xfd7zXZ\0......".to_vec()), "xz"),
    ] {
        let sample = Sample::new(vec![good.clone(), layer]);
        refused(what, &tar_files(&oci_files(&sample, Some("a:1"))), why).await;
    }
    // Docker's archive knows a layer by its path alone.
    let mut sample = sample();
    sample.layers.swap(0, 1);
    refused("swapped", &tar_files(&docker_files(&sample, &["a:1"])), "configuration says").await;
}

#[tokio::test]
async fn docker_archives_that_are_refused() {
    let sample = sample();
    let files = || docker_files(&sample, &["a:1"]);
    let mut renamed = files();
    let config = format!("{}.json", sample.id().hex());
    change(&mut renamed, &config, |data| [data, b" ".to_vec()].concat());
    refused("config digest", &tar_files(&renamed), "not that of its name").await;
    for (what, manifest, why) in [
        ("no config", json!([{ "Config": "x.json", "Layers": [] }]), "lacks its member"),
        ("no layer", json!([{ "Config": config, "Layers": ["x/layer.tar"] }]), "lacks its member"),
        ("outside", json!([{ "Config": "../../etc/passwd", "Layers": [] }]), "lacks its member"),
        (
            "config is a layer",
            json!([{ "Config": config, "Layers": [config] }]),
            "lacks its member",
        ),
        (
            "bad name",
            json!([{ "Config": config, "RepoTags": ["A B"], "Layers": [] }]),
            "knows 2 layers",
        ),
        ("no list", json!({}), "cannot be read"),
        ("empty", json!([]), "no image"),
    ] {
        let mut files = files();
        change(&mut files, "manifest.json", |_| manifest.to_string().into_bytes());
        refused(what, &tar_files(&files), why).await;
    }
    let mut old = files();
    old.retain(|(name, _)| name != "manifest.json");
    refused("before 1.10", &tar_files(&old), "before 1.10").await;
    let mut unnamed = files();
    change(&mut unnamed, "manifest.json", |data| {
        String::from_utf8(data).unwrap().replace("a:1", "a b:1").into_bytes()
    });
    refused("name", &tar_files(&unnamed), "not an image name").await;
}

#[tokio::test]
async fn streams_that_are_cut_or_swell() {
    let archive = tar_files(&oci_files(&sample(), Some("a:1")));
    for end in
        [0, 100, 512, 700, archive.len() / 2, archive.len() - 1024 - 100, archive.len() - 1024]
    {
        let fixture = Fixture::new();
        let kind = if end < 600 { ImportKind::Archive } else { ImportKind::Auto };
        let options = ImportOptions { kind, ..ImportOptions::default() };
        let error = fixture.images.import(&archive[..end], options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{end}: {}", error.chain());
        fixture.assert_empty("a cut archive").await;
        let packed = gzip(&archive);
        let end = end.min(packed.len() - 1);
        if end > 2 {
            let options = ImportOptions { kind: ImportKind::Archive, ..ImportOptions::default() };
            let fixture = Fixture::new();
            let error = fixture.images.import(&packed[..end], options).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "gzip {end}: {}", error.chain());
            fixture.assert_empty("a cut gzip").await;
        }
    }
    let zeros = |count: usize, size: usize| {
        let members = (0..count).map(|n| (format!("blobs/zeros-{n}"), vec![0; size]));
        tar_files(&members.collect::<Vec<_>>())
    };
    refused("gzip bomb", &gzip(&zeros(3, 2 << 20)), "times its size").await;
    refused("zstd bomb", &zstd(&zeros(3, 2 << 20)), "times its size").await;
    let swollen = zeros(1, 9 << 20);
    refused("too large", &swollen, "over 8 MiB").await;
    let many: Files = (0..1100).map(|n| (format!("blobs/sha256/{n}.json"), Vec::new())).collect();
    refused("too many", &tar_files(&many), "over 1000 entries").await;
    refused("xz", b"\xfd7zXZ\0.....", "xz").await;
    refused("nothing", b"", "empty").await;
    refused("junk", &b"this is no archive at all".repeat(100), "not a sound tar").await;
    refused("zeros", &[0; 4096], "empty").await;
}

#[tokio::test]
async fn one_bad_image_spoils_the_archive() {
    let (good, bad) = (Sample::of_size(720, 100), Sample::of_size(722, 100));
    let entries = [good.descriptor(), bad.descriptor()];
    let mut files = layout_files(&[&good, &bad], &json!({ "manifests": entries }));
    files.retain(|(name, _)| *name != path(&bad.layers[0].digest()));
    refused("second image", &tar_files(&files), "lacks blob").await;
}

#[tokio::test]
async fn what_was_here_before_stays() {
    let sample = sample();
    let fixture = Fixture::with_limits(limits());
    let good = tar_files(&oci_files(&sample, Some("a:1")));
    fixture.images.import(&good[..], ImportOptions::default()).await.unwrap();
    let mut files = oci_files(&sample, Some("b:1"));
    files.retain(|(name, _)| *name != path(&sample.id()));
    let error = fixture.images.import(&tar_files(&files)[..], ImportOptions::default()).await;
    assert!(error.is_err());
    assert_eq!(fixture.images.show("a:1").await.unwrap().id, sample.id().as_str());
    assert_eq!(fixture.store.list().await.unwrap().len(), 4);
    assert_eq!(fixture.images.find("b:1").await.unwrap(), None);
    // The same bytes under a false name do not spoil the true ones.
    let mut files = oci_files(&sample, Some("b:1"));
    change(&mut files, &path(&sample.layers[1].digest()), |mut data| {
        data[30] ^= 1;
        data
    });
    assert!(fixture.images.import(&tar_files(&files)[..], ImportOptions::default()).await.is_err());
    let kept = fixture.store.info(&Digest::of(&sample.layers[1].blob)).await.unwrap();
    assert!(kept.is_some());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn damage_anywhere_is_refused_or_harmless(at in 0..12_000_usize, byte: u8) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let sample = Sample::new(vec![SampleLayer::noisy(730, 500)]);
            let mut archive = tar_files(&oci_files(&sample, Some("a:1")));
            let end = archive.len();
            archive[at % end] = byte;
            let fixture = Fixture::with_limits(limits());
            match fixture.images.import(&archive[..], ImportOptions::default()).await {
                Ok(images) => assert!(!images.is_empty()),
                Err(_) => fixture.assert_empty("damage").await,
            }
        });
    }
}

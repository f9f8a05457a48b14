//! What every [`ContentStore`] must pass. [`run`] needs nothing but a store; it leaves nothing in it
//! and can run beside other users of the store.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::TryStreamExt;
use model::ErrorKind;

use crate::content::{
    BlobWriter, ContentStore, Ingest, LABEL_REFERENCE, LABEL_UNCOMPRESSED, Labels, Layer,
    WRITER_KEEPS, WriteRequest, chain_id, reference_labels,
};
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::media;

const HOUR: Duration = Duration::from_secs(3600);
const DEADLINE: Duration = Duration::from_secs(10);

/// Runs all checks; panics at the first that fails.
pub async fn run(store: Arc<dyn ContentStore>) {
    blobs_come_back_as_they_went(&*store).await;
    what_was_appended_is_continued(&*store).await;
    one_writer_at_a_time(&*store).await;
    wrong_bytes_are_refused(&*store).await;
    a_restart_forgets(&*store).await;
    what_is_not_there(&*store).await;
    labels_change(&*store).await;
    names_point(&*store).await;
    leases_and_references_keep(&*store).await;
    bytes_found_at_the_end_are_kept(&*store).await;
    layers_are_unpacked_once(&*store).await;
}

/// Bytes no other check has.
fn unique(what: &str) -> Bytes {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = jiff::Timestamp::now().as_nanosecond();
    Bytes::from(format!("{what} {count} {} {now}", std::process::id()))
}

fn name_of(digest: &Digest) -> String {
    format!("conformance-{}", digest.hex())
}

fn request(digest: &Digest, size: u64) -> WriteRequest {
    WriteRequest { reference: name_of(digest), size: Some(size), digest: Some(digest.clone()) }
}

/// Opens a writer; a store that learns late of a dropped one may be busy for a moment.
async fn open(store: &dyn ContentStore, digest: &Digest, size: u64) -> Box<dyn BlobWriter> {
    let start = Instant::now();
    loop {
        match store.writer(&request(digest, size)).await {
            Ok(Ingest::Open(writer)) => return writer,
            Ok(Ingest::Present) => panic!("blob {digest} is there already"),
            Err(error) => {
                assert!(error.kind() == ErrorKind::Conflict, "{}", error.chain());
                assert!(start.elapsed() < DEADLINE, "still busy: {}", error.chain());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

async fn put(store: &dyn ContentStore, data: &Bytes, labels: Labels) -> Digest {
    let digest = Digest::of(data);
    let mut writer = open(store, &digest, data.len() as u64).await;
    assert_eq!(writer.offset(), 0);
    writer.append(data.clone()).await.expect("append");
    writer.commit(data.len() as u64, &digest, labels).await.expect("commit");
    digest
}

async fn get(store: &dyn ContentStore, digest: &Digest) -> Vec<u8> {
    let stream = store.reader(digest, None).await.expect("reader");
    stream.try_collect::<Vec<Bytes>>().await.expect("read").concat()
}

async fn exists(store: &dyn ContentStore, digest: &Digest) -> bool {
    store.info(digest).await.expect("info").is_some()
}

async fn blobs_come_back_as_they_went(store: &dyn ContentStore) {
    let lease = store.lease("conformance-blobs", HOUR).await.expect("lease");
    let data = Bytes::from(unique("a blob of some size, ").repeat(30_000));
    let labels: Labels = [("hull.test".to_owned(), "yes".to_owned())].into();
    let digest = put(&*lease, &data, labels.clone()).await;
    assert_eq!(get(store, &digest).await, data);
    for range in [0..10, 1000..70_000, 5..5, data.len() as u64 - 3..data.len() as u64 + 9] {
        let stream = store.reader(&digest, Some(range.clone())).await.expect("reader");
        let part = stream.try_collect::<Vec<Bytes>>().await.expect("read").concat();
        let end = (range.end as usize).min(data.len());
        assert!(part == data[range.start as usize..end], "range {range:?}");
    }
    let info = store.info(&digest).await.expect("info").expect("the blob");
    assert_eq!((info.size, &info.digest), (data.len() as u64, &digest));
    assert_eq!(info.labels.get("hull.test"), labels.get("hull.test"));
    let listed = store.list().await.expect("list");
    assert!(listed.iter().any(|blob| blob.digest == digest && blob.size == info.size));
    let again = lease.writer(&request(&digest, info.size)).await.expect("writer");
    assert!(matches!(again, Ingest::Present), "a blob that exists is written again");
    let empty = Bytes::new();
    if !exists(store, &Digest::of(&empty)).await {
        let digest = put(&*lease, &empty, Labels::new()).await;
        assert_eq!(get(store, &digest).await, empty);
        store.delete(&digest).await.expect("delete");
    }
    store.delete(&digest).await.expect("delete");
    assert!(!exists(store, &digest).await);
    store.release("conformance-blobs").await.expect("release");
}

async fn what_was_appended_is_continued(store: &dyn ContentStore) {
    let lease = store.lease("conformance-resume", HOUR).await.expect("lease");
    let data = Bytes::from(unique("resumed, ").repeat(150_000));
    let (digest, size) = (Digest::of(&data), data.len() as u64);
    let most = 3 * WRITER_KEEPS as usize + 5000;
    let mut writer = open(&*lease, &digest, size).await;
    writer.append(data.slice(..4000)).await.expect("append");
    writer.append(data.slice(4000..most)).await.expect("append");
    assert_eq!(writer.offset(), most as u64);
    drop(writer);
    assert!(!exists(store, &digest).await, "half a blob is visible");
    let mut writer = open(&*lease, &digest, size).await;
    let kept = writer.offset();
    let least = most as u64 - WRITER_KEEPS;
    assert!((least..=most as u64).contains(&kept), "of {most} bytes {kept} were kept");
    let ingests = store.ingests().await.expect("ingests");
    let ingest = ingests.iter().find(|ingest| ingest.reference.ends_with(&name_of(&digest)));
    assert_eq!(ingest.expect("the ingest").offset, kept);
    writer.append(data.slice(kept as usize..)).await.expect("append");
    writer.commit(size, &digest, Labels::new()).await.expect("commit");
    assert_eq!(get(store, &digest).await, data);
    let ingests = store.ingests().await.expect("ingests");
    assert!(!ingests.iter().any(|ingest| ingest.reference.ends_with(&name_of(&digest))));
    store.delete(&digest).await.expect("delete");
    store.release("conformance-resume").await.expect("release");
}

async fn one_writer_at_a_time(store: &dyn ContentStore) {
    let data = unique("contended");
    let (digest, size) = (Digest::of(&data), data.len() as u64);
    let mut first = open(store, &digest, size).await;
    first.append(data.slice(..3)).await.expect("append");
    match store.writer(&request(&digest, size)).await {
        Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{}", error.chain()),
        Ok(_) => panic!("two writers of one ingest"),
    }
    drop(first);
    drop(open(store, &digest, size).await);
    abort(store, &digest).await;
    let writer = open(store, &digest, size).await;
    assert_eq!(writer.offset(), 0, "an aborted ingest has bytes");
    drop(writer);
    abort(store, &digest).await;
}

/// Aborts as soon as the store has noticed that the writer is gone.
async fn abort(store: &dyn ContentStore, digest: &Digest) {
    store.abort(&name_of(digest)).await.expect("abort");
    store.abort(&name_of(digest)).await.expect("abort of what is not there");
}

async fn wrong_bytes_are_refused(store: &dyn ContentStore) {
    let data = unique("wrong");
    let (digest, size) = (Digest::of(&data), data.len() as u64);
    for (written, said) in [(unique("other"), None), (data.clone(), Some(size + 1))] {
        let mut writer = open(store, &digest, size).await;
        writer.append(written.clone()).await.expect("append");
        let said = said.unwrap_or(written.len() as u64);
        let error = writer.commit(said, &digest, Labels::new()).await.expect_err("wrong bytes");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{}", error.chain());
        assert!(!exists(store, &digest).await);
        let writer = open(store, &digest, size).await;
        assert_eq!(writer.offset(), 0, "refused bytes are kept");
        drop(writer);
        abort(store, &digest).await;
    }
}

async fn a_restart_forgets(store: &dyn ContentStore) {
    let lease = store.lease("conformance-restart", HOUR).await.expect("lease");
    let data = unique("restarted");
    let (digest, size) = (Digest::of(&data), data.len() as u64);
    let mut writer = open(&*lease, &digest, size).await;
    writer.append(Bytes::from_static(b"something else")).await.expect("append");
    writer.restart().await.expect("restart");
    assert_eq!(writer.offset(), 0);
    writer.append(data.clone()).await.expect("append");
    writer.commit(size, &digest, Labels::new()).await.expect("commit");
    assert_eq!(get(store, &digest).await, data);
    store.delete(&digest).await.expect("delete");
    store.release("conformance-restart").await.expect("release");
}

async fn what_is_not_there(store: &dyn ContentStore) {
    let digest = Digest::of(&unique("nowhere"));
    assert_eq!(store.info(&digest).await.expect("info"), None);
    store.delete(&digest).await.expect("delete");
    store.release("conformance-nowhere").await.expect("release");
    store.remove_image("nowhere.test/none:1").await.expect("remove_image");
    assert_eq!(store.image("nowhere.test/none:1").await.expect("image"), None);
    let read = match store.reader(&digest, None).await {
        Ok(stream) => stream.try_collect::<Vec<Bytes>>().await.map(drop),
        Err(error) => Err(error),
    };
    assert_eq!(read.expect_err("read of nothing").kind(), ErrorKind::NotFound);
    let labels = [("a".to_owned(), "b".to_owned())].into();
    let error = store.set_labels(&digest, labels).await.expect_err("labels of nothing");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

async fn labels_change(store: &dyn ContentStore) {
    let lease = store.lease("conformance-labels", HOUR).await.expect("lease");
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let digest =
        put(&*lease, &unique("labelled"), [pair("hull.a", "1"), pair("hull.b", "2")].into()).await;
    let change = [pair("hull.a", ""), pair("hull.b", "3"), pair("hull.c", "4")].into();
    store.set_labels(&digest, change).await.expect("set_labels");
    let labels = store.info(&digest).await.expect("info").expect("the blob").labels;
    let ours: Labels = labels.into_iter().filter(|(key, _)| key.starts_with("hull.")).collect();
    assert_eq!(ours, [pair("hull.b", "3"), pair("hull.c", "4")].into());
    store.delete(&digest).await.expect("delete");
    store.release("conformance-labels").await.expect("release");
}

async fn names_point(store: &dyn ContentStore) {
    let lease = store.lease("conformance-names", HOUR).await.expect("lease");
    let data = unique("{}");
    let first = put(&*lease, &data, Labels::new()).await;
    let other = unique("{other}");
    let second = put(&*lease, &other, Labels::new()).await;
    let name = format!("conformance.test/{}:1", &first.hex()[..8]);
    let target = Descriptor::new(media::MANIFEST, first.clone(), data.len() as u64);
    let labels: Labels = [("hull.l".to_owned(), "m".to_owned())].into();
    store.put_image(&name, &target, labels.clone()).await.expect("put_image");
    let record = store.image(&name).await.expect("image").expect("the record");
    assert_eq!((&record.name, &record.target.digest), (&name, &first));
    assert_eq!((&*record.target.media_type, record.target.size), (media::MANIFEST, target.size));
    assert_eq!(record.labels.get("hull.l"), labels.get("hull.l"));
    let moved = Descriptor::new(media::INDEX, second.clone(), other.len() as u64);
    store.put_image(&name, &moved, Labels::new()).await.expect("put_image");
    let again = store.image(&name).await.expect("image").expect("the record");
    assert_eq!((&again.target.digest, again.created), (&second, record.created));
    assert!(again.updated >= record.updated);
    assert!(!again.labels.contains_key("hull.l"), "labels are replaced with the target");
    let listed = store.images().await.expect("images");
    assert_eq!(listed.iter().filter(|record| record.name == name).count(), 1);
    store.remove_image(&name).await.expect("remove_image");
    assert_eq!(store.image(&name).await.expect("image"), None);
    store.release("conformance-names").await.expect("release");
    store.collect().await.expect("collect");
    assert!(!exists(store, &first).await && !exists(store, &second).await);
}

async fn leases_and_references_keep(store: &dyn ContentStore) {
    let lease = store.lease("conformance-keep", HOUR).await.expect("lease");
    store.lease("conformance-keep", HOUR).await.expect("the same lease again");
    let child = put(&*lease, &unique("child"), Labels::new()).await;
    let labels = reference_labels([&child]);
    assert!(labels.keys().all(|key| key.starts_with(LABEL_REFERENCE)));
    let data = unique("parent");
    let parent = put(&*lease, &data, labels).await;
    let loose = put(&*lease, &unique("loose"), Labels::new()).await;
    store.collect().await.expect("collect");
    assert!(exists(store, &loose).await, "a leased blob was collected");
    let name = format!("conformance.test/{}:keep", &parent.hex()[..8]);
    let target = Descriptor::new(media::MANIFEST, parent.clone(), data.len() as u64);
    store.put_image(&name, &target, Labels::new()).await.expect("put_image");
    store.release("conformance-keep").await.expect("release");
    store.collect().await.expect("collect");
    assert!(!exists(store, &loose).await, "nothing keeps it, yet it is there");
    assert!(exists(store, &parent).await && exists(store, &child).await);
    store.remove_image(&name).await.expect("remove_image");
    let held = store.lease("conformance-hold", HOUR).await.expect("lease");
    let opened = held.writer(&request(&parent, data.len() as u64)).await.expect("writer");
    assert!(matches!(opened, Ingest::Present));
    store.collect().await.expect("collect");
    assert!(exists(store, &child).await, "a blob found present is not kept by the lease");
    store.release("conformance-hold").await.expect("release");
    store.collect().await.expect("collect");
    assert!(!exists(store, &parent).await && !exists(store, &child).await);
}

/// Bytes whose digest shows at the end are found to be there, and whoever had them lets go of them.
async fn bytes_found_at_the_end_are_kept(store: &dyn ContentStore) {
    let lease = store.lease("conformance-found", HOUR).await.expect("lease");
    let data = unique("found");
    let reference = format!("conformance-late-{}", Digest::of(&data).hex());
    let request = WriteRequest { reference, size: None, digest: None };
    let Ingest::Open(mut writer) = lease.writer(&request).await.expect("writer") else {
        panic!("bytes that nobody knows are there already")
    };
    writer.append(data.clone()).await.expect("append");
    let other = store.lease("conformance-other", HOUR).await.expect("lease");
    let digest = put(&*other, &data, Labels::new()).await;
    let labels: Labels = [("hull.test".to_owned(), "late".to_owned())].into();
    writer.commit(data.len() as u64, &digest, labels.clone()).await.expect("commit");
    store.release("conformance-other").await.expect("release");
    store.collect().await.expect("collect");
    let found = store.info(&digest).await.expect("info").expect("a blob found is not kept");
    assert_eq!(found.labels.get("hull.test"), labels.get("hull.test"), "its labels are lost");
    store.release("conformance-found").await.expect("release");
    store.collect().await.expect("collect");
    assert!(!exists(store, &digest).await);
}

/// A layer of one file: its blob in gzip, and its tar.
fn layer_bytes(name: &str) -> (Bytes, Vec<u8>) {
    let content = unique("content");
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_data(&mut header, name, &content[..]).expect("a tar in memory");
    let tar = builder.into_inner().expect("a tar in memory");
    let mut packed = Vec::new();
    let level = flate2::Compression::fast();
    flate2::read::GzEncoder::new(&tar[..], level).read_to_end(&mut packed).expect("gzip");
    (packed.into(), tar)
}

async fn put_layer(store: &dyn ContentStore, name: &str) -> Layer {
    let (packed, tar) = layer_bytes(name);
    let diff_id = Digest::of(&tar);
    let labels = [(LABEL_UNCOMPRESSED.to_owned(), diff_id.to_string())].into();
    let digest = put(store, &packed, labels).await;
    let descriptor = Descriptor::new(media::LAYER_GZIP, digest, packed.len() as u64);
    Layer { descriptor, diff_id }
}

async fn layers_are_unpacked_once(store: &dyn ContentStore) {
    let lease = store.lease("conformance-unpack", HOUR).await.expect("lease");
    let (low, high) = (put_layer(&*lease, "low").await, put_layer(&*lease, "high").await);
    let bottom = lease.unpack(None, &low).await.expect("unpack");
    assert_eq!(bottom, low.diff_id);
    let top = lease.unpack(Some(&bottom), &high).await.expect("unpack");
    assert_eq!(Some(&top), chain_id([&low.diff_id, &high.diff_id]).as_ref());
    assert_eq!(lease.unpack(Some(&bottom), &high).await.expect("unpack again"), top);
    let liar = Layer { diff_id: Digest::of(b"something else"), ..low.clone() };
    lease.unpack(None, &liar).await.expect_err("a layer that unpacks to something else");
    let config = put(&*lease, &unique("{config}"), Labels::new()).await;
    store.bind_unpacked(&config, &top).await.expect("bind_unpacked");
    store.release("conformance-unpack").await.expect("release");
    store.collect().await.expect("collect");
    assert!(!exists(store, &config).await);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dir_store::DirStore;

    #[tokio::test]
    async fn a_directory_conforms() {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(DirStore::open(directory.path()).unwrap());
        run(store.clone()).await;
        assert_eq!(store.list().await.unwrap(), []);
        assert_eq!(store.ingests().await.unwrap(), []);
        for name in ["meta", "leases", "unpacked", "ingest"] {
            let left = std::fs::read_dir(directory.path().join(name)).unwrap().count();
            assert_eq!(left, 0, "{name} is not empty");
        }
    }

    #[tokio::test]
    async fn labels_without_a_blob_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        let store = DirStore::open(directory.path()).unwrap();
        let labels = || std::fs::read_dir(directory.path().join("meta")).unwrap().count();
        let data = unique("aborted");
        let digest = Digest::of(&data);
        let mut writer = open(&store, &digest, data.len() as u64).await;
        writer.append(data.clone()).await.unwrap();
        let ingest = store.ingests().await.unwrap().remove(0);
        store.abort(&ingest.reference).await.unwrap();
        writer.commit(data.len() as u64, &digest, Labels::new()).await.unwrap_err();
        assert_eq!(labels(), 0, "of an aborted ingest");
        let killed = directory.path().join("meta").join(format!("{}.json", digest.hex()));
        std::fs::write(killed, "{}").unwrap();
        store.collect().await.unwrap();
        assert_eq!(labels(), 0, "of a writer that was killed");
    }

    #[tokio::test]
    async fn an_opened_directory_is_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let store = DirStore::open(directory.path()).unwrap();
        let digest = put(&store, &unique("kept"), Labels::new()).await;
        let target = Descriptor::new(media::MANIFEST, digest.clone(), 1);
        store.put_image("a.test/b:1", &target, Labels::new()).await.unwrap();
        drop(store);
        let store = DirStore::open(directory.path()).unwrap();
        store.collect().await.unwrap();
        assert!(exists(&store, &digest).await);
        assert_eq!(store.images().await.unwrap()[0].name, "a.test/b:1");
    }

    #[tokio::test]
    async fn names_that_would_leave_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let store = DirStore::open(directory.path()).unwrap();
        for name in ["", "..", "a/b", ".x", &"a".repeat(129)] {
            assert!(store.lease(name, HOUR).await.is_err(), "{name}");
            assert!(store.abort(name).await.is_err(), "{name}");
        }
    }
}
